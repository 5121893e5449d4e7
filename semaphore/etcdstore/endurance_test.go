package etcdstore_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	tables "github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/semaphore"
	"github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

var enduranceCycles = flag.Int64("endurance", 2_000, "how many slots are taken and returned in the endurance test; from 500000 on, disk and memory must stay flat")

// enduranceFlat is the number of cycles from which on figures must be flat.
const enduranceFlat = 500_000

// enduring is a store on a node of its own, with all that a coordinator does to
// keep its database small.
type enduring struct {
	t     *testing.T
	node  *etcdnode.Node
	store *etcdstore.Store
	done  atomic.Int64 // cycles
	began time.Time

	mu      sync.Mutex
	samples []sample // one each tenth of the cycles
}

// sample is what the process takes at one moment, in bytes.
type sample struct {
	database, memory, events int64
	goroutines               int
}

func newEnduring(t *testing.T) *enduring {
	n, err := etcdnode.Start(t.Context(), etcdnode.Config{DataDir: t.TempDir() + "/data", Name: "endure"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	floor := func() error {
		if grants, _ := n.Low(); grants {
			return semaphore.ErrDiskLow
		}
		return nil
	}
	db := tables.New(tables.Config{Client: n.Client(), HasLeader: n.HasLeader, Floor: floor})
	if err := db.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Stop)
	s := etcdstore.New(etcdstore.Config{Client: n.Client(), HasLeader: n.HasLeader, Floor: floor})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return &enduring{t: t, node: n, store: s, began: time.Now()}
}

// keys counts those under a part of the prefix.
func (e *enduring) keys(under string) int64 {
	resp, err := e.node.Client().Get(e.t.Context(), tables.DefaultPrefix+under, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		e.t.Error(err)
		return 0
	}
	return resp.Count
}

// resident is this process's memory, in bytes.
func resident() int64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(b)[1]), 10, 64)
	if err != nil {
		return 0
	}
	return pages * int64(os.Getpagesize())
}

func (e *enduring) sample() {
	info := e.node.Info()
	now := sample{info.DBSize, resident(), e.keys("events/"), runtime.NumGoroutine()}
	e.t.Logf("%8d cycles, %5.0f/s: database %4d MB, in use %4d MB, %6d events, memory %4d MB, %d goroutines",
		e.done.Load(), float64(e.done.Load())/time.Since(e.began).Seconds(),
		now.database>>20, info.DBInUse>>20, now.events, now.memory>>20, now.goroutines)
	e.mu.Lock()
	defer e.mu.Unlock()
	e.samples = append(e.samples, now)
}

// client takes and returns slots until all cycles are done.
func (e *enduring) client(id string, cycles int64) {
	do := func(op semaphore.Op) semaphore.Answer {
		a, err := e.store.Do(e.t.Context(), "g", op)
		if err != nil || a.Kind != semaphore.OK {
			e.t.Errorf("%T after %d cycles: %+v, %v", op, e.done.Load(), a, err)
		}
		return a
	}
	for !e.t.Failed() {
		done := e.done.Add(1)
		if done > cycles {
			e.done.Add(-1)
			return
		}
		if a := do(agent(id)); a.Hold != nil {
			do(release(a.Hold))
		}
		if done%max(1, cycles/10) == 0 {
			e.sample()
		}
	}
}

// What a cycle leaves behind is bounded, whatever the number of cycles: an audit
// trail of some length, and nothing else.
func TestEndurance_WhatCyclesLeaveBehindIsBounded(t *testing.T) {
	const clients = 64
	e := newEnduring(t)
	ask := func(op semaphore.Op) {
		if a, err := e.store.Do(t.Context(), "g", op); err != nil || a.Kind != semaphore.OK {
			t.Fatalf("%T: %+v, %v", op, a, err)
		}
	}
	ask(semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: clients}}, IfMatch: -1})
	for n := range clients {
		ask(semaphore.PutMember{Node: fmt.Sprintf("n%d", n)})
	}
	idle, keys, events := runtime.NumGoroutine(), e.keys(""), e.keys("events/")
	var group sync.WaitGroup
	for n := range clients {
		group.Go(func() { e.client(fmt.Sprintf("n%d", n), *enduranceCycles) })
	}
	group.Wait()

	if now := e.keys("") - e.keys("events/"); now != keys-events {
		t.Errorf("%d keys beside the audit trail became %d", keys-events, now)
	}
	// What is kept of one scope, and what may come until the trail is cut.
	const most = 50_000 + 2*10_000
	for _, s := range e.samples {
		if s.events > most {
			t.Errorf("the audit trail has %d events, want at most %d", s.events, most)
		}
	}
	until(t, "no goroutine is left behind", func() bool { return runtime.NumGoroutine() <= idle+2 })
	if *enduranceCycles < enduranceFlat {
		return
	}
	was, now := e.samples[3], e.samples[len(e.samples)-1]
	if now.database > was.database*3/2 || now.memory > was.memory*5/4 {
		t.Errorf("from 40 %% of the cycles to all of them %+v became %+v", was, now)
	}
}
