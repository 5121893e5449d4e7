package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestAcquire_GivesOneSlotAndRefusesTheNextWithItsReason(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	b.hello("b", "default")
	h := b.acquire("default", "a")
	if h.Fence < 1 || h.State != "granted" || h.Via != "agent" || h.Phase != "idle" {
		t.Errorf("%+v", h)
	}
	if again := b.acquire("default", "a"); again.Fence != h.Fence {
		t.Errorf("asked again: fence %d, then %d", h.Fence, again.Fence)
	}
	_, err := b.Acquire(b.as("b"), "default", "b", api.AcquireRequest{Instance: "i1", Request: "q"}, 0)
	e := mustRefuse(t, err, api.Full)
	if len(e.Blockers) == 0 || e.RetryAfter <= 0 {
		t.Errorf("%+v", e)
	}
	_, err = b.Acquire(b.as("b"), "default", "b", api.AcquireRequest{Instance: "i1", Request: "q"}, 20*time.Millisecond)
	if e := mustRefuse(t, err, api.Full); e.Place != 1 {
		t.Errorf("after waiting it is at place %d", e.Place)
	}
}

func TestAcquire_WaitsUntilTheSlotIsReturned(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	b.hello("b", "default")
	h := b.acquire("default", "a")
	got := make(chan error, 1)
	go func() {
		_, err := b.Acquire(b.as("b"), "default", "b", api.AcquireRequest{Instance: "i1", Request: "q"}, time.Minute)
		got <- err
	}()
	b.eventually("b is queued", func() bool { g, _ := b.Group(b.admin(), "default"); return len(g.Queue) == 1 })
	if err := b.Release(b.as("a"), "default", "a", h.Fence, "i1"); err != nil {
		t.Fatal(err)
	}
	if err := <-got; err != nil {
		t.Fatal(err)
	}
}

func TestAcquire_NamesTheWrongField(t *testing.T) {
	b := start(t)
	ok := api.AcquireRequest{Instance: "i1", Request: "q"}
	try := func(group string, req api.AcquireRequest, wait time.Duration) error {
		_, err := b.Acquire(b.as("a"), group, "a", req, wait)
		return err
	}
	field(t, try("no group", ok, 0), "group")
	field(t, try("default", api.AcquireRequest{Request: "q"}, 0), "instance")
	field(t, try("default", api.AcquireRequest{Instance: "i"}, 0), "request")
	field(t, try("default", ok, time.Hour), "wait")
	mustRefuse(t, try("nowhere", ok, 0), api.UnknownGroup)
	mustRefuse(t, try("default", ok, 0), api.NotFound) // it never reported
}

func TestAcquire_OfAnotherInstanceFindsTheHoldForeign(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	h := b.acquire("default", "a")
	_, err := b.Acquire(b.as("a"), "default", "a", api.AcquireRequest{Instance: "i2", Request: "q"}, 0)
	mustRefuse(t, err, api.HeldByOther)
	_, err = b.Confirm(b.as("a"), "default", "a", api.ConfirmRequest{Fence: h.Fence, Instance: "i2", BootID: "b1"})
	mustRefuse(t, err, api.HeldByOther)
	if err := b.Release(b.as("a"), "default", "a", h.Fence, "i2"); err != nil {
		t.Fatal(err)
	}
	if list, _ := b.Holds(b.admin(), "default"); len(list) != 1 {
		t.Error("another instance's release took the hold away")
	}
}

func TestConfirm_WithAStaleFenceIsRefused(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	h := b.acquire("default", "a")
	req := api.ConfirmRequest{Fence: h.Fence + 1, Instance: "i1", BootID: "b1"}
	_, err := b.Confirm(b.as("a"), "default", "a", req)
	mustRefuse(t, err, api.StaleFence)
	req.Fence = h.Fence
	got, err := b.Confirm(b.as("a"), "default", "a", req)
	if err != nil || got.State != "confirmed" || got.BootID != "b1" {
		t.Errorf("%+v %v", got, err)
	}
	req.Fence = 0
	_, err = b.Confirm(b.as("a"), "default", "a", req)
	field(t, err, "fence")
}

func TestFreeze_StopsGrantsAndFirstConfirmsUntilThatFreezeIsLifted(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	h := b.acquire("default", "a")
	_, err := b.Freeze(b.admin(), "", api.FreezeRequest{Reason: " "})
	field(t, err, "reason")
	f, err := b.Freeze(b.admin(), "", api.FreezeRequest{Reason: "incident 7"})
	if err != nil || f.ID == "" || f.By != "ann" || f.Group != "" {
		t.Fatalf("%+v %v", f, err)
	}
	if again, err := b.Freeze(b.admin(), "", api.FreezeRequest{Reason: "another"}); err != nil || again.ID != f.ID {
		t.Errorf("asked again: %+v %v", again, err)
	}
	_, err = b.Confirm(b.as("a"), "default", "a", api.ConfirmRequest{Fence: h.Fence, Instance: "i1", BootID: "b1"})
	if e := mustRefuse(t, err, api.Frozen); !strings.Contains(e.Detail, "incident 7") {
		t.Errorf("%+v", e)
	}
	field(t, b.Unfreeze(b.admin(), "", ""), "id")
	mustRefuse(t, b.Unfreeze(b.admin(), "", "other"), api.Conflict)
	if err := b.Unfreeze(b.admin(), "", f.ID); err != nil {
		t.Fatal(err)
	}
	b.confirm(h)
}

func TestFreeze_OfAGroupStopsThatGroupOnly(t *testing.T) {
	b := start(t)
	b.withGroup("web", "1")
	b.hello("a", "web")
	b.hello("b", "default")
	f, err := b.Freeze(b.admin(), "web", api.FreezeRequest{Reason: "maintenance"})
	if err != nil || f.Group != "web" {
		t.Fatalf("%+v %v", f, err)
	}
	_, err = b.Acquire(b.as("a"), "web", "a", api.AcquireRequest{Instance: "i1", Request: "q"}, 0)
	mustRefuse(t, err, api.Frozen)
	b.acquire("default", "b")
	g, err := b.Group(b.admin(), "web")
	if err != nil || g.Status.Frozen == nil || g.Status.Free != 0 {
		t.Errorf("%+v %v", g.Status, err)
	}
	_, err = b.Freeze(b.admin(), "nowhere", api.FreezeRequest{Reason: "x"})
	mustRefuse(t, err, api.UnknownGroup)
	if err := b.Unfreeze(b.admin(), "web", f.ID); err != nil {
		t.Fatal(err)
	}
}

func TestForceRelease_NeedsARevokeASilentHostAndTheName(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	h := b.acquire("default", "a")
	b.confirm(h)
	op := b.ctx(api.RoleOperator)

	_, err := b.Revoke(op, "default", "a", api.RevokeRequest{Fence: h.Fence, Name: "b", Reason: "dead"})
	field(t, err, "name")
	_, err = b.Revoke(op, "default", "a", api.RevokeRequest{Fence: h.Fence, Name: "a"})
	field(t, err, "reason")
	_, err = b.Revoke(op, "default", "a", api.RevokeRequest{Fence: h.Fence + 7, Name: "a", Reason: "dead"})
	mustRefuse(t, err, api.StaleFence)
	_, err = b.Revoke(op, "default", "b", api.RevokeRequest{Fence: 1, Name: "b", Reason: "dead"})
	mustRefuse(t, err, api.NotFound)

	free := api.ReleaseRequest{Fence: h.Fence, Name: "a", Reason: "dead", HostIsDown: true}
	b.clock.pass(2 * time.Minute)
	mustRefuse(t, b.ForceRelease(op, "default", "a", free), api.Conflict) // not revoked
	revoked, err := b.Revoke(op, "default", "a", api.RevokeRequest{Fence: h.Fence, Name: "a", Reason: "dead"})
	if err != nil || revoked.State != "revoked" || revoked.Revoked == nil || revoked.Revoked.By != "ann" {
		t.Fatalf("%+v %v", revoked, err)
	}
	mustRefuse(t, b.ForceRelease(op, "default", "a", free), api.Conflict) // just now
	b.clock.pass(20 * time.Second)
	b.hello("a", "default")
	if e := mustRefuse(t, b.ForceRelease(op, "default", "a", free), api.Conflict); !strings.Contains(e.Detail, "heard") {
		t.Errorf("a live node: %+v", e)
	}
	b.clock.pass(2 * time.Minute)
	notSure := free
	notSure.HostIsDown = false
	mustRefuse(t, b.ForceRelease(op, "default", "a", notSure), api.Conflict)
	b.free(op, "default", "a", free)
	if list, _ := b.Holds(b.admin(), ""); len(list) != 0 {
		t.Errorf("%+v", list)
	}
}

func TestForceRelease_ACoordinatorThatJustStartedCannotKnowThatAHostIsSilent(t *testing.T) {
	a := start(t)
	a.hello("n", "default")
	h := a.acquire("default", "n")
	a.confirm(h)
	op := a.ctx(api.RoleOperator)
	if _, err := a.Revoke(op, "default", "n", api.RevokeRequest{Fence: h.Fence, Name: "n", Reason: "dead"}); err != nil {
		t.Fatal(err)
	}
	// The other one has heard nobody itself, and nobody is left to say.
	a.end()
	b := startAt(t, a.prefix)
	free := api.ReleaseRequest{Fence: h.Fence, Name: "n", Reason: "dead", HostIsDown: true}
	mustRefuse(t, b.ForceRelease(op, "default", "n", free), api.Conflict)
	b.clock.pass(time.Hour)
	if err := b.ForceRelease(op, "default", "n", free); err != nil {
		t.Fatal(err)
	}
}

func TestRelease_OfNothingSucceedsAndAnOldFenceChangesNothing(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	if err := b.Release(b.as("a"), "default", "a", 1, "i1"); err != nil {
		t.Errorf("of nothing: %v", err)
	}
	h := b.acquire("default", "a")
	if err := b.Release(b.as("a"), "default", "a", h.Fence+1, "i1"); err != nil {
		t.Errorf("of another fence: %v", err)
	}
	if list, _ := b.Holds(b.admin(), ""); len(list) != 1 {
		t.Error("another fence released the hold")
	}
	field(t, b.Release(b.as("a"), "default", "a", 0, "i1"), "fence")
	field(t, b.Release(b.as("a"), "default", "a", 1, ""), "instance")
}

func TestQueue_IsReorderedByAnOperatorAndLeftByTheNode(t *testing.T) {
	b := start(t)
	for _, n := range []string{"a", "b", "c"} {
		b.hello(n, "default")
	}
	h := b.acquire("default", "a")
	for _, n := range []string{"b", "c"} {
		req := api.AcquireRequest{Instance: "i1", Request: "q"}
		asked := make(chan error, 1)
		go func() {
			_, err := b.Acquire(b.as(n), "default", n, req, time.Minute)
			asked <- err
		}()
		t.Cleanup(func() { <-asked })
		b.eventually(n+" is queued", func() bool {
			g, _ := b.Group(b.admin(), "default")
			return len(g.Queue) > 0 && g.Queue[len(g.Queue)-1].Node == n
		})
	}
	op := b.ctx(api.RoleOperator)
	if err := b.SetPriority(op, "default", "c", api.PriorityRequest{Priority: 5}); err != nil {
		t.Fatal(err)
	}
	b.eventually("c is first", func() bool { g, _ := b.Group(b.admin(), "default"); return g.Queue[0].Node == "c" })
	field(t, b.SetPriority(op, "default", "c", api.PriorityRequest{Priority: 101}), "priority")
	mustRefuse(t, b.SetPriority(op, "default", "a", api.PriorityRequest{}), api.NotFound)
	if err := b.Release(b.as("a"), "default", "a", h.Fence, "i1"); err != nil {
		t.Fatal(err)
	}
	b.eventually("c holds", func() bool { l, _ := b.Holds(b.admin(), "default"); return len(l) == 1 && l[0].Node == "c" })
	l, _ := b.Holds(b.admin(), "default")
	if err := b.Release(b.as("c"), "default", "c", l[0].Fence, "i1"); err != nil {
		t.Fatal(err)
	}
	if err := b.LeaveQueue(b.as("a"), "default", "a"); err != nil {
		t.Errorf("leaving a queue one is not in: %v", err)
	}
}

func TestWithoutQuorum_WritesSaySoAtOnceAndReadsAreStale(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	b.member.lose(true)
	began := time.Now()
	_, err := b.Acquire(b.as("a"), "default", "a", api.AcquireRequest{Instance: "i1", Request: "q"}, 10*time.Second)
	if e := mustRefuse(t, err, api.NoQuorum); e.RetryAfter <= 0 {
		t.Errorf("%+v", e)
	}
	_, err = b.Freeze(b.admin(), "", api.FreezeRequest{Reason: "x"})
	mustRefuse(t, err, api.NoQuorum)
	_, err = b.PutGroup(b.admin(), "g", api.GroupSpec{Slots: "1"}, "")
	mustRefuse(t, err, api.NoQuorum)
	_, err = b.CreateToken(b.admin(), api.TokenRequest{Role: api.RoleViewer})
	mustRefuse(t, err, api.NoQuorum)
	mustRefuse(t, b.FleetLockRelease(b.as("a"), "default", "a"), api.NoQuorum)
	if took := time.Since(began); took > 8*time.Second {
		t.Errorf("it took %s to say so", took)
	}
	if !b.Stale() || b.Ready(t.Context()) == nil {
		t.Error("it does not say that it is stale")
	}
	st, err := b.Status(b.admin())
	if err != nil || !st.Stale || st.OK || st.Figures.Nodes != 1 || !strings.Contains(st.Sentence, "quorum") {
		t.Errorf("%+v %v", st, err)
	}
	v, err := b.ExplainNode(b.admin(), "a")
	if err != nil || v.MayGo || v.Blockers[0].Kind != api.NoQuorum {
		t.Errorf("%+v %v", v, err)
	}
	b.member.lose(false)
	if err := b.Ready(t.Context()); err != nil {
		t.Error(err)
	}
	b.acquire("default", "a")
}

func TestFresh_AnAnswerThatComesTooLateIsAskedForAgain(t *testing.T) {
	b := start(t)
	asked := 0
	at := func(ages ...time.Duration) func() (semaphore.Answer, error) {
		asked = 0
		return func() (semaphore.Answer, error) {
			age := ages[min(asked, len(ages)-1)]
			asked++
			return semaphore.Answer{At: time.Now().Add(-age)}, nil
		}
	}
	if _, err := b.fresh(t.Context(), at(3*time.Second, 0)); err != nil || asked != 2 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	_, err := b.fresh(t.Context(), at(3*time.Second))
	mustRefuse(t, err, api.NoQuorum)
	if _, err := b.fresh(t.Context(), func() (semaphore.Answer, error) {
		return semaphore.Answer{Kind: semaphore.Full}, nil
	}); err != nil {
		t.Errorf("a refusal needs no haste: %v", err)
	}
}

func TestProblem_NothingUnknownReachesTheClient(t *testing.T) {
	b := start(t)
	for err, kind := range map[error]api.Kind{
		semaphore.ErrDiskLow:                          api.DiskLow,
		semaphore.ErrBusy:                             api.Rate,
		semaphore.ErrNewerSchema:                      api.NewerSchema,
		semaphore.ErrNoQuorum:                         api.NoQuorum,
		context.DeadlineExceeded:                      api.NoQuorum,
		errors.New("secret text"):                     api.Internal,
		api.Errorf(api.InUse, "told by another room"): api.InUse,
	} {
		if e := mustRefuse(t, b.problem(t.Context(), err), kind); strings.Contains(e.Detail, "secret text") {
			t.Errorf("%+v", e)
		}
	}
	for kind, want := range map[semaphore.Kind]int{
		semaphore.Full: 423, semaphore.RetryLater: 429, semaphore.NewerSchema: 503, semaphore.ChangedSince: 412,
		semaphore.DuplicateID: 409, semaphore.UnknownGroup: 404, semaphore.Invalid: 400, semaphore.InUse: 409,
	} {
		until := b.clock.now().Add(time.Minute)
		err := b.refusal(semaphore.Answer{Kind: kind, Blockers: []semaphore.Blocker{{Kind: kind, Detail: "because", Until: until}}})
		e := mustRefuse(t, err, api.Kind(kind))
		if e.Kind.Status() != want || (want == 429 && e.RetryAfter < 59*time.Second) {
			t.Errorf("%s: %d, %+v", kind, e.Kind.Status(), e)
		}
	}
}

func TestConfirm_TheFirstOneNeedsARolloutThatRuns(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	h := b.acquire("default", "a")
	req := api.ConfirmRequest{Fence: h.Fence, Instance: "i1", BootID: "b1", Rollout: "r1"}
	b.rollouts.set(func() { b.rollouts.stopped["r1"] = true })
	_, err := b.Confirm(b.as("a"), "default", "a", req)
	mustRefuse(t, err, api.Conflict)
	if st, _ := b.sem.View("default"); st.Holds["a"].State != semaphore.Granted {
		t.Fatalf("the hold is %s, want granted still", st.Holds["a"].State)
	}
	b.rollouts.set(func() { b.rollouts.stopped["r1"] = false })
	if _, err := b.Confirm(b.as("a"), "default", "a", req); err != nil {
		t.Fatal(err)
	}
	// Who has begun finishes, whatever becomes of the rollout.
	b.rollouts.set(func() { b.rollouts.stopped["r1"] = true })
	if _, err := b.Confirm(b.as("a"), "default", "a", req); err != nil {
		t.Errorf("the second gate: %v", err)
	}
}

// The deadline that is shown is the one that is judged: it stands still while the
// fleet is frozen, and has that time on top afterwards, in all the places where it
// is shown.
func TestHolds_TheDeadlineShownStandsStillWhileFrozen(t *testing.T) {
	b := start(t)
	b.clock.stand()
	b.hello("a", "default")
	h := b.acquire("default", "a")
	b.confirm(h)
	shown := func(what string, due time.Duration, still string, overdue bool) {
		t.Helper()
		want := h.Since.Add(due)
		b.eventually(what, func() bool {
			holds, err := b.Holds(b.admin(), "default")
			if err != nil {
				t.Fatal(err)
			}
			g, err := b.Group(b.admin(), "default")
			if err != nil {
				t.Fatal(err)
			}
			n, err := b.Node(b.admin(), "a")
			if err != nil {
				t.Fatal(err)
			}
			v, err := b.ExplainNode(b.admin(), "a")
			if err != nil {
				t.Fatal(err)
			}
			list := append(append(holds, g.Holds...), *n.Hold, *v.Hold)
			st, err := b.Status(b.admin())
			if err != nil {
				t.Fatal(err)
			}
			told := slices.ContainsFunc(st.Attention, func(a api.Attention) bool { return a.Kind == attentionOverdue })
			if told != overdue || (n.State == api.NodeOverdue) != overdue || (g.Status.Stuck == 1) != overdue {
				return false
			}
			for _, got := range list {
				if got.Deadline.Sub(want).Abs() > 5*time.Second || got.DeadlineStill != still || got.Overdue != overdue {
					return false
				}
			}
			return len(list) == 4
		})
	}
	shown("at first", 30*time.Minute, "", false)
	b.clock.pass(10 * time.Minute)
	f, err := b.Freeze(b.admin(), "", api.FreezeRequest{Reason: "a flood"})
	if err != nil {
		t.Fatal(err)
	}
	b.clock.pass(time.Hour)
	b.report("a", 2, func(*api.Report) {})
	shown("frozen for an hour", 90*time.Minute, "frozen", false)
	if err := b.Unfreeze(b.admin(), "", f.ID); err != nil {
		t.Fatal(err)
	}
	b.clock.pass(19 * time.Minute)
	b.report("a", 3, func(*api.Report) {})
	shown("lifted", 90*time.Minute, "", false)
	b.clock.pass(2 * time.Minute)
	b.report("a", 4, func(*api.Report) {})
	shown("past it", 90*time.Minute, "", true)
}
