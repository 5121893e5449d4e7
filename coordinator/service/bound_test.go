package service

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	semaphorestore "github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

func TestAcquire_OneWaiterBeyondTheBoundIsToldToAskLater(t *testing.T) {
	_, prefix := startEtcd(t)
	store := semaphorestore.New(semaphorestore.Config{Client: shared.node.Client(), Prefix: prefix, MaxWaiters: 2})
	b := startAt(t, prefix, func(c *Config) { c.Store = store })
	if err := store.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Stop)
	b.hello("agent", "default")
	b.hello("holder", "default")
	b.acquire("default", "holder")
	for i := range 2 {
		if a, err := b.lock("default", fmt.Sprint("core-", i), "10.0.0.1:1"); err != nil || a.Place != i+1 {
			t.Fatalf("%+v %v", a, err)
		}
	}
	a, err := b.lock("default", "core-3", "10.0.0.1:1")
	if err != nil || api.Kind(a.Kind) != api.Rate || a.Place != 0 {
		t.Errorf("FleetLock: %+v %v", a, err)
	}
	_, err = b.Acquire(b.as("agent"), "default", "agent", api.AcquireRequest{Instance: "i1", Request: "q1"}, time.Minute)
	e := mustRefuse(t, err, api.Rate)
	if e.Kind.Status() != 429 || e.RetryAfter <= 0 || !strings.Contains(e.Detail, "2 nodes wait already") {
		t.Errorf("%+v", e)
	}
	// Who waits already keeps its place.
	if a, err := b.lock("default", "core-1", "10.0.0.1:1"); err != nil || a.Place != 2 {
		t.Errorf("%+v %v", a, err)
	}
}
