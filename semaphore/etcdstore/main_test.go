package etcdstore_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/semaphore"
	"github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

// node is the one embedded etcd of all tests; each test has a prefix.
var node *etcdnode.Node

func TestMain(m *testing.M) {
	if role := os.Getenv(envRole); role != "" {
		os.Exit(playRole(role))
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "etcdstore")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	node, err = etcdnode.Start(context.Background(), etcdnode.Config{DataDir: dir + "/data", Name: "test"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := node.Stop(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	if err := goleak.Find(); err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	return code
}

var prefixes atomic.Int64

// clock is what a test's stores take for the time.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += d
}

// fleet is a prefix of its own, for the stores of one test.
type fleet struct {
	t      testing.TB
	prefix string
	clock  *clock
}

func newFleet(t testing.TB) *fleet {
	return &fleet{t: t, prefix: fmt.Sprintf("/t%d/", prefixes.Add(1)), clock: &clock{}}
}

func (f *fleet) config() etcdstore.Config {
	return etcdstore.Config{Client: node.Client(), Prefix: f.prefix, HasLeader: node.HasLeader, Now: f.clock.now, MaxTxnOps: 1024}
}

func (f *fleet) open(cfg etcdstore.Config) *etcdstore.Store {
	f.t.Helper()
	s := etcdstore.New(cfg)
	if err := s.Start(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(s.Stop)
	return s
}

func (f *fleet) store() *etcdstore.Store {
	f.t.Helper()
	return f.open(f.config())
}

func (f *fleet) putRaw(key, value string) {
	f.t.Helper()
	if _, err := node.Client().Put(f.t.Context(), f.prefix+key, value); err != nil {
		f.t.Fatal(err)
	}
}

// keys under a part of the prefix, without it.
func (f *fleet) keys(under string) []string {
	f.t.Helper()
	resp, err := node.Client().Get(context.Background(), f.prefix+under, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		f.t.Fatal(err)
	}
	var keys []string
	for _, kv := range resp.Kvs {
		keys = append(keys, strings.TrimPrefix(string(kv.Key), f.prefix+under))
	}
	return keys
}

// written tells whether anything was written under the prefix: the newest
// revision of a key there, and how many there are. The etcd's own revision also
// grows when a lease of another test runs out.
type written struct{ newest, keys int64 }

func (f *fleet) written() (w written) {
	f.t.Helper()
	resp, err := node.Client().Get(context.Background(), f.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		f.t.Fatal(err)
	}
	for _, kv := range resp.Kvs {
		w.newest = max(w.newest, kv.ModRevision)
	}
	w.keys = resp.Count
	return w
}

// declare makes group g with members n0, n1, ….
func (f *fleet) declare(s semaphore.Store, slots, members int) {
	f.t.Helper()
	f.ok(s, semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: slots}}, IfMatch: -1, By: "operator"})
	for i := range members {
		f.ok(s, semaphore.PutMember{Node: fmt.Sprintf("n%d", i), By: "operator"})
	}
}

func (f *fleet) ok(s semaphore.Store, op semaphore.Op) semaphore.Answer {
	f.t.Helper()
	answer, err := s.Do(f.t.Context(), "g", op)
	if err != nil || answer.Kind != semaphore.OK {
		f.t.Fatalf("%T: %v, %s %s", op, err, answer.Kind, answer.Detail)
	}
	return answer
}

func agent(node string) semaphore.Acquire {
	return semaphore.Acquire{Node: node, Instance: "i-" + node, Request: "r-" + node, BootID: "b", Via: semaphore.ViaAgent}
}

func fleetLock(node, request string) semaphore.Acquire {
	return semaphore.Acquire{Node: node, Request: request, Via: semaphore.ViaFleetLock, Register: true}
}

func release(h *semaphore.Hold) semaphore.Release {
	return semaphore.Release{Node: h.Node, Instance: h.Instance, Via: h.Via, Fence: h.Fence}
}

type outcome struct {
	answer semaphore.Answer
	err    error
}

func park(ctx context.Context, s semaphore.Store, op semaphore.Acquire, wait time.Duration) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		a, err := s.Acquire(ctx, "g", &op, wait)
		done <- outcome{a, err}
	}()
	return done
}

// patience is with the machine: no test waits as long unless something is wrong.
const patience = time.Minute

func until(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("still not: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

func queued(t testing.TB, s semaphore.Store, node string, place int) {
	t.Helper()
	until(t, fmt.Sprintf("%s at place %d", node, place), func() bool {
		st, _ := s.View("g")
		return semaphore.Place(&st, node) == place
	})
}

func granted(t testing.TB, done <-chan outcome) *semaphore.Hold {
	t.Helper()
	select {
	case o := <-done:
		if o.err != nil || o.answer.Hold == nil || o.answer.Kind != semaphore.OK {
			t.Fatalf("no grant: %v, %+v", o.err, o.answer)
		}
		return o.answer.Hold
	case <-time.After(patience):
		t.Fatal("a parked acquire was not granted")
		return nil
	}
}

// passed returns a hold through s once a node waits at that place at another store,
// and is that node's hold, and how long it took to be granted.
func (f *fleet) passed(s semaphore.Store, h *semaphore.Hold, at semaphore.Store, next string, place int) (*semaphore.Hold, time.Duration) {
	f.t.Helper()
	waiting := park(f.t.Context(), at, agent(next), time.Minute)
	queued(f.t, s, next, place)
	begin := time.Now()
	f.ok(s, release(h))
	return granted(f.t, waiting), time.Since(begin)
}

func clientLease(id int64) clientv3.LeaseID { return clientv3.LeaseID(id) }
