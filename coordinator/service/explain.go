package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Explain says why nothing moves, in one group or in all.
func (s *Service) Explain(ctx context.Context, group string) (api.Explanation, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return api.Explanation{}, err
	}
	names := s.store.Groups()
	if group != "" {
		names = []string{group}
	}
	e := api.Explanation{Groups: []api.GroupExplanation{}}
	moving := 0
	for _, name := range names {
		st, found := s.store.View(name)
		if !found || !st.Exists() {
			if group != "" {
				return api.Explanation{}, s.unknownGroup(group)
			}
			continue
		}
		g := s.explainGroup(&st)
		if len(g.Blockers) == 0 && len(st.Holds) > 0 {
			moving++
		}
		e.Groups = append(e.Groups, g)
	}
	e.Summary = s.explainAll(e.Groups, moving)
	return e, nil
}

// explainAll is the one sentence over the groups'.
func (s *Service) explainAll(groups []api.GroupExplanation, moving int) string {
	if s.Stale() {
		return "Nothing moves because the store has no quorum: nothing is granted until most coordinators are back. What follows is as last known."
	}
	if f := s.store.FleetFreeze(); f != nil {
		return fmt.Sprintf("Nothing starts because the fleet is frozen by %s since %s: %s", f.By, clock(f.At), f.Reason)
	}
	if text := s.explainRollouts(); text != "" {
		return text
	}
	if len(groups) == 1 {
		return groups[0].Summary
	}
	blocked := 0
	for i := range groups {
		if groups[i].Next != "" && len(groups[i].Blockers) > 0 {
			blocked++
		}
	}
	if text := explainShut(groups); text != "" {
		return text
	}
	switch {
	case blocked > 0:
		return fmt.Sprintf("In %d of %d groups somebody waits and cannot go; each says why.", blocked, len(groups))
	case moving > 0:
		return fmt.Sprintf("Hosts are out of service in %d of %d groups, and nobody waits in vain.", moving, len(groups))
	}
	return "Nobody asks for a slot: no rollout is under way that still wants something of a host, and no host asks to reboot."
}

// explainShut says when the first group with somebody waiting may go on, if a
// clock keeps them all.
func explainShut(groups []api.GroupExplanation) string {
	var first *api.GroupExplanation
	for i := range groups {
		g := &groups[i]
		switch {
		case g.Next == "":
		case g.Earliest.IsZero():
			return ""
		case first == nil || g.Earliest.Before(first.Earliest):
			first = g
		}
	}
	if first == nil {
		return ""
	}
	i := slices.IndexFunc(first.Blockers, func(b api.Blocker) bool { return !b.Until.IsZero() })
	if i < 0 {
		return ""
	}
	return fmt.Sprintf("Nothing starts before %s: in group %s, %s.", clock(first.Earliest), first.Group, strings.TrimSuffix(first.Blockers[i].Detail, "."))
}

// explainRollouts names the rollouts that stand still.
func (s *Service) explainRollouts() string {
	var still []string
	running := false
	for _, r := range s.roll.List() {
		name := rolloutName(&r)
		switch {
		case r.State.Active() && r.State != api.RolloutRunning:
			text := fmt.Sprintf("rollout %s is %s", name, stateWords(r.State))
			if r.Why != "" {
				text += ": " + strings.TrimSuffix(r.Why, ".")
			}
			still = append(still, text)
		case r.State == api.RolloutRunning && r.Stalled != nil && len(r.Stalled.Blockers) > 0:
			still = append(still, fmt.Sprintf("rollout %s is stalled since %s: %s", name, clock(r.Stalled.Since), strings.TrimSuffix(r.Stalled.Blockers[0].Detail, ".")))
		case r.State == api.RolloutRunning:
			running = true
		}
	}
	if len(still) == 0 || running {
		return ""
	}
	return capital(strings.Join(still, "; ")) + "."
}

func (s *Service) explainGroup(st *semaphore.State) api.GroupExplanation {
	g := api.GroupExplanation{Group: st.Group, Blockers: []api.Blocker{}}
	if s.Stale() {
		g.Blockers = append(g.Blockers, api.Blocker{Kind: api.NoQuorum, Detail: "the store has no quorum, so nothing is granted"})
	}
	slots, held, now := st.SlotCount(), len(st.Holds), s.now()
	taken := fmt.Sprintf("%d of %d %s taken", held, slots, plural(slots, "slot is", "slots are"))
	if len(st.Queue) > 0 {
		g.Next = st.Queue[0].Node
		g.Earliest = earliest(st, g.Next, now)
		g.Blockers = append(g.Blockers, blockersOf(semaphore.Blockers(st, g.Next, now))...)
		if len(g.Blockers) == 0 {
			g.Summary = fmt.Sprintf("%s is next of %d and may go now: its slot is granted when its agent asks again (%s).", g.Next, len(st.Queue), taken)
			return g
		}
		g.Summary = fmt.Sprintf("%s is next of %d and may not go: %s.", g.Next, len(st.Queue), keptBy(g.Blockers[0], taken))
		return g
	}
	if len(st.Members) == 0 {
		g.Summary = "No host belongs to this group, so nobody asks for its slots."
		return g
	}
	any := anyNode(st)
	g.Earliest = earliest(&any, anyone, now)
	for node := range st.Members {
		if _, holds := st.Holds[node]; !holds {
			g.Blockers = append(g.Blockers, groupWide(semaphore.Blockers(st, node, now))...)
			break
		}
	}
	g.Summary = fmt.Sprintf("Nobody waits; %s.", taken)
	if len(g.Blockers) > 0 {
		g.Summary = fmt.Sprintf("Nobody waits, and nobody could go: %s.", keptBy(g.Blockers[0], taken))
	}
	return g
}

// keptBy is what keeps a group's next, and how many slots are taken if that does
// not say so itself.
func keptBy(b api.Blocker, taken string) string {
	text := strings.TrimSuffix(b.Detail, ".")
	if b.Kind == api.Full {
		return text
	}
	return text + " (" + taken + ")"
}

// groupWide are the blockers that stop any node of the group, not just one.
func groupWide(list []semaphore.Blocker) []api.Blocker {
	return blockersOf(slices.DeleteFunc(list, func(b semaphore.Blocker) bool {
		return !slices.Contains([]semaphore.Kind{semaphore.Full, semaphore.Frozen, semaphore.DownMembers, semaphore.NewerSchema,
			semaphore.WindowShut, semaphore.BlackedOut, semaphore.TooSoon}, b.Kind)
	}))
}

// ExplainNode says why a node may or may not go now, by a read made for it.
func (s *Service) ExplainNode(ctx context.Context, id string) (api.Verdict, error) {
	if _, err := needEither(ctx, api.RoleViewer, id); err != nil {
		return api.Verdict{}, err
	}
	n, err := s.findNode(id)
	if err != nil {
		return api.Verdict{}, err
	}
	v := api.Verdict{Node: id, Group: n.Group, Blockers: []api.Blocker{}, Wanted: n.Wanted}
	st, err := s.store.Read(ctx, n.Group)
	if err != nil {
		if !errors.Is(err, semaphore.ErrNoQuorum) {
			return api.Verdict{}, s.problem(ctx, err)
		}
		v.Blockers = append(v.Blockers, api.Blocker{Kind: api.NoQuorum, Detail: "the store has no quorum, so nothing is granted; the rest is as last known"})
		st, _ = s.store.Look(n.Group)
	}
	now := s.now()
	v.Blockers = append(v.Blockers, blockersOf(semaphore.Blockers(&st, id, now))...)
	v.Earliest = earliest(&st, id, now)
	v.Place, v.Waiting, v.Revision = semaphore.Place(&st, id), st.Waiting(), st.Revision
	if h, holds := st.Hold(id); holds {
		v.Hold = s.hold(n.Group, h, st.Deadlines(now))
	}
	v.MayGo = len(v.Blockers) == 0
	if !v.MayGo && (v.Place > 0 || v.Wanted != nil) && v.Hold == nil {
		s.estimate(ctx, &v, &st, now)
	}
	v.Summary = summary(&v)
	if v.Hold == nil && v.Place == 0 && v.Wanted == nil && !n.Report.NeedsReboot {
		if text := s.standing(id); text != "" {
			v.Summary = unwanted(&v, text)
		}
	}
	return v, nil
}

// earliest is when a clock lets the node start, zero when that is now or nobody
// can say.
func earliest(st *semaphore.State, node string, now time.Time) time.Time {
	at, known := semaphore.Earliest(st, node, now)
	if !known || !at.After(now) {
		return time.Time{}
	}
	return at.UTC()
}

// unwanted says of a node where it stands in a rollout that wants nothing of it yet,
// which is why it does not go, whatever keeps its group's slots from it.
func unwanted(v *api.Verdict, standing string) string {
	if v.MayGo {
		return fmt.Sprintf("%s may go now, and nothing is wanted of it yet: %s.", v.Node, standing)
	}
	return fmt.Sprintf("Nothing is wanted of %s yet: %s. If it were, it might not go now: %s.", v.Node, standing, strings.TrimSuffix(v.Blockers[0].Detail, "."))
}

func summary(v *api.Verdict) string {
	switch {
	case v.Hold != nil:
		return fmt.Sprintf("%s holds a slot of group %s since %s (fence %d, %s).", v.Node, v.Group, clock(v.Hold.Since), v.Hold.Fence, v.Hold.State)
	case len(v.Blockers) > 0 && v.Place > 0:
		return fmt.Sprintf("%s may not go now: %s. It is number %d of %d in the queue.", v.Node, strings.TrimSuffix(v.Blockers[0].Detail, "."), v.Place, v.Waiting)
	case len(v.Blockers) > 0:
		return fmt.Sprintf("%s may not go now: %s.", v.Node, strings.TrimSuffix(v.Blockers[0].Detail, "."))
	case v.Place > 0:
		return fmt.Sprintf("%s may go now, and is number %d of %d in the queue.", v.Node, v.Place, v.Waiting)
	case v.Wanted == nil:
		return fmt.Sprintf("%s may go now, and has no reason to: no rollout wants anything of it.", v.Node)
	}
	return fmt.Sprintf("%s may go now.", v.Node)
}
