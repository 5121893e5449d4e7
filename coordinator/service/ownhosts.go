package service

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// The hosts that coordinators run on may be nodes as others. They go last and
// one at a time, only while all members with a vote are well, and none while
// its coordinator leads.

// OwnHosts is what the semaphores know of the coordinators; the service keeps it
// up to date. It is safe for concurrent use.
type OwnHosts struct{ now atomic.Pointer[ownHosts] }

type ownHosts struct {
	list   []semaphore.Coordinator
	unwell string
}

// Now are the members with a vote, and why none of their hosts may go now.
func (o *OwnHosts) Now() (list []semaphore.Coordinator, unwell string) {
	if n := o.now.Load(); n != nil {
		return n.list, n.unwell
	}
	return nil, ""
}

// set reports whether that was news.
func (o *OwnHosts) set(n ownHosts) bool {
	list, unwell := o.Now()
	if unwell == n.unwell && slices.Equal(list, n.list) {
		return false
	}
	o.now.Store(&n)
	return true
}

// ownHostsOf is what members mean for their hosts. One that is alone goes as any
// other: nobody could lead instead.
func ownHostsOf(members []api.Member, quorum bool) ownHosts {
	var n ownHosts
	other := membership.Successor(members) != ""
	for _, m := range membership.Voters(members) {
		n.list = append(n.list, semaphore.Coordinator{Name: hostName(m), Leads: m.Role == "leader" && other})
		if !m.Reachable && n.unwell == "" {
			n.unwell = fmt.Sprintf("%s cannot be reached", membership.Call(m))
		}
	}
	if !quorum {
		n.unwell = "the store has no quorum"
	}
	return n
}

// hostName is the name that a member was given, without the suffix that makes it
// one of its own.
func hostName(m api.Member) string {
	if i := strings.LastIndexByte(m.Name, '-'); i > 0 {
		return m.Name[:i]
	}
	return m.Name
}

// watchHosts keeps OwnHosts up to date.
func (s *Service) watchHosts(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		c := s.lookAtHosts()
		if c.Quorum && leads(c.Members) {
			s.giveWay(ctx, c.Members)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Service) lookAtHosts() api.Cluster {
	c := s.cluster()
	if s.cfg.OwnHosts.set(ownHostsOf(c.Members, c.Quorum)) {
		if store, ok := s.store.(interface{ Wake() }); ok {
			store.Wake()
		}
	}
	return c
}

// giveWay lets another member lead when nothing else keeps the leader's own host
// from going, or when it is out already.
func (s *Service) giveWay(ctx context.Context, members []api.Member) {
	i := slices.IndexFunc(members, func(m api.Member) bool { return m.Self })
	to := membership.Successor(members)
	if i < 0 || to == "" || !s.hostGoes(hostName(members[i])) {
		return
	}
	if err := s.moveFor(ctx, members[i], to); err != nil {
		s.logger.Warn("the leadership cannot be moved away from a host that is to go; trying again", "error", err)
	}
}

func (s *Service) moveFor(ctx context.Context, m api.Member, to string) error {
	if err := s.cfg.Members.MoveLeader(ctx, to); err != nil {
		return err
	}
	s.tell(ctx, "cluster.leader.moved", keeperName, fmt.Sprintf("to member %s, since the host of %s is to go", to, membership.Call(m)))
	return nil
}

// hostGoes reports whether the host of a coordinator is out, or could go if only
// the coordinator did not lead.
func (s *Service) hostGoes(name string) bool {
	now := s.now()
	for _, group := range s.store.Groups() {
		st, ok := s.store.Look(group)
		if !ok || st.Out != nil && st.Out.Member == name {
			return ok
		}
		for w := range st.EachWaiter {
			if st.HostOf(w.Node) == name && semaphore.MayGoUnlessLeading(&st, w.Node, now) {
				return true
			}
		}
	}
	return false
}

// hostGate stands before each confirm of a coordinator's own host: behind it the
// host goes out of service. Others must be well without it, and another must
// lead. Its error is a conflict, with which an agent waits at its gate.
func (s *Service) hostGate(ctx context.Context, group, node string) error {
	st, _ := s.store.Look(group)
	name := st.HostOf(node)
	if name == "" || s.cfg.Members == nil || s.Stale() {
		return nil // without a quorum the confirm is refused as ever
	}
	members := s.cluster().Members
	i := slices.IndexFunc(members, func(m api.Member) bool { return hostName(m) == name })
	if i < 0 {
		return nil
	}
	for _, m := range membership.Voters(members) {
		if !m.Reachable && m.ID != members[i].ID {
			return api.Errorf(api.Conflict, "coordinator %s runs on this host, and %s cannot be reached: it goes when all are well", name, membership.Call(m))
		}
	}
	to := membership.Successor(members)
	if members[i].Role != "leader" || to == "" {
		return nil
	}
	if err := s.moveFor(ctx, members[i], to); err != nil {
		return api.Errorf(api.Conflict, "coordinator %s runs on this host and leads; another could not be made to lead: %v", name, err)
	}
	return nil
}
