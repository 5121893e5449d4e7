package service

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// soon waits for what another coordinator is about to learn.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// twins are two coordinators on one store, each with a clock of its own.
func twins(t *testing.T, options ...func(*Config)) (here, there *bench) {
	here = start(t, options...)
	return here, startAt(t, here.prefix, options...)
}

func heardAt(b *bench, node string) bool {
	n, err := b.Node(b.admin(), node)
	return err == nil && b.clock.now().Sub(n.LastHeard) < time.Second
}

func TestTwins_AnAgentHeardAtOneIsNeitherUnreachableNorFreedAtTheOther(t *testing.T) {
	here, there := twins(t)
	here.hello("n", "default")
	h := here.acquire("default", "n")
	here.confirm(h)
	there.clock.stand()
	there.clock.pass(time.Hour)
	soon(t, "the other knows that it is heard", func() bool { return heardAt(there, "n") })
	if n, err := there.Node(there.admin(), "n"); err != nil || n.State == api.NodeUnreachable {
		t.Errorf("%s, %v", n.State, err)
	}
	list, err := there.Holds(there.admin(), "default")
	if err != nil || len(list) != 1 || list[0].Heard == nil || !there.clock.now().Equal(*list[0].Heard) {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := there.Revoke(there.admin(), "default", "n", api.RevokeRequest{Fence: h.Fence, Name: "n", Reason: "dead"}); err != nil {
		t.Fatal(err)
	}
	there.clock.pass(time.Minute)
	free := api.ReleaseRequest{Fence: h.Fence, Name: "n", Reason: "dead", HostIsDown: true}
	if e := mustRefuse(t, there.ForceRelease(there.admin(), "default", "n", free), api.Conflict); !strings.Contains(e.Detail, "heard from 0s ago") {
		t.Errorf("said %q", e.Detail)
	}
}

func TestTwins_AFleetLockHostHeardAtOneIsNotFreedAtTheOther(t *testing.T) {
	here, there := twins(t)
	a, err := here.FleetLockAcquire(here.as("c"), "default", "c", "10.0.0.1:1", 0)
	if err != nil || a.Hold == nil {
		t.Fatalf("%+v, %v", a, err)
	}
	there.clock.stand()
	there.clock.pass(time.Hour)
	soon(t, "the other knows that it is heard", func() bool { return heardAt(there, "c") })
	list, err := there.Holds(there.admin(), "default")
	if err != nil || len(list) != 1 || list[0].Heard == nil {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := there.Revoke(there.admin(), "default", "c", api.RevokeRequest{Fence: a.Hold.Fence, Name: "c", Reason: "dead"}); err != nil {
		t.Fatal(err)
	}
	there.clock.pass(time.Minute)
	free := api.ReleaseRequest{Fence: a.Hold.Fence, Name: "c", Reason: "dead", HostIsDown: true}
	if e := mustRefuse(t, there.ForceRelease(there.admin(), "default", "c", free), api.Conflict); !strings.Contains(e.Detail, "heard from 0s ago") {
		t.Errorf("said %q", e.Detail)
	}
}

func TestTwins_TwoHostsOfOneFleetLockIDAreSeen(t *testing.T) {
	for strict, want := range map[bool]api.Kind{true: api.DuplicateID, false: ""} {
		here, there := twins(t, func(c *Config) { c.StrictAddress = strict })
		here.withGroup("default", "0")
		if _, err := here.FleetLockAcquire(here.as("c"), "default", "c", "10.0.0.1:1", 0); err != nil {
			t.Fatal(err)
		}
		soon(t, "the other knows that it is heard", func() bool { return heardAt(there, "c") })
		_, err := there.FleetLockAcquire(there.as("c"), "default", "c", "10.0.0.2:1", 0)
		if want != "" {
			mustRefuse(t, err, want)
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		n, err := there.Node(there.admin(), "c")
		if err != nil || !strings.Contains(n.Duplicate, "10.0.0.1") || !strings.Contains(n.Duplicate, "10.0.0.2") {
			t.Errorf("duplicate is %q, %v", n.Duplicate, err)
		}
	}
}

// The mark of a revoke has the time of who put it. One whose clock is behind
// must not make the other free the hold of a host that had no time to see it.
func TestForceRelease_TheWaitCountsFromWhenThisCoordinatorKnewOfTheRevoke(t *testing.T) {
	slow, here := twins(t)
	slow.hello("n", "default")
	h := slow.acquire("default", "n")
	slow.confirm(h)
	here.clock.stand()
	here.clock.pass(10 * time.Minute)
	if err := slow.registry.Forget(t.Context(), "n"); err != nil { // so that nothing else stands in the way
		t.Fatal(err)
	}
	soon(t, "the other has forgotten it too", func() bool {
		here.clock.pass(time.Minute)
		heard, _ := here.agents.Elsewhere("n")
		return here.fleet.Heard("n").IsZero() && here.clock.now().Sub(heard) >= time.Minute
	})
	free := api.ReleaseRequest{Fence: h.Fence, Name: "n", Reason: "dead", HostIsDown: true}
	if _, err := slow.Revoke(slow.admin(), "default", "n", api.RevokeRequest{Fence: h.Fence, Name: "n", Reason: "dead"}); err != nil {
		t.Fatal(err)
	}
	if e := mustRefuse(t, here.ForceRelease(here.admin(), "default", "n", free), api.Conflict); !strings.Contains(e.Detail, "revoked 0s ago") {
		t.Errorf("said %q", e.Detail)
	}
	here.clock.pass(16 * time.Second)
	if err := here.ForceRelease(here.admin(), "default", "n", free); err != nil {
		t.Errorf("after the wait: %v", err)
	}
}
