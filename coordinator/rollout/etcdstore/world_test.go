package etcdstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
	semstore "github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

var etcd *etcdnode.Node

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rollout")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	etcd, err = etcdnode.Start(context.Background(), etcdnode.Config{DataDir: dir, Name: "test"})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	code := m.Run()
	if err := etcd.Stop(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if code == 0 {
		if err := goleak.Find(goleak.IgnoreTopFunction("go.opencensus.io/stats/view.(*worker).start")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

var (
	newBundle = strings.Repeat("b", 64)
	oldBundle = strings.Repeat("a", 64)
	spaces    atomic.Int64
)

// world is a fleet of simulated agents around engines that share one etcd.
type world struct {
	t      *testing.T
	prefix string
	sems   *semstore.Store

	mu      sync.Mutex
	nodes   map[string]api.Node
	changed chan struct{}
	engines []*rollout.Engine // agents ask the last one
	applied map[string]int    // how often a node did the update
	fails   map[string]int    // so many times a node fails first
	pace    time.Duration     // how long an update takes, at least
	lasts   func(n int) bool  // whether the nth update, from 1, is to go on
	begun   int               // updates
	queues  bool              // agents wait for a slot, in the order of their coming
	gates   rollout.Gates
	bundles []string // that are stored besides
	out     int
	mostOut int
	lasted  func(context.Context, string) []time.Duration // of past updates
}

// newWorld makes a group web of that many nodes n00, n01, … in it.
func newWorld(t *testing.T, nodes, slots int) *world {
	t.Helper()
	w := &world{
		t: t, prefix: fmt.Sprintf("/test%d/", spaces.Add(1)), nodes: map[string]api.Node{}, changed: make(chan struct{}),
		applied: map[string]int{}, fails: map[string]int{},
	}
	w.sems = semstore.New(semstore.Config{Client: etcd.Client(), Prefix: w.prefix})
	if err := w.sems.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.sems.Stop)
	w.do(semaphore.PutSpec{Spec: semaphore.Spec{V: 1, Slots: semaphore.Slots{N: slots}}, By: "test"})
	for i := range nodes {
		id := fmt.Sprintf("n%02d", i)
		w.do(semaphore.PutMember{Node: id})
		w.report(id, func(r *api.Report) { r.Phase, r.Healthy, r.Bundle = api.PhaseIdle, true, oldBundle })
	}
	w.eventually("the group to be seen", func() bool { _, ok := w.sems.View("web"); return ok })
	return w
}

func (w *world) do(op semaphore.Op) semaphore.Answer {
	w.t.Helper()
	a, err := w.sems.Do(w.t.Context(), "web", op)
	if err != nil || a.Kind != semaphore.OK {
		w.t.Fatalf("%T: %s %s %v", op, a.Kind, a.Detail, err)
	}
	return a
}

func (w *world) Nodes() []api.Node {
	w.mu.Lock()
	defer w.mu.Unlock()
	list := make([]api.Node, 0, len(w.nodes))
	for _, n := range w.nodes {
		list = append(list, n)
	}
	return list
}

func (w *world) Changed() <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.changed
}

func (w *world) report(id string, change func(*api.Report)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := w.nodes[id]
	n.ID, n.Group, n.Via, n.LastHeard, n.ChangedAt = id, "web", "agent", time.Now(), time.Now()
	n.Report.Seq++
	change(&n.Report)
	w.nodes[id] = n
	close(w.changed)
	w.changed = make(chan struct{})
}

// store is another coordinator's store.
func (w *world) store() *Store {
	return New(Config{Client: etcd.Client(), Prefix: w.prefix, Name: "test"})
}

// engine starts an engine on a store, and lets the agents ask it.
func (w *world) engine(s rollout.Store) *rollout.Engine {
	w.t.Helper()
	e := rollout.NewEngine(rollout.EngineConfig{
		Store: s, Fleet: w, Semaphores: w.sems, Gates: w.gates, Lasted: w.lasted,
		BundleName: func(_ context.Context, digest string) (string, error) {
			if digest != newBundle && digest != oldBundle && !slices.Contains(w.bundles, digest) {
				return "", api.Errorf(api.NotFound, "there is no bundle %s", digest)
			}
			return "app-" + digest[:1], nil
		},
	})
	if err := e.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(e.Stop)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.engines = append(w.engines, e)
	return e
}

func (w *world) wanted(id string) *api.Wanted {
	w.mu.Lock()
	e := w.engines[len(w.engines)-1]
	w.mu.Unlock()
	return e.WantedFor(id)
}

// agents runs one agent for each node until the test ends.
func (w *world) agents() {
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	for _, n := range w.Nodes() {
		wg.Go(func() { w.agent(ctx, n.ID) })
	}
	w.t.Cleanup(func() { cancel(); wg.Wait() })
}

// agent does what is wanted of the node, each rollout and attempt once.
func (w *world) agent(ctx context.Context, id string) {
	heartbeat := time.NewTicker(5 * time.Millisecond)
	defer heartbeat.Stop()
	tried := map[string]bool{}
	for ctx.Err() == nil {
		select {
		case <-heartbeat.C:
		case <-ctx.Done():
			return
		}
		want := w.wanted(id)
		if want == nil {
			w.rest(id)
			continue
		}
		attempt := fmt.Sprint(want.Rollout, want.Attempt)
		if tried[attempt] {
			continue
		}
		w.report(id, func(r *api.Report) {
			r.Phase, r.Rollout, r.Attempt = api.PhaseWaiting, want.Rollout, want.Attempt
		})
		op := semaphore.Acquire{Node: id, Instance: "i", Request: attempt, BootID: "b", Via: semaphore.ViaAgent}
		wait := time.Duration(0)
		if w.queues {
			wait = time.Minute
		}
		answer, err := w.sems.Acquire(ctx, "web", &op, wait)
		if err != nil || answer.Kind != semaphore.OK {
			continue
		}
		tried[attempt] = true
		w.update(ctx, id, want, answer.Hold.Fence)
	}
}

// rest goes back to idle when nothing is wanted of a waiting node.
func (w *world) rest(id string) {
	w.mu.Lock()
	waiting := w.nodes[id].Report.Phase == api.PhaseWaiting
	w.mu.Unlock()
	if waiting {
		w.report(id, func(r *api.Report) { r.Phase = api.PhaseIdle })
	}
}

func (w *world) update(ctx context.Context, id string, want *api.Wanted, fence int64) {
	confirmed, err := w.sems.Do(ctx, "web", semaphore.Confirm{Node: id, Instance: "i", BootID: "b", Fence: fence})
	if err != nil || confirmed.Kind != semaphore.OK {
		return
	}
	w.mu.Lock()
	w.out++
	w.mostOut = max(w.mostOut, w.out)
	w.applied[id]++
	fails := w.fails[id] > 0
	w.fails[id]--
	pace := w.pace
	w.begun++
	n := w.begun
	w.mu.Unlock()
	w.report(id, func(r *api.Report) { r.Phase, r.Fence = api.PhaseApplying, fence })
	time.Sleep(pace)
	for w.lasts != nil && w.lasts(n) && ctx.Err() == nil {
		time.Sleep(5 * time.Millisecond)
	}
	w.report(id, func(r *api.Report) { r.Phase = api.PhaseVerifying })
	w.mu.Lock()
	w.out--
	w.mu.Unlock()
	if _, err := w.sems.Do(ctx, "web", semaphore.Release{Node: id, Instance: "i", Via: semaphore.ViaAgent, Fence: fence}); err != nil {
		return
	}
	w.report(id, func(r *api.Report) {
		r.Phase, r.Fence, r.Failure = api.PhaseIdle, 0, nil
		if !fails {
			r.Bundle = want.Bundle
			return
		}
		r.Failure = &api.Failure{Bundle: want.Bundle, Rollout: want.Rollout, Reason: "unhealthy", Detail: "no answer", Healthy: true, At: time.Now()}
	})
}

// eventually waits for a condition, for long enough for a machine that does much
// else: a thousand nodes are recorded in some thirty transactions.
func (w *world) eventually(what string, cond func() bool) {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for !cond() {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain for %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func (w *world) create(e *rollout.Engine, change func(*api.RolloutSpec)) api.Rollout {
	w.t.Helper()
	spec := api.RolloutSpec{Bundle: newBundle, Group: "web"}
	if change != nil {
		change(&spec)
	}
	// A busy machine may not answer in time: the key makes it one rollout, however
	// often it is asked for.
	key := fmt.Sprint("create-", spaces.Add(1))
	for late, again := time.Now().Add(time.Minute), false; ; again = true {
		r, created, err := e.Create(w.t.Context(), spec, "ann", key)
		unknown := errors.Is(err, semaphore.ErrNoQuorum) || errors.Is(err, context.DeadlineExceeded)
		switch {
		case unknown && time.Now().Before(late):
		case err != nil || !created && !again:
			w.t.Fatalf("create: created %v, err %v", created, err)
		default:
			return r
		}
	}
}

func (w *world) act(e *rollout.Engine, id, action string) api.Rollout {
	w.t.Helper()
	r, err := e.Act(w.t.Context(), id, rollout.Ask{Action: action, By: "ann"})
	if err != nil {
		w.t.Fatalf("%s: %v", action, err)
	}
	return r
}

func (w *world) comesTo(e *rollout.Engine, id string, want api.RolloutState) api.Rollout {
	w.t.Helper()
	var r api.Rollout
	defer func() {
		if w.t.Failed() {
			w.t.Logf("it is %s: %s, %+v", r.State, r.Why, r.Progress)
		}
	}()
	w.eventually("the rollout to be "+string(want), func() bool {
		r, _ = e.Get(id)
		return r.State == want
	})
	return r
}

// appliedOnce fails the test unless each node did the update exactly once.
func (w *world) appliedOnce() {
	w.t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	for id := range w.nodes {
		if n := w.applied[id]; n != 1 {
			w.t.Errorf("%s did the update %d times", id, n)
		}
	}
}

// events reads the rollout's audit trail and checks that its sequence has no
// gap and no node is told of twice in the same way.
func (w *world) events(id string) []semaphore.Event {
	w.t.Helper()
	resp, err := etcd.Client().Get(w.t.Context(), w.prefix+"events/rollout/"+id+"/", clientv3.WithPrefix())
	if err != nil {
		w.t.Fatal(err)
	}
	var list []semaphore.Event
	told := map[string]bool{}
	for i, kv := range resp.Kvs {
		var e semaphore.Event
		if err := json.Unmarshal(kv.Value, &e); err != nil {
			w.t.Fatal(err)
		}
		if e.Seq != int64(i+1) {
			w.t.Fatalf("event %d has sequence %d", i+1, e.Seq)
		}
		if key := e.Kind + " " + e.Node; e.Node != "" && e.Kind == rollout.EventNodeUpdated {
			if told[key] {
				w.t.Errorf("told twice: %s", key)
			}
			told[key] = true
		}
		list = append(list, e)
	}
	return list
}

func kinds(list []semaphore.Event) map[string]int {
	n := map[string]int{}
	for _, e := range list {
		n[e.Kind]++
	}
	return n
}
