package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"

	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
)

// Errors of Start. Each comes wrapped with the folder and what to do.
var (
	// ErrLocked: another process, or another Start of this one, has the folder.
	ErrLocked = errors.New("in use")
	// ErrForeignFolder: the folder holds something that is no store of ours.
	ErrForeignFolder = errors.New("not a folder of Lockkeeper")
	// ErrMarkerWithoutData: a cluster was made here, and its data are gone.
	ErrMarkerWithoutData = errors.New("the data are gone")
	// ErrCorrupt: the data are there and cannot be read.
	ErrCorrupt = errors.New("the data are damaged")
	// ErrDiskFails: the disk under the folder fails, or takes no writes.
	ErrDiskFails = errors.New("the disk refuses")
	// ErrEmbeddedHere: an existing etcd is to be used, and here is a store.
	ErrEmbeddedHere = errors.New("it holds an embedded store")
	// ErrRestoring: a restore into the folder was cut off.
	ErrRestoring = errors.New("a restore into it was not finished")
	// ErrRecovering: a recovery of the folder was cut off in its last step.
	ErrRecovering = errors.New("a recovery of it was not finished")
	// ErrNotEmpty: a restore wants a folder that holds nothing.
	ErrNotEmpty = errors.New("it is not empty")
	// ErrRemoved: the cluster goes on without this member.
	ErrRemoved = errors.New("this member was removed from its cluster")
	// ErrNoPeerAddress: the member is one of several, and no address for the
	// others is configured.
	ErrNoPeerAddress = errors.New("the other members need an address of this one")
	// ErrJoining: joining a cluster was begun in the folder, and not finished.
	ErrJoining = errors.New("joining a cluster was begun here and not finished")
	// ErrStopped: the node was used after its end.
	ErrStopped = errors.New("the embedded etcd has stopped")
)

// Config of a Node.
type Config struct {
	DataDir string // made when missing
	Name    string // of the member; a random suffix is added at bootstrap. Default: the host name
	// AdvertiseURL is the coordinator's API URL as other coordinators and
	// `lockkeeper cluster` show it. Default http://127.0.0.1:8080.
	AdvertiseURL string
	// Peer is where other members find this one; a member without it stays alone.
	Peer PeerConfig
	// Join, in a folder that holds nothing, asks a running cluster to take this
	// member in, instead of making a new one.
	Join      Joiner
	Logger    *slog.Logger  // default: none
	Quota     int64         // bytes of the database; default 2 GiB
	Heartbeat time.Duration // default 100 ms
	Election  time.Duration // default 1 s, at least 5 heartbeats
	// StartTimeout bounds the wait until etcd is ready; default 1 min. A disk
	// without room is waited for without that bound.
	StartTimeout time.Duration
}

// MaxTxnOps is how many operations one transaction of the embedded etcd takes.
const MaxTxnOps = 1024

// DefaultQuota of the database, in bytes.
const DefaultQuota = 2 << 30

// stopTimeout bounds Stop.
const stopTimeout = 5 * time.Second

// Node is a running member inside this process.
type Node struct {
	cfg          Config
	lock         *os.File
	etcd         *embed.Etcd
	client       *clientv3.Client
	ca           atomic.Pointer[peerca.CA]
	believes     []string // fingerprints of the authorities that etcd was started with
	terms        *terms
	id           types.ID
	bootstrapped bool
	joining      bool // it has never caught up yet
	forced       bool // it takes itself for the only member, whoever is in its data

	said  sayings
	room  room
	slow  atomic.Int64 // nanoseconds that a write to a slow disk takes, else 0
	over  atomic.Bool  // the server must not be used any more
	left  atomic.Bool  // it was removed, and can be closed
	use   sync.RWMutex
	fatal chan error // buffered: the first message

	mu      sync.Mutex
	changed chan struct{}    // closed when the leader changed
	reached map[string]error // why the other members were not reached, by id

	cancel context.CancelFunc
	loops  sync.WaitGroup
	stop   sync.Once
	ended  error
}

// Start runs the member and returns when it is ready to answer. It blocks,
// logging, while the disk has no room for etcd to start on. ctx bounds the
// start only.
func Start(ctx context.Context, cfg Config) (*Node, error) {
	return start(ctx, cfg, diskFree)
}

func start(ctx context.Context, cfg Config, free func(dir string) (int64, error)) (*Node, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	lock, err := openFolder(ctx, cfg.DataDir, lockWait)
	if err != nil {
		return nil, diskFault(err)
	}
	n := &Node{cfg: cfg, lock: lock, fatal: make(chan error, 1), changed: make(chan struct{})}
	if err := n.run(ctx, free); err != nil {
		return nil, errors.Join(afterDamage(cfg.DataDir, diskFault(err)), lock.Close())
	}
	return n, nil
}

func (c Config) withDefaults() (Config, error) {
	if c.DataDir == "" {
		return c, errors.New("data folder: must be given")
	}
	dir, err := filepath.Abs(c.DataDir)
	if err != nil {
		return c, fmt.Errorf("data folder %s: %w", c.DataDir, err)
	}
	c.DataDir = dir
	if c.Peer, _, err = CheckPeer(c.Peer); err != nil {
		return c, fmt.Errorf("peer address: %w", err)
	}
	if c.Join != nil && c.Peer.Listen == "" {
		return c, fmt.Errorf("joining a cluster: %w", ErrNoPeerAddress)
	}
	if c.Name == "" {
		if c.Name, err = os.Hostname(); err != nil || c.Name == "" {
			c.Name = "coordinator"
		}
	}
	if c.AdvertiseURL == "" {
		c.AdvertiseURL = "http://127.0.0.1:8080"
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Quota <= 0 {
		c.Quota = DefaultQuota
	}
	if c.Heartbeat <= 0 {
		c.Heartbeat = 100 * time.Millisecond
	}
	if c.Election <= 0 {
		c.Election = 10 * c.Heartbeat
	}
	if c.StartTimeout <= 0 {
		c.StartTimeout = time.Minute
	}
	return c, nil
}

// run brings the folder and etcd up. The folder's lock is held.
func (n *Node) run(ctx context.Context, free func(string) (int64, error)) error {
	dir := n.cfg.DataDir
	m, err := inspect(dir)
	if err != nil {
		return err
	}
	if err := waitForRoom(ctx, dir, free, n.cfg.Logger); err != nil {
		return err
	}
	// Before anything is written: an address that cannot be had leaves no data.
	if err := n.cfg.Peer.check(); err != nil {
		return err
	}
	if err := n.bring(ctx, m); err != nil {
		return err
	}
	n.client = inProcess(n.etcd.Server)
	n.terms = newTerms(uint64(n.etcd.Server.Leader()))
	n.client.KV = guardedKV{KV: n.client.KV, over: &n.over, term: n.terms}

	loop, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.loops.Go(func() { n.monitorServer(loop) })
	n.loops.Go(func() { n.monitorSize(loop) })
	n.loops.Go(func() { n.monitorPeerURL(loop) })
	n.loops.Go(func() { n.monitorReach(loop) })
	n.loops.Go(func() { n.monitorLeader(loop) })
	n.loops.Go(func() { n.monitorDisk(loop) })
	n.loops.Go(func() { n.monitorCertificate(loop) })
	return nil
}

// bring starts etcd in the folder: as the one member of a new cluster, as a new
// one of an old cluster, or as the member that it was.
func (n *Node) bring(ctx context.Context, m *marker) error {
	dir := n.cfg.DataDir
	switch {
	case (m == nil || !m.Complete) && n.cfg.Join != nil:
		return n.join(ctx, m) // also over a bootstrap that nobody was served from
	case m != nil && !m.Complete && m.Joining != nil:
		return fmt.Errorf("data folder %s: %w, as member %s: start it with --join and the join token again, or empty the folder", dir, ErrJoining, m.Name)
	case m == nil || !m.Complete:
		return n.bootstrap(ctx, m)
	}
	if n.cfg.Join != nil {
		n.cfg.Logger.Info("this folder has a member already: nobody is asked to take it in", "member", m.Name)
	}
	if err := checkDatabase(dir); err != nil {
		return err
	}
	if err := checkLog(dir, n.cfg.Logger); err != nil {
		return err
	}
	if err := n.openAuthority(m); err != nil {
		return err
	}
	return n.startEtcd(ctx, m)
}

// bootstrap makes a new cluster.
func (n *Node) bootstrap(ctx context.Context, m *marker) error {
	dir := n.cfg.DataDir
	n.bootstrapped = true
	if m == nil {
		m = newMarker(n.cfg.Name)
		if err := m.write(dir); err != nil {
			return err
		}
	}
	// What an unfinished bootstrap left was never used by anybody.
	if err := os.RemoveAll(filepath.Join(dir, etcdDir)); err != nil {
		return fmt.Errorf("data folder %s cannot be written: %w", dir, err)
	}
	if err := n.openAuthority(m); err != nil {
		return err
	}
	if err := n.startEtcd(ctx, m); err != nil {
		return err
	}
	m.Complete = true
	if err := m.write(dir); err != nil {
		return errors.Join(err, n.close())
	}
	n.cfg.Logger.Warn("a new cluster was bootstrapped: this folder held nothing at all",
		"folder", dir, "etcd_cluster", n.etcd.Server.Cluster().ID().String(), "member", m.Name)
	return nil
}

// monitorServer watches for the end of the server and for changes of leader.
func (n *Node) monitorServer(ctx context.Context) {
	errs := n.etcd.Err()
	last := n.etcd.Server.Leader()
	for {
		leader := n.etcd.Server.LeaderChangedNotify()
		if now := n.etcd.Server.Leader(); now != last {
			last = now
			n.terms.see(uint64(now))
			n.wake()
		}
		select {
		case <-ctx.Done():
			return
		case <-leader:
		case <-n.etcd.Server.StopNotify():
			if n.wasRemoved() {
				n.removed()
				return
			}
			n.end("etcd stopped by itself")
			return
		case err, open := <-errs:
			if !open {
				errs = nil
			}
			if err != nil {
				n.end(err.Error())
			}
		}
	}
}

// saysForgot is how raft words that the others hold this member to what is not in
// its log any more.
const saysForgot = "Was the raft log corrupted"

// end records that etcd ended for good. Only its first message counts.
func (n *Node) end(message string) {
	if n.over.Swap(true) {
		return
	}
	n.cfg.Logger.Error("etcd ended for good", "message", message)
	err := fmt.Errorf("etcd ended for good: %s", message)
	if strings.Contains(message, saysForgot) {
		err = afterDamage(n.cfg.DataDir, fmt.Errorf("%w: %w", ErrCorrupt, err))
	}
	n.fatal <- err
	n.wake()
}

func (n *Node) wake() {
	n.mu.Lock()
	defer n.mu.Unlock()
	close(n.changed)
	n.changed = make(chan struct{})
}

// Client talks to the member inside this process. After Stop, and after the
// end of etcd, its key-value methods return ErrStopped.
func (n *Node) Client() *clientv3.Client { return n.client }

// TxnOps implements Etcd.
func (*Node) TxnOps() int { return MaxTxnOps }

// Bootstrapped reports whether this Start made a new cluster.
func (n *Node) Bootstrapped() bool { return n.bootstrapped }

// Fatal delivers one error when etcd ended for good: its last message. The
// process should say so and exit; Stop then only lets go of the folder.
func (n *Node) Fatal() <-chan error { return n.fatal }

// HasLeader reports whether this member knows a leader. Without one every
// write fails, and refusing at once is kinder than a timeout.
func (n *Node) HasLeader() bool {
	return !n.over.Load() && n.etcd.Server.Leader() != 0
}

// LeaderChanged returns a channel that is closed at the next change of leader,
// or when etcd ended.
func (n *Node) LeaderChanged() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.changed
}

// Stop ends the member, within 5 s, and lets go of the folder. Those who use
// the client must have ended before. Stopping twice is fine.
func (n *Node) Stop(ctx context.Context) error {
	n.stop.Do(func() {
		dead := n.over.Swap(true) && !n.left.Load()
		n.cancel()
		n.loops.Wait()
		if dead {
			// The backend's lock may be held by the one that said the last
			// words: closing would hang.
			n.ended = n.lock.Close()
			return
		}
		n.wake()
		_ = n.client.Close() // says "context canceled" when all is well
		ctx, cancel := context.WithTimeout(ctx, stopTimeout)
		defer cancel()
		done := make(chan error, 1)
		go func() { done <- n.close() }()
		select {
		case err := <-done:
			n.ended = errors.Join(err, n.lock.Close())
		case <-ctx.Done():
			n.ended = fmt.Errorf("etcd did not stop in time: %w", context.Cause(ctx))
		}
	})
	return n.ended
}

// close stops the server, then what is around it: Close alone hangs on a
// member that never got ready.
func (n *Node) close() error {
	n.use.Lock()
	defer n.use.Unlock()
	n.over.Store(true)
	n.handOver()
	done := make(chan struct{})
	defer close(done)
	go n.hangUp(done)
	n.etcd.Server.HardStop()
	n.etcd.Close()
	return nil
}

// handOver gives leadership away, if this member leads. Raft gives up after one
// election timeout, since the other may stop in the same moment, or stand still;
// etcd would wait for 7 s all the same, which is longer than Stop may take, as an
// election may be.
func (n *Node) handOver() {
	moved := make(chan struct{})
	go func() {
		defer close(moved)
		_ = n.etcd.Server.TryTransferLeadershipOnShutdown() // etcd logs why not
	}()
	select {
	case <-moved:
	case <-time.After(min(n.cfg.Election+2*n.cfg.Heartbeat, stopTimeout/2)):
	}
}
