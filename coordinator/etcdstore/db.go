package etcdstore

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// DefaultPrefix is the prefix of all keys.
const DefaultPrefix = "/lockkeeper/"

const (
	// attemptTimeout bounds one request to etcd: a proposal that was lost with
	// its leader is never answered.
	attemptTimeout = 2 * time.Second
	// readTries is how often a read is sent: one that was left without an answer has
	// changed nothing, and a store that is only busy may answer the next.
	readTries = 3
	// writeTries is how often a change is sent that was left without an answer, where
	// it can be seen whether an earlier one was carried out, or it does not matter.
	writeTries = 3
	// turnTimeout bounds how long one waits for others here to have written events.
	turnTimeout = 10 * time.Second
	// attempts that a change makes when another came between.
	attempts = 16
	// schema is the `v` of the values written here.
	schema = 1
	// batchOps is the most keys deleted in one transaction.
	batchOps = 100
)

// Errors of this package, beside semaphore.ErrNoQuorum.
var (
	ErrNotFound = errors.New("there is no such entry")
	ErrExists   = errors.New("there is such an entry already")
	// ErrUsed: a join token was used by another.
	ErrUsed = errors.New("the join token was used by another member")
	// ErrNotEmpty: there are keys but no identity, so this is no new cluster.
	ErrNotEmpty = errors.New("the store holds data of a cluster but not its identity")
	// ErrOtherRequest: the idempotency key was used with another body.
	ErrOtherRequest = errors.New("the idempotency key was used for another request")
	// ErrChanged: another change came first; read again and decide again.
	ErrChanged = errors.New("the store changed meanwhile")
	// ErrFull: the bound on all bundles together would be passed.
	ErrFull = errors.New("the store holds as many bundles as it may")
)

// Config of a DB.
type Config struct {
	Client    *clientv3.Client
	Prefix    string           // default DefaultPrefix
	HasLeader func() bool      // nil: always
	Floor     func() error     // semaphore.ErrDiskLow below the floor for uploads, registrations and orders; nil: none
	Logger    *slog.Logger     // nil: discarded
	Now       func() time.Time // nil: time.Now
	// WriteFloor is the same for the reports of nodes that are known; nil: none. What
	// takes little and seldom, and what makes room, has no floor.
	WriteFloor func() error
	// Self is this coordinator as the others see it; without an ID it gets a
	// random one.
	Self Coordinator
	// Figures of the member that it embeds; nil: it embeds none.
	Figures func() Figures
	Trail   Trail // bounds of the audit trail; what is zero takes its default
	// Prunes reports whether this coordinator is the one that deletes what is past
	// its bound; nil: it is.
	Prunes func() bool
	// Members are the ids of the embedded store's members; nil: it is another's.
	Members func() []string
}

// DB is all tables but the semaphores.
type DB struct {
	cfg    Config
	client *clientv3.Client
	prefix string // ends in a slash
	blobs  string // ends in a slash

	feed feed

	measuring sync.Mutex    // held by the one MeasurePuts
	telling   chan struct{} // holds one while an event is written

	mu            sync.RWMutex
	identity      Identity
	schema        Schema
	rotation      Rotation
	foreign       map[string]Foreign
	tokens        map[string]liveToken
	peers         map[string]Peer // coordinators by id
	alive         time.Time       // when a coordinator wrote last
	aliveRevision int64           // of that word
	outages       map[string]Outage
	changed       chan struct{}
	// clusterChanged is closed with changed, unless that is for the trail or a token.
	clusterChanged chan struct{}
	loaded         map[string]bool // by followed prefix

	lease lease
	again chan struct{} // holds one wish to announce

	life   context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New makes a DB. Nothing runs before Start.
func New(cfg Config) *DB {
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
	cfg.Trail.MaxEvents = cmp.Or(cfg.Trail.MaxEvents, DefaultTrail.MaxEvents)
	cfg.Trail.MaxAge = cmp.Or(cfg.Trail.MaxAge, DefaultTrail.MaxAge)
	if cfg.Prunes == nil {
		cfg.Prunes = func() bool { return true }
	}
	if cfg.Self.ID == "" {
		cfg.Self.ID = strings.ToLower(rand.Text())
	}
	cfg.Self.StartedAt = cfg.Now().UTC()
	root := strings.TrimSuffix(cfg.Prefix, "/")
	d := &DB{
		cfg: cfg, client: cfg.Client, prefix: root + "/", blobs: root + "-bundles/",
		foreign: map[string]Foreign{}, tokens: map[string]liveToken{}, peers: map[string]Peer{}, outages: map[string]Outage{},
		changed: make(chan struct{}), clusterChanged: make(chan struct{}), again: make(chan struct{}, 1), loaded: map[string]bool{},
		telling: make(chan struct{}, 1),
	}
	d.life, d.cancel = context.WithCancel(context.Background())
	d.feed.init()
	return d
}

// Start loads the small tables and follows them until Stop. It returns when
// everything was read once, without quorum from a member's own copy, or when
// ctx ends.
func (d *DB) Start(ctx context.Context) error {
	tables := []table{d.clusterTable(), d.tokenTable(), d.eventTable()}
	// Known before this coordinator says that it is here: an outage, since that ends
	// it, and the others, since one whose clock is off theirs must not tell the time.
	quiet := []table{d.quorumTable(), d.coordinatorTable()}
	synced := make(chan struct{}, len(tables)+len(quiet))
	for _, t := range tables {
		done := sync.OnceFunc(func() { synced <- struct{}{} })
		inner := t.reload
		t.reload = func(kvs []kv, revision int64) {
			inner(kvs, revision)
			d.bump()
			done()
		}
		apply := t.apply
		t.apply = func(kvs []kv) { apply(kvs); d.bump() }
		d.wg.Go(func() { d.follow(d.life, t) })
	}
	for _, t := range quiet {
		done, inner := sync.OnceFunc(func() { synced <- struct{}{} }), t.reload
		t.reload = func(kvs []kv, revision int64) { inner(kvs, revision); done() }
		d.wg.Go(func() { d.follow(d.life, t) })
	}
	d.wg.Go(func() { d.monitorTrail(d.life) })
	for range cap(synced) {
		select {
		case <-synced:
		case <-ctx.Done():
			return fmt.Errorf("load the store: %w", context.Cause(ctx))
		}
	}
	return nil
}

// Stop ends what Start began, and every subscription, and waits for them. What
// this coordinator said of itself is taken back.
func (d *DB) Stop() {
	d.lease.mu.Lock()
	id := d.lease.id
	d.lease.mu.Unlock()
	d.cancel()
	d.wg.Wait()
	d.endLease(id)
}

// Changed returns a channel that is closed at the next change of the cluster's
// identity, the tokens or the audit trail.
func (d *DB) Changed() <-chan struct{} {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.changed
}

func (d *DB) bump() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.changed)
	d.changed = make(chan struct{})
}

// ClusterChanged returns a channel that is closed at the next change of the
// cluster's identity, of the agents of others that called, or of which coordinators
// are here: of what Changed tells, that which no audit trail and no token is.
func (d *DB) ClusterChanged() <-chan struct{} {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.clusterChanged
}

func (d *DB) bumpCluster() {
	d.mu.Lock()
	defer d.mu.Unlock()
	close(d.clusterChanged)
	d.clusterChanged = make(chan struct{})
}

// get is a linearizable read.
func (d *DB) get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	for try := 1; ; try++ {
		if !d.cfg.HasLeader() {
			return nil, semaphore.ErrNoQuorum
		}
		c, cancel := context.WithTimeout(ctx, attemptTimeout)
		resp, err := d.client.Get(c, key, opts...)
		late := c.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !late || try == readTries {
			return resp, outcome(ctx, err)
		}
	}
}

// commit is one transaction, sent once: after an error nobody knows what became of it.
func (d *DB) commit(ctx context.Context, ifs []clientv3.Cmp, then, or []clientv3.Op) (*clientv3.TxnResponse, error) {
	resp, _, err := d.try(ctx, ifs, then, or)
	return resp, err
}

// insist is one transaction, sent again while it is left without an answer: a store
// that is only busy carries it out all the same, or answers the next. It must do no
// more when it is carried out twice. lost says that an answer was: when the
// comparison fails, an earlier try may be why.
func (d *DB) insist(ctx context.Context, ifs []clientv3.Cmp, then, or []clientv3.Op) (resp *clientv3.TxnResponse, lost bool, err error) {
	for try := 1; ; try++ {
		resp, late, err := d.try(ctx, ifs, then, or)
		if err == nil || !late || try == writeTries {
			return resp, try > 1, err
		}
	}
}

// try sends a transaction once, and says whether the time for its answer has passed.
func (d *DB) try(ctx context.Context, ifs []clientv3.Cmp, then, or []clientv3.Op) (resp *clientv3.TxnResponse, late bool, err error) {
	if !d.cfg.HasLeader() {
		return nil, false, semaphore.ErrNoQuorum
	}
	c, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	resp, err = d.client.Txn(c).If(ifs...).Then(then...).Else(or...).Commit()
	return resp, err != nil && c.Err() != nil && ctx.Err() == nil, outcome(ctx, err)
}

// outcome tells a caller that gave up from a store that did not answer: etcd
// names neither, so every other failure is taken for an unknown outcome.
func outcome(ctx context.Context, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case strings.Contains(err.Error(), "database space exceeded"):
		return fmt.Errorf("%w: %w", semaphore.ErrDiskLow, err)
	}
	return fmt.Errorf("%w: %w", semaphore.ErrNoQuorum, err)
}

func absent(key string) clientv3.Cmp { return clientv3.Compare(clientv3.CreateRevision(key), "=", 0) }

func at(key string, revision int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", revision)
}
