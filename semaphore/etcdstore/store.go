package etcdstore

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// attemptTimeout bounds one transaction: a proposal that is lost with its
// leader is never answered.
const attemptTimeout = 2 * time.Second

// retryPause is between two attempts when etcd fails at once.
const retryPause = 50 * time.Millisecond

// defaultTxnOps is etcd's own default of --max-txn-ops.
const defaultTxnOps = 128

// Bounds where nothing else is said.
const (
	defaultMaxWaiters = 10_000
	defaultMaxPending = 16_384
)

// Config of a Store.
type Config struct {
	Client *clientv3.Client
	Prefix string // default "/lockkeeper/"
	// HasLeader: without a leader the Store refuses at once. Default: always.
	HasLeader  func() bool
	Logger     *slog.Logger          // default: none
	Registerer prometheus.Registerer // default: metrics are not registered
	Now        func() time.Time      // default time.Now; only what is shown and windows depend on it
	// Floor returns ErrDiskLow when there is too little space for grants,
	// waiters and new members. nil: never.
	Floor func() error
	// WriteFloor is the same for every other write. nil: never.
	WriteFloor func() error
	// MaxTxnOps is how many operations etcd takes in one transaction, as it was
	// started: 128, the default there and here, or more. The smaller it is, the
	// fewer requests share a transaction.
	MaxTxnOps int
	// ClockOff says why this process's clock cannot be relied on: nothing is
	// then granted where a clock decides. nil: it always can. It is asked for
	// every decision and must be quick.
	ClockOff func() error
	// FenceFloor is below every fence to be given: a restored cluster has one. It
	// must be known before the first grant. nil: 0.
	FenceFloor func() int64
	// Schema is the `v` that all coordinators read: no higher one is written. nil:
	// semaphore.BaseSchema.
	Schema func() int
	// Outages are the times without quorum in which deadlines stand still. It must
	// be quick. nil: none.
	Outages func() []semaphore.Span
	// Coordinators are the members of the store whose hosts may be nodes, and
	// unwell says why none of them may go now. nil: none are nodes. It is asked
	// for every decision and must be quick; Wake tells that it has changed.
	Coordinators func() (list []semaphore.Coordinator, unwell string)
	// MaxWaiters is how many nodes wait in one group at most. Default 10,000.
	MaxWaiters int
	// MaxPending is how many acquires of one group are kept in memory until a
	// transaction takes them, and twice that of all requests: ErrBusy beyond.
	// Default 16,384, so that all who may wait may ask at once.
	MaxPending int
	// PlaceTime is how long the place of a waiter whose client is gone is kept
	// at least. Default 30 s.
	PlaceTime time.Duration
	// LeaseTTL is how long places outlive this process. Default 30 s.
	LeaseTTL time.Duration
}

// Store implements semaphore.Store on etcd.
type Store struct {
	cfg     Config
	keys    keys
	log     *slog.Logger
	metrics *metrics

	mu        sync.RWMutex
	rev       int64 // of the watch
	groups    map[string]*group
	freeze    *semaphore.Freeze
	freezeRev int64            // ModRevision of the freeze key, 0 without one
	freezeAt  int64            // revision at which it is known
	freezeNew bool             // the freeze key's value is of a newer schema
	froze     []semaphore.Span // times in which the fleet was frozen; replaced, never changed
	frozeRev  int64            // ModRevision of their key
	out       *semaphore.MemberOut
	outRev    int64  // ModRevision of its key, 0 without one
	outAt     int64  // revision at which it is known
	leases    leases // of this store's waiters

	changed chan struct{} // closed at the next change

	freezing chan struct{} // held by the one who changes the freeze

	ctx     context.Context // ends with Stop
	cancel  context.CancelFunc
	stopped bool // guarded by mu
	loops   sync.WaitGroup
}

var _ semaphore.Store = (*Store)(nil)

// New makes a Store. Nothing runs before Start.
func New(cfg Config) *Store {
	if cfg.Prefix == "" {
		cfg.Prefix = "/lockkeeper/"
	}
	if cfg.HasLeader == nil {
		cfg.HasLeader = func() bool { return true }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	none := func() error { return nil }
	if cfg.Floor == nil {
		cfg.Floor = none
	}
	if cfg.WriteFloor == nil {
		cfg.WriteFloor = none
	}
	if cfg.ClockOff == nil {
		cfg.ClockOff = none
	}
	if cfg.Schema == nil {
		cfg.Schema = func() int { return semaphore.BaseSchema }
	}
	if cfg.FenceFloor == nil {
		cfg.FenceFloor = func() int64 { return 0 }
	}
	if cfg.Coordinators == nil {
		cfg.Coordinators = func() ([]semaphore.Coordinator, string) { return nil, "" }
	}
	if cfg.MaxWaiters <= 0 {
		cfg.MaxWaiters = defaultMaxWaiters
	}
	if cfg.MaxPending <= 0 {
		cfg.MaxPending = defaultMaxPending
	}
	if cfg.MaxTxnOps < defaultTxnOps {
		cfg.MaxTxnOps = defaultTxnOps
	}
	if cfg.PlaceTime <= 0 {
		cfg.PlaceTime = 30 * time.Second
	}
	if cfg.LeaseTTL <= 0 {
		cfg.LeaseTTL = 30 * time.Second
	}
	s := &Store{
		cfg:      cfg,
		keys:     keys{cfg.Prefix},
		log:      cfg.Logger,
		metrics:  newMetrics(cfg.Registerer),
		groups:   map[string]*group{},
		changed:  make(chan struct{}),
		freezing: make(chan struct{}, 1),
	}
	s.leases.own, s.leases.granting = map[clientv3.LeaseID]bool{}, make(chan struct{}, 1)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// Start reads the groups and follows them until Stop. ctx bounds the first
// read. Without a leader, or when that read fails, it is the member's own copy,
// which may be behind: nothing is granted by it, since every change is compared.
// It returns ErrNoQuorum when there is nobody to read from.
func (s *Store) Start(ctx context.Context) error {
	rev, err := s.loadFirst(ctx, s.cfg.HasLeader())
	for err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %w", semaphore.ErrNoQuorum, err)
		}
		if sleep.For(ctx, retryPause) != nil {
			continue
		}
		rev, err = s.loadFirst(ctx, false)
	}
	s.spawn(func() { s.monitorWatch(rev) })
	s.spawn(s.monitorOut)
	return nil
}

// Stop ends the watch and all that waits. Places in the queue stay for as long
// as their lease: clients that go to another coordinator keep them.
func (s *Store) Stop() {
	s.mu.Lock()
	s.stopped = true
	for _, g := range s.groups {
		for _, w := range g.waiters {
			w.stopTimer()
		}
		if g.reserved != nil {
			g.reserved.timer.Stop()
		}
	}
	s.mu.Unlock()
	s.cancel()
	s.loops.Wait()
}

// spawn runs f in a goroutine that Stop waits for; after Stop it does nothing.
func (s *Store) spawn(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spawnLocked(f)
}

func (s *Store) spawnLocked(f func()) {
	if !s.stopped {
		s.loops.Go(f)
	}
}

// Do implements semaphore.Store.
func (s *Store) Do(ctx context.Context, name string, op semaphore.Op) (semaphore.Answer, error) {
	if err := semaphore.ValidGroup(name); err != nil {
		return semaphore.Answer{Kind: semaphore.Invalid, Detail: err.Error()}, nil
	}
	g := s.enter(name)
	defer s.exit(g)
	answer, err := s.ask(ctx, g, op)
	if err == nil {
		s.metrics.answered(op, answer)
	}
	return answer, err
}

// ready says why nothing can be asked of etcd now.
func (s *Store) ready(ctx context.Context) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case s.ctx.Err() != nil:
		return fmt.Errorf("%w: the store has stopped", semaphore.ErrNoQuorum)
	case !s.cfg.HasLeader():
		return fmt.Errorf("%w: there is no leader", semaphore.ErrNoQuorum)
	}
	return nil
}

// take takes a lock that can be waited for.
func (s *Store) take(ctx context.Context, lock chan struct{}) error {
	select {
	case lock <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.ctx.Done():
		return s.ready(context.Background())
	}
}

// Read implements semaphore.Store. The queue in it is that of the watch, and
// may be behind the rest by a moment.
func (s *Store) Read(ctx context.Context, name string) (semaphore.State, error) {
	if err := semaphore.ValidGroup(name); err != nil {
		return semaphore.State{Group: name}, nil
	}
	g := s.enter(name)
	defer s.exit(g)
	for {
		if err := s.ready(ctx); err != nil {
			return semaphore.State{}, err
		}
		st := s.state(g)
		_, _, err := s.verify(g, &attempt{base: st}, nil)
		if err == nil {
			return st, nil
		}
		if err := s.rest(ctx, err); err != nil {
			return semaphore.State{}, err
		}
	}
}

// View implements semaphore.Store.
func (s *Store) View(name string) (semaphore.State, bool) {
	st, exists := s.Look(name)
	return st.Plain(), exists
}

// Look implements semaphore.Store.
func (s *Store) Look(name string) (semaphore.State, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[name]
	if g == nil {
		return semaphore.State{Group: name}, false
	}
	st := s.stateLocked(g)
	return st, st.Exists()
}

// Groups implements semaphore.Store.
func (s *Store) Groups() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.groups))
	for name, g := range s.groups {
		if g.st.Exists() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// FleetFreeze implements semaphore.Store.
func (s *Store) FleetFreeze() *semaphore.Freeze {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.freezeCopy()
}

func (s *Store) freezeCopy() *semaphore.Freeze {
	if s.freeze == nil {
		return nil
	}
	f := *s.freeze
	f.Extra = maps.Clone(f.Extra)
	return &f
}

// Changed implements semaphore.Store.
func (s *Store) Changed() <-chan struct{} {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.changed
}

// wakeLocked closes Changed. s.mu is held.
func (s *Store) wakeLocked() {
	close(s.changed)
	s.changed = make(chan struct{})
}
