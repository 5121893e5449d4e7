package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	etcderrors "go.etcd.io/etcd/server/v3/etcdserver/errors"
)

// Errors of what changes the members. What etcd refuses for another reason comes
// as it says it.
var (
	// ErrTooManyLearners: as many as may be are catching up. It passes.
	ErrTooManyLearners = errors.New("as many new members as may be are catching up already")
	// ErrUnsettled: not every voter has been connected for 5 s, which etcd wants
	// before it changes its members. It passes, if they are up.
	ErrUnsettled = errors.New("the members have not all been connected to each other for the last 5 s")
	// ErrLagging: a learner has less than nine tenths of the log.
	ErrLagging = errors.New("it has not caught up yet")
	// ErrNoSuchMember: the id is of nobody.
	ErrNoSuchMember = errors.New("there is no such member")
	// ErrNotLearner: it has a vote already.
	ErrNotLearner = errors.New("it has a vote already")
	// ErrPeerURLTaken: another member is found by this URL.
	ErrPeerURLTaken = errors.New("another member has this peer URL")
	// ErrNotTransferred: the leadership did not go over in time.
	ErrNotTransferred = errors.New("the leadership did not go over in time")
)

// changeTimeout bounds one change of the members.
const changeTimeout = 5 * time.Second

// idAttempts is how many ids are tried: etcd makes one of the URL and the second,
// and never takes one again that was removed.
const idAttempts = 5

// server is for calls that may block; what they meet when the server ends is an
// error of theirs.
func (n *Node) server() (*etcdserver.EtcdServer, error) {
	n.use.RLock()
	defer n.use.RUnlock()
	if n.over.Load() {
		return nil, ErrStopped
	}
	return n.etcd.Server, nil
}

// MemberID is this member's id as Members shows it.
func (n *Node) MemberID() string { return n.id.String() }

// AddLearner takes a member into the cluster that has no vote yet, and is found
// by the URL. It returns its id.
func (n *Node) AddLearner(ctx context.Context, peerURL string) (string, error) {
	s, err := n.server()
	if err != nil {
		return "", err
	}
	if err := n.markClustered(); err != nil {
		return "", err
	}
	urls, err := types.NewURLs([]string{peerURL})
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	for attempt := range idAttempts {
		now := time.Now().Add(time.Duration(attempt) * time.Second)
		m := membership.NewMemberAsLearner("", urls, "", &now)
		_, err = s.AddMember(ctx, *m)
		if err == nil {
			return m.ID.String(), nil
		}
		if !errors.Is(err, membership.ErrIDRemoved) && !errors.Is(err, membership.ErrIDExists) {
			break
		}
	}
	return "", changeError(err)
}

// markClustered notes, before it is so, that this member shares what is in its
// folder with others.
func (n *Node) markClustered() error {
	m, err := readMarker(n.cfg.DataDir)
	if err != nil || m.Clustered {
		return err
	}
	m.Clustered = true
	return m.write(n.cfg.DataDir)
}

// Promote gives a learner its vote.
func (n *Node) Promote(ctx context.Context, id string) error {
	return n.change(ctx, id, func(ctx context.Context, s *etcdserver.EtcdServer, id uint64) error {
		_, err := s.PromoteMember(ctx, id)
		return err
	})
}

// Remove takes a member out of the cluster for good: it stops by itself.
func (n *Node) Remove(ctx context.Context, id string) error {
	return n.change(ctx, id, func(ctx context.Context, s *etcdserver.EtcdServer, id uint64) error {
		_, err := s.RemoveMember(ctx, id)
		return err
	})
}

// MoveLeader makes another voter the leader, whoever leads now.
func (n *Node) MoveLeader(ctx context.Context, id string) error {
	return n.change(ctx, id, func(ctx context.Context, s *etcdserver.EtcdServer, id uint64) error {
		lead := s.Lead()
		if lead == id {
			return nil
		}
		return s.MoveLeader(ctx, lead, id)
	})
}

func (n *Node) change(ctx context.Context, text string, do func(context.Context, *etcdserver.EtcdServer, uint64) error) error {
	s, err := n.server()
	if err != nil {
		return err
	}
	id, err := strconv.ParseUint(text, 16, 64)
	if err != nil {
		return fmt.Errorf("%w: %q is no member's id", ErrNoSuchMember, text)
	}
	ctx, cancel := context.WithTimeout(ctx, changeTimeout)
	defer cancel()
	return changeError(do(ctx, s, id))
}

// changeError is etcd's refusal in words of ours.
func changeError(err error) error {
	for of, is := range map[error]error{
		membership.ErrTooManyLearners:         ErrTooManyLearners,
		membership.ErrIDNotFound:              ErrNoSuchMember,
		membership.ErrIDRemoved:               ErrNoSuchMember,
		membership.ErrMemberNotLearner:        ErrNotLearner,
		membership.ErrPeerURLexists:           ErrPeerURLTaken,
		etcderrors.ErrUnhealthy:               ErrUnsettled,
		etcderrors.ErrLearnerNotReady:         ErrLagging,
		etcderrors.ErrTimeoutLeaderTransfer:   ErrNotTransferred,
		etcderrors.ErrNotEnoughStartedMembers: ErrUnsettled,
	} {
		if errors.Is(err, of) {
			return is
		}
	}
	return err
}

// monitorPeerURL tells the cluster when this member is found elsewhere than
// before. The others reach it meanwhile over the connections that it makes.
func (n *Node) monitorPeerURL(ctx context.Context) {
	want := n.cfg.Peer.url()
	for {
		s, err := n.server()
		if err != nil {
			return
		}
		own := s.Cluster().Member(s.MemberID())
		if own == nil || slices.Equal(own.PeerURLs, []string{want}) {
			return
		}
		c, cancel := context.WithTimeout(ctx, changeTimeout)
		_, err = s.UpdateMember(c, membership.Member{ID: own.ID, RaftAttributes: membership.RaftAttributes{PeerURLs: []string{want}, IsLearner: own.IsLearner}})
		cancel()
		if err == nil {
			n.cfg.Logger.Info("the other members find this one elsewhere now", "peer_url", want, "was", own.PeerURLs)
			continue // look that it is so
		}
		if ctx.Err() == nil {
			n.cfg.Logger.Warn("the cluster cannot be told where this member is found; trying again", "peer_url", want, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}

// Applied is the index in the log that this member has come to.
func (n *Node) Applied() uint64 {
	s, err := n.server()
	if err != nil {
		return 0
	}
	return s.AppliedIndex()
}
