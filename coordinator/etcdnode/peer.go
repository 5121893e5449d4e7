package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
)

// peerDir is where the data folder keeps the cluster's authority, and the
// member's own certificate.
const peerDir = "peer"

// renewEvery is how often the certificate's age is looked at.
const renewEvery = 12 * time.Hour

// PeerConfig is where the other members find this one. Its zero value is a
// member that stays alone: no port is open.
type PeerConfig struct {
	Listen string // IP:PORT or localhost:PORT
	URL    string // https://HOST:PORT, default made of Listen
}

// CheckPeer fills in what follows, and says what cannot be. Field is "listen" or
// "url".
func CheckPeer(p PeerConfig) (out PeerConfig, field string, err error) {
	if p.Listen == "" {
		if p.URL != "" {
			return p, "url", errors.New("goes with a listen address for the other members")
		}
		return p, "", nil
	}
	host, port, err := net.SplitHostPort(p.Listen)
	ip, ipErr := netip.ParseAddr(host)
	if err != nil || port == "" || port == "0" || ipErr != nil && host != "localhost" {
		return p, "listen", fmt.Errorf("%q: want IP:PORT such as 10.0.0.1:2380, with a port that the other members know", p.Listen)
	}
	if p.URL == "" {
		if ipErr == nil && ip.IsUnspecified() {
			return p, "url", fmt.Errorf("%s means all addresses of this host: say by which URL the other members find it, such as https://lock-1.example.com:%s", p.Listen, port)
		}
		p.URL = "https://" + net.JoinHostPort(host, port)
	}
	if err := CheckPeerURL(p.URL); err != nil {
		return p, "url", err
	}
	return p, "", nil
}

// CheckPeerURL says whether members can find each other by such a URL.
func CheckPeerURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "" || u.User != nil {
		return fmt.Errorf("%q: want https://HOST:PORT, as the other members reach it", text)
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err == nil && ip.IsUnspecified() {
		return fmt.Errorf("%q: that is no address of one host", text)
	}
	return nil
}

// url is how the member is named in the cluster.
func (p PeerConfig) url() string {
	if p.Listen == "" {
		return peerURL
	}
	return p.URL
}

// check returns why the address for other members cannot be listened on.
func (p PeerConfig) check() error {
	if p.Listen == "" {
		return nil
	}
	ln, err := net.Listen("tcp", p.Listen)
	if err != nil {
		return fmt.Errorf("the address for the other members: %w; give --peer-listen one that is free and of this host", err)
	}
	return ln.Close()
}

// names are what the member's certificate vouches for.
func (p PeerConfig) names() []string {
	var names []string
	if u, err := url.Parse(p.URL); err == nil {
		names = append(names, u.Hostname())
	}
	if host, _, err := net.SplitHostPort(p.Listen); err == nil {
		names = append(names, host)
	}
	if own, err := os.Hostname(); err == nil {
		names = append(names, own)
	}
	return names
}

// apply opens the peer port, to members of this cluster alone.
func (p PeerConfig) apply(cfg *embed.Config, dir string) {
	if p.Listen == "" {
		return
	}
	files := peerca.FilesIn(filepath.Join(dir, peerDir))
	cfg.ListenPeerUrls = []url.URL{{Scheme: "https", Host: p.Listen}}
	cfg.TlsMinVersion = "TLS1.3"
	cfg.PeerTLSInfo = transport.TLSInfo{
		CertFile: files.Cert, KeyFile: files.Key, TrustedCAFile: files.CA, ClientCertAuth: true,
		// The authority vouches for members and nobody else. Which address a
		// member calls from says nothing: hosts have several.
		SkipClientSANVerify: true,
	}
}

// openAuthority reads the cluster's authority, or makes it where the cluster has
// this one member, and gives the member a fresh certificate.
func (n *Node) openAuthority(m *marker) error {
	dir := filepath.Join(n.cfg.DataDir, peerDir)
	ca, err := peerca.Load(dir)
	if errors.Is(err, peerca.ErrMissing) {
		if m.Clustered {
			return fmt.Errorf("data folder %s: %w in %s, and this member is one of several: replace it (`lockkeeper cluster replace %s`), or put the folder %[3]s of another member there",
				n.cfg.DataDir, err, peerDir, m.Name)
		}
		if ca, err = peerca.New(time.Now()); err == nil {
			err = ca.Save(dir)
		}
	}
	if err == nil && n.cfg.Peer.Listen != "" {
		err = ca.Issue(dir, time.Now(), n.cfg.Peer.names()...)
	}
	if err != nil {
		return fmt.Errorf("data folder %s: the certificate for the other members: %w", n.cfg.DataDir, err)
	}
	n.ca.Store(ca)
	n.believes = ca.Trusted()
	return nil
}

// CA is the authority of the cluster.
func (n *Node) CA() *peerca.CA { return n.ca.Load() }

// PeerFiles are the member's own certificate and key.
func (n *Node) PeerFiles() peerca.Files {
	return peerca.FilesIn(filepath.Join(n.cfg.DataDir, peerDir))
}

// PeerURL is where the other members find this one, empty when they cannot.
func (n *Node) PeerURL() string { return n.cfg.Peer.URL }

// monitorCertificate renews the member's certificate long before it ends. etcd
// reads the files at each handshake.
func (n *Node) monitorCertificate(ctx context.Context) {
	t := time.NewTicker(renewEvery)
	defer t.Stop()
	dir := filepath.Join(n.cfg.DataDir, peerDir)
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if n.cfg.Peer.Listen == "" || !peerca.Due(dir, time.Now()) {
			continue
		}
		if err := n.CA().Issue(dir, time.Now(), n.cfg.Peer.names()...); err != nil {
			n.cfg.Logger.Error("the certificate for the other members could not be renewed; trying again", "error", err)
		}
	}
}
