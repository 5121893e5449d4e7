package semaphore_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// These tests follow the transition table row by row. The states of one node
// in one group are none, waiting, granted, confirmed and revoked.

func TestNone_AcquireGetsAGrantedHold(t *testing.T) {
	b := newBench(t)
	b.ok(semaphore.PutMember{Node: "a", Registered: map[string]string{"zone": "z1"}})
	next := b.Head.Next
	d := b.ok(agent("a"))
	want := semaphore.Hold{
		V: 1, Node: "a", State: semaphore.Granted, Via: semaphore.ViaAgent, Instance: "i-a", Request: "r-a", BootID: "boot-a",
		Fence: next, Labels: map[string]string{"zone": "z1"}, Since: now, Deadline: now.Add(30 * time.Minute), Reason: "update",
	}
	if diff := cmp.Diff(want, b.Holds["a"]); diff != "" {
		t.Errorf("hold (-want +got):\n%s", diff)
	}
	if !d.Answer.Created || !d.GuardFreeze || b.Head.Next != next+1 {
		t.Errorf("created %t, freeze compared %t, next fence %d after %d", d.Answer.Created, d.GuardFreeze, b.Head.Next, next)
	}
	b.kinds(d, "hold.granted")
	if e := d.Events[0]; e.Held != 1 || e.Slots != 1 || e.Fence != next || e.Scope != "group/g" || e.Seq != b.Head.EventSeq {
		t.Errorf("event %+v", e)
	}
}

func TestNone_AcquireByFleetLockGetsAConfirmedHoldAndRegisters(t *testing.T) {
	b := newBench(t)
	d := b.ok(fleetLock("new", "r1", 0))
	if h := b.Holds["new"]; h.State != semaphore.Confirmed || h.Peer != "192.0.2.1" || h.Deadline != now.Add(time.Hour) {
		t.Errorf("hold %+v", h)
	}
	b.kinds(d, "node.joined", "hold.granted")
	if _, ok := b.Members["new"]; !ok {
		t.Error("the host is no member")
	}
}

func TestNone_AcquireByFleetLockRegistersEvenWhenFull(t *testing.T) {
	b := newBench(t)
	b.take(agent("a"))
	d := b.do(fleetLock("new", "r1", 0))
	if d.Answer.Kind != semaphore.Full || !d.Writes() || len(b.Holds) != 1 {
		t.Fatalf("got %+v", d.Answer)
	}
	b.kinds(d, "node.joined")
	b.refused(fleetLock("new", "r2", 0), semaphore.Full)
}

func TestNone_AcquireOtherwiseIsRefusedWithBlockers(t *testing.T) {
	tests := map[semaphore.Kind]func(*bench){
		semaphore.Full:         func(b *bench) { b.take(agent("b")) },
		semaphore.Frozen:       func(b *bench) { b.freeze(false) },
		semaphore.DuplicateID:  func(b *bench) { b.ok(semaphore.SetDuplicate{Node: "a", Why: "two boot ids"}) },
		semaphore.NotFound:     func(b *bench) { b.ok(semaphore.RemoveMember{Node: "a"}) },
		semaphore.UnknownGroup: func(b *bench) { b.ok(semaphore.DeleteGroup{IfMatch: -1}) },
		semaphore.NewerSchema:  func(b *bench) { b.State.NewerSchema = "groups/g/spec" },
		semaphore.Queued:       func(b *bench) { b.wait("b") },
		semaphore.LimitReached: func(b *bench) {
			for _, node := range []string{"a", "b"} {
				b.ok(semaphore.PutMember{Node: node, Registered: map[string]string{"zone": "z1"}})
			}
			b.ok(semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 9}, Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 1}}}}, IfMatch: -1})
			b.take(agent("b"))
		},
		semaphore.DownMembers: func(b *bench) {
			b.ok(semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 1}, CountUnreachable: true}, IfMatch: -1})
			b.ok(semaphore.SetDown{Node: "b", Down: true})
		},
		semaphore.WindowShut: func(b *bench) {
			b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 1}, Windows: []semaphore.Window{{Start: "22:00", Duration: hours(4)}}})
		},
		semaphore.BlackedOut: func(b *bench) {
			b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 1}, Blackouts: []semaphore.Blackout{{Name: "sale", Start: now, End: now.Add(time.Hour)}}})
		},
		semaphore.TooSoon: func(b *bench) {
			b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 9}, GrantInterval: hours(1)})
			b.take(agent("b"))
		},
		semaphore.RetryLater: func(b *bench) {
			h := b.take(agent("a"))
			b.ok(semaphore.Expire{Node: "a", Fence: h.Fence})
		},
	}
	for kind, prepare := range tests {
		t.Run(string(kind), func(t *testing.T) {
			b := newBench(t)
			prepare(b)
			d := b.refused(agent("a"), kind)
			blockers := semaphore.Blockers(&b.State, "a", b.now)
			if len(blockers) == 0 || blockers[0].Kind != kind || blockers[0].Detail == "" {
				t.Errorf("Blockers says %+v, Decide %s", blockers, kind)
			}
			if kind != semaphore.UnknownGroup && !cmp.Equal(d.Answer.Blockers, blockers) {
				t.Errorf("Decide names %+v, Blockers %+v", d.Answer.Blockers, blockers)
			}
		})
	}
}

func TestFence_IsAboveTheFloorOfARestoredCluster(t *testing.T) {
	b := newBench(t)
	before := b.take(agent("a"))
	b.ok(releaseOf(before))
	b.FenceFloor = 1 << 30
	h := b.take(agent("a"))
	if h.Fence != 1<<30+1 || b.Head.Next != 1<<30+2 {
		t.Errorf("fence %d, then %d", h.Fence, b.Head.Next)
	}
	b.refused(confirmOf(before), semaphore.StaleFence)
	b.ok(releaseOf(h))
	if again := b.take(agent("a")); again.Fence != h.Fence+1 {
		t.Errorf("fence %d after %d", again.Fence, h.Fence)
	}
}

func TestNone_AgentWithoutInstanceIsInvalid(t *testing.T) {
	op := agent("a")
	op.Instance = ""
	newBench(t).refused(op, semaphore.Invalid)
}

func TestWaiting_SlotFreeGrantsThePresentWaiter(t *testing.T) {
	b := newBench(t)
	b.wait("b")
	d := b.ok(semaphore.Admit{})
	b.held("b")
	if len(d.Granted) != 1 || d.Granted[0].Request != "parked-b" || d.Granted[0].BootID != "boot-b" || !d.GuardFreeze || len(b.Queue) != 0 {
		t.Errorf("decision %+v", d)
	}
	if c := d.Changes[0]; c.DeleteWaiter != "b" || c.Ticket != 100 {
		t.Errorf("the waiter's key is not deleted by its ticket: %+v", c)
	}
}

func TestWaiting_AcquireTakesTheOwnPlace(t *testing.T) {
	b := newBench(t)
	b.wait("a", "b")
	b.refused(agent("b"), semaphore.Queued)
	d := b.ok(agent("a"))
	if c := d.Changes[0]; c.DeleteWaiter != "a" || c.Ticket != 100 {
		t.Errorf("the own place is not deleted: %+v", d.Changes)
	}
	if semaphore.Place(&b.State, "b") != 1 || semaphore.Place(&b.State, "a") != 0 {
		t.Errorf("queue %+v", b.Queue)
	}
}

func TestHeld_AcquireByTheSameInstanceReturnsTheHold(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	for _, prepare := range []func(){
		func() {},
		func() { b.ok(confirmOf(h)) },
		func() { b.freeze(true) },
		func() { b.ok(semaphore.PutSpec{IfMatch: -1}) },
	} {
		prepare()
		if again := b.nothing(agent("a")); again.Answer.Hold.Fence != h.Fence || again.Answer.Created {
			t.Errorf("got %+v", again.Answer)
		}
	}
}

func TestConfirmed_AcquireByFleetLockGetsANewFence(t *testing.T) {
	b := newBench(t)
	first := b.take(fleetLock("a", "r1", 0))
	b.now = b.now.Add(time.Minute)
	b.freeze(false)
	d := b.ok(fleetLock("a", "r2", first.Fence))
	second := b.Holds["a"]
	if second.Fence != first.Fence+1 || !second.Since.Equal(first.Since) || d.Answer.Created || len(b.Holds) != 1 {
		t.Errorf("from %+v to %+v", first, second)
	}
	b.kinds(d, "hold.refenced")
	// A parked request under whose id a hold appears is bound to none.
	if d := b.ok(fleetLock("a", "r3", 0)); d.Answer.Hold.Fence <= second.Fence {
		t.Errorf("got %+v", d.Answer.Hold)
	}
}

func TestConfirmed_AcquireByFleetLockDecidedAgainIsNotDoneTwice(t *testing.T) {
	b := newBench(t)
	first := b.take(fleetLock("a", "r1", 0))
	if d := b.nothing(fleetLock("a", "r1", 0)); !d.Answer.Created || d.Answer.Hold.Fence != first.Fence {
		t.Errorf("its own grant: %+v", d.Answer)
	}
	second := b.take(fleetLock("a", "r2", first.Fence))
	if d := b.nothing(fleetLock("a", "r2", first.Fence)); d.Answer.Created || d.Answer.Hold.Fence != second.Fence {
		t.Errorf("its own re-fence: %+v", d.Answer)
	}
	if d := b.ok(fleetLock("a", "r1", 0)); d.Answer.Created {
		t.Errorf("r1 made the hold, but another request has renewed it since: %+v", d.Answer)
	}
}

func TestConfirmed_AcquireByFleetLockBoundToAHoldThatIsGone(t *testing.T) {
	b := newBench(t)
	first := b.take(fleetLock("a", "r1", 0))
	b.ok(fleetLock("a", "r2", first.Fence))
	b.refused(fleetLock("a", "r3", first.Fence), semaphore.StaleFence)
}

func TestConfirmed_AcquireByFleetLockFromAnotherAddress(t *testing.T) {
	b := newBench(t)
	first := b.take(fleetLock("a", "r1", 0))
	other := fleetLock("a", "r2", first.Fence)
	other.Peer = "192.0.2.2"
	strict := other
	strict.StrictAddress = true
	b.refused(strict, semaphore.DuplicateID)
	d := b.ok(other)
	b.kinds(d, "hold.refenced", "node.duplicate")
	if h := b.Holds["a"]; h.Peer != "192.0.2.1" || h.OtherPeer != "192.0.2.2" {
		t.Errorf("hold %+v", h)
	}
	again := other
	again.Request, again.Bound = "r3", d.Answer.Hold.Fence
	b.kinds(b.ok(again), "hold.refenced") // told once
}

func TestHeld_AcquireByAnotherDoorOrInstanceIsForeign(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	other := agent("a")
	other.Instance = "clone"
	for range 3 { // granted, confirmed, revoked
		b.refused(other, semaphore.HeldByOther)
		b.refused(fleetLock("a", "r", h.Fence), semaphore.HeldByOther)
		b.refused(semaphore.Confirm{Node: "a", Instance: "clone", Fence: h.Fence}, semaphore.HeldByOther)
		if b.Holds["a"].State == semaphore.Granted {
			b.ok(confirmOf(h))
		} else {
			b.ok(revokeOf(h))
		}
	}
}

func TestGranted_ConfirmWithTheFence(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	c := confirmOf(h)
	c.BootID = "boot-2"
	d := b.ok(c)
	if got := b.Holds["a"]; got.State != semaphore.Confirmed || got.BootID != "boot-2" || got.Fence != h.Fence || !d.GuardFreeze {
		t.Errorf("hold %+v, freeze compared %t", got, d.GuardFreeze)
	}
	b.kinds(d, "hold.confirmed")
}

func TestGranted_ConfirmWhileFrozenIsRefusedAndItsTimeStandsStill(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.freeze(false)
	b.refused(confirmOf(h), semaphore.Frozen)
	b.refused(semaphore.Expire{Node: "a", Fence: h.Fence}, semaphore.Frozen)
	b.ok(semaphore.LiftFreeze{ID: "f1"})
	b.ok(confirmOf(h))
}

func TestConfirmed_ConfirmAgainPassesAFreezeButNotAStop(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.ok(confirmOf(h))
	b.nothing(confirmOf(h))
	b.freeze(false)
	b.nothing(confirmOf(h))
	b.freeze(true)
	b.refused(confirmOf(h), semaphore.Frozen)
	if b.Head.Freeze.ID != "f1" || !b.Head.Freeze.Stop {
		t.Errorf("a stop is added to the freeze in force: %+v", b.Head.Freeze)
	}
}

func TestRevoked_ConfirmAndAcquireByTheHolderAreStale(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.ok(confirmOf(h))
	b.ok(revokeOf(h))
	b.refused(confirmOf(h), semaphore.StaleFence)
	b.refused(agent("a"), semaphore.StaleFence)
	b.ok(releaseOf(h)) // a live agent returns it
	b.held()
}

func TestAny_ConfirmWithAnotherFenceOrNoneIsStale(t *testing.T) {
	b := newBench(t)
	b.refused(semaphore.Confirm{Node: "a", Instance: "i-a", Fence: 1}, semaphore.StaleFence)
	h := b.take(agent("a"))
	for _, fence := range []int64{0, h.Fence - 1, h.Fence + 1} {
		b.refused(semaphore.Confirm{Node: "a", Instance: "i-a", Fence: fence}, semaphore.StaleFence)
	}
}

func TestGranted_UnconfirmedCostsTheTurn(t *testing.T) {
	b := newBench(t)
	for _, wait := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
		h := b.take(agent("a"))
		d := b.ok(semaphore.Expire{Node: "a", Fence: h.Fence})
		b.kinds(d, "hold.expired")
		b.held()
		if got := b.Members["a"].RetryAfter.Sub(b.now); got != wait*time.Minute {
			t.Fatalf("it may ask again after %s, want %s", got, wait*time.Minute)
		}
		blocked := b.refused(agent("a"), semaphore.RetryLater)
		if blocked.Answer.Blockers[0].Until != b.Members["a"].RetryAfter {
			t.Fatalf("blocker %+v", blocked.Answer.Blockers)
		}
		b.now = b.now.Add(wait * time.Minute)
	}
	h := b.take(agent("a"))
	b.ok(confirmOf(h))
	if m := b.Members["a"]; m.Unconfirmed != 0 || !m.RetryAfter.IsZero() {
		t.Errorf("a confirm ends the row: %+v", m)
	}
}

func TestExpire_OfAnotherFenceOrAConfirmedHoldDoesNothing(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.nothing(semaphore.Expire{Node: "a", Fence: h.Fence + 1})
	b.nothing(semaphore.Expire{Node: "b", Fence: h.Fence})
	b.ok(confirmOf(h))
	b.nothing(semaphore.Expire{Node: "a", Fence: h.Fence})
	b.held("a")
}

func TestHeld_ReleaseGrantsTheNextInTheSameDecision(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.wait("b", "c")
	d := b.ok(releaseOf(h))
	b.held("b")
	if d.Answer.Hold == nil || d.Answer.Hold.Fence != h.Fence || len(d.Granted) != 1 || !d.GuardFreeze {
		t.Errorf("decision %+v", d)
	}
	b.kinds(d, "hold.released", "hold.granted")
	if d.Events[0].Held != 0 || d.Events[1].Held != 1 {
		t.Errorf("events %+v", d.Events)
	}
}

func TestHeld_ReleaseWhileFrozenGrantsNobody(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.wait("b")
	b.freeze(false)
	d := b.ok(releaseOf(h))
	b.held()
	if d.GuardFreeze {
		t.Error("a release must not depend on the freeze")
	}
}

func TestHeld_ReleaseDoesNotGrantTheSameNodeAtOnce(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.wait("a", "b")
	b.ok(releaseOf(h))
	b.held("b")
}

func TestAny_ReleaseWithAnotherFenceForeignOrNoneDoesNothing(t *testing.T) {
	b := newBench(t)
	b.nothing(semaphore.Release{Node: "a", Instance: "i-a", Via: semaphore.ViaAgent, Fence: 1})
	h := b.take(agent("a"))
	for _, change := range []func(*semaphore.Release){
		func(r *semaphore.Release) { r.Fence++ },
		func(r *semaphore.Release) { r.Fence = 0 },
		func(r *semaphore.Release) { r.Instance = "clone" },
		func(r *semaphore.Release) { r.Via = semaphore.ViaFleetLock },
	} {
		r := releaseOf(h)
		change(&r)
		b.nothing(r)
	}
	b.held("a")
}

func TestHeld_RevokeMarksTheHold(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	wrong := revokeOf(h)
	wrong.Name = "b"
	b.refused(wrong, semaphore.Invalid)
	wrong = revokeOf(h)
	wrong.Fence++
	b.refused(wrong, semaphore.StaleFence)
	wrong.Node, wrong.Name = "b", "b"
	b.refused(wrong, semaphore.NotFound)
	d := b.ok(revokeOf(h))
	if diff := cmp.Diff(&semaphore.Mark{By: "operator", At: now, Reason: "dead"}, b.Holds["a"].Revoked); diff != "" {
		t.Error(diff)
	}
	b.kinds(d, "hold.revoked")
	b.nothing(revokeOf(h))
	b.refused(agent("b"), semaphore.Full) // it still counts
}

func TestRevoked_FreeByNameNeedsEveryCondition(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.refused(freeOf(h), semaphore.Conflict) // not revoked
	b.ok(revokeOf(h))
	b.now = now.Add(semaphore.FreeRevoked - time.Second)
	b.refused(freeOf(h), semaphore.Conflict)
	b.now = now.Add(semaphore.FreeRevoked)
	for kind, change := range map[semaphore.Kind]func(*semaphore.ForceRelease){
		semaphore.Conflict:   func(f *semaphore.ForceRelease) { f.HostIsDown = false },
		semaphore.StaleFence: func(f *semaphore.ForceRelease) { f.Fence++ },
		semaphore.Invalid:    func(f *semaphore.ForceRelease) { f.Name = "b" },
	} {
		f := freeOf(h)
		change(&f)
		b.refused(f, kind)
	}
	heard := freeOf(h)
	heard.LastHeard = b.now.Add(time.Second - semaphore.FreeUnheard)
	b.refused(heard, semaphore.Conflict)
	heard.LastHeard = b.now.Add(-semaphore.FreeUnheard)
	b.kinds(b.ok(heard), "hold.freed")
	b.held()
	b.nothing(freeOf(h))
}

func TestAny_SetSlotsNeedsTheRevisionAndTouchesNoHold(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	zero := semaphore.PutSpec{Spec: semaphore.Spec{}, IfMatch: b.SpecRev, By: "operator"}
	stale := zero
	stale.IfMatch++
	b.refused(stale, semaphore.ChangedSince)
	b.kinds(b.ok(zero), "group.changed")
	b.held("a")
	b.ok(confirmOf(h))
	b.refused(agent("b"), semaphore.Full)
	again := zero
	again.IfMatch = b.SpecRev
	if d := b.nothing(again); d.Answer.Revision != b.SpecRev {
		t.Errorf("revision %d, the spec's is %d", d.Answer.Revision, b.SpecRev)
	}
}

func TestAny_FreezeAndLift(t *testing.T) {
	b := newBench(t)
	b.nothing(semaphore.LiftFreeze{ID: "f1"})
	b.freeze(false)
	d := b.nothing(semaphore.SetFreeze{Freeze: semaphore.Freeze{ID: "f2", By: "another", At: now, Reason: "again"}})
	if d.Answer.Freeze.ID != "f1" {
		t.Errorf("the freeze in force is returned, got %+v", d.Answer.Freeze)
	}
	b.refused(semaphore.LiftFreeze{ID: "f2"}, semaphore.Conflict)
	b.kinds(b.ok(semaphore.LiftFreeze{ID: "f1", By: "operator"}), "freeze.lifted")
	b.take(agent("a"))
}

func TestAny_NewerSchemaAllowsReleasesOnly(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.wait("b")
	b.State.NewerSchema = "groups/g/semaphore"
	b.Head.V, b.Head.Extra = 7, semaphore.Extra{"new": []byte(`true`)}
	for _, op := range []semaphore.Op{
		agent("b"), confirmOf(h), revokeOf(h), freeOf(h), semaphore.Expire{Node: "a", Fence: h.Fence},
		semaphore.PutSpec{IfMatch: -1}, semaphore.DeleteGroup{IfMatch: -1}, semaphore.Admit{}, semaphore.PutMember{Node: "d"},
		semaphore.SetFreeze{}, semaphore.LiftFreeze{}, semaphore.SetDown{Node: "b", Down: true}, semaphore.RemoveMember{Node: "b"},
	} {
		b.refused(op, semaphore.NewerSchema)
	}
	b.ok(releaseOf(h))
	b.held()
	if b.Head.V != 7 || string(b.Head.Extra["new"]) != "true" {
		t.Errorf("the newer head was rewritten as %+v", b.Head)
	}
	b.Holds["a"] = semaphore.Hold{V: 2, Node: "a", Fence: 9, Via: semaphore.ViaAgent, Instance: "i-a"}
	b.refused(semaphore.Release{Node: "a", Fence: 9, Via: semaphore.ViaAgent, Instance: "i-a"}, semaphore.NewerSchema)
}
