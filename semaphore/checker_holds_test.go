package semaphore_test

import (
	"cmp"
	"fmt"
	"maps"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// What must hold, counted here anew and not by the rules themselves.

// beyond says what is too much when the node is out of service together with
// everybody who is: the slots or a limit, every node counted once.
func beyond(s *semaphore.State, node string) string {
	labels := map[string]map[string]string{}
	for name, member := range s.Members {
		if s.Spec.CountUnreachable && member.Down {
			labels[name] = member.Labels()
		}
	}
	for name, hold := range s.Holds {
		labels[name] = hold.Labels // as granted
	}
	labels[node] = s.Members[node].Labels() // as of now
	if len(labels) > s.Spec.Slots.N {
		return fmt.Sprintf("%d out of service for %d slots", len(labels), s.Spec.Slots.N)
	}
	for _, limit := range s.Spec.Limits {
		n := 0
		for _, of := range labels {
			if of[limit.By] == labels[node][limit.By] {
				n++
			}
		}
		if n > limit.Max.N {
			return fmt.Sprintf("%d out of service with %s %q, of at most %d", n, limit.By, labels[node][limit.By], limit.Max.N)
		}
	}
	return ""
}

// openAt: in the scenarios a window is open before the first tick only.
func openAt(s *semaphore.State, at time.Time) bool {
	return len(s.Spec.Windows) == 0 || at.Before(modelTime.Add(time.Hour))
}

// brokenCommit says what is wrong with a commit.
func (m *model) brokenCommit(before, after *semaphore.State, a *attempt) string {
	now := *before // as the parts see it, one after the other
	for _, p := range a.parts {
		for _, event := range p.d.Events {
			isGrant := event.Kind == "hold.granted"
			excess := ""
			if isGrant {
				excess = beyond(after, event.Node)
			}
			switch {
			case (isGrant || event.Kind == "hold.confirmed") && before.Frozen() != nil:
				return "a grant or a first confirm was committed although frozen"
			case excess != "":
				return fmt.Sprintf("a grant to %s was committed: %s", event.Node, excess)
			case isGrant && !openAt(before, event.At):
				return "a grant was decided outside of the window"
			}
		}
		for _, c := range p.d.Changes {
			old := now.Holds[c.DeleteHold]
			if c.DeleteHold != "" && old.Fence != int64(p.bound) {
				return fmt.Sprintf("the %s bound to fence %d deleted the hold with fence %d", reqNames[p.kind], p.bound, old.Fence)
			}
			if c.Hold != nil && c.Hold.State == semaphore.Confirmed && now.Holds[c.Hold.Node].State == semaphore.Revoked {
				return fmt.Sprintf("the revoked hold of %s was confirmed", c.Hold.Node)
			}
		}
		now = now.Apply(p.d)
	}
	return ""
}

// unfair says who was passed, as far as the coordinator knew: a waiter that
// could go, before the one that was granted its slot, and that is here (or
// elsewhere, unless elsewhere is overtaken).
func (m *model) unfair(view *semaphore.State, k opKey, d *semaphore.Decision, clock uint8) string {
	var grants []string
	released := ""
	for _, event := range d.Events {
		if event.Kind == "hold.granted" {
			grants = append(grants, event.Node)
		}
	}
	for _, c := range d.Changes {
		released = cmp.Or(released, c.DeleteHold)
	}
	if len(grants) == 0 || len(view.Queue) == 0 {
		return ""
	}
	after := view.Apply(*d)
	for i, w := range view.Queue {
		_, holds := after.Holds[w.Node]
		waits := w.Present || w.Elsewhere && (k.kind != admitReq || k.id == 0)
		if holds || !waits || w.Node == released || view.Members[w.Node].RetryAfter.After(m.time(clock)) {
			continue
		}
		if beyond(&after, w.Node) == "" {
			return "" // there is room for it still, which may stop those behind it
		}
		for _, node := range grants {
			without := after
			without.Holds = maps.Clone(after.Holds)
			delete(without.Holds, node)
			if place := semaphore.Place(view, node); (place == 0 || place > i+1) && beyond(&without, w.Node) == "" {
				return fmt.Sprintf("%s was granted the slot of %s, which was before it", node, w.Node)
			}
		}
	}
	return ""
}

// brokenWorld says what must not be so in a world.
func (m *model) brokenWorld(w *world) string {
	outside, allowed := uint8(0), uint8(0)
	for h := range uint8(len(m.hosts)) {
		me := &w.hosts[h]
		if me.phase != out {
			continue
		}
		outside++
		allowed = max(allowed, me.allowed)
		hold := m.hold(w.core, h)
		if hold.fence == 0 || hold.host != h || m.hosts[h] != fleetLockClient && hold.fence != me.fence {
			return fmt.Sprintf("%s is out of service without a hold of its own", m.node(h))
		}
	}
	if outside > allowed {
		return fmt.Sprintf("%d hosts are out of service, and there were %d slots", outside, allowed)
	}
	if m.quiet(w) {
		return m.brokenPeace(w)
	}
	return ""
}

// quiet: nothing is under way, and both coordinators know what there is.
func (m *model) quiet(w *world) bool {
	for at := range w.coords {
		if c := &w.coords[at]; c.flight != 0 || c.core != w.core || c.queue != w.queue || w.reading[at] != 0 {
			return false
		}
	}
	for _, l := range w.late {
		if l.attempt != 0 && l.keeper != keptByNobody {
			return false
		}
	}
	for _, r := range w.requests {
		if r.kind != none && (r.stage != parked || m.mustLook(w, &r)) {
			return false
		}
	}
	return true
}

// brokenPeace says what must not stay so when nothing is under way: a hold that
// nobody will return, or a waiter that nobody will answer.
func (m *model) brokenPeace(w *world) string {
	for h := range uint8(len(m.hosts)) {
		hold, phase := m.hold(w.core, h), w.hosts[h].phase
		told := w.hosts[h].served&(1<<hold.by) != 0 // though the answer may have been lost on its way
		if m.hosts[h] == fleetLockClient && !told && (phase == idle || phase == cutOff) && w.crashes == m.crashes &&
			hold.fence != 0 && hold.host == h && !hold.renewed && hold.state != semaphore.Revoked {
			return fmt.Sprintf("%s has a hold that it was never told of, and nobody gives it back", m.node(h))
		}
	}
	for _, r := range w.requests {
		if r.kind == none {
			continue
		}
		s := m.state(w.core)
		f := &m.facts[w.core]
		node := m.node(r.host)
		if _, holds := s.Holds[node]; holds {
			return fmt.Sprintf("%s waits for a hold that it has", node)
		}
		if f.frozen || w.clock < f.barred[m.nodeOf(r.host)] || !openAt(s, m.time(w.clock)) || beyond(s, node) != "" ||
			m.time(w.clock).Before(s.Head.LastGrant.Add(time.Duration(s.Spec.GrantInterval))) {
			continue
		}
		if m.admission(w, 0) == 0 && m.admission(w, 1) == 0 {
			return fmt.Sprintf("%s waits, could go, and nobody grants it anything", node)
		}
	}
	return ""
}
