package etcdnode

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
)

// Joiner asks a running cluster. All of it may be asked again with the same
// name, and does then what is still to be done.
type Joiner interface {
	// Begin gives the cluster's authority to a member that will be called so, and
	// where the members are found.
	Begin(ctx context.Context, name string) (*peerca.CA, []string, error)
	// Add takes the member in. Who asks must be listening on its peer URL, see
	// JoinPath.
	Add(ctx context.Context, a Adding) (Added, error)
}

// Adding is what a new member says of itself.
type Adding struct {
	Name, PeerURL string
	// MemberID is what it was called before, if that can be taken up again.
	MemberID string
}

// Added is the cluster with the new member in it.
type Added struct {
	MemberID string
	Members  []Peer
}

// Peer is one member as others find it. One that never ran has no name.
type Peer struct{ ID, Name, PeerURL string }

// Called is how a member is called: by its name, or its id before it ever ran.
func (p Peer) Called() string {
	if p.Name == "" {
		return p.ID
	}
	return p.Name
}

// JoinPath is where a new member answers with its name on its peer URL, so that
// the cluster finds out that it can be reached before it counts on it.
const JoinPath = "/lockkeeper/join"

// joinAttempts bounds how often a start is tried again that met other members
// than it was told of.
const joinAttempts = 8

// join makes this folder that of a new member of a running cluster. It can be
// cut off anywhere: the marker says how far it came, and nobody was served.
func (n *Node) join(ctx context.Context, m *marker) error {
	n.joining = true
	dir := n.cfg.DataDir
	if m == nil || m.Joining == nil {
		if err := os.RemoveAll(filepath.Join(dir, etcdDir)); err != nil {
			return fmt.Errorf("data folder %s cannot be written: %w", dir, err)
		}
		m = newMarker(n.cfg.Name)
		m.Joining = &joining{}
		if err := m.write(dir); err != nil {
			return err
		}
	}
	if err := n.joinAuthority(ctx, m); err != nil {
		return err
	}
	ranHere := true // under the id that is noted, as far as this process knows
	for attempt := 1; ; attempt++ {
		if err := n.joinAdd(ctx, m, ranHere); err != nil {
			return fmt.Errorf("joining the cluster: %w", err)
		}
		err := n.startEtcd(ctx, m)
		if err == nil {
			break
		}
		if attempt == joinAttempts || ctx.Err() != nil || !membersChanged(err) {
			return err
		}
		n.cfg.Logger.Info("the members changed meanwhile: asking again", "reason", err)
		n.over.Store(false)
		n.said.removed.Store(false)
		ranHere = hasLog(dir)
	}
	n.joining = false
	m.Joining, m.Complete, m.Clustered = nil, true, true
	if err := m.write(dir); err != nil {
		return errors.Join(err, n.close())
	}
	n.cfg.Logger.Warn("joined the cluster", "folder", dir, "member", m.Name, "id", n.id.String(), "peer_url", n.cfg.Peer.URL)
	return nil
}

// membersChanged reports whether a start failed because others came or went
// between the answer and the start, or this one was let go of.
func membersChanged(err error) bool {
	return errors.Is(err, ErrRemoved) || strings.Contains(err.Error(), "error validating peerURLs") ||
		strings.Contains(err.Error(), "member count is unequal")
}

// joinAuthority gets the cluster's authority and has it vouch for this member.
func (n *Node) joinAuthority(ctx context.Context, m *marker) error {
	dir := filepath.Join(n.cfg.DataDir, peerDir)
	ca, peers, err := n.cfg.Join.Begin(ctx, m.Name)
	if err != nil {
		return fmt.Errorf("joining the cluster: %w", err)
	}
	if err := ca.Save(dir); err != nil {
		return fmt.Errorf("data folder %s cannot be written: %w", n.cfg.DataDir, err)
	}
	if err := n.openAuthority(m); err != nil {
		return err
	}
	var missed []string
	for _, p := range peers {
		if _, err := n.Ask(ctx, p, versionPath); err != nil {
			missed = append(missed, fmt.Sprintf("%s: %v", p, err))
		}
	}
	if len(peers)-len(missed) <= len(peers)/2 {
		return fmt.Errorf("joining the cluster: most of its members cannot be reached from here (%s): open their peer ports for this host", strings.Join(missed, "; "))
	}
	return nil
}

// joinAdd has the cluster take the member in, and notes under which id. An id
// whose log is not here is not used again, unless it is certain that it never
// had one.
func (n *Node) joinAdd(ctx context.Context, m *marker, ran bool) error {
	dir := n.cfg.DataDir
	ask := Adding{Name: m.Name, PeerURL: n.cfg.Peer.URL}
	if !ran || hasLog(dir) {
		ask.MemberID = m.Joining.MemberID
	}
	stop, err := n.answerJoin(m.Name)
	if err != nil {
		return err
	}
	added, err := n.cfg.Join.Add(ctx, ask)
	stop()
	if err != nil {
		return err
	}
	if added.MemberID != ask.MemberID {
		if err := os.RemoveAll(filepath.Join(dir, etcdDir)); err != nil {
			return fmt.Errorf("data folder %s cannot be written: %w", dir, err)
		}
	}
	var members []string
	for _, p := range added.Members {
		name := p.Name
		switch {
		case p.ID == added.MemberID:
			name = m.Name
		case name == "":
			name = "new-" + p.ID
		}
		members = append(members, name+"="+p.PeerURL)
	}
	m.Joining = &joining{MemberID: added.MemberID, Members: strings.Join(members, ",")}
	return m.write(dir)
}

func hasLog(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, etcdDir, "member", "wal"))
	return !errors.Is(err, fs.ErrNotExist)
}

// answerJoin answers with the member's name where its peers will find it, until
// stopped.
func (n *Node) answerJoin(name string) (stop func(), err error) {
	config, err := peerca.Config(n.PeerFiles(), n.CA())
	if err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", n.cfg.Peer.Listen)
	if err != nil {
		return nil, fmt.Errorf("the address for the other members, %s: %w", n.cfg.Peer.Listen, err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+JoinPath, func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(name)) })
	s := &http.Server{Handler: mux, ReadHeaderTimeout: reachTimeout, ErrorLog: quiet}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(tls.NewListener(ln, config)) // ends by being closed
	}()
	return func() {
		_ = s.Close()
		<-done
	}, nil
}
