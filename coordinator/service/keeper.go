package service

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
)

// keepEvery is how often the leader's coordinator looks at new members.
const keepEvery = 500 * time.Millisecond

// keeperName is who the audit trail says did it.
const keeperName = "coordinator"

// keepMembers gives new members their vote when they have caught up, and lets go
// of those that never come. Only the leader's coordinator does.
func (s *Service) keepMembers(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	since := map[string]time.Time{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if now := s.node.Members(); !leads(now) || !learns(now) {
			clear(since)
			continue
		}
		list := s.cluster().Members
		s.silent(list, since)
		for _, step := range membership.Next(list, since, s.now()) {
			if !s.keep(ctx, list, step) {
				break
			}
			if step.Evict != "" {
				delete(since, step.Evict)
			}
		}
	}
}

func leads(list []api.Member) bool {
	for _, m := range list {
		if m.Self {
			return m.Role == "leader"
		}
	}
	return false
}

func learns(list []api.Member) bool {
	return slices.ContainsFunc(list, func(m api.Member) bool { return m.Role == "learner" })
}

// silent notes since when each new member gives no sign of life.
func (s *Service) silent(list []api.Member, since map[string]time.Time) {
	there := map[string]bool{}
	for _, m := range list {
		there[m.ID] = true
		_, known := since[m.ID]
		switch {
		case m.Role != "learner" || m.Reachable:
			delete(since, m.ID)
		case !known:
			since[m.ID] = s.now()
		}
	}
	for id := range since {
		if !there[id] {
			delete(since, id)
		}
	}
}

// keep carries out a step, and reports whether the next one may be looked at.
func (s *Service) keep(ctx context.Context, list []api.Member, step membership.Step) bool {
	m, err := membership.Find(list, step.Promote+step.Evict)
	if err != nil {
		return false
	}
	if step.Evict != "" {
		if err := s.cfg.Members.Remove(ctx, m.ID); err != nil {
			s.logger.Warn("a new member that never came cannot be let go; trying again", "member", m.ID, "error", err)
			return false
		}
		s.tell(ctx, "cluster.member.evicted", keeperName, fmt.Sprintf("member %s (%s) at %s gave no sign of life for %s", membership.Call(m), m.ID, m.PeerURL, membership.EvictAfter))
		return true
	}
	if err := s.promote(ctx, m, keeperName); err != nil {
		s.logger.Info("a new member cannot be given its vote yet; trying again", "member", m.Name, "reason", err)
		return false
	}
	return true
}
