package coordinator

import (
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
)

// PeerConfig is where the other coordinators of the cluster find this one. A
// coordinator without it stays alone.
type PeerConfig struct {
	Listen string `yaml:"listen"` // IP:PORT; mutual TLS by the cluster's own authority
	URL    string `yaml:"url"`    // https://HOST:PORT by which the others reach it; default made of listen
}

// JoinConfig names a running cluster that a coordinator joins whose data folder
// holds nothing. Once it has joined, it is ignored.
type JoinConfig struct {
	Servers   []string `yaml:"servers"`    // URLs of its coordinators
	TokenFile string   `yaml:"token_file"` // holds the join token; "-" is the standard input
	// Token is the join token itself. It has no flag and no place in the file.
	Token string `yaml:"-"`
}

// validatePeer fills in the peer URL, and names what cannot be.
func (c *Config) validatePeer(bad func(field, format string, args ...any)) {
	if c.Etcd.External() {
		if c.Peer != (PeerConfig{}) {
			bad("peer.listen", "is only for an embedded store: coordinators on an existing etcd find each other there")
		}
		if len(c.Join.Servers) > 0 {
			bad("join.servers", "is only for an embedded store: a coordinator more on an existing etcd is given the same endpoints")
		}
		return
	}
	if _, field, err := etcdnode.CheckPeer(etcdnode.PeerConfig(c.Peer)); err != nil {
		bad("peer."+field, "%v", err)
	}
	if c.Join.TokenFile != "" && c.Join.Token != "" {
		bad("join.token_file", "and LOCKKEEPER_JOIN_TOKEN are both given: want one of them")
	}
	if len(c.Join.Servers) == 0 {
		if c.Join.TokenFile != "" {
			bad("join.token_file", "goes with the URL of a coordinator to join, join.servers (--join)")
		}
		return
	}
	if c.Peer.Listen == "" {
		bad("join.servers", "a coordinator that joins needs an address for the others, peer.listen (--peer-listen IP:PORT)")
	}
}
