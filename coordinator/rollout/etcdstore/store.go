// Package etcdstore keeps rollouts in etcd, and holds the election of the one
// engine that acts on them.
//
// Under the prefix:
//
//	rollouts/<id>/head          the rollout; compared and put by each of its transactions
//	rollouts/<id>/selection     its nodes; written again when nodes join
//	rollouts/<id>/nodes/<node>  what became of a node
//	rollouts/<id>/notices/<seq> what webhooks are still to be told
//	rollout-settled/<node>      what a node was brought to last; outlives the rollout
//	rollout-catalog             put by each creation, so that two cannot pass each other,
//	                            and compared by who deletes a bundle
//	rollout-engine/<lease>      candidates; the oldest is elected
//	events/rollout/<id>/<seq>   the audit trail, put with the change
//	requests/<key>              idempotency keys
package etcdstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// DefaultPrefix is the prefix of all keys.
const DefaultPrefix = "/lockkeeper/"

// attemptTimeout bounds one request to etcd: a proposal that was lost with
// its leader is never answered.
const attemptTimeout = 2 * time.Second

// Config of a Store.
type Config struct {
	Client    *clientv3.Client
	Prefix    string           // default DefaultPrefix
	HasLeader func() bool      // nil: always
	Floor     func() error     // semaphore.ErrDiskLow below the floor for what begins something; nil: none
	Logger    *slog.Logger     // nil: discarded
	Now       func() time.Time // nil: time.Now
	Name      string           // of this coordinator, shown in the election's key
	// WriteFloor is the same for every other write but those that make room.
	WriteFloor func() error
	// BundleKey is the key that is there as long as a bundle is stored; nil: bundles
	// are not compared.
	BundleKey func(digest string) string
	// ElectionTTL is how long a dead engine stays elected, in whole seconds;
	// default 5 s.
	ElectionTTL time.Duration
	// Schema is the `v` that all coordinators read: no higher one is written. nil:
	// semaphore.BaseSchema.
	Schema func() int
}

// Store implements rollout.Store.
type Store struct {
	cfg    Config
	client *clientv3.Client
	prefix string // ends in a slash

	mu       sync.Mutex
	view     rollout.Snapshot
	raw      map[string]*parts // by rollout id, as the watch brings them
	seen     int64             // store revision that the view has reached
	changed  chan struct{}
	progress chan struct{} // closed when seen grows

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New makes a Store. Nothing runs before Start.
func New(cfg Config) *Store {
	if cfg.Prefix == "" {
		cfg.Prefix = DefaultPrefix
	}
	if cfg.HasLeader == nil {
		cfg.HasLeader = func() bool { return true }
	}
	if cfg.Floor == nil {
		cfg.Floor = func() error { return nil }
	}
	if cfg.WriteFloor == nil {
		cfg.WriteFloor = func() error { return nil }
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Schema == nil {
		cfg.Schema = func() int { return semaphore.BaseSchema }
	}
	if cfg.ElectionTTL < time.Second {
		cfg.ElectionTTL = 5 * time.Second
	}
	return &Store{
		cfg: cfg, client: cfg.Client, prefix: strings.TrimSuffix(cfg.Prefix, "/") + "/",
		view: rollout.Snapshot{Rollouts: map[string]rollout.State{}}, raw: map[string]*parts{},
		changed: make(chan struct{}), progress: make(chan struct{}),
	}
}

// Read implements rollout.Store.
func (s *Store) Read(ctx context.Context, id string) (rollout.State, error) {
	resp, err := s.get(ctx, s.prefix+"rollouts/"+id+"/", clientv3.WithPrefix())
	if err != nil {
		return rollout.State{}, err
	}
	snap := s.assemble(resp.Kvs)
	st, ok := snap.Rollouts[id]
	if !ok && snap.Unread != "" {
		return rollout.State{Newer: snap.Unread}, nil
	}
	if !ok {
		return rollout.State{}, rollout.ErrNotFound
	}
	return st, nil
}

// ReadHead implements rollout.Store.
func (s *Store) ReadHead(ctx context.Context, id string) (rollout.Head, error) {
	resp, err := s.get(ctx, s.key(id, "head"))
	if err != nil {
		return rollout.Head{}, err
	}
	if len(resp.Kvs) == 0 {
		return rollout.Head{}, rollout.ErrNotFound
	}
	h, err := rollout.DecodeHead(resp.Kvs[0].Value)
	if err != nil {
		return rollout.Head{}, fmt.Errorf("%s: %w", s.key(id, "head"), unread(err))
	}
	return h, nil
}

// ReadAll implements rollout.Store.
func (s *Store) ReadAll(ctx context.Context) (rollout.Snapshot, error) {
	txn, err := s.commit(ctx, nil, []clientv3.Op{
		clientv3.OpGet(s.prefix+"rollouts/", clientv3.WithPrefix()),
		clientv3.OpGet(s.catalogKey()),
	})
	if err != nil {
		return rollout.Snapshot{}, err
	}
	snap := s.assemble(txn.Responses[0].GetResponseRange().Kvs)
	for _, kv := range txn.Responses[1].GetResponseRange().Kvs {
		snap.Catalog = kv.ModRevision
	}
	return snap, nil
}

// Told implements rollout.Store.
func (s *Store) Told(ctx context.Context, e semaphore.Event) (bool, error) {
	value, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	resp, err := s.get(ctx, s.eventKey(e))
	return err == nil && len(resp.Kvs) > 0 && string(resp.Kvs[0].Value) == string(value), err
}

// Request implements rollout.Store.
func (s *Store) Request(ctx context.Context, key string) (rollout.Request, bool, error) {
	resp, err := s.get(ctx, s.requestKey(key))
	if err != nil || len(resp.Kvs) == 0 {
		return rollout.Request{}, false, err
	}
	var r rollout.Request
	if err := json.Unmarshal(resp.Kvs[0].Value, &r); err != nil {
		return r, false, fmt.Errorf("idempotency key %q: %w", key, err)
	}
	return r, true, nil
}

// writes is the `v` of what is written.
func (s *Store) writes() int {
	return max(semaphore.BaseSchema, min(s.cfg.Schema(), semaphore.SchemaVersion))
}

// unread is why a value cannot be read, in the one word for that: who meets it
// leaves it to a coordinator that can.
func unread(err error) error {
	if errors.Is(err, semaphore.ErrNewerSchema) {
		return err
	}
	return fmt.Errorf("%w, or it is damaged: %w", semaphore.ErrNewerSchema, err)
}

func (s *Store) key(id, part string) string { return s.prefix + "rollouts/" + id + "/" + part }
func (s *Store) catalogKey() string         { return s.prefix + "rollout-catalog" }
func (s *Store) requestKey(key string) string {
	return s.prefix + "requests/" + semaphore.EscapeID(key)
}

func (s *Store) settledKey(node string) string {
	return s.prefix + "rollout-settled/" + semaphore.EscapeID(node)
}

func (s *Store) noticeKey(id string, seq int64) string {
	return s.key(id, fmt.Sprintf("notices/%016d", seq))
}

func (s *Store) eventKey(e semaphore.Event) string {
	return fmt.Sprintf("%sevents/%s/%016d", s.prefix, e.Scope, e.Seq)
}

func catalogValue(last string) string {
	return fmt.Sprintf(`{"v":%d,"last":%q}`, semaphore.BaseSchema, last)
}

// get reads linearizably, within the deadline.
func (s *Store) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if !s.cfg.HasLeader() {
		return nil, semaphore.ErrNoQuorum
	}
	c, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	resp, err := s.client.Get(c, key, opts...)
	return resp, outcome(ctx, c, err)
}

func (s *Store) commit(ctx context.Context, ifs []clientv3.Cmp, then []clientv3.Op) (*clientv3.TxnResponse, error) {
	if err := fits(ifs, then); err != nil {
		return nil, err
	}
	if !s.cfg.HasLeader() {
		return nil, semaphore.ErrNoQuorum
	}
	c, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	resp, err := s.client.Txn(c).If(ifs...).Then(then...).Commit()
	return resp, outcome(ctx, c, err)
}

// outcome names a failed request: the caller's own end, or no quorum. What
// became of the request is unknown either way. One that is too large for an etcd
// that takes less than is usual was not carried out. One that had no answer within
// the deadline is a context.DeadlineExceeded too: an embedded etcd says so of writes
// in words of its own.
func outcome(ctx, attempt context.Context, err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, rpctypes.ErrRequestTooLarge) {
		return fmt.Errorf("%w: %w", rollout.ErrTooMuch, err)
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if late := attempt.Err(); late != nil && !errors.Is(err, late) {
		err = fmt.Errorf("%w: %w", late, err)
	}
	return fmt.Errorf("%w: %w", semaphore.ErrNoQuorum, err)
}
