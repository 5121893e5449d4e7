package storetest

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func blackoutEnds(f *fixture) {
	f.declare("1", 1)
	end := time.Now().Add(400 * time.Millisecond)
	f.put(group, semaphore.Spec{Slots: f.slots("1"), Blackouts: []semaphore.Blackout{
		{Name: "sale", Start: end.Add(-time.Hour), End: end},
	}})
	if a := f.refused(f.a, group, agent(node(0)), semaphore.BlackedOut); len(a.Blockers) == 0 || !a.Blockers[0].Until.Equal(end) {
		f.Fatalf("want the end of the blackout, %s: %+v", end, a.Blockers)
	}
	done := f.park(f.ctx, f.b, agent(node(0)), time.Minute)
	f.queued(node(0), 1)
	h := f.granted(done)
	if h.Since.Before(end) {
		f.Fatalf("granted at %s, and the blackout lasts until %s", h.Since, end)
	}
	if late := time.Since(end); late > time.Second {
		f.Fatalf("granted %s after the blackout", late)
	}
}

func windowShut(f *fixture) {
	f.declare("1", 1)
	in := time.Now().UTC().Add(12 * time.Hour)
	f.put(group, semaphore.Spec{Slots: f.slots("1"), Windows: []semaphore.Window{
		{Start: in.Format("15:04"), Duration: semaphore.Duration(time.Hour)},
	}})
	f.refused(f.b, group, agent(node(0)), semaphore.WindowShut)
	done := f.park(f.ctx, f.b, agent(node(0)), time.Minute)
	f.queued(node(0), 1)
	f.waiting(done)
	f.put(group, semaphore.Spec{Slots: f.slots("1")})
	f.held(f.granted(done).Fence)
}

func intervalBetween(f *fixture) {
	const apart = 300 * time.Millisecond
	f.declare("3", 3)
	f.put(group, semaphore.Spec{Slots: f.slots("3"), GrantInterval: semaphore.Duration(apart)})
	first := f.take(f.a, agent(node(0)))
	f.refused(f.a, group, agent(node(1)), semaphore.TooSoon)
	one := f.park(f.ctx, f.a, agent(node(1)), time.Minute)
	f.queued(node(1), 1)
	two := f.park(f.ctx, f.b, agent(node(2)), time.Minute)
	second, third := f.granted(one), f.granted(two)
	for _, d := range []time.Duration{second.Since.Sub(first.Since), third.Since.Sub(first.Since), third.Since.Sub(second.Since).Abs()} {
		if d < apart {
			f.Fatalf("two grants lie %s apart, want %s at least", d, apart)
		}
	}
}

// reservation: x needs one zone and one rack, which others take in turn.
func reservation(f *fixture) {
	one := f.slots("1")
	f.put(group, semaphore.Spec{Slots: f.slots("2")})
	for name, labels := range map[string]map[string]string{
		"a": {"zone": "z1", "rack": "r2"}, "b": {"zone": "z2", "rack": "r1"}, "x": {"zone": "z1", "rack": "r1"},
	} {
		f.join(group, name, labels)
	}
	f.put(group, semaphore.Spec{Slots: f.slots("2"), Limits: []semaphore.Limit{{By: "zone", Max: one}, {By: "rack", Max: one}}})
	f.take(f.a, agent("a"))
	f.take(f.a, agent("b"))
	x := f.park(f.ctx, f.b, agent("x"), time.Minute)
	f.queued("x", 1)
	before := f.read().Head.Grants
	bound := int64(2 * semaphore.OvertakenPerSlot)
	for turn := 0; ; turn++ {
		name := []string{"a", "b"}[turn%2]
		if h, holds := f.read().Holds[name]; holds {
			f.ok(f.a, group, release(h))
		}
		f.do(f.a, group, agent(name))
		overtaken := f.read().Head.Grants - before
		select {
		case r := <-x:
			if f.hold(r.Answer); overtaken < bound {
				f.Fatalf("it went after %d grants: the case starves nobody", overtaken)
			}
			return
		default:
		}
		if overtaken > bound+5 {
			f.Fatalf("%d grants went past it, want %d and a few at most", overtaken, bound)
		}
	}
}

func waitersBound(f *fixture) {
	most := f.opts.MaxWaiters
	if most == 0 {
		f.Skip("how many may wait is not known")
	}
	f.declare("0", most+1)
	for i := range most {
		f.park(f.ctx, f.a, agent(node(i)), time.Minute)
	}
	f.until("all wait", func() bool { return len(f.read().Queue) == most })
	before := f.read().Revision
	answer, err := f.a.Acquire(f.ctx, group, new(agent(node(most))), time.Minute)
	if err != nil || answer.Kind != semaphore.RetryLater || answer.Detail == "" {
		f.Fatalf("one too many got %q (%s), %v", answer.Kind, answer.Detail, err)
	}
	if after := f.read(); after.Revision != before || len(after.Queue) != most {
		f.Fatalf("its refusal changed something: revision %d, was %d", after.Revision, before)
	}
	for i := range most {
		if err := f.a.Leave(f.ctx, group, node(i)); err != nil {
			f.Fatal(fmt.Errorf("%s: %w", node(i), err))
		}
	}
}
