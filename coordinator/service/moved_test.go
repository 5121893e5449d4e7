package service

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// A host that goes to another coordinator is left with the first, which does
// not hear it and must not take that for silence.
func TestTwins_AHostThatMovedIsNotFreedWhereItWasHeardBefore(t *testing.T) {
	here, there := twins(t)
	here.hello("n", "default")
	agent := here.acquire("default", "n")
	here.confirm(agent)
	here.withGroup("guests", "1")
	guest, err := here.FleetLockAcquire(here.as("c"), "guests", "c", "10.0.0.1:1", 0)
	if err != nil || guest.Hold == nil {
		t.Fatalf("%+v, %v", guest, err)
	}
	soon(t, "the other knows that they are heard", func() bool { return heardAt(there, "n") && heardAt(there, "c") })
	for _, c := range []struct {
		group, node string
		fence       int64
		asks        func()
	}{
		{"default", "n", agent.Fence, func() { there.hello("n", "default") }},
		{"guests", "c", guest.Hold.Fence, func() {
			if a, err := there.FleetLockAcquire(there.as("c"), "guests", "c", "10.0.0.1:1", 0); err != nil || a.Kind == semaphore.OK {
				t.Errorf("with its hold revoked: %+v, %v", a, err)
			}
		}},
	} {
		if _, err := here.Revoke(here.admin(), c.group, c.node, api.RevokeRequest{Fence: c.fence, Name: c.node, Reason: "dead"}); err != nil {
			t.Fatal(err)
		}
		soon(t, "the other knows of the revoke", func() bool {
			st, _ := there.sem.View(c.group)
			return st.Holds[c.node].State == semaphore.Revoked
		})
		here.clock.pass(65 * time.Second) // it is silent here, and the other was not told yet
		c.asks()
		free := api.ReleaseRequest{Fence: c.fence, Name: c.node, Reason: "dead", HostIsDown: true}
		mustRefuse(t, here.ForceRelease(here.admin(), c.group, c.node, free), api.Conflict)
	}
}

// A release needs no member, so that anything may be asked for: it must not be
// remembered, in the store least of all.
func TestFleetLockRelease_OfAnUnknownIDLeavesNothingBehind(t *testing.T) {
	here, there := twins(t)
	here.withGroup("guests", "1")
	if _, err := here.FleetLockAcquire(here.as("c"), "guests", "c", "10.0.0.1:1", 0); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"stranger", "c"} {
		if err := here.FleetLockRelease(here.as(id), "guests", id); err != nil {
			t.Fatal(err)
		}
	}
	soon(t, "the other knows of the member", func() bool { return heardAt(there, "c") })
	for name, b := range map[string]*bench{"here": here, "there": there} {
		if heard := b.guestHeard("stranger"); !heard.IsZero() {
			t.Errorf("%s the stranger is remembered: %s", name, heard)
		}
	}
}
