package etcdnode

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/url"
	"slices"
	"syscall"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/raft/v3/raftpb"

	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
)

// A leader that is silent is replaced after an election timeout, since it may be
// slow, and two that notice at the same moment may have to ask twice. One whose
// process has ended is known at once: the kernel of its host ends its
// connections, and refuses new ones. So each follower keeps a connection open to
// the leader, and when that is ended and no other is taken, one of them asks for
// votes without waiting.
//
// It takes the part of the leader that hands its office over: raft then asks
// without a vote before the vote, which those who heard of the leader a moment
// ago would refuse. Whoever is elected has all that was agreed on, as in every
// election; when this is wrong, an office changes hands that need not have.
const (
	// lineFor is how long one connection is kept. Its end after that is this
	// member's own doing, and says nothing. After 5 s etcd ends one on which
	// nothing is said.
	lineFor = 4 * time.Second
	// lineAgain is the pause before another one is tried.
	lineAgain = time.Second
	// goneWithin is how long a leader's port is looked at that seems to be gone:
	// what its process had open is closed one after another.
	goneWithin, goneEvery = time.Second, 20 * time.Millisecond
	// turn is how long the next in order waits for the one before it.
	turn = 300 * time.Millisecond
)

// monitorLeader keeps the line to the leader, whoever that is.
func (n *Node) monitorLeader(ctx context.Context) {
	var lined types.ID // the leader that there was a line to
	for ctx.Err() == nil {
		changed := n.LeaderChanged()
		lead, at := n.leaderElsewhere()
		if at == "" {
			select {
			case <-changed:
			case <-ctx.Done():
			}
			continue
		}
		ended, err := n.line(ctx, changed, at)
		if err == nil {
			lined = lead
		}
		// Between two lines its process may end as well.
		refused := lined == lead && errors.Is(err, syscall.ECONNREFUSED)
		if (ended || refused) && n.isGone(ctx, at) {
			lined = 0
			n.succeed(ctx, lead)
		}
		rest(ctx, changed, lineAgain)
	}
}

// leaderElsewhere is the leader and HOST:PORT of its peer port, empty when there
// is none or it is this member.
func (n *Node) leaderElsewhere() (id types.ID, at string) {
	s, err := n.server()
	if err != nil {
		return 0, ""
	}
	id = types.ID(s.Lead())
	m := s.Cluster().Member(id)
	if id == n.id || m == nil || len(m.PeerURLs) == 0 {
		return id, ""
	}
	u, err := url.Parse(m.PeerURLs[0])
	if err != nil {
		return id, ""
	}
	return id, u.Host
}

// line keeps one connection to the leader, if it can be made, and reports whether
// the other side ended it.
func (n *Node) line(ctx context.Context, changed <-chan struct{}, at string) (ended bool, err error) {
	conn, err := n.dialPeer(ctx, at)
	if err != nil {
		return false, err
	}
	over := make(chan struct{})
	go func() {
		defer close(over)
		_, _ = io.Copy(io.Discard, conn) // nobody says anything here
	}()
	own := time.NewTimer(lineFor)
	defer own.Stop()
	select {
	case <-over:
		_ = conn.Close()
		return true, nil
	case <-own.C:
	case <-changed:
	case <-ctx.Done():
	}
	_ = conn.Close()
	<-over
	return false, nil
}

// dialPeer connects to a member's peer port as a member.
func (n *Node) dialPeer(ctx context.Context, at string) (net.Conn, error) {
	config, err := peerca.Config(n.PeerFiles(), n.CA())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", at)
}

// isGone reports whether nobody listens at the leader's peer port any more. One
// that takes a connection is there, or there again.
func (n *Node) isGone(ctx context.Context, at string) bool {
	for until := time.Now().Add(goneWithin); time.Now().Before(until); {
		conn, err := n.dialPeer(ctx, at)
		switch {
		case err == nil:
			_ = conn.Close()
			return false
		case errors.Is(err, syscall.ECONNREFUSED):
			return true
		}
		if !rest(ctx, nil, goneEvery) {
			return false
		}
	}
	return false
}

// succeed asks for votes in place of a leader that is gone, one member after
// another, until one of them leads.
func (n *Node) succeed(ctx context.Context, gone types.ID) {
	s, err := n.server()
	if err != nil {
		return
	}
	var voters []types.ID
	for _, m := range s.Cluster().Members() { // in the order of their ids
		if !m.IsLearner && m.ID != gone {
			voters = append(voters, m.ID)
		}
	}
	place := slices.Index(voters, n.id)
	if place < 0 || !rest(ctx, nil, time.Duration(place)*turn) {
		return
	}
	if lead := types.ID(s.Lead()); lead != gone && lead != 0 {
		return
	}
	n.cfg.Logger.Info("the leader's process has ended: this member asks for votes", "leader", gone.String())
	ctx, cancel := context.WithTimeout(ctx, turn)
	defer cancel()
	err = s.Process(ctx, &raftpb.Message{
		Type: raftpb.MsgTimeoutNow.Enum(), From: new(uint64(gone)), To: new(uint64(n.id)), Term: new(s.Term()),
	})
	if err != nil {
		n.cfg.Logger.Warn("votes could not be asked for: that comes with the election timeout", "error", err)
	}
}

// rest reports false when ctx ended first.
func rest(ctx context.Context, wake <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
