package etcdstore_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// present waits until the store knows that the node's client is parked here.
func present(t *testing.T, s semaphore.Store, node string) {
	t.Helper()
	until(t, node+" is parked", func() bool {
		st, _ := s.View("g")
		w, waits := st.Waiter(node)
		return waits && w.Present
	})
}

func TestHandover_ReleaseAndNextGrantAreOneTransaction(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 1, 2)
	h := f.ok(s, agent("n0")).Hold
	waiting := park(t.Context(), s, agent("n1"), time.Minute)
	present(t, s, "n1")
	released := f.ok(s, release(h))
	granted(t, waiting)
	resp, err := node.Client().Get(t.Context(), f.prefix+"groups/g/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, kv := range resp.Kvs {
		switch string(kv.Key)[len(f.prefix):] {
		case "groups/g/holds/n1", "groups/g/semaphore":
			seen++
			if kv.ModRevision != released.Revision {
				t.Errorf("%s was put at revision %d, the release committed at %d", kv.Key, kv.ModRevision, released.Revision)
			}
		case "groups/g/holds/n0", "groups/g/queue/n1":
			t.Errorf("%s is there still", kv.Key)
		}
	}
	if seen != 2 {
		t.Errorf("%d of the keys of hold and head are there", seen)
	}
}

// counted counts the transactions that a store begins.
type counted struct {
	clientv3.KV
	txns atomic.Int64
}

func (c *counted) Txn(ctx context.Context) clientv3.Txn {
	c.txns.Add(1)
	return c.KV.Txn(ctx)
}

func TestHandover_WhoeverIsGrantedTheSlotIsToldAndAsksForNothingMore(t *testing.T) {
	f := newFleet(t)
	cfg := f.config()
	kv := &counted{KV: cfg.Client.KV}
	cfg.Client = &clientv3.Client{KV: kv, Lease: cfg.Client.Lease, Watcher: cfg.Client.Watcher}
	s := f.open(cfg)
	f.declare(s, 1, 6)
	h := f.ok(s, agent("n0")).Hold
	for _, next := range []string{"n1", "n2", "n3", "n4", "n5"} {
		waiting := park(t.Context(), s, agent(next), time.Minute)
		present(t, s, next)
		before := kv.txns.Load()
		f.ok(s, release(h))
		h = granted(t, waiting)
		if n := kv.txns.Load() - before; n != 1 {
			t.Errorf("the slot went to %s in %d transactions", next, n)
		}
	}
}

func TestHandover_AWaiterThatALimitBlocksStandsInNobodysWay(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	f.declare(s, 2, 0)
	for node, zone := range map[string]string{"holder": "z1", "blocked": "z1", "other": "z2", "behind": "z3"} {
		f.ok(s, semaphore.PutMember{Node: node, Registered: map[string]string{"zone": zone}})
	}
	f.ok(s, semaphore.PutSpec{IfMatch: -1, Spec: semaphore.Spec{
		Slots: semaphore.Slots{N: 2}, Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 1}}},
	}})
	f.ok(s, agent("holder"))
	other := f.ok(s, agent("other")).Hold
	blocked := park(t.Context(), s, agent("blocked"), time.Minute)
	queued(t, s, "blocked", 1)
	behind := park(t.Context(), s, agent("behind"), time.Minute)
	present(t, s, "behind")
	released := f.ok(s, release(other))
	if h := granted(t, behind); h.Node != "behind" {
		t.Fatalf("%+v", h)
	}
	if st, _ := s.View("g"); st.HeadRev != released.Revision {
		t.Errorf("it went at revision %d, the slot was free at %d", st.HeadRev, released.Revision)
	}
	select {
	case o := <-blocked:
		t.Errorf("%+v", o)
	default:
	}
}

// A coordinator that stands still, as under SIGSTOP, keeps its waiters' places
// for as long as its lease, and neither hears nor says anything.
func TestHandover_ACoordinatorThatStandsStillIsPassedWithinASecond(t *testing.T) {
	f := newFleet(t)
	s := f.store()
	cfg := f.config()
	client, faults := newFaulty(cfg.Client)
	var stands atomic.Bool
	goOn := make(chan struct{})
	faults.always = func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		if stands.Load() {
			<-goOn
		}
		return commit()
	}
	cfg.Client = client
	still := f.open(cfg)
	t.Cleanup(func() { close(goOn) })
	f.declare(s, 1, 3)
	h := f.ok(s, agent("n0")).Hold
	park(t.Context(), still, agent("n1"), time.Minute)
	queued(t, s, "n1", 1)
	stands.Store(true)
	took := atMost(t, 2*time.Second, func() time.Duration {
		next := map[string]string{"n0": "n2", "n2": "n0"}[h.Node]
		var took time.Duration
		h, took = f.passed(s, h, s, next, 2)
		return took
	})
	t.Logf("passed after %s", took)
	if took < semaphore.OvertakeAfter {
		t.Errorf("it was passed after %s, want no less than %s", took, semaphore.OvertakeAfter)
	}
}

func ticket(s semaphore.Store, node string) int64 {
	st, _ := s.View("g")
	w, _ := st.Waiter(node)
	return w.CreateRevision
}

// One that asks every few minutes keeps its place from its second poll on: how
// often it asks outlives a place that was given up.
func TestPlace_OfAHostThatAsksSeldomIsKeptFromItsSecondPollOn(t *testing.T) {
	f := newFleet(t)
	cfg := f.config()
	cfg.PlaceTime = 20 * time.Millisecond
	s := f.open(cfg)
	f.declare(s, 1, 1)
	f.ok(s, agent("n0"))
	f.poll(s, "host")
	until(t, "the place is given up", func() bool { return len(f.queueKeys()) == 0 })
	time.Sleep(2 * time.Second) // its interval
	f.poll(s, "host")
	kept, before := ticket(s, "host"), f.written()
	time.Sleep(10 * cfg.PlaceTime)
	a := f.poll(s, "host")
	if kept == 0 || ticket(s, "host") != kept {
		t.Fatalf("its ticket was %d and is %d", kept, ticket(s, "host"))
	}
	if a.Place != 1 || f.written() != before {
		t.Errorf("%+v, and %+v became %+v", a, before, f.written())
	}
}

// A host that comes to another coordinator keeps its place there for longer
// than 30 s may be: how often it asked elsewhere is not known, how long it has
// its place is.
func TestPlace_ThatCameFromAnotherCoordinatorIsKeptAsLongAsItIsOld(t *testing.T) {
	f := newFleet(t)
	cfg := f.config()
	cfg.PlaceTime = 50 * time.Millisecond
	s := f.store()
	other := f.open(cfg)
	f.declare(s, 1, 1)
	f.ok(s, agent("n0"))
	f.poll(s, "host")
	queued(t, other, "host", 1)
	f.clock.advance(10 * time.Minute)
	f.poll(other, "host")
	until(t, "the place has moved", func() bool { v, _ := s.View("g"); return len(v.Queue) == 1 && v.Queue[0].Elsewhere })
	kept := ticket(other, "host")
	time.Sleep(10 * cfg.PlaceTime)
	if f.poll(other, "host"); kept == 0 || ticket(other, "host") != kept {
		t.Errorf("its ticket was %d and is %d", kept, ticket(other, "host"))
	}
}
