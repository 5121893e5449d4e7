package semaphore_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func (b *bench) spec(spec semaphore.Spec) {
	b.Helper()
	b.ok(semaphore.PutSpec{Spec: spec, IfMatch: -1, By: "operator"})
}

func TestSlots_PercentIsOfTheMembersRoundedDownAtLeastOne(t *testing.T) {
	for members, want := range map[int]int{1: 1, 9: 1, 10: 1, 19: 1, 20: 2, 39: 3, 100: 10} {
		b := &bench{T: t, State: semaphore.State{Group: "g"}, now: now}
		b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 10, Percent: true}})
		for i := range members {
			b.ok(semaphore.PutMember{Node: fmt.Sprint(i)})
		}
		if got := b.SlotCount(); got != want {
			t.Errorf("10%% of %d members is %d slots, want %d", members, got, want)
		}
	}
	b := newBench(t)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{Percent: true}})
	b.refused(agent("a"), semaphore.Full)
}

func TestSlots_PercentCountsTheHostThatRegistersByAsking(t *testing.T) {
	b := &bench{T: t, State: semaphore.State{Group: "g"}, now: now}
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 50, Percent: true}})
	b.take(fleetLock("h1", "r1", 0)) // one member, at least one slot
	for i, want := range []semaphore.Kind{semaphore.Full, semaphore.Full, semaphore.OK} {
		if d := b.do(fleetLock(fmt.Sprint("h", i+2), "r", 0)); d.Answer.Kind != want {
			t.Fatalf("with %d members: %q, want %q", len(b.Members), d.Answer.Kind, want)
		}
	}
}

func TestLimit_BoundsTheHoldsOfALabelValue(t *testing.T) {
	b := newBench(t)
	b.ok(semaphore.PutMember{Node: "a", Registered: map[string]string{"zone": "z1"}})
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 9}, Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 1}}}})
	b.take(agent("a"))
	b.take(agent("b"))                                 // nodes without the label share a bucket
	d := b.refused(agent("c"), semaphore.LimitReached) // of their own
	if !strings.Contains(d.Answer.Detail, "no label zone") {
		t.Errorf("detail %q", d.Answer.Detail)
	}
	b.ok(semaphore.PutMember{Node: "c", Declared: map[string]string{"zone": "z1"}})
	b.refused(agent("c"), semaphore.LimitReached)
	// The hold keeps the label that it was granted under.
	b.ok(semaphore.PutMember{Node: "a", Registered: map[string]string{"zone": "z2"}})
	b.refused(agent("c"), semaphore.LimitReached)
	b.ok(semaphore.PutMember{Node: "c", Declared: map[string]string{"zone": "z3"}})
	b.take(agent("c"))
}

func TestLimit_PercentIsOfTheMembersWithThatValue(t *testing.T) {
	b := &bench{T: t, State: semaphore.State{Group: "g"}, now: now}
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 9}, Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 50, Percent: true}}}})
	for i := range 4 {
		b.ok(semaphore.PutMember{Node: fmt.Sprint("n", i), Registered: map[string]string{"zone": "z1"}})
	}
	b.take(agent("n0"))
	b.take(agent("n1"))
	b.refused(agent("n2"), semaphore.LimitReached)
}

func TestOutOfService_CountsEachNodeOnce(t *testing.T) {
	b := newBench(t)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 2}, CountUnreachable: true})
	b.take(agent("a"))
	b.ok(semaphore.SetDown{Node: "a", Down: true})
	if got := b.OutOfService(); got != 1 {
		t.Errorf("a holder that is down counts %d times", got)
	}
	b.kinds(b.ok(semaphore.SetDown{Node: "b", Down: true}), "node.down")
	b.refused(agent("c"), semaphore.DownMembers)
	b.take(agent("b")) // it is out already, and takes no further slot
	b.refused(agent("c"), semaphore.Full)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 3}})
	b.kinds(b.ok(semaphore.SetDown{Node: "c", Down: true}), "node.down")
	b.take(agent("c")) // down members do not count here
}

func TestOrder_AWaiterThatIsBlockedOrAbsentIsPassed(t *testing.T) {
	b := newBench(t)
	b.ok(semaphore.PutMember{Node: "d"})
	b.wait("a", "b", "c")
	b.ok(semaphore.SetDuplicate{Node: "a", Why: "two boot ids"})
	b.Queue[1].Present = false // between two polls
	if blockers := semaphore.Blockers(&b.State, "c", now); blockers != nil {
		t.Errorf("c may go, got %+v", blockers)
	}
	b.refused(agent("d"), semaphore.Queued) // behind c
	b.ok(semaphore.Admit{})
	b.held("c")
}

func TestOrder_AWaiterElsewhereIsPassedOnlyByOvertaking(t *testing.T) {
	b := newBench(t)
	b.wait("a", "b")
	b.Queue[0].Present, b.Queue[0].Elsewhere = false, true
	b.refused(agent("b"), semaphore.Queued)
	b.nothing(semaphore.Admit{})
	overtaking := agent("b")
	overtaking.Overtake = true
	before := b.State
	b.ok(overtaking)
	b.held("b")
	b.State = before
	b.ok(semaphore.Admit{Overtake: true})
	b.held("b")
}

func TestOrder_EnoughSlotsForThoseBeforeLetOthersGo(t *testing.T) {
	b := newBench(t)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 2}})
	b.wait("a")
	b.take(agent("b"))
	b.refused(agent("c"), semaphore.Queued)
}

func TestOrder_AdmitOfOneDoorLeavesTheOthersTheirSlots(t *testing.T) {
	b := newBench(t)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 2}})
	b.wait("a", "b", "c")
	b.Queue[1].Via, b.Queue[1].Instance = semaphore.ViaFleetLock, ""
	d := b.ok(semaphore.Admit{Via: semaphore.ViaFleetLock})
	b.held("b")
	if d.Granted[0].State != semaphore.Confirmed {
		t.Errorf("granted %+v", d.Granted)
	}
}

func TestOrder_ManyWaitersAreGrantedInBoundedSteps(t *testing.T) {
	b := &bench{T: t, State: semaphore.State{Group: "g"}, now: now}
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 1000}})
	for i := range 3 * semaphore.MaxGrants / 2 {
		b.ok(semaphore.PutMember{Node: fmt.Sprint(i)})
		b.wait(fmt.Sprint(i))
	}
	if d := b.ok(semaphore.Admit{}); len(d.Granted) != semaphore.MaxGrants {
		t.Errorf("granted %d", len(d.Granted))
	}
	b.ok(semaphore.Admit{})
	if len(b.Queue) != 0 {
		t.Errorf("%d still wait", len(b.Queue))
	}
}

func TestSortQueue_PriorityThenTicketAndAgeRaises(t *testing.T) {
	queue := []semaphore.Waiter{
		{Node: "late", CreateRevision: 9, Since: now},
		{Node: "early", CreateRevision: 3, Since: now},
		{Node: "urgent", CreateRevision: 12, Since: now, Priority: 5},
		{Node: "old", CreateRevision: 20, Since: now.Add(-2 * semaphore.PriorityAge)},
		{Node: "low", CreateRevision: 1, Since: now, Priority: -1},
	}
	semaphore.SortQueue(queue, now)
	var order []string
	for _, w := range queue {
		order = append(order, w.Node)
	}
	if diff := cmp.Diff([]string{"urgent", "old", "early", "late", "low"}, order); diff != "" {
		t.Error(diff)
	}
	s := semaphore.State{Queue: queue}
	if semaphore.Place(&s, "old") != 2 || semaphore.Place(&s, "none") != 0 {
		t.Errorf("places %d, %d", semaphore.Place(&s, "old"), semaphore.Place(&s, "none"))
	}
}

func TestOverdue_IsPastTheDeadlineOfTheSpec(t *testing.T) {
	b := newBench(t)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 2}, Timeouts: semaphore.Timeouts{Hold: semaphore.Duration(time.Minute), FleetLockHold: semaphore.Duration(2 * time.Minute)}})
	byAgent, byFleetLock := b.take(agent("a")), b.take(fleetLock("b", "r", 0))
	for _, test := range []struct {
		hold  semaphore.Hold
		after time.Duration
		want  bool
	}{{byAgent, time.Minute, false}, {byAgent, time.Minute + 1, true}, {byFleetLock, 2 * time.Minute, false}, {byFleetLock, 2*time.Minute + 1, true}, {semaphore.Hold{}, time.Hour, false}} {
		if got := b.Deadlines(now.Add(test.after)).Overdue(test.hold); got != test.want {
			t.Errorf("%s after %s: overdue %t", test.hold.Node, test.after, got)
		}
	}
}

func TestLabels_DeclaredWin(t *testing.T) {
	m := semaphore.Member{Registered: map[string]string{"zone": "z1", "role": "web"}, Declared: map[string]string{"zone": "z2"}}
	if diff := cmp.Diff(map[string]string{"zone": "z2", "role": "web"}, m.Labels()); diff != "" {
		t.Error(diff)
	}
}

func TestPutMember_WhatChangesNothingIsNotWritten(t *testing.T) {
	b := newBench(t)
	b.nothing(semaphore.PutMember{Node: "a"})
	b.nothing(semaphore.PutMember{Node: "a", Registered: map[string]string{}})
	b.kinds(b.ok(semaphore.PutMember{Node: "a", Registered: map[string]string{"zone": "z1"}}), "node.changed")
	b.nothing(semaphore.PutMember{Node: "a", Registered: map[string]string{"zone": "z1"}})
	b.nothing(semaphore.PutMember{Node: "a"}) // nil leaves them
	b.kinds(b.ok(semaphore.PutMember{Node: "a", Registered: map[string]string{}}), "node.changed")
	b.refused(semaphore.PutMember{}, semaphore.Invalid)
	b.nothing(semaphore.SetDown{Node: "a"})
	b.nothing(semaphore.SetDuplicate{Node: "a"})
	b.refused(semaphore.SetDown{Node: "stranger", Down: true}, semaphore.NotFound)
	b.refused(semaphore.SetDuplicate{Node: "stranger", Why: "x"}, semaphore.NotFound)
}

func TestRemoveMember_IsRefusedWhileItHolds(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.refused(semaphore.RemoveMember{Node: "a"}, semaphore.InUse)
	b.ok(releaseOf(h))
	b.kinds(b.ok(semaphore.RemoveMember{Node: "a"}), "node.removed")
	b.nothing(semaphore.RemoveMember{Node: "a"})
}

func TestDeleteGroup_LeavesATombstoneAndFencesGoOn(t *testing.T) {
	b := newBench(t)
	h := b.take(agent("a"))
	b.refused(semaphore.DeleteGroup{IfMatch: -1}, semaphore.InUse)
	b.ok(releaseOf(h))
	b.refused(semaphore.DeleteGroup{IfMatch: b.SpecRev + 1}, semaphore.ChangedSince)
	b.kinds(b.ok(semaphore.DeleteGroup{IfMatch: b.SpecRev}), "group.deleted")
	b.nothing(semaphore.DeleteGroup{IfMatch: -1})
	b.nothing(releaseOf(h))
	b.refused(agent("a"), semaphore.UnknownGroup)
	b.ok(semaphore.RemoveMember{Node: "c"}) // nodes move on
	b.refused(semaphore.PutSpec{IfMatch: 5}, semaphore.ChangedSince)
	b.kinds(b.ok(semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 1}}}), "group.created")
	if again := b.take(agent("a")); again.Fence <= h.Fence {
		t.Errorf("fence %d after %d", again.Fence, h.Fence)
	}
}

func TestUnknownGroup_IsSaidOfEveryRequest(t *testing.T) {
	b := &bench{T: t, State: semaphore.State{Group: "g"}, now: now}
	for _, op := range []semaphore.Op{
		agent("a"), semaphore.Confirm{}, semaphore.Release{}, semaphore.Revoke{}, semaphore.ForceRelease{}, semaphore.Expire{}, semaphore.Admit{},
		semaphore.DeleteGroup{IfMatch: -1}, semaphore.SetFreeze{}, semaphore.LiftFreeze{}, semaphore.PutMember{Node: "a"}, semaphore.SetDown{}, semaphore.SetDuplicate{}, semaphore.RemoveMember{},
	} {
		b.refused(op, semaphore.UnknownGroup)
	}
}

func TestPutSpec_KeepsMembersThatItDoesNotKnow(t *testing.T) {
	b := newBench(t)
	b.Spec.Extra = semaphore.Extra{"colour": []byte(`"blue"`)}
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 4}})
	if string(b.Spec.Extra["colour"]) != `"blue"` {
		t.Errorf("spec %+v", b.Spec)
	}
}

func TestValidateSpec_NamesTheField(t *testing.T) {
	spec := semaphore.Spec{
		Slots:    semaphore.Slots{N: 101, Percent: true},
		Limits:   []semaphore.Limit{{By: "zone"}, {By: ""}, {By: "zone", Max: semaphore.Slots{N: -1}}, {By: strings.Repeat("x", 200)}},
		Timeouts: semaphore.Timeouts{Hold: semaphore.Duration(-1), FleetLockHold: semaphore.Duration(semaphore.MaxTimeout + 1)},
	}
	var paths []string
	for _, p := range semaphore.ValidateSpec(spec) {
		if p.Detail == "" {
			t.Errorf("%s: no detail", p.Path)
		}
		paths = append(paths, p.Path)
	}
	want := []string{"slots", "limits[1].by", "limits[2].by", "limits[2].max", "limits[3].by", "timeouts.hold", "timeouts.fleetlock_hold"}
	if diff := cmp.Diff(want, paths); diff != "" {
		t.Error(diff)
	}
	if problems := semaphore.ValidateSpec(semaphore.Spec{Limits: make([]semaphore.Limit, semaphore.MaxLimits+1)}); problems[0].Path != "limits" {
		t.Errorf("problems %+v", problems)
	}
	newBench(t).refused(semaphore.PutSpec{Spec: spec, IfMatch: -1}, semaphore.Invalid)
}
