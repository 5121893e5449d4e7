package etcdstore

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// present opens a coordinator whose clock is off by so much.
func present(t *testing.T, prefix, name string, off time.Duration) *DB {
	t.Helper()
	c, _ := client(t)
	d := openAt(t, Config{Client: c, Prefix: prefix, Now: func() time.Time { return time.Now().Add(off) }, Self: Coordinator{Name: name, Version: "1"}})
	if err := d.announce(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// tell has every one say again that it is there, and waits until all know the
// clocks of all.
func tell(t *testing.T, all ...*DB) {
	t.Helper()
	for _, d := range all {
		if err := d.announce(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range all {
		soon(t, "all are known", func() bool {
			known := 0
			for _, p := range d.Coordinators() {
				if p.ClockOffKnown {
					known++
				}
			}
			return known == len(all)
		})
	}
}

// soon waits until a condition holds of which Changed does not tell.
func soon(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestCoordinators_KnowEachOtherUntilOneEnds(t *testing.T) {
	_, prefix := client(t)
	a, b := present(t, prefix, "a", 0), present(t, prefix, "b", 0)
	tell(t, a, b)
	list := a.Coordinators()
	if len(list) != 2 || list[0].Name != "a" || !list[0].Self || list[1].Name != "b" || list[1].Self || list[1].Version != "1" {
		t.Fatalf("%+v", list)
	}
	changed := a.Changed()
	b.Stop()
	eventually(t, a, "the other is gone", func() bool { return len(a.Coordinators()) == 1 })
	select {
	case <-changed:
	case <-time.After(patience):
		t.Error("that is no news to those who look")
	}
}

func TestClockSkewed_OneOffTheMedianOfItsPeersKnowsIt(t *testing.T) {
	_, prefix := client(t)
	right, alsoRight, wrong := present(t, prefix, "a", 0), present(t, prefix, "b", 5*time.Second), present(t, prefix, "c", 2*time.Minute)
	tell(t, right, alsoRight, wrong)
	// Of two peers one is wrong: any time between them is a median.
	for _, d := range []*DB{right, alsoRight} {
		if err := d.ClockSkewed(); err != nil {
			t.Errorf("a right one of three says %v", err)
		}
	}
	if err := wrong.ClockSkewed(); err == nil || !strings.Contains(err.Error(), "c") || !strings.Contains(err.Error(), "ahead of") {
		t.Errorf("the wrong one says %v", err)
	}
	fourth := present(t, prefix, "d", -5*time.Second)
	tell(t, right, alsoRight, wrong, fourth)
	for _, d := range []*DB{right, alsoRight, fourth} {
		if err := d.ClockSkewed(); err != nil {
			t.Errorf("a right one says %v", err)
		}
	}
}

func TestClockSkewed_OfTwoNeitherIsBelieved(t *testing.T) {
	_, prefix := client(t)
	a := present(t, prefix, "a", 0)
	if err := a.ClockSkewed(); err != nil {
		t.Errorf("alone: %v", err)
	}
	b := present(t, prefix, "b", -40*time.Second)
	tell(t, a, b)
	if a.ClockSkewed() == nil || b.ClockSkewed() == nil {
		t.Errorf("40 s apart: %v, %v", a.ClockSkewed(), b.ClockSkewed())
	}
	b.Stop()
	eventually(t, a, "the other is gone", func() bool { return a.ClockSkewed() == nil })
}

func TestBootstrap_TwoAtTheSameMomentMakeOneCluster(t *testing.T) {
	c, _ := client(t)
	for range 20 {
		_, prefix := client(t)
		const n = 4
		ids, made := make([]string, n), make([]bool, n)
		var all sync.WaitGroup
		for i := range n {
			all.Go(func() {
				id, created, err := New(Config{Client: c, Prefix: prefix}).Bootstrap(t.Context())
				if err != nil {
					t.Error(err)
				}
				ids[i], made[i] = id.ID, created
			})
		}
		all.Wait()
		makers := 0
		for i := range n {
			if ids[i] != ids[0] || ids[i] == "" {
				t.Fatalf("ids %v", ids)
			}
			if made[i] {
				makers++
			}
		}
		if makers != 1 {
			t.Fatalf("%d made the cluster", makers)
		}
	}
}

func TestBootstrap_APrefixThatOthersUseIsRefusedAndLeftAlone(t *testing.T) {
	c, prefix := client(t)
	if _, err := c.Put(t.Context(), prefix+"somebody/else", "x"); err != nil {
		t.Fatal(err)
	}
	_, _, err := New(Config{Client: c, Prefix: prefix}).Bootstrap(t.Context())
	if !errors.Is(err, ErrNotEmpty) || !strings.Contains(err.Error(), prefix+"somebody/else") {
		t.Errorf("said %v", err)
	}
	if resp, err := c.Get(t.Context(), prefix+"cluster/identity"); err != nil || resp.Count != 0 {
		t.Errorf("an identity was put all the same: %v", err)
	}
	// Nor is a key of that name which is something else taken for one.
	_, other := client(t)
	if _, err := c.Put(t.Context(), other+"cluster/identity", "{}"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := New(Config{Client: c, Prefix: other}).Bootstrap(t.Context()); !errors.Is(err, ErrNotEmpty) {
		t.Errorf("said %v", err)
	}
}

func TestPresence_EndsWithItsCoordinatorAndSurvivesALostLease(t *testing.T) {
	c, prefix := client(t)
	a, b := openAt(t, Config{Client: c, Prefix: prefix}), openAt(t, Config{Client: c, Prefix: prefix})
	begin := func(d *DB) *fleet.Presence {
		p := fleet.NewPresence(fleet.PresenceConfig{Store: d, Kind: fleet.Agents})
		p.Start()
		t.Cleanup(p.Stop)
		return p
	}
	here, there := begin(a), begin(b)
	live := func() bool {
		at, mark := there.Elsewhere("a/strange id")
		return mark == "i1" && time.Since(at) < time.Second
	}
	here.Hear("a/strange id", "i1")
	soon(t, "it is heard at the other", live)

	// As after the process stood still for longer than its lease lasts.
	a.lease.mu.Lock()
	id := a.lease.id
	a.lease.mu.Unlock()
	if _, err := c.Revoke(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	soon(t, "it is said again under a new lease", func() bool {
		resp, err := c.Get(t.Context(), a.presencePrefix(fleet.Agents)+semaphore.EscapeID("a/strange id"))
		return err == nil && len(resp.Kvs) == 1 && resp.Kvs[0].Lease != int64(id)
	})
	here.Stop()
	a.Stop()
	resp, err := c.Get(t.Context(), a.presencePrefix(fleet.Agents)+semaphore.EscapeID("a/strange id"))
	if err != nil || len(resp.Kvs) != 0 {
		t.Errorf("%d keys are left after an orderly end (%v)", len(resp.Kvs), err)
	}
}

func TestClockAhead_OneThatIsOffDoesNotMakeTheOthersSo(t *testing.T) {
	const h = time.Hour
	for _, c := range []struct {
		own    time.Duration
		others []time.Duration
		want   time.Duration
	}{
		{0, nil, 0},
		{0, []time.Duration{h}, -h}, // of two nobody knows
		{0, []time.Duration{h, 0}, 0},
		{0, []time.Duration{0, -h}, 0},
		{h, []time.Duration{0, time.Second}, h - time.Second},
		{0, []time.Duration{h, h + time.Second}, -h},
		{0, []time.Duration{-h, h}, 0},
		{0, []time.Duration{h, 0, 0}, 0},
		{0, []time.Duration{h, h, 0, 0}, 0}, // with this one they are three of five
		{h, []time.Duration{h, 0, 0, 0}, h},
	} {
		if got := ClockAhead(c.own, c.others); got != c.want {
			t.Errorf("%s among %v is %s ahead, want %s", c.own, c.others, got, c.want)
		}
	}
}
