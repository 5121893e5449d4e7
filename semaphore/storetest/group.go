package storetest

import (
	"maps"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func (f *fixture) freeze(fr semaphore.Freeze) semaphore.Freeze {
	f.Helper()
	fr.By, fr.Reason, fr.At = "operator", "test", time.Now().UTC().Truncate(time.Second)
	got, err := f.a.Freeze(f.ctx, fr)
	if err != nil {
		f.Fatal(err)
	}
	return got
}

func (f *fixture) unfreeze(id string, kind semaphore.Kind) {
	f.Helper()
	answer, err := f.b.Unfreeze(f.ctx, id, "operator")
	if err != nil || answer.Kind != kind {
		f.Fatalf("unfreeze %s: got %q (%s), %v, want %q", id, answer.Kind, answer.Detail, err, kind)
	}
}

func freezeRefuses(f *fixture) {
	f.declare("3", 3)
	granted := f.take(f.a, agent(node(0)))
	confirmed := f.take(f.a, agent(node(1)))
	f.ok(f.a, group, confirm(confirmed))
	fr := f.freeze(semaphore.Freeze{ID: "f1"})
	f.refused(f.b, group, agent(node(2)), semaphore.Frozen)
	f.refused(f.b, group, confirm(granted), semaphore.Frozen)
	f.refused(f.b, group, semaphore.Expire{Node: node(0), Fence: granted.Fence}, semaphore.Frozen)
	f.ok(f.b, group, confirm(confirmed)) // it finishes
	f.ok(f.b, group, release(confirmed))
	f.held(granted.Fence)
	f.unfreeze(fr.ID, semaphore.OK)
	f.ok(f.b, group, confirm(granted))
	f.take(f.b, agent(node(2)))
}

func freezeStop(f *fixture) {
	f.declare("1", 1)
	h := f.take(f.a, agent(node(0)))
	f.ok(f.a, group, confirm(h))
	fr := f.freeze(semaphore.Freeze{ID: "f1", Stop: true})
	f.refused(f.b, group, confirm(h), semaphore.Frozen)
	f.unfreeze(fr.ID, semaphore.OK)
	f.ok(f.b, group, confirm(h))
}

func freezeGroup(f *fixture) {
	f.declare("1", 1)
	f.put("other", semaphore.Spec{Slots: f.slots("1")})
	f.join("other", "elsewhere", nil)
	answer := f.ok(f.a, group, semaphore.SetFreeze{Freeze: semaphore.Freeze{ID: "g1", By: "operator", Reason: "test"}})
	if answer.Freeze == nil || answer.Freeze.ID != "g1" {
		f.Fatalf("got %+v, want the freeze g1", answer.Freeze)
	}
	f.refused(f.b, group, agent(node(0)), semaphore.Frozen)
	f.ok(f.b, "other", agent("elsewhere"))
	f.refused(f.b, group, semaphore.LiftFreeze{ID: "g0", By: "operator"}, semaphore.Conflict)
	f.ok(f.b, group, semaphore.LiftFreeze{ID: "g1", By: "operator"})
	f.ok(f.b, group, semaphore.LiftFreeze{ID: "g1", By: "operator"})
	f.take(f.a, agent(node(0)))
}

func freezeIDs(f *fixture) {
	first := f.freeze(semaphore.Freeze{ID: "f1"})
	if again := f.freeze(semaphore.Freeze{ID: "f2"}); again.ID != first.ID {
		f.Fatalf("a second freeze got id %s, %s is in force", again.ID, first.ID)
	}
	f.until("both see it", func() bool { return f.a.FleetFreeze() != nil && f.b.FleetFreeze() != nil })
	f.unfreeze("f2", semaphore.Conflict)
	f.unfreeze("f1", semaphore.OK)
	f.unfreeze("f1", semaphore.OK)
	f.until("both see it lifted", func() bool { return f.a.FleetFreeze() == nil && f.b.FleetFreeze() == nil })
}

// freezeClock: both stores find the same deadline, with what a freeze of the group
// and one of the fleet took put on top, also once they are lifted.
func freezeClock(f *fixture) {
	f.declare("1", 1)
	h := f.take(f.a, agent(node(0)))
	due := func(s semaphore.Store) (at time.Time, still string) {
		st, _ := s.Look(group)
		d := st.Deadlines(time.Now())
		return d.Of(h), d.Still
	}
	later := func(what string, than time.Time, still string) {
		f.Helper()
		f.until(what, func() bool {
			a, why := due(f.a)
			b, whyB := due(f.b)
			if still == "" && !a.Equal(b) { // while it stands still, the moment of asking is in it
				return false
			}
			return a.After(than) && b.After(than) && why == still && whyB == still
		})
	}
	if at, still := due(f.a); !at.Equal(h.Deadline) || still != "" {
		f.Fatalf("due at %s (%s), want %s", at, still, h.Deadline)
	}
	f.ok(f.a, group, semaphore.SetFreeze{Freeze: semaphore.Freeze{ID: "g1", By: "operator", Reason: "test", At: time.Now()}})
	later("it stands still while the group is frozen", h.Deadline.Add(10*time.Millisecond), semaphore.StillFrozen)
	f.ok(f.b, group, semaphore.LiftFreeze{ID: "g1", By: "operator"})
	later("both have the time of it", h.Deadline.Add(10*time.Millisecond), "")
	first, _ := due(f.a)
	fr, err := f.a.Freeze(f.ctx, semaphore.Freeze{ID: "f1", By: "operator", Reason: "test", At: time.Now()})
	if err != nil {
		f.Fatal(err)
	}
	later("it stands still while the fleet is", first.Add(10*time.Millisecond), semaphore.StillFrozen)
	f.unfreeze(fr.ID, semaphore.OK)
	later("both have the time of both", first.Add(10*time.Millisecond), "")
}

func percentSlots(f *fixture) {
	f.declare("20%", 9)
	f.take(f.a, agent(node(0)))
	f.refused(f.b, group, agent(node(1)), semaphore.Full) // 20 % of 9 is 1
	f.join(group, node(9), nil)
	f.take(f.b, agent(node(1)))
	f.refused(f.a, group, agent(node(2)), semaphore.Full)
	f.ok(f.a, group, semaphore.RemoveMember{Node: node(9), By: "operator"})
	f.refused(f.b, group, agent(node(2)), semaphore.Full)
	f.refused(f.b, group, semaphore.RemoveMember{Node: node(0), By: "operator"}, semaphore.InUse)
}

func lowering(f *fixture) {
	f.declare("2", 3)
	first, second := f.take(f.a, agent(node(0))), f.take(f.b, agent(node(1)))
	f.put(group, semaphore.Spec{Slots: f.slots("1")})
	f.held(first.Fence, second.Fence)
	f.ok(f.b, group, confirm(second))
	f.ok(f.a, group, release(first))
	f.refused(f.a, group, agent(node(2)), semaphore.Full)
	f.ok(f.a, group, release(second))
	f.take(f.b, agent(node(2)))
}

func limits(f *fixture) {
	f.put(group, semaphore.Spec{Slots: f.slots("10"), Limits: []semaphore.Limit{{By: "zone", Max: f.slots("1")}}})
	for name, zone := range map[string]string{"a1": "a", "a2": "a", "b1": "b", "x1": "", "x2": ""} {
		labels := map[string]string{"zone": zone}
		if zone == "" {
			labels = nil
		}
		f.join(group, name, labels)
	}
	a1 := f.take(f.a, agent("a1"))
	f.refused(f.b, group, agent("a2"), semaphore.LimitReached)
	f.take(f.b, agent("b1"))
	f.take(f.b, agent("x1"))
	f.refused(f.b, group, agent("x2"), semaphore.LimitReached) // no label is a bucket too
	// A hold keeps the labels that it was granted under.
	f.join(group, "a1", map[string]string{"zone": "c"})
	f.refused(f.b, group, agent("a2"), semaphore.LimitReached)
	f.ok(f.a, group, release(a1))
	f.take(f.b, agent("a2"))
	// What an operator declares wins.
	f.ok(f.a, group, semaphore.PutMember{Node: "x2", Declared: map[string]string{"zone": "d"}, By: "operator"})
	f.take(f.b, agent("x2"))
}

func downMembers(f *fixture) {
	f.put(group, semaphore.Spec{Slots: f.slots("1"), CountUnreachable: true})
	f.join(group, node(0), nil)
	f.join(group, node(1), nil)
	f.ok(f.a, group, semaphore.SetDown{Node: node(0), Down: true})
	f.refused(f.b, group, agent(node(1)), semaphore.DownMembers)
	h := f.take(f.b, agent(node(0))) // out already: it takes no further slot
	f.ok(f.b, group, release(h))
	f.ok(f.b, group, semaphore.SetDown{Node: node(0)})
	f.take(f.a, agent(node(1)))
}

func duplicate(f *fixture) {
	f.declare("1", 1)
	f.ok(f.a, group, semaphore.SetDuplicate{Node: node(0), Why: "boot id came back", By: "lockkeeper"})
	f.refused(f.b, group, agent(node(0)), semaphore.DuplicateID)
	f.ok(f.a, group, semaphore.SetDuplicate{Node: node(0), By: "operator"})
	f.take(f.b, agent(node(0)))
}

func specIfMatch(f *fixture) {
	spec := func(slots string) semaphore.Spec { return semaphore.Spec{Slots: f.slots(slots)} }
	f.refused(f.a, group, semaphore.PutSpec{Spec: spec("1"), IfMatch: 1}, semaphore.ChangedSince)
	created := f.ok(f.a, group, semaphore.PutSpec{Spec: spec("1"), IfMatch: 0})
	f.refused(f.b, group, semaphore.PutSpec{Spec: spec("2"), IfMatch: 0}, semaphore.ChangedSince)
	s := f.read()
	if s.SpecRev != created.Revision {
		f.Fatalf("created at revision %d, read at %d", created.Revision, s.SpecRev)
	}
	same := f.ok(f.b, group, semaphore.PutSpec{Spec: spec("1"), IfMatch: s.SpecRev})
	if same.Revision != s.SpecRev || f.read().HeadRev != s.HeadRev {
		f.Fatalf("putting the same spec went to revision %d from %d", same.Revision, s.SpecRev)
	}
	changed := f.ok(f.b, group, semaphore.PutSpec{Spec: spec("2"), IfMatch: s.SpecRev})
	f.refused(f.a, group, semaphore.PutSpec{Spec: spec("3"), IfMatch: s.SpecRev}, semaphore.ChangedSince)
	f.refused(f.a, group, semaphore.DeleteGroup{IfMatch: s.SpecRev}, semaphore.ChangedSince)
	f.ok(f.a, group, semaphore.DeleteGroup{IfMatch: changed.Revision})
	f.refused(f.a, group, semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: -1}}, IfMatch: -1}, semaphore.Invalid)
}

func groupAgain(f *fixture) {
	f.declare("1", 1)
	h := f.take(f.a, agent(node(0)))
	f.ok(f.a, group, release(h))
	f.ok(f.a, group, semaphore.DeleteGroup{IfMatch: -1, By: "operator"})
	f.ok(f.b, group, semaphore.DeleteGroup{IfMatch: -1, By: "operator"})
	f.refused(f.b, group, agent(node(0)), semaphore.UnknownGroup)
	f.ok(f.b, group, release(h))
	f.until("the list is empty", func() bool { return len(f.a.Groups()) == 0 && len(f.b.Groups()) == 0 })
	f.declare("1", 1)
	if again := f.take(f.b, agent(node(0))); again.Fence <= h.Fence {
		f.Fatalf("the group made again gave fence %d, %d was given before", again.Fence, h.Fence)
	}
}

func groupInUse(f *fixture) {
	f.declare("1", 1)
	h := f.take(f.a, agent(node(0)))
	f.refused(f.b, group, semaphore.DeleteGroup{IfMatch: -1}, semaphore.InUse)
	f.held(h.Fence)
}

func memberUnchanged(f *fixture) {
	f.declare("1", 0)
	labels := map[string]string{"zone": "a"}
	f.join(group, node(0), labels)
	before := f.read()
	f.join(group, node(0), labels)
	f.ok(f.b, group, semaphore.PutMember{Node: node(0)})
	f.ok(f.b, group, semaphore.SetDown{Node: node(0), Down: false})
	f.ok(f.b, group, semaphore.SetDuplicate{Node: node(0)})
	if after := f.read(); after.HeadRev != before.HeadRev {
		f.Fatalf("nothing changed, and the head went from revision %d to %d", before.HeadRev, after.HeadRev)
	}
}

func readAndView(f *fixture) {
	changed := f.b.Changed()
	f.declare("1", 2)
	select {
	case <-changed:
	case <-time.After(Patience):
		f.Fatal("a change through one store was not told by the other")
	}
	h := f.take(f.a, agent(node(0)))
	if s := f.read(); s.Holds[node(0)].Fence != h.Fence || !s.Exists() || s.SlotCount() != 1 || len(s.Members) != 2 {
		f.Fatalf("a read after the grant shows %+v", s)
	}
	f.until("the view follows", func() bool {
		s, ok := f.b.View(group)
		return ok && s.Holds[node(0)].Fence == h.Fence
	})
	f.put("another", semaphore.Spec{Slots: f.slots("1")})
	f.until("both groups are listed by name", func() bool {
		return slices.Equal(f.b.Groups(), []string{"another", group}) && slices.Equal(f.a.Groups(), f.b.Groups())
	})
	if s, ok := f.b.View("nowhere"); ok {
		f.Fatalf("the view shows a group that never was: %+v", s)
	}
	if s, err := f.b.Read(f.ctx, "nowhere"); err != nil || s.Exists() {
		f.Fatalf("a read of a group that never was: %+v, %v", slices.Collect(maps.Keys(s.Holds)), err)
	}
}

func newerSchema(f *fixture) {
	if f.opts.PutRaw == nil {
		f.Skip("the store gives no way to put a raw value")
	}
	f.declare("2", 2)
	h := f.take(f.a, agent(node(0)))
	f.opts.PutRaw(f.T, f.a, "groups/"+group+"/spec", []byte(`{"v":99,"slots":2,"from_the_future":true}`))
	f.until("both see it", func() bool {
		a, _ := f.a.View(group)
		b, _ := f.b.View(group)
		return a.NewerSchema != "" && b.NewerSchema != ""
	})
	f.refused(f.a, group, agent(node(1)), semaphore.NewerSchema)
	f.refused(f.b, group, confirm(h), semaphore.NewerSchema)
	f.refused(f.b, group, semaphore.PutSpec{Spec: semaphore.Spec{Slots: f.slots("1")}, IfMatch: -1}, semaphore.NewerSchema)
	f.ok(f.b, group, release(h))
	f.held()
}
