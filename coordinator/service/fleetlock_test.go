package service

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func (b *bench) lock(group, id, peer string) (semaphore.Answer, error) {
	return b.FleetLockAcquire(b.as(id), group, id, peer, 0)
}

func TestFleetLock_TakesASlotAndReturnsIt(t *testing.T) {
	b := start(t)
	a, err := b.lock("default", "c1", "10.0.0.1:4711")
	if err != nil || a.Kind != semaphore.OK || !a.Created || a.Hold.State != semaphore.Confirmed || a.Hold.Peer != "10.0.0.1" {
		t.Fatalf("%+v %v", a, err)
	}
	n, err := b.Node(b.admin(), "c1")
	if err != nil || n.Via != "fleetlock" || n.State != api.NodeOut || n.Hold == nil || n.Group != "default" {
		t.Errorf("%+v %v", n, err)
	}
	if a, err := b.lock("default", "c2", "10.0.0.2:1"); err != nil || a.Kind != semaphore.Full {
		t.Errorf("a second host: %+v %v", a, err)
	}
	for range 2 {
		if err := b.FleetLockRelease(b.as("c1"), "default", "c1"); err != nil {
			t.Fatal(err)
		}
	}
	if l, _ := b.Holds(b.admin(), ""); len(l) != 0 {
		t.Errorf("%+v", l)
	}
}

func TestFleetLock_AskingAgainGivesANewFenceWhichAnOldReleaseDoesNotReturn(t *testing.T) {
	b := start(t)
	first, err := b.lock("default", "c1", "10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	again, err := b.lock("default", "c1", "10.0.0.1:2")
	if err != nil || again.Created || again.Hold.Fence <= first.Hold.Fence || !again.Hold.Since.Equal(first.Hold.Since) {
		t.Fatalf("%+v %v", again, err)
	}
	b.FleetLockGiveBack("default", "c1", first.Hold.Fence)
	if l, _ := b.Holds(b.admin(), ""); len(l) != 1 {
		t.Fatal("a hold that was only given a new fence was returned by the old one")
	}
	b.FleetLockGiveBack("default", "c1", again.Hold.Fence)
	if l, _ := b.Holds(b.admin(), ""); len(l) != 0 {
		t.Error("the hold of that very fence was kept")
	}
}

func TestFleetLock_AReleaseIsCarriedThroughWhenItsClientHasGone(t *testing.T) {
	b := start(t)
	if _, err := b.lock("default", "c1", "10.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.as("c1"))
	cancel()
	if err := b.FleetLockRelease(ctx, "default", "c1"); err != nil {
		t.Fatal(err)
	}
	if l, _ := b.Holds(b.admin(), ""); len(l) != 0 {
		t.Error("the slot was not returned")
	}
}

func TestFleetLock_OfAnAgentsHoldChangesNothing(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	h := b.acquire("default", "a")
	if a, err := b.lock("default", "a", "10.0.0.1:1"); err != nil || a.Kind != semaphore.HeldByOther {
		t.Errorf("%+v %v", a, err)
	}
	if err := b.FleetLockRelease(b.as("a"), "default", "a"); err != nil {
		t.Fatal(err)
	}
	if l, _ := b.Holds(b.admin(), ""); len(l) != 1 || l[0].Fence != h.Fence {
		t.Errorf("%+v", l)
	}
}

func TestFleetLock_OfAnUnknownGroupIsAClearErrorOrMakesOneWithoutSlots(t *testing.T) {
	b := start(t)
	_, err := b.lock("web", "c1", "10.0.0.1:1")
	mustRefuse(t, err, api.UnknownGroup)
	mustRefuse(t, b.FleetLockRelease(b.as("c1"), "web", "c1"), api.UnknownGroup)
	_, err = b.lock("no group", "c1", "")
	mustRefuse(t, err, api.Invalid)
	_, err = b.FleetLockAcquire(b.admin(), "default", "", "", 0)
	mustRefuse(t, err, api.Invalid)

	auto := start(t, func(c *Config) { c.AutoCreateGroups = true })
	if a, err := auto.lock("web", "c1", "10.0.0.1:1"); err != nil || a.Kind != semaphore.Full {
		t.Errorf("%+v %v", a, err)
	}
}

func TestFleetLock_AnIDThatHoldsElsewhereIsRefused(t *testing.T) {
	b := start(t)
	b.withGroup("web", "1")
	if _, err := b.lock("web", "c1", "10.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	_, err := b.lock("default", "c1", "10.0.0.1:1")
	if e := mustRefuse(t, err, api.HeldByOther); !strings.Contains(e.Detail, "web") {
		t.Errorf("%+v", e)
	}
}

func TestFleetLock_TwoAddressesAtOnceAreListedAndRefusedOnlyWhenAddressesAreStrict(t *testing.T) {
	for _, strict := range []bool{false, true} {
		b := start(t, func(c *Config) { c.StrictAddress = strict })
		if _, err := b.lock("default", "c1", "10.0.0.1:1"); err != nil {
			t.Fatal(err)
		}
		a, err := b.lock("default", "c1", "10.0.0.2:1")
		if strict {
			mustRefuse(t, err, api.DuplicateID)
		} else if err != nil || a.Kind != semaphore.OK {
			t.Errorf("not strict: %+v %v", a, err)
		}
		st, _ := b.Status(b.admin())
		if len(st.Attention) != 1 || st.Attention[0].Kind != attentionDuplicate || !strings.Contains(st.Attention[0].Detail, "10.0.0.2") {
			t.Errorf("strict %v: %+v", strict, st.Attention)
		}
	}
}

func TestFleetLock_ANewAddressAfterARebootIsNoSecondHost(t *testing.T) {
	b := start(t, func(c *Config) { c.StrictAddress = true })
	for _, peer := range []string{"10.0.0.1:1", "10.0.0.2:1"} {
		if a, err := b.lock("default", "c1", peer); err != nil || a.Kind != semaphore.OK {
			t.Fatalf("%+v %v", a, err)
		}
		if err := b.FleetLockRelease(b.as("c1"), "default", "c1"); err != nil {
			t.Fatal(err)
		}
		b.clock.pass(2 * time.Minute)
	}
}

func TestFleetLock_AHostHeardAMomentAgoIsNotFreedByName(t *testing.T) {
	b := start(t)
	a, err := b.lock("default", "c1", "10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	op := b.ctx(api.RoleOperator)
	if _, err := b.Revoke(op, "default", "c1", api.RevokeRequest{Fence: a.Hold.Fence, Name: "c1", Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	b.clock.pass(30 * time.Second)
	free := api.ReleaseRequest{Fence: a.Hold.Fence, Name: "c1", Reason: "x", HostIsDown: true}
	mustRefuse(t, b.ForceRelease(op, "default", "c1", free), api.Conflict)
	b.clock.pass(time.Minute)
	b.free(op, "default", "c1", free)
}

// lateStore answers grants as old as a store does whose disk hangs.
type lateStore struct {
	semaphore.Store
	looked func()
}

func (l lateStore) Acquire(ctx context.Context, group string, op *semaphore.Acquire, wait time.Duration) (semaphore.Answer, error) {
	a, err := l.Store.Acquire(ctx, group, op, wait)
	a.At = a.At.Add(-freshFor - time.Second)
	l.looked()
	return a, err
}

func TestFleetLock_AHoldThatCameTooLateForItsClientIsGivenBack(t *testing.T) {
	for name, leaves := range map[string]bool{"its client left": true, "its client waits": false} {
		ctx, cancel := context.WithCancel(auth.With(t.Context(), auth.Local()))
		defer cancel()
		b := start(t, func(c *Config) {
			c.Store = lateStore{c.Store, func() {
				if leaves {
					cancel()
				}
			}}
		})
		_, err := b.FleetLockAcquire(ctx, "default", "c1", "10.0.0.1:1", 0)
		mustRefuse(t, err, api.NoQuorum)
		if l, _ := b.Holds(b.admin(), ""); len(l) != 0 {
			t.Errorf("%s: %+v", name, l)
		}
	}
}

// A hold that was made too late, and is not this request's any more when it looks
// again, is given back only while it has the fence that it was made with.
func TestFleetLock_WhatBecameOfAHoldThatCameTooLateDecidesWhetherItIsGivenBack(t *testing.T) {
	for name, c := range map[string]struct {
		between func(b *bench, h semaphore.Hold) error
		kept    bool
	}{
		"it was revoked": {func(b *bench, h semaphore.Hold) error {
			_, err := b.Revoke(b.admin(), "default", "c1", api.RevokeRequest{Fence: h.Fence, Name: "c1", Reason: "x"})
			return err
		}, false},
		"another request of the host had its 200": {func(b *bench, h semaphore.Hold) error {
			a, err := b.sem.Acquire(b.t.Context(), "default", &semaphore.Acquire{
				Node: "c1", Request: "another", Via: semaphore.ViaFleetLock, Peer: "10.0.0.1", Register: true, Bound: h.Fence,
			}, 0)
			if err == nil && (a.Kind != semaphore.OK || a.Hold.Fence <= h.Fence) {
				b.t.Errorf("the other request: %+v", a)
			}
			return err
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var b *bench
			looked := 0
			b = start(t, func(cfg *Config) {
				cfg.Store = lateStore{cfg.Store, func() {
					if looked++; looked > 1 {
						return
					}
					st, err := b.sem.Read(b.t.Context(), "default")
					if err == nil {
						h, _ := st.Hold("c1")
						err = c.between(b, h)
					}
					if err != nil {
						b.t.Error(err)
					}
				}}
			})
			if a, err := b.lock("default", "c1", "10.0.0.1:1"); err == nil && a.Kind == semaphore.OK {
				t.Fatalf("it was granted all the same: %+v", a)
			}
			if l, _ := b.Holds(b.admin(), ""); (len(l) == 1) != c.kept {
				t.Errorf("holds: %+v, want it kept: %v", l, c.kept)
			}
		})
	}
}

func TestFleetLock_AStrictAddressKeepsTheFirstForAsLongAsItAsks(t *testing.T) {
	b := start(t, func(c *Config) { c.StrictAddress = true })
	b.withGroup("default", "0")
	ask := func(peer string) error { _, err := b.lock("default", "c1", peer); return err }
	if err := ask("10.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		mustRefuse(t, ask("10.0.0.2:1"), api.DuplicateID)
		if err := ask("10.0.0.1:1"); err != nil {
			t.Errorf("the first: %v", err)
		}
	}
	b.clock.pass(2 * time.Minute)
	if err := ask("10.0.0.2:1"); err != nil {
		t.Errorf("once the first is silent: %v", err)
	}
}

func TestFleetLock_ACoordinatorThatJustStartedCannotKnowThatAHostIsSilent(t *testing.T) {
	a := start(t)
	got, err := a.lock("default", "c1", "10.0.0.1:1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := a.Revoke(a.admin(), "default", "c1", api.RevokeRequest{Fence: got.Hold.Fence, Name: "c1", Reason: "x"}); err != nil {
		t.Fatal(err)
	}
	a.end() // and nobody is left to say
	b := startAt(t, a.prefix)
	b.clock.pass(30 * time.Second)
	free := api.ReleaseRequest{Fence: got.Hold.Fence, Name: "c1", Reason: "x", HostIsDown: true}
	mustRefuse(t, b.ForceRelease(b.admin(), "default", "c1", free), api.Conflict)
	b.clock.pass(time.Minute)
	if err := b.ForceRelease(b.admin(), "default", "c1", free); err != nil {
		t.Error(err)
	}
}

func TestFleetLock_AHostThatAsksInAnotherGroupHasMovedThere(t *testing.T) {
	b := start(t)
	b.withGroup("web", "1")
	if _, err := b.lock("default", "c1", "10.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if err := b.FleetLockRelease(b.as("c1"), "default", "c1"); err != nil {
		t.Fatal(err)
	}
	if a, err := b.lock("web", "c1", "10.0.0.1:1"); err != nil || a.Kind != semaphore.OK {
		t.Fatalf("%+v %v", a, err)
	}
	if g, _ := b.Group(b.admin(), "default"); g.Status.Members != 0 {
		t.Errorf("the group that it left counts %d members", g.Status.Members)
	}
	if n, err := b.Node(b.admin(), "c1"); err != nil || n.Group != "web" || n.Hold == nil {
		t.Errorf("%+v %v", n, err)
	}
}

func TestFleetLock_OfAnAgentsNodeDoesNotMoveIt(t *testing.T) {
	b := start(t)
	b.withGroup("web", "1")
	b.hello("a", "default")
	if _, err := b.lock("web", "a", "10.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	if g, _ := b.Group(b.admin(), "default"); g.Status.Members != 1 {
		t.Errorf("the agent's group counts %d members", g.Status.Members)
	}
}
