package etcdstore_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/lockkeeper/lockkeeper/internal/etcdtest"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// startForeign runs an etcd with its own defaults, 128 operations in one
// transaction among them, and returns a client of it.
func startForeign(t *testing.T) *clientv3.Client {
	t.Helper()
	server, err := etcdtest.Start(etcdtest.Config{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{server.URL}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// Many requests at once, and slots for many waiters in one decision, must fit
// into the transactions of an etcd that was started without a thought of us.
func TestTxnOps_AnEtcdWithItsDefaultsTakesEveryBatch(t *testing.T) {
	const hosts = 120
	f := newFleet(t)
	cfg := f.config()
	cfg.Client, cfg.HasLeader, cfg.MaxTxnOps = startForeign(t), nil, 0
	s := f.open(cfg)
	f.declare(s, 0, hosts)
	parked := make([]<-chan outcome, hosts)
	for i := range parked {
		parked[i] = park(t.Context(), s, agent(fmt.Sprintf("n%d", i)), time.Minute)
	}
	until(t, "all wait", func() bool { st, _ := s.View("g"); return len(st.Queue) == hosts })

	f.ok(s, semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: hosts}}, IfMatch: -1, By: "operator"})
	holds := make([]*semaphore.Hold, hosts)
	for i, p := range parked {
		holds[i] = granted(t, p)
	}
	before, _ := s.View("g")
	var all sync.WaitGroup
	for _, h := range holds {
		all.Go(func() {
			if a, err := s.Do(t.Context(), "g", release(h)); err != nil || a.Kind != semaphore.OK {
				t.Errorf("%s: %v, %s %s", h.Node, err, a.Kind, a.Detail)
			}
		})
	}
	all.Wait()
	after, _ := s.View("g")
	if len(after.Holds) != 0 {
		t.Errorf("%d holds are left", len(after.Holds))
	}
	// One that is too large is done again one by one, in some 60 transactions.
	if n := after.HeadRev - before.HeadRev; n > hosts/3 {
		t.Errorf("%d releases at once took %d transactions", hosts, n)
	}
}
