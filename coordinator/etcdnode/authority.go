package etcdnode

import (
	"path/filepath"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
)

// Authority is which authority vouches for a member, and which ones it believes
// of others. All are fingerprints.
type Authority struct {
	Shows string
	// Believes are those of the running process: etcd reads them when it starts.
	// From its next start on they are those that Keeps says.
	Believes, Keeps []string
}

// Settled: a restart would change nothing.
func (a Authority) Settled() bool {
	return slices.Equal(slices.Sorted(slices.Values(a.Believes)), slices.Sorted(slices.Values(a.Keeps)))
}

// Authority of this member.
func (n *Node) Authority() Authority {
	ca := n.CA()
	a := Authority{Shows: ca.Fingerprint(), Believes: n.believes, Keeps: ca.Trusted()}
	if n.cfg.Peer.Listen == "" {
		a.Believes = a.Keeps // nobody calls it, and it calls nobody
	}
	return a
}

// TrustAuthority believes a next authority beside the one of now, from the next
// start on.
func (n *Node) TrustAuthority(next *peerca.CA) error {
	return n.rotate(func(ca *peerca.CA, dir string) (*peerca.CA, error) { return ca.Trust(dir, next) })
}

// ShowAuthority has the next authority vouch for this member, from the next
// connection on: etcd reads the certificate at each.
func (n *Node) ShowAuthority() error {
	return n.rotate(func(ca *peerca.CA, dir string) (*peerca.CA, error) {
		next, err := ca.Switch(dir)
		if err != nil || n.cfg.Peer.Listen == "" {
			return next, err
		}
		return next, next.Issue(dir, time.Now(), n.cfg.Peer.names()...)
	})
}

// KeepAuthority believes no authority but the one of now, from the next start on.
func (n *Node) KeepAuthority() error {
	return n.rotate((*peerca.CA).Alone)
}

// rotate is for one caller at a time.
func (n *Node) rotate(step func(ca *peerca.CA, dir string) (*peerca.CA, error)) error {
	next, err := step(n.CA(), filepath.Join(n.cfg.DataDir, peerDir))
	if next != nil {
		n.ca.Store(next)
	}
	return err
}
