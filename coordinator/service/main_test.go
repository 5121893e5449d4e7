package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	semaphorestore "github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

// shared is a real etcd for all tests of this package; each has a prefix.
var shared struct {
	once sync.Once
	node *etcdnode.Node
	err  error
	dir  string
	n    int
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.node != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		if err := shared.node.Stop(ctx); err != nil {
			fmt.Println("stop etcd:", err)
		}
		cancel()
		os.RemoveAll(shared.dir)
	}
	if err := goleak.Find(); code == 0 && err != nil {
		fmt.Println(err)
		code = 1
	}
	os.Exit(code)
}

func startEtcd(t *testing.T) (*etcdnode.Node, string) {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "service"); shared.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		shared.node, shared.err = etcdnode.Start(ctx, etcdnode.Config{DataDir: shared.dir, Name: "test"})
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	shared.n++
	return shared.node, fmt.Sprintf("/test-%d/", shared.n)
}

// testClock moves on with real time, or stands, and jumps.
type testClock struct {
	mu    sync.Mutex
	jump  time.Duration
	still time.Time // when it was stopped
}

func (c *testClock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.still.IsZero() {
		return c.still.Add(c.jump)
	}
	return time.Now().Add(c.jump)
}

// stand lets it move by pass only, for a test that asks for the exact second.
func (c *testClock) stand() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.still = time.Now()
}

func (c *testClock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.jump += d
}

// fakeRollouts is an engine whose word the test has.
type fakeRollouts struct {
	mu      sync.Mutex
	wanted  map[string]*api.Wanted
	list    []api.Rollout
	settled []string // nodes whose failure was reported
	drift   map[string]*api.Drift
	stopped map[string]bool // rollouts for which nothing begins
	changed chan struct{}
	err     error
	catalog int64  // its revision
	asked   func() // called, with mu held, when the use of a bundle has been told
	listing func() // called when the rollouts are listed
}

func newRollouts() *fakeRollouts {
	return &fakeRollouts{wanted: map[string]*api.Wanted{}, stopped: map[string]bool{}, changed: make(chan struct{})}
}

func (f *fakeRollouts) set(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
	close(f.changed)
	f.changed = make(chan struct{})
}

func (f *fakeRollouts) want(node string, w *api.Wanted) { f.set(func() { f.wanted[node] = w }) }

func (f *fakeRollouts) Create(_ context.Context, spec api.RolloutSpec, by, _ string) (api.Rollout, bool, error) {
	return api.Rollout{ID: "r1", Spec: spec, By: by, State: api.RolloutRunning}, true, f.err
}

func (f *fakeRollouts) Act(_ context.Context, id string, ask rollout.Ask) (api.Rollout, error) {
	return api.Rollout{ID: id, Why: ask.Action, By: ask.By}, f.err
}

func (f *fakeRollouts) RetryNode(_ context.Context, node, by, _ string) (api.Rollout, error) {
	return api.Rollout{ID: "r1", Why: node, By: by}, f.err
}

func (f *fakeRollouts) Get(id string) (api.Rollout, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := slices.IndexFunc(f.list, func(r api.Rollout) bool { return r.ID == id })
	if i < 0 {
		return api.Rollout{}, false
	}
	return f.list[i], true
}

func (f *fakeRollouts) List() []api.Rollout {
	f.mu.Lock()
	list, listing := slices.Clone(f.list), f.listing
	f.mu.Unlock()
	if listing != nil {
		listing()
	}
	return list
}

func (f *fakeRollouts) Plan(api.RolloutSpec) (api.Plan, error) { return api.Plan{Total: 1}, f.err }

func (f *fakeRollouts) BundleUse(_ context.Context, digest string) (string, int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	catalog := f.catalog
	if f.asked != nil {
		defer f.asked()
	}
	for _, r := range f.list {
		if r.State.Active() && r.Spec.Bundle == digest {
			return "rollout " + r.ID, catalog, f.err
		}
	}
	return "", catalog, f.err
}

func (f *fakeRollouts) Drift() func(*api.Node) *api.Drift {
	return func(n *api.Node) *api.Drift {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.drift[n.ID]
	}
}

func (f *fakeRollouts) Forget(_ context.Context, node string) error {
	f.set(func() { delete(f.drift, node) })
	return f.err
}

func (f *fakeRollouts) WantedFor(node string) *api.Wanted {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wanted[node]
}

func (f *fakeRollouts) Settle(_ context.Context, node string, report api.Report) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil && report.Failure != nil {
		f.settled = append(f.settled, node)
	}
	return f.err
}

func (f *fakeRollouts) MayBegin(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped[id] {
		return api.Errorf(api.Conflict, "rollout %s is halted", id)
	}
	return f.err
}

func (f *fakeRollouts) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// quorum is a member whose leader the test can take away.
type quorum struct {
	*etcdnode.Node
	mu   sync.Mutex
	lost bool
}

func (q *quorum) HasLeader() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return !q.lost && q.Node.HasLeader()
}

func (q *quorum) lose(lost bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.lost = lost
}

// bench is a service on a real etcd, with all that it asks.
type bench struct {
	*Service
	t        *testing.T
	clock    *testClock
	rollouts *fakeRollouts
	member   *quorum
	sem      *semaphorestore.Store
	registry *fleet.Registry
	agents   *fleet.Presence
	prefix   string
	end      func() // of this coordinator
}

func start(t *testing.T, options ...func(*Config)) *bench {
	t.Helper()
	_, prefix := startEtcd(t)
	return startAt(t, prefix, options...)
}

// startAt is another coordinator on the same data.
func startAt(t *testing.T, prefix string, options ...func(*Config)) *bench {
	t.Helper()
	b := &bench{t: t, clock: &testClock{}, rollouts: newRollouts(), member: &quorum{Node: shared.node}, prefix: prefix}
	client := shared.node.Client()
	db := etcdstore.New(etcdstore.Config{Client: client, Prefix: prefix, HasLeader: b.member.HasLeader, Now: b.clock.now})
	b.sem = semaphorestore.New(semaphorestore.Config{
		Client: client, Prefix: prefix, HasLeader: b.member.HasLeader, Now: b.clock.now,
		FenceFloor: func() int64 { return db.Identity().FenceFloor },
	})
	heard := func(kind fleet.Kind) *fleet.Presence {
		p := fleet.NewPresence(fleet.PresenceConfig{Store: db, Kind: kind, Now: b.clock.now})
		p.Start()
		return p
	}
	agents, guests := heard(fleet.Agents), heard(fleet.FleetLock)
	b.agents = agents
	b.registry = fleet.New(fleet.Config{Store: db, Semaphores: b.sem, Presence: agents, Now: b.clock.now})
	cfg := Config{
		Store: b.sem, Fleet: b.registry, Guests: guests, Rollouts: b.rollouts, DB: db, Node: b.member, Version: "test", Now: b.clock.now,
	}
	for _, o := range options {
		o(&cfg)
	}
	b.Service = New(cfg)
	for _, begin := range []func(context.Context) error{b.sem.Start, db.Start, b.registry.Start} {
		if err := begin(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	b.Start()
	b.end = sync.OnceFunc(func() {
		b.Service.Stop()
		b.registry.Stop()
		agents.Stop()
		guests.Stop()
		db.Stop()
		b.sem.Stop()
	})
	t.Cleanup(b.end)
	if err := b.Bootstrap(t.Context()); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *bench) ctx(role api.Role) context.Context {
	return auth.With(b.t.Context(), auth.Principal{Name: "ann", Role: role})
}

func (b *bench) as(node string) context.Context {
	return auth.With(b.t.Context(), auth.Principal{Name: node, Role: api.RoleNode, Node: node})
}

func (b *bench) admin() context.Context { return b.ctx(api.RoleAdmin) }

// hello is a node's first report.
func (b *bench) hello(node, group string) api.PollResponse {
	b.t.Helper()
	resp, err := b.Poll(b.as(node), node, poll(group))
	if err != nil {
		b.t.Fatal(err)
	}
	return resp
}

func poll(group string) api.PollRequest {
	return api.PollRequest{Instance: "i1", BootID: "b1", Report: api.Report{Seq: 1, Group: group, Phase: api.PhaseIdle, Healthy: true}}
}

func (b *bench) acquire(group, node string) api.Hold {
	b.t.Helper()
	got, err := b.Acquire(b.as(node), group, node, api.AcquireRequest{Instance: "i1", Request: "q1", BootID: "b1"}, 0)
	if err != nil {
		b.t.Fatal(err)
	}
	return got.Hold
}

func (b *bench) confirm(h api.Hold) {
	b.t.Helper()
	req := api.ConfirmRequest{Fence: h.Fence, Instance: h.Instance, BootID: "b1"}
	if _, err := b.Confirm(b.as(h.Node), h.Group, h.Node, req); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) withGroup(name, slots string) api.Group {
	b.t.Helper()
	g, err := b.PutGroup(b.admin(), name, api.GroupSpec{Slots: api.Slots(slots)}, "")
	if err != nil {
		b.t.Fatal(err)
	}
	return g
}

// free frees a hold whose host is silent for long enough. That the host is heard
// is on its way through the store for a moment; until it has come, it may be
// heard elsewhere for all that the coordinator knows, which says so.
func (b *bench) free(ctx context.Context, group, node string, req api.ReleaseRequest) {
	b.t.Helper()
	b.eventually("the hold is freed", func() bool {
		err := b.ForceRelease(ctx, group, node, req)
		if err != nil && !strings.Contains(err.Error(), "the node was heard from") {
			b.t.Fatal(err)
		}
		return err == nil
	})
}

// mustRefuse fails unless err is an *api.Error of that kind with a text.
func mustRefuse(t *testing.T, err error, kind api.Kind) *api.Error {
	t.Helper()
	var e *api.Error
	if !errors.As(err, &e) {
		t.Fatalf("want %s, got %v", kind, err)
	}
	if e.Kind != kind || e.Detail == "" {
		t.Fatalf("want %s with a detail, got %+v", kind, e)
	}
	return e
}

// field fails unless the refusal names that field.
func field(t *testing.T, err error, path string) {
	t.Helper()
	e := mustRefuse(t, err, api.Invalid)
	if !slices.ContainsFunc(e.Fields, func(f api.FieldError) bool { return f.Path == path && f.Detail != "" }) {
		t.Fatalf("want the field %s named, got %+v", path, e.Fields)
	}
}

// eventually waits until what a watch brings about is true.
func (b *bench) eventually(what string, holds func() bool) {
	b.t.Helper()
	late := time.After(time.Minute)
	for !holds() {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-late:
			b.t.Fatalf("never: %s", what)
		}
	}
}
