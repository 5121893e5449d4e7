package service

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/internal/etcdtest"
)

// snapshot copies the bench's data to another prefix, as they are now.
func (b *bench) snapshot() string {
	b.t.Helper()
	_, prefix := startEtcd(b.t)
	if err := etcdtest.Copy(b.t.Context(), shared.node.Client(), b.prefix, prefix); err != nil {
		b.t.Fatal(err)
	}
	return prefix
}

// restore goes on from a snapshot, with another coordinator.
func (b *bench) restore(prefix string) (*bench, etcdstore.Restored) {
	b.t.Helper()
	b.end()
	done, err := etcdstore.MarkRestored(b.t.Context(), shared.node.Client(), prefix, "the test", time.Now())
	if err != nil {
		b.t.Fatal(err)
	}
	return startAt(b.t, prefix), done
}

// says is what a node says of itself.
func (b *bench) says(node, group string, seq uint64, phase api.Phase, fence int64) api.PollResponse {
	b.t.Helper()
	req := poll(group)
	req.Report.Seq, req.Report.Phase, req.Report.Fence = seq, phase, fence
	resp, err := b.Poll(b.as(node), node, req)
	if err != nil {
		b.t.Fatal(err)
	}
	return resp
}

func (b *bench) holdOf(group, node string) *api.Hold {
	b.t.Helper()
	list, err := b.Holds(b.admin(), group)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, h := range list {
		if h.Node == node {
			return &h
		}
	}
	return nil
}

func TestRestored_IsTheSameClusterInAHigherIncarnationAndFrozen(t *testing.T) {
	b := start(t)
	id, before := b.ClusterID()
	r, done := b.restore(b.snapshot())
	again, after := r.ClusterID()
	if again != id || after <= before || done.Was.Incarnation != before || done.Is.Incarnation != after {
		t.Errorf("cluster %s incarnation %d became %s incarnation %d", id, before, again, after)
	}
	s, err := r.Status(r.admin())
	if err != nil || s.Frozen == nil || s.Frozen.By != "restore" || !strings.HasPrefix(s.Frozen.Reason, "restored from the test") {
		t.Fatalf("frozen %+v, %v", s.Frozen, err)
	}
	if s.OK || len(s.Attention) == 0 || s.Attention[0].Kind != "restored" {
		t.Errorf("ok %v, attention %+v", s.OK, s.Attention)
	}
	_, err = r.Acquire(r.as("web-1"), "default", "web-1", api.AcquireRequest{Instance: "i1", Request: "q9"}, 0)
	if kindOf(err) == "" {
		t.Error("a slot was granted in a restored fleet that is frozen")
	}
	r.hello("web-1", "default")
	_, err = r.Acquire(r.as("web-1"), "default", "web-1", api.AcquireRequest{Instance: "i1", Request: "q9"}, 0)
	mustRefuse(t, err, api.Frozen)
}

func TestRestored_FencesAreAboveEveryOneGivenAfterTheSnapshotToo(t *testing.T) {
	b := start(t)
	b.hello("web-1", "default")
	h := b.acquire("default", "web-1")
	if err := b.Release(b.as("web-1"), "default", "web-1", h.Fence, "i1"); err != nil {
		t.Fatal(err)
	}
	prefix := b.snapshot()
	var last int64
	for range 5 {
		h := b.acquire("default", "web-1")
		last = h.Fence
		if err := b.Release(b.as("web-1"), "default", "web-1", h.Fence, "i1"); err != nil {
			t.Fatal(err)
		}
	}
	r, done := b.restore(prefix)
	r.hello("web-1", "default")
	if err := r.Unfreeze(r.admin(), "", done.Freeze.ID); err != nil {
		t.Fatal(err)
	}
	if h := r.acquire("default", "web-1"); h.Fence <= last {
		t.Errorf("fence %d after the restore, %d was given before", h.Fence, last)
	}
	// A group that came after the snapshot and is made again, too.
	r.withGroup("later", "1")
	r.hello("db-1", "later")
	if h := r.acquire("later", "db-1"); h.Fence <= last {
		t.Errorf("fence %d in a group made again", h.Fence)
	}
}

// web-1 took its slot after the snapshot, and goes on as if nothing had been.
func TestRestored_HoldThatANodeShowsIsAdoptedAtItsReportOrItsGate(t *testing.T) {
	for name, show := range map[string]func(r *bench, h api.Hold){
		"by its report": func(r *bench, h api.Hold) { r.says("web-1", "default", 2, api.PhaseDraining, h.Fence) },
		"at its gate": func(r *bench, h api.Hold) {
			req := api.ConfirmRequest{Fence: h.Fence, Instance: "i1", BootID: "b1"}
			_, err := r.Confirm(r.as("web-1"), "default", "web-1", req)
			mustRefuse(r.t, err, api.Frozen) // whether it was confirmed is not known yet
			r.says("web-1", "default", 2, api.PhaseDraining, h.Fence)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			b.hello("web-1", "default")
			b.hello("web-2", "default")
			prefix := b.snapshot()
			h := b.acquire("default", "web-1")
			b.confirm(h)
			r, done := b.restore(prefix)
			show(r, h)
			got := r.holdOf("default", "web-1")
			if got == nil || got.Fence != h.Fence || got.State != "confirmed" {
				t.Fatalf("hold %+v, want fence %d confirmed", got, h.Fence)
			}
			r.confirm(h) // its next gate, frozen or not
			r.hello("web-2", "default")
			if err := r.Unfreeze(r.admin(), "", done.Freeze.ID); err != nil {
				t.Fatal(err)
			}
			_, err := r.Acquire(r.as("web-2"), "default", "web-2", api.AcquireRequest{Instance: "i1", Request: "q"}, 0)
			mustRefuse(t, err, api.Full)
			if err := r.Release(r.as("web-1"), "default", "web-1", h.Fence, "i1"); err != nil {
				t.Fatal(err)
			}
			if next := r.acquire("default", "web-2"); next.Fence <= h.Fence {
				t.Errorf("fence %d after %d", next.Fence, h.Fence)
			}
		})
	}
}

func TestRestored_NothingIsAdoptedOnceTheFreezeIsLifted(t *testing.T) {
	b := start(t)
	b.hello("web-1", "default")
	prefix := b.snapshot()
	h := b.acquire("default", "web-1")
	b.confirm(h)
	r, done := b.restore(prefix)
	if err := r.UnfreezeAccepting(r.admin(), done.Freeze.ID, 1); err != nil {
		t.Fatal(err)
	}
	r.says("web-1", "default", 2, api.PhaseDraining, h.Fence)
	if got := r.holdOf("default", "web-1"); got != nil {
		t.Errorf("adopted %+v after somebody accepted that it was not heard", got)
	}
	_, err := r.Confirm(r.as("web-1"), "default", "web-1", api.ConfirmRequest{Fence: h.Fence, Instance: "i1", BootID: "b1"})
	mustRefuse(t, err, api.StaleFence)
}

// The snapshot has a hold that its owner returned later. The owner will never
// return it again: it knows of none.
func TestRestored_HoldThatItsNodeReturnedSinceIsReturned(t *testing.T) {
	for name, show := range map[string]func(r *bench){
		"it is idle": func(r *bench) { r.says("web-1", "default", 2, api.PhaseIdle, 0) },
		"it asks for another slot before it reports": func(r *bench) {
			_, err := r.Acquire(r.as("web-1"), "default", "web-1", api.AcquireRequest{Instance: "i1", Request: "another"}, 0)
			mustRefuse(r.t, err, api.Frozen)
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t)
			b.hello("web-1", "default")
			h := b.acquire("default", "web-1")
			b.confirm(h)
			prefix := b.snapshot()
			if err := b.Release(b.as("web-1"), "default", "web-1", h.Fence, "i1"); err != nil {
				t.Fatal(err)
			}
			r, _ := b.restore(prefix)
			if got := r.holdOf("default", "web-1"); got == nil {
				t.Fatal("the snapshot's hold was not kept")
			}
			show(r)
			if got := r.holdOf("default", "web-1"); got != nil {
				t.Errorf("hold %+v, which its node does not have", got)
			}
		})
	}
}

func TestRestored_AHoldIsKeptWhoseAgentCannotReadItsJournal(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	b.confirm(b.acquire("default", "a"))
	after, _ := b.restore(b.snapshot())
	after.report("a", 9, func(r *api.Report) { r.Phase, r.Healthy, r.Trouble = api.PhaseFailed, false, "the journal is damaged" })
	if after.holdOf("default", "a") == nil {
		t.Error("the slot was returned")
	}
}

func TestRestored_KeptHoldGoesOnWithItsFence(t *testing.T) {
	b := start(t)
	b.hello("web-1", "default")
	h := b.acquire("default", "web-1")
	b.confirm(h)
	r, _ := b.restore(b.snapshot())
	r.says("web-1", "default", 2, api.PhaseRebooting, h.Fence)
	r.confirm(h)
	got, err := r.Acquire(r.as("web-1"), "default", "web-1", api.AcquireRequest{Instance: "i1", Request: "q1"}, 0)
	if err != nil || got.Hold.Fence != h.Fence {
		t.Errorf("the same request: %+v, %v; want the same hold, fence %d", got.Hold, err, h.Fence)
	}
}

func TestRestored_LiftingTheFreezeNamesWhoWasNotHeardAndAsksForTheirNumber(t *testing.T) {
	b := start(t)
	for _, node := range []string{"web-1", "web-2", "web-3"} {
		b.hello(node, "default")
	}
	if _, err := b.FleetLockAcquire(b.admin(), "default", "coreos-1", "10.0.0.7:1", 0); err != nil {
		t.Fatal(err)
	}
	r, done := b.restore(b.snapshot())
	r.hello("web-1", "default")
	e := mustRefuse(t, r.Unfreeze(r.admin(), "", done.Freeze.ID), api.Conflict)
	for _, word := range []string{"2 nodes were not heard", "web-2, web-3", "FleetLock (coreos-1)", "--accept-unheard 3"} {
		if !strings.Contains(e.Detail, word) {
			t.Errorf("%q does not say %q", e.Detail, word)
		}
	}
	if strings.Contains(e.Detail, "web-1") {
		t.Errorf("%q names a node that was heard", e.Detail)
	}
	mustRefuse(t, r.UnfreezeAccepting(r.admin(), done.Freeze.ID, 2), api.Conflict)
	field(t, r.UnfreezeAccepting(r.admin(), done.Freeze.ID, -1), "accept_unheard")
	r.hello("web-2", "default")
	if err := r.UnfreezeAccepting(r.admin(), done.Freeze.ID, 3); err != nil {
		t.Fatalf("with fewer silent nodes than were accepted: %v", err)
	}
}

func TestRestored_ACoordinatorThatUsesTheStoreIsNotPassed(t *testing.T) {
	b := start(t)
	b.db.Announce()
	b.eventually("it is listed", func() bool { return len(b.db.Coordinators()) == 1 })
	before, _ := b.ClusterID()
	_, err := etcdstore.MarkRestored(t.Context(), shared.node.Client(), b.prefix, "the test", time.Now())
	if err == nil || !strings.Contains(err.Error(), "stop them all") {
		t.Errorf("err is %v", err)
	}
	if id, _ := b.ClusterID(); id != before || b.store.FleetFreeze() != nil {
		t.Error("something was changed all the same")
	}
}
