// Package storetest is the conformance suite that every semaphore.Store
// passes: what its users may rely on, asked through two stores that share one
// state, as two coordinators do.
package storetest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Options give the suite what a Store's interface does not. Without a hook the
// cases that need it are skipped.
type Options struct {
	// PutRaw writes a value beside the stores, under a key relative to their
	// prefix ("groups/g/semaphore"), into the state that s shares.
	PutRaw func(t *testing.T, s semaphore.Store, key string, value []byte)
	// Advance moves the clock that both stores are given, forward.
	Advance func(t *testing.T, s semaphore.Store, d time.Duration)
	// MaxWaiters is how many nodes the stores let wait in one group, 64 at least.
	MaxWaiters int
}

// Patience is how long the suite waits for what must happen by itself.
const Patience = 20 * time.Second

// Run runs the suite. open returns two started stores on one state that is
// empty, and cleans up through t; it is called once for each case.
func Run(t *testing.T, open func(t *testing.T) (a, b semaphore.Store), options ...Options) {
	var opts Options
	for _, o := range options {
		opts = o
	}
	cases := map[string]func(*fixture){
		"Acquire_AgainReturnsTheSameHold":                     acquireAgain,
		"Acquire_ByAnotherInstanceOrDoorIsForeign":            acquireForeign,
		"Acquire_OfAnUnknownGroupOrNodeIsRefused":             acquireUnknown,
		"Acquire_FullNamesBlockersAndTakesNoPlaceWithoutWait": acquireFull,
		"Confirm_IsRepeatableThroughAnyStore":                 confirmAgain,
		"Release_OfNothingSucceeds":                           releaseAgain,
		"StaleFence_ChangesNothing":                           staleFence,
		"FleetLock_AskingAgainGivesANewFence":                 fleetLockRenews,
		"FleetLock_ReleaseBoundToAnOlderFenceDoesNothing":     fleetLockLateRelease,
		"Revoke_ThenFreeByNameNeedsEveryCondition":            freeByName,
		"Expire_CostsTheTurn":                                 expire,
		"Parked_GrantedWhenTheOtherStoreReleases":             parkedGranted,
		"Parked_AnswersTheLastRefusalWhenTimeIsUp":            parkedTimesOut,
		"Parked_ClientGoneLosesNothingToIt":                   parkedClientGone,
		"Parked_AtBothStoresBothGetTheHold":                   parkedTwice,
		"Parked_FleetLockAtBothStoresEachGetsItsOwnFence":     parkedTwiceFleetLock,
		"Parked_GrantedWhenSlotsAreRaised":                    parkedSlotsRaised,
		"Parked_GrantedWhenTheFreezeIsLifted":                 parkedUnfrozen,
		"Queue_GrantsInOrder":                                 queueOrder,
		"Queue_PriorityGoesFirst":                             queuePriority,
		"Queue_AbsentFirstDoesNotHoldUpTheOtherStore":         queueOvertake,
		"Leave_TwiceIsFine":                                   leave,
		"Freeze_RefusesGrantsAndFirstConfirms":                freezeRefuses,
		"Freeze_StopHoldsConfirmedOnesAtTheGate":              freezeStop,
		"Freeze_OfAGroupLeavesOthersAlone":                    freezeGroup,
		"Freeze_TwiceIsOneAndOnlyItsIdLiftsIt":                freezeIDs,
		"Freeze_StopsTheClockOfDeadlines":                     freezeClock,
		"Slots_PercentFollowsTheMembers":                      percentSlots,
		"Slots_LoweringEvictsNobody":                          lowering,
		"Limits_BoundTheHoldsOfALabel":                        limits,
		"DownMembers_TakeSlotsWhereTheyCount":                 downMembers,
		"Duplicate_GetsNoGrant":                               duplicate,
		"Spec_IfMatch":                                        specIfMatch,
		"Group_MadeAgainGoesOnWithItsFences":                  groupAgain,
		"Group_DeleteIsRefusedWhileHeld":                      groupInUse,
		"Member_UnchangedWritesNothing":                       memberUnchanged,
		"Read_IsCurrentAndViewFollows":                        readAndView,
		"NodeIDs_AnyTextStaysApart":                           nodeIDs,
		"Race_NeverMoreHoldersThanSlots":                      race,
		"Race_OneNodeAskedTwiceGetsOneHold":                   raceOneNode,
		"Blackout_EndsByItselfAndTheFirstGoes":                blackoutEnds,
		"Window_ShutIsWaitedForAndOpenedByTheSpec":            windowShut,
		"Interval_LiesBetweenTwoGrants":                       intervalBetween,
		"Reservation_EndsTheStarvingOfAWaiter":                reservation,
		"Waiters_OneTooManyIsTurnedAwayWithoutAWrite":         waitersBound,
		"NewerSchema_StopsAllButReleases":                     newerSchema,
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			a, b := open(t)
			ctx, cancel := context.WithTimeout(context.Background(), 3*Patience)
			t.Cleanup(cancel)
			run(&fixture{T: t, ctx: ctx, a: a, b: b, opts: opts})
		})
	}
}

// fixture is one case: two stores and short words for what the cases do.
type fixture struct {
	*testing.T
	ctx  context.Context
	a, b semaphore.Store
	opts Options
}

const group = "g"

// declare makes the group with members node-0 to node-(n-1).
func (f *fixture) declare(slots string, n int) {
	f.Helper()
	f.put(group, semaphore.Spec{Slots: f.slots(slots)})
	for i := range n {
		f.join(group, node(i), nil)
	}
}

func (f *fixture) slots(text string) semaphore.Slots {
	f.Helper()
	s, err := semaphore.ParseSlots(text)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

func (f *fixture) put(group string, spec semaphore.Spec) semaphore.Answer {
	f.Helper()
	return f.ok(f.a, group, semaphore.PutSpec{Spec: spec, IfMatch: -1, By: "operator"})
}

func (f *fixture) join(group, node string, labels map[string]string) {
	f.Helper()
	f.ok(f.a, group, semaphore.PutMember{Node: node, Registered: labels, By: node})
}

func node(i int) string { return fmt.Sprintf("node-%d", i) }

// agent is an agent's acquire; each node has one instance.
func agent(node string) semaphore.Acquire {
	return semaphore.Acquire{
		Node: node, Instance: "instance-of-" + node, Request: "request-of-" + node,
		BootID: "boot-of-" + node, Via: semaphore.ViaAgent, Reason: "test",
	}
}

func fleetLock(node, request string, bound int64) semaphore.Acquire {
	return semaphore.Acquire{Node: node, Request: request, Via: semaphore.ViaFleetLock, Register: true, Bound: bound}
}

func confirm(h semaphore.Hold) semaphore.Confirm {
	return semaphore.Confirm{Node: h.Node, Instance: h.Instance, BootID: h.BootID, Fence: h.Fence}
}

func release(h semaphore.Hold) semaphore.Release {
	return semaphore.Release{Node: h.Node, Instance: h.Instance, Via: h.Via, Fence: h.Fence}
}

// do returns whatever the rules answer; an error ends the case.
func (f *fixture) do(s semaphore.Store, group string, op semaphore.Op) semaphore.Answer {
	f.Helper()
	answer, err := s.Do(f.ctx, group, op)
	if err != nil {
		f.Fatalf("%T %+v: %v", op, op, err)
	}
	return answer
}

func (f *fixture) ok(s semaphore.Store, group string, op semaphore.Op) semaphore.Answer {
	f.Helper()
	answer := f.do(s, group, op)
	if answer.Kind != semaphore.OK {
		f.Fatalf("%T %+v was refused: %s: %s", op, op, answer.Kind, answer.Detail)
	}
	return answer
}

func (f *fixture) refused(s semaphore.Store, group string, op semaphore.Op, kind semaphore.Kind) semaphore.Answer {
	f.Helper()
	answer := f.do(s, group, op)
	if answer.Kind != kind {
		f.Fatalf("%T %+v: got %q (%s), want %q", op, op, answer.Kind, answer.Detail, kind)
	}
	return answer
}

// take acquires and expects a hold.
func (f *fixture) take(s semaphore.Store, op semaphore.Acquire) semaphore.Hold {
	f.Helper()
	return f.hold(f.ok(s, group, op))
}

func (f *fixture) hold(answer semaphore.Answer) semaphore.Hold {
	f.Helper()
	if answer.Kind != semaphore.OK || answer.Hold == nil {
		f.Fatalf("want a hold, got %q (%s), hold %v", answer.Kind, answer.Detail, answer.Hold)
	}
	return *answer.Hold
}

// read is the group as of now.
func (f *fixture) read() semaphore.State {
	f.Helper()
	s, err := f.b.Read(f.ctx, group)
	if err != nil {
		f.Fatal(err)
	}
	return s.Plain()
}

// held expects exactly these fences.
func (f *fixture) held(fences ...int64) {
	f.Helper()
	s := f.read()
	if len(s.Holds) != len(fences) {
		f.Fatalf("%d holds, want %d: %+v", len(s.Holds), len(fences), s.Holds)
	}
	for _, fence := range fences {
		found := false
		for _, h := range s.Holds {
			found = found || h.Fence == fence
		}
		if !found {
			f.Fatalf("no hold has fence %d: %+v", fence, s.Holds)
		}
	}
}

// until polls, because a watch brings the news.
func (f *fixture) until(what string, holds func() bool) {
	f.Helper()
	deadline := time.Now().Add(Patience)
	for !holds() {
		if time.Now().After(deadline) {
			f.Fatalf("after %s still not: %s", Patience, what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// queued waits until both stores see the node wait at that place.
func (f *fixture) queued(node string, place int) {
	f.Helper()
	f.until(fmt.Sprintf("%s at place %d", node, place), func() bool {
		a, _ := f.a.View(group)
		b, _ := f.b.View(group)
		return semaphore.Place(&a, node) == place && semaphore.Place(&b, node) == place
	})
}

// result is what a parked call came back with.
type result struct {
	semaphore.Answer
	err error
}

// park starts an acquire that waits.
func (f *fixture) park(ctx context.Context, s semaphore.Store, op semaphore.Acquire, wait time.Duration) <-chan result {
	done := make(chan result, 1)
	go func() {
		answer, err := s.Acquire(ctx, group, &op, wait)
		done <- result{answer, err}
	}()
	return done
}

// granted waits for a parked call to end with a hold.
func (f *fixture) granted(done <-chan result) semaphore.Hold {
	f.Helper()
	select {
	case r := <-done:
		if r.err != nil {
			f.Fatal(r.err)
		}
		return f.hold(r.Answer)
	case <-time.After(Patience):
		f.Fatalf("a parked acquire had no answer after %s", Patience)
		return semaphore.Hold{}
	}
}

// waiting expects that a parked call has not ended.
func (f *fixture) waiting(done <-chan result) {
	f.Helper()
	select {
	case r := <-done:
		f.Fatalf("a parked acquire ended with %q (%s), %v", r.Kind, r.Detail, r.err)
	default:
	}
}
