package storetest

import (
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func acquireAgain(f *fixture) {
	f.declare("1", 2)
	first := f.take(f.a, agent(node(0)))
	if first.State != semaphore.Granted || first.Fence < 1 {
		f.Fatalf("an agent's new hold is granted under a fence from 1 on, got %+v", first)
	}
	again := f.take(f.b, agent(node(0)))
	if again.Fence != first.Fence {
		f.Fatalf("the same request got fence %d, then %d", first.Fence, again.Fence)
	}
	f.ok(f.a, group, semaphore.SetFreeze{Freeze: semaphore.Freeze{ID: "1", By: "operator", Reason: "test"}})
	if frozen := f.take(f.b, agent(node(0))); frozen.Fence != first.Fence {
		f.Fatalf("a holder that asks in a frozen group got fence %d, want %d", frozen.Fence, first.Fence)
	}
	f.held(first.Fence)
}

func acquireForeign(f *fixture) {
	f.declare("2", 1)
	h := f.take(f.a, agent(node(0)))
	other := agent(node(0))
	other.Instance = "another"
	f.refused(f.b, group, other, semaphore.HeldByOther)
	f.refused(f.b, group, fleetLock(node(0), "r", 0), semaphore.HeldByOther)
	f.refused(f.b, group, semaphore.Confirm{Node: node(0), Instance: "another", Fence: h.Fence}, semaphore.HeldByOther)
	f.ok(f.b, group, semaphore.Release{Node: node(0), Instance: "another", Via: semaphore.ViaAgent, Fence: h.Fence})
	f.ok(f.b, group, semaphore.Release{Node: node(0), Via: semaphore.ViaFleetLock, Fence: h.Fence})
	f.held(h.Fence)
}

func acquireUnknown(f *fixture) {
	f.refused(f.a, "nowhere", agent(node(0)), semaphore.UnknownGroup)
	f.declare("1", 0)
	f.refused(f.b, group, agent("stranger"), semaphore.NotFound)
	answer, err := f.a.Acquire(f.ctx, "nowhere", new(agent(node(0))), time.Minute)
	if err != nil || answer.Kind != semaphore.UnknownGroup {
		f.Fatalf("a wait for an unknown group: got %q, %v", answer.Kind, err)
	}
}

func acquireFull(f *fixture) {
	f.declare("1", 2)
	f.take(f.a, agent(node(0)))
	answer, err := f.b.Acquire(f.ctx, group, new(agent(node(1))), 0)
	if err != nil || answer.Kind != semaphore.Full || len(answer.Blockers) == 0 || answer.Place != 0 {
		f.Fatalf("got %+v, %v; want full, with blockers and no place", answer, err)
	}
	if s := f.read(); len(s.Queue) != 0 {
		f.Fatalf("an agent that does not wait got a place: %+v", s.Queue)
	}
}

func confirmAgain(f *fixture) {
	f.declare("1", 1)
	h := f.take(f.a, agent(node(0)))
	for _, s := range []semaphore.Store{f.b, f.a, f.b} {
		got := f.hold(f.ok(s, group, confirm(h)))
		if got.State != semaphore.Confirmed || got.Fence != h.Fence {
			f.Fatalf("got %+v, want it confirmed under fence %d", got, h.Fence)
		}
	}
	f.ok(f.a, group, release(h))
	f.refused(f.b, group, confirm(h), semaphore.StaleFence)
}

func releaseAgain(f *fixture) {
	f.declare("1", 1)
	h := f.take(f.a, agent(node(0)))
	for _, s := range []semaphore.Store{f.b, f.a, f.b} {
		f.ok(s, group, release(h))
		f.held()
	}
	if again := f.take(f.b, agent(node(0))); again.Fence <= h.Fence {
		f.Fatalf("fence %d after %d: fences only grow", again.Fence, h.Fence)
	}
}

func staleFence(f *fixture) {
	f.declare("1", 1)
	old := f.take(f.a, agent(node(0)))
	f.ok(f.a, group, release(old))
	now := f.take(f.b, agent(node(0)))
	f.ok(f.a, group, release(old))
	f.refused(f.a, group, confirm(old), semaphore.StaleFence)
	f.refused(f.a, group, semaphore.Revoke{Node: node(0), Name: node(0), Fence: old.Fence, By: "operator"}, semaphore.StaleFence)
	f.refused(f.a, group, semaphore.ForceRelease{Node: node(0), Name: node(0), Fence: old.Fence, By: "operator", HostIsDown: true}, semaphore.StaleFence)
	f.ok(f.a, group, semaphore.Expire{Node: node(0), Fence: old.Fence})
	f.held(now.Fence)
	if s := f.read(); s.Holds[node(0)].State != semaphore.Granted {
		f.Fatalf("a stale fence changed the hold: %+v", s.Holds[node(0)])
	}
}

func fleetLockRenews(f *fixture) {
	f.put(group, semaphore.Spec{Slots: f.slots("1")})
	answer := f.ok(f.a, group, fleetLock("host", "r1", 0))
	first := f.hold(answer)
	if !answer.Created || first.State != semaphore.Confirmed {
		f.Fatalf("got %+v (created %t), want a confirmed hold made by this request", first, answer.Created)
	}
	answer = f.ok(f.b, group, fleetLock("host", "r2", first.Fence))
	second := f.hold(answer)
	if answer.Created || second.Fence <= first.Fence || !second.Since.Equal(first.Since) {
		f.Fatalf("got %+v (created %t) after %+v: want a new fence, and since kept", second, answer.Created, first)
	}
	f.held(second.Fence)
	if s := f.read(); len(s.Members) != 1 {
		f.Fatalf("the host registers by asking, members are %+v", s.Members)
	}
}

func fleetLockLateRelease(f *fixture) {
	f.put(group, semaphore.Spec{Slots: f.slots("1")})
	first := f.take(f.a, fleetLock("host", "r1", 0))
	second := f.take(f.b, fleetLock("host", "r2", first.Fence))
	f.ok(f.a, group, release(first))
	f.held(second.Fence)
	f.ok(f.a, group, release(second))
	f.held()
}

func freeByName(f *fixture) {
	f.declare("1", 1)
	h := f.take(f.a, agent(node(0)))
	f.ok(f.a, group, confirm(h))
	free := semaphore.ForceRelease{Node: node(0), Name: node(0), Fence: h.Fence, By: "operator", Reason: "dead", HostIsDown: true}
	f.refused(f.b, group, free, semaphore.Conflict)
	revoke := semaphore.Revoke{Node: node(0), Name: node(0), Fence: h.Fence, By: "operator", Reason: "dead"}
	wrong := revoke
	wrong.Name = "node-1"
	f.refused(f.b, group, wrong, semaphore.Invalid)
	for range 2 {
		if got := f.hold(f.ok(f.b, group, revoke)); got.State != semaphore.Revoked || got.Revoked == nil || got.Revoked.By != "operator" {
			f.Fatalf("got %+v, want it revoked by the operator", got)
		}
	}
	f.refused(f.a, group, confirm(h), semaphore.StaleFence)
	f.refused(f.a, group, agent(node(0)), semaphore.StaleFence)
	f.refused(f.a, group, free, semaphore.Conflict)
	f.held(h.Fence)
	if f.opts.Advance == nil {
		f.ok(f.a, group, release(h)) // a live agent returns a revoked hold
		f.held()
		return
	}
	f.opts.Advance(f.T, f.a, semaphore.FreeRevoked)
	looked := free
	looked.HostIsDown = false
	f.refused(f.a, group, looked, semaphore.Conflict)
	f.ok(f.a, group, free)
	f.ok(f.b, group, free)
	f.held()
}

func expire(f *fixture) {
	f.declare("1", 2)
	h := f.take(f.a, agent(node(0)))
	f.ok(f.b, group, semaphore.Expire{Node: node(0), Fence: h.Fence})
	f.held()
	f.refused(f.a, group, confirm(h), semaphore.StaleFence)
	f.refused(f.a, group, agent(node(0)), semaphore.RetryLater)
	confirmed := f.take(f.b, agent(node(1)))
	f.ok(f.b, group, confirm(confirmed))
	f.ok(f.a, group, semaphore.Expire{Node: node(1), Fence: confirmed.Fence})
	f.held(confirmed.Fence)
	if f.opts.Advance == nil {
		return
	}
	f.ok(f.a, group, release(confirmed))
	f.opts.Advance(f.T, f.a, 61*time.Second)
	f.take(f.a, agent(node(0)))
}

func nodeIDs(f *fixture) {
	ids := []string{"a/b", "a%2Fb", "a%2fb", "A/B", ".", "..", "ü", "a b", "a\nb"}
	f.declare("100", 0)
	fences := make([]int64, len(ids))
	for i, id := range ids {
		f.join(group, id, nil)
		fences[i] = f.take(f.a, agent(id)).Fence
	}
	f.held(fences...)
	s := f.read()
	for i, id := range ids {
		if s.Holds[id].Fence != fences[i] || s.Members[id].Node != id {
			f.Fatalf("node %q: hold %+v, member %+v", id, s.Holds[id], s.Members[id])
		}
	}
}
