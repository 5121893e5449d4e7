package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/status"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// DefaultTxnOps is how many operations an etcd takes in one transaction by
// default (--max-txn-ops), and what Connect asks for at least.
const DefaultTxnOps = 128

const (
	// probeEvery is how often the etcd is asked for a linearizable read; one
	// that does not come within probeTimeout means that it cannot commit.
	probeEvery   = 500 * time.Millisecond
	probeTimeout = 2 * time.Second
	// statusEvery is how often its members are asked for their figures.
	statusEvery = 10 * time.Second
	// keepAlive is when a silent connection is asked for a sign of life, and
	// how long that may take.
	keepAlive = 3 * time.Second
)

// ExternalConfig of an External.
type ExternalConfig struct {
	Endpoints []string // URLs, as CheckEndpoints takes them
	// Prefix of the keys that this coordinator may read, for its probe.
	Prefix string
	// CA, Cert and Key are PEM files; without a CA the system's are trusted.
	// The certificate is read again for each new connection.
	CA, Cert, Key string
	Username      string
	PasswordFile  string // read at the start
	TxnOps        int    // default DefaultTxnOps
	Quota         int64  // bytes of the database where etcd does not say (before 3.6); default 2 GiB
	Logger        *slog.Logger
	// StartTimeout bounds the wait for an etcd that does not answer; default 1 min.
	StartTimeout time.Duration
}

// External is a client of an etcd that others run. Nothing is embedded, and no
// data of the store are here.
//
// It has a leader while a linearizable read, twice a second, is answered.
type External struct {
	cfg    ExternalConfig
	client *clientv3.Client
	log    *slog.Logger

	said     sayings      // the client's
	revision atomic.Int64 // the highest seen
	leads    atomic.Bool
	over     atomic.Bool
	suspect  chan struct{} // holds one request to probe at once
	fatal    chan error    // buffered: the first

	mu      sync.Mutex
	changed chan struct{}
	cluster uint64 // etcd's own id
	term    uint64 // the highest raft term of a linearizable read
	members []api.Member
	figures api.StoreInfo

	cancel context.CancelFunc
	loops  sync.WaitGroup
	stop   sync.Once
	ended  error
}

// Connect returns when the etcd has answered and is fit for use, or with an
// error that says what is wrong. ctx bounds the start only.
func Connect(ctx context.Context, cfg ExternalConfig) (*External, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.TxnOps == 0 {
		cfg.TxnOps = DefaultTxnOps
	}
	if cfg.Quota <= 0 {
		cfg.Quota = DefaultQuota
	}
	if cfg.StartTimeout <= 0 {
		cfg.StartTimeout = time.Minute
	}
	e := &External{
		cfg: cfg, log: cfg.Logger, suspect: make(chan struct{}, 1), fatal: make(chan error, 1), changed: make(chan struct{}),
	}
	ctx, cancel := context.WithTimeout(ctx, cfg.StartTimeout)
	defer cancel()
	if err := e.open(ctx); err != nil {
		return nil, err
	}
	if err := e.check(ctx); err != nil {
		_ = e.client.Close()
		return nil, err
	}
	e.client.KV = watchedKV{KV: e.client.KV, e: e}
	e.client.Watcher = leaderWatcher{e.client.Watcher}
	life, end := context.WithCancel(context.Background())
	e.cancel = end
	e.leads.Store(true)
	e.loops.Go(func() { e.monitorLeader(life) })
	e.loops.Go(func() { e.monitorStatus(life) })
	return e, nil
}

// open makes the client. With a user name it has to reach etcd for that.
func (e *External) open(ctx context.Context) error {
	cfg, err := e.clientConfig()
	if err != nil {
		return err
	}
	return e.untilAnswered(ctx, func() error {
		e.client, err = clientv3.New(cfg)
		return err
	})
}

// check is what must be right before anything is asked of the etcd.
func (e *External) check(ctx context.Context) error {
	err := e.untilAnswered(ctx, func() error { return e.readStatus(ctx) })
	if err != nil {
		return err
	}
	if err := e.checkVersions(); err != nil {
		return err
	}
	if err := e.untilAnswered(ctx, func() error { return e.probe(ctx, e.client.KV) }); err != nil {
		return err
	}
	return e.untilAnswered(ctx, func() error { return e.checkTxnOps(ctx) })
}

// untilAnswered tries again while etcd does not answer; what it answers, also
// a refusal, is final.
func (e *External) untilAnswered(ctx context.Context, try func() error) error {
	said := false
	for {
		err := try()
		if err == nil {
			return nil
		}
		if !passing(err) {
			return fmt.Errorf("etcd at %s: %w", e.names(), explainRefusal(err))
		}
		if !said {
			said = true
			e.log.Warn("etcd does not answer yet; trying again", "endpoints", e.names(), "error", err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("etcd at %s does not answer: %w; is it up, and are endpoints and certificates right?", e.names(), err)
		case <-time.After(probeEvery):
		}
	}
}

func (e *External) names() string { return strings.Join(e.cfg.Endpoints, ", ") }

// passing reports whether an error may go away by itself.
func passing(err error) bool {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) || errors.Is(err, rpctypes.ErrNoLeader) {
		return true
	}
	switch status.Code(err) {
	case codes.Unavailable, codes.DeadlineExceeded, codes.Canceled:
		return true
	}
	var known rpctypes.EtcdError
	return errors.As(err, &known) && (known.Code() == codes.Unavailable || known.Code() == codes.DeadlineExceeded)
}

func explainRefusal(err error) error {
	switch {
	case errors.Is(err, rpctypes.ErrAuthFailed):
		return fmt.Errorf("%w: look at etcd.username and etcd.password_file", err)
	case errors.Is(err, rpctypes.ErrUserEmpty):
		return fmt.Errorf("%w: it asks for a user: set etcd.username and etcd.password_file", err)
	case errors.Is(err, rpctypes.ErrPermissionDenied):
		return fmt.Errorf("%w: the user needs a role with readwrite on the prefix and on its bundles, see docs/operating.md", err)
	}
	return err
}

// checkTxnOps asks for a transaction of as many operations as will be used.
func (e *External) checkTxnOps(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	cmps := make([]clientv3.Cmp, e.cfg.TxnOps)
	for i := range cmps {
		cmps[i] = clientv3.Compare(clientv3.CreateRevision(e.cfg.Prefix), "=", 0)
	}
	_, err := e.client.Txn(ctx).If(cmps...).Commit()
	if errors.Is(err, rpctypes.ErrTooManyOps) {
		return fmt.Errorf("it takes fewer than %d operations in one transaction: start it with --max-txn-ops=%[1]d or more, or lower etcd.max_txn_ops if that is above %d", e.cfg.TxnOps, DefaultTxnOps)
	}
	return err
}

// probe is the linearizable read that tells whether etcd can commit. It finds
// out as well whether this is still the store that it was.
func (e *External) probe(ctx context.Context, kv clientv3.KV) error {
	ctx, cancel := context.WithTimeout(clientv3.WithRequireLeader(ctx), probeTimeout)
	defer cancel()
	seen := e.revision.Load()
	resp, err := kv.Get(ctx, e.cfg.Prefix, clientv3.WithCountOnly())
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.cluster == 0:
		e.cluster = resp.Header.ClusterId
	case e.cluster != resp.Header.ClusterId:
		e.end(fmt.Sprintf("the etcd at %s is another one than before: cluster id %x, and %x at the start", e.names(), resp.Header.ClusterId, e.cluster))
	case resp.Header.Revision < seen:
		e.end(fmt.Sprintf("the etcd at %s went back from revision %d to %d: it was restored or replaced", e.names(), seen, resp.Header.Revision))
	case resp.Header.RaftTerm < e.term:
		// A restore may raise the revision (etcdutl --bump-revision), and others
		// write there too; but it begins with the first term again.
		e.end(fmt.Sprintf("the etcd at %s went back from raft term %d to %d: it was restored or replaced", e.names(), e.term, resp.Header.RaftTerm))
	}
	e.term = max(e.term, resp.Header.RaftTerm)
	e.saw(resp.Header.Revision)
	return nil
}

func (e *External) end(message string) {
	if e.over.Swap(true) {
		return
	}
	e.log.Error("the store is not what it was", "message", message)
	e.fatal <- errors.New(message)
}

func (e *External) saw(revision int64) {
	for {
		old := e.revision.Load()
		if revision <= old || e.revision.CompareAndSwap(old, revision) {
			return
		}
	}
}

// monitorLeader keeps HasLeader true to life.
func (e *External) monitorLeader(ctx context.Context) {
	ticker := time.NewTicker(probeEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		case <-e.suspect:
		}
		err := e.probe(ctx, e.client.KV.(watchedKV).KV)
		if ctx.Err() != nil {
			return
		}
		leads := err == nil
		if e.leads.Swap(leads) == leads {
			continue
		}
		if leads {
			e.log.Info("etcd answers again")
		} else {
			e.log.Error("etcd does not answer: nothing can be granted or changed until it does", "error", err)
		}
		e.wake()
	}
}

func (e *External) wake() {
	e.mu.Lock()
	defer e.mu.Unlock()
	close(e.changed)
	e.changed = make(chan struct{})
}

// Client implements Etcd.
func (e *External) Client() *clientv3.Client { return e.client }

// HasLeader implements Etcd. A connection that is refused counts at once.
func (e *External) HasLeader() bool {
	if e.over.Load() || !e.leads.Load() {
		return false
	}
	conn := e.client.ActiveConnection()
	return conn == nil || conn.GetState() != connectivity.TransientFailure
}

// LeaderChanged implements Etcd.
func (e *External) LeaderChanged() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// Fatal implements Etcd: another etcd, or an older state of it, is in place of
// the one that this process started with. What is in memory is of the old one.
func (e *External) Fatal() <-chan error { return e.fatal }

// TxnOps implements Etcd.
func (e *External) TxnOps() int { return e.cfg.TxnOps }

// DiskFree implements Etcd: its disks are not ours to look at.
func (*External) DiskFree() int64 { return 0 }

// Stop implements Etcd.
func (e *External) Stop(context.Context) error {
	e.stop.Do(func() {
		e.over.Store(true)
		e.cancel()
		e.loops.Wait()
		e.wake()
		if err := e.client.Close(); err != nil && !errors.Is(err, context.Canceled) {
			e.ended = fmt.Errorf("closing the client of etcd: %w", err)
		}
	})
	return e.ended
}
