package service

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Members changes who keeps an embedded store; *etcdnode.Node does. Its errors
// are those of etcdnode.
type Members interface {
	MemberID() string
	PeerURL() string // empty: no other member can find this one
	CA() *peerca.CA
	// Authority is which authority vouches for this member and which ones it
	// believes; the others are the steps to another one.
	Authority() etcdnode.Authority
	TrustAuthority(next *peerca.CA) error
	ShowAuthority() error
	KeepAuthority() error
	// Ask is a GET of the peer port of a member, or of one that is to become one.
	Ask(ctx context.Context, peerURL, path string) (string, error)
	// Reach looks at all other members now.
	Reach(ctx context.Context) map[string]error
	AddLearner(ctx context.Context, peerURL string) (id string, err error)
	Promote(ctx context.Context, id string) error
	Remove(ctx context.Context, id string) error
	MoveLeader(ctx context.Context, id string) error
}

const (
	// retryJoin is when a new member that has to wait asks again.
	retryJoin = 2 * time.Second
	// settleWithin is how long a change of the members waits for them to have
	// been connected to each other for 5 s, and settlePause lies between two tries.
	settleWithin = 8 * time.Second
	settlePause  = 500 * time.Millisecond
)

// administer lets an administrator change the members of an embedded store.
func (s *Service) administer(ctx context.Context) (auth.Principal, error) {
	p, err := need(ctx, api.RoleAdmin)
	if err == nil {
		err = s.clustered()
	}
	return p, err
}

// clustered: the store is one whose members can be changed here, and now.
func (s *Service) clustered() error {
	switch {
	case s.cfg.Members == nil:
		return api.Errorf(api.Conflict, "the store is an existing etcd: its members are changed there, with `etcdctl member`; a coordinator more is started with the same --etcd-endpoints")
	case s.Stale():
		return noQuorum()
	}
	return nil
}

// members are as they can be reached now.
func (s *Service) members(ctx context.Context) []api.Member {
	s.cfg.Members.Reach(ctx)
	return s.cluster().Members
}

func (s *Service) member(ctx context.Context, what string) (api.Member, []api.Member, error) {
	list := s.members(ctx)
	m, err := membership.Find(list, what)
	if err != nil {
		return m, list, api.Errorf(api.NotFound, "%v", err)
	}
	return m, list, nil
}

// PromoteMember gives a new member its vote.
func (s *Service) PromoteMember(ctx context.Context, what string) (api.MemberChange, error) {
	p, err := s.administer(ctx)
	if err != nil {
		return api.MemberChange{}, err
	}
	m, _, err := s.member(ctx, what)
	if err != nil {
		return api.MemberChange{}, err
	}
	if err := s.promote(ctx, m, p.Name); err != nil {
		return api.MemberChange{}, err
	}
	return s.changeOf(m, "has a vote"), nil
}

func (s *Service) promote(ctx context.Context, m api.Member, by string) error {
	err := s.settled(ctx, func() error { return s.cfg.Members.Promote(ctx, m.ID) })
	if errors.Is(err, etcdnode.ErrNotLearner) {
		return nil
	}
	if err != nil {
		return s.memberProblem(ctx, m, err)
	}
	s.tell(ctx, "cluster.member.promoted", by, fmt.Sprintf("member %s (%s) has a vote", membership.Call(m), m.ID))
	return nil
}

// RemoveMember takes a member out of the cluster for good.
func (s *Service) RemoveMember(ctx context.Context, what string) (api.MemberChange, error) {
	p, err := s.administer(ctx)
	if err != nil {
		return api.MemberChange{}, err
	}
	m, list, err := s.member(ctx, what)
	if err != nil {
		return api.MemberChange{}, err
	}
	if err := s.remove(ctx, list, m, p.Name); err != nil {
		return api.MemberChange{}, err
	}
	return s.changeOf(m, "was removed"), nil
}

// remove lets a member go that may go. One that leads hands that over first. The
// event comes before, since the member that answers may be the one that goes.
func (s *Service) remove(ctx context.Context, list []api.Member, m api.Member, by string) error {
	if err := membership.MayRemove(list, m.ID); err != nil {
		return api.Errorf(api.Conflict, "%v", err)
	}
	if m.Role == "leader" {
		if to := membership.Successor(list); to != "" {
			if err := s.cfg.Members.MoveLeader(ctx, to); err != nil {
				return s.memberProblem(ctx, m, err)
			}
		}
	}
	if m.Self {
		s.tell(ctx, "cluster.member.removed", by, fmt.Sprintf("member %s (%s), which carries it out itself", membership.Call(m), m.ID))
	}
	err := s.settled(ctx, func() error { return s.cfg.Members.Remove(ctx, m.ID) })
	if err != nil && !errors.Is(err, etcdnode.ErrNoSuchMember) && !m.Self {
		return s.memberProblem(ctx, m, err)
	}
	if !m.Self {
		s.tell(ctx, "cluster.member.removed", by, fmt.Sprintf("member %s (%s)", membership.Call(m), m.ID))
	}
	return nil
}

// MoveLeader makes another member lead: the one that is named, or any.
func (s *Service) MoveLeader(ctx context.Context, req api.LeaderRequest) (api.MemberChange, error) {
	p, err := s.administer(ctx)
	if err != nil {
		return api.MemberChange{}, err
	}
	list := s.members(ctx)
	what := req.Member
	if what == "" {
		if what = membership.Successor(list); what == "" {
			return api.MemberChange{}, api.Errorf(api.Conflict, "there is no other member with a vote that can be reached")
		}
	}
	m, err := membership.Find(list, what)
	switch {
	case err != nil:
		return api.MemberChange{}, api.Errorf(api.NotFound, "%v", err)
	case m.Role == "leader":
		return s.changeOf(m, "leads already"), nil
	case m.Role == "learner":
		return api.MemberChange{}, api.Errorf(api.Conflict, "%s has no vote and cannot lead", membership.Call(m))
	case !m.Reachable:
		return api.MemberChange{}, api.Errorf(api.Conflict, "%s cannot be reached: %s", membership.Call(m), m.Unreachable)
	}
	if err := s.cfg.Members.MoveLeader(ctx, m.ID); err != nil {
		return api.MemberChange{}, s.memberProblem(ctx, m, err)
	}
	s.tell(ctx, "cluster.leader.moved", p.Name, fmt.Sprintf("to member %s (%s)", membership.Call(m), m.ID))
	return s.changeOf(m, "leads"), nil
}

func (s *Service) changeOf(m api.Member, done string) api.MemberChange {
	s.bump()
	return api.MemberChange{Member: m, Done: membership.Call(m) + " " + done, Warnings: membership.Warnings(s.cluster().Members)}
}

// settled tries a change again while the members have not been connected for
// long enough.
func (s *Service) settled(ctx context.Context, change func() error) error {
	deadline := s.now().Add(settleWithin)
	for {
		err := change()
		if !errors.Is(err, etcdnode.ErrUnsettled) || s.now().After(deadline) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(settlePause):
		}
	}
}

// tell puts a change of the members on the audit trail. It is made by then, so
// that a store which does not take the event is not asked for ever.
func (s *Service) tell(ctx context.Context, kind, by, detail string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleWithin)
	defer cancel()
	s.logger.Warn("the cluster changed", "what", kind, "by", by, "detail", detail)
	for {
		err := s.db.Append(ctx, semaphore.Event{Kind: kind, Actor: by, Detail: detail})
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			s.logger.Error("a change of the cluster could not be put on the audit trail", "what", kind, "detail", detail, "error", err)
			return
		case <-time.After(settlePause):
		}
	}
}

// memberProblem is the one place where a refused change of the members becomes
// an error of the API.
func (s *Service) memberProblem(ctx context.Context, m api.Member, err error) error {
	switch {
	case errors.Is(err, etcdnode.ErrLagging):
		return api.Errorf(api.Conflict, "%s has not caught up yet: it needs nine tenths of the leader's log before it gets a vote; ask again in a moment", membership.Call(m))
	case errors.Is(err, etcdnode.ErrUnsettled):
		return &api.Error{Kind: api.Conflict, RetryAfter: retryJoin, Detail: "etcd changes its members only while they have all been connected to each other for 5 s: " + s.unreachable()}
	case errors.Is(err, etcdnode.ErrNoSuchMember):
		return api.Errorf(api.NotFound, "%s is no member any more", membership.Call(m))
	case errors.Is(err, etcdnode.ErrPeerURLTaken):
		return api.Errorf(api.Conflict, "another member has this peer URL")
	case errors.Is(err, etcdnode.ErrNotTransferred):
		return &api.Error{Kind: api.Conflict, RetryAfter: retryJoin, Detail: "the leadership did not go over in time; ask again"}
	case errors.Is(err, etcdnode.ErrStopped), errors.Is(err, context.DeadlineExceeded):
		return noQuorum()
	case strings.Contains(err.Error(), "timed out"): // etcd's own deadline
		return noQuorum()
	}
	return s.problem(ctx, err)
}

// unreachable says who cannot be reached.
func (s *Service) unreachable() string {
	var list []string
	for _, m := range s.cluster().Members {
		if !m.Reachable {
			list = append(list, fmt.Sprintf("%s cannot be reached (%s)", membership.Call(m), m.Unreachable))
		}
	}
	if len(list) == 0 {
		return "all can be reached, so it should pass within seconds"
	}
	return fmt.Sprintf("of %d members %s", len(s.node.Members()), strings.Join(list, "; "))
}
