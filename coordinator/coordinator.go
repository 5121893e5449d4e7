// Package coordinator wires a coordinator together and owns its life: New
// checks, Start opens and begins, Stop ends what Start began, in reverse.
package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	rolloutstore "github.com/lockkeeper/lockkeeper/coordinator/rollout/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout/meter"
	"github.com/lockkeeper/lockkeeper/coordinator/service"
	"github.com/lockkeeper/lockkeeper/semaphore"
	semaphorestore "github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

const (
	// startTimeout bounds the loading of the store, once etcd is ready.
	startTimeout = 20 * time.Second
	// stopTimeout bounds Stop.
	stopTimeout = 5 * time.Second
	// bootstrapPause lies between two tries to make a new cluster.
	bootstrapPause = 200 * time.Millisecond
	// pruneEvery is how often what is past its bound is deleted.
	pruneEvery = 5 * time.Minute
)

// Options of New that are no configuration.
type Options struct {
	Logger  *slog.Logger // nil: discarded
	Version string
}

// Coordinator is one coordinator. Its methods but New and Start may be called
// from any goroutine once Start has returned.
type Coordinator struct {
	cfg      Config
	log      *slog.Logger
	version  string
	registry *prometheus.Registry

	node    etcdnode.Etcd
	member  *etcdnode.Node // node, when it is embedded
	store   *semaphorestore.Store
	db      *etcdstore.DB
	engine  atomic.Pointer[rollout.Engine] // nil before it is made
	service *service.Service
	doors   *doors

	background sync.WaitGroup
	cleanups   []func() error // run in reverse by Stop
	stopping   sync.Once
	stopped    error
}

// New checks the configuration. Nothing is opened before Start. Fields that
// are zero take their defaults.
func New(cfg Config, opts ...Options) (*Coordinator, error) {
	cfg = cfg.withDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Coordinator{cfg: cfg, log: slog.New(slog.DiscardHandler), registry: prometheus.NewRegistry()}
	for _, o := range opts {
		if o.Logger != nil {
			c.log = o.Logger
		}
		c.version = o.Version
	}
	return c, nil
}

// ErrStoreEnded: the store came up and ended for good before the coordinator was
// ready. What waits for it cannot be ended: the process should end.
var ErrStoreEnded = errors.New("the store ended")

// Start opens the doors, starts the store and serves. It returns when the
// coordinator is ready, or with an error, and then nothing is left running,
// unless it is ErrStoreEnded. ctx bounds the start only.
func (c *Coordinator) Start(ctx context.Context) error {
	err := c.start(ctx)
	if err == nil || errors.Is(err, ErrStoreEnded) {
		return err
	}
	return errors.Join(err, c.Stop())
}

func (c *Coordinator) start(ctx context.Context) error {
	// The doors first: an address that cannot be had must leave no data behind.
	var err error
	if c.doors, err = openDoors(c.cfg, c.log); err != nil {
		return err
	}
	c.onStop(c.doors.close)
	c.doors.answerMeanwhile()
	if err := c.startStore(ctx); err != nil {
		return err
	}
	return unlessEnded(c.node.Fatal(), func() error {
		if err := c.startServices(ctx); err != nil {
			return err
		}
		return c.serve()
	})
}

// unlessEnded takes a step that waits for the store. Whoever asks a store that
// ended for good may never be answered, whatever bounds the question.
func unlessEnded(ended <-chan error, step func() error) error {
	done := make(chan error, 1)
	go func() { done <- step() }()
	select {
	case err := <-done:
		return err
	case err := <-ended:
		return fmt.Errorf("%w: %w", ErrStoreEnded, err)
	}
}

// onStop registers what undoes a step that was just taken.
func (c *Coordinator) onStop(f func() error) { c.cleanups = append(c.cleanups, f) }

// stopFunc is onStop for what cannot fail.
func (c *Coordinator) stopFunc(f func()) { c.onStop(func() error { f(); return nil }) }

func (c *Coordinator) startStore(ctx context.Context) error {
	node, err := c.openStore(ctx, c.log.With("component", "etcd"))
	if err != nil {
		return err
	}
	c.node = node
	c.onStop(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
		defer cancel()
		return node.Stop(ctx)
	})
	return nil
}

// openStore embeds a store, or connects to the one that the configuration names.
func (c *Coordinator) openStore(ctx context.Context, log *slog.Logger) (etcdnode.Etcd, error) {
	e := c.cfg.Etcd
	if !e.External() {
		cfg := etcdnode.Config{
			DataDir: c.cfg.DataDir, Name: c.cfg.Name, AdvertiseURL: c.doors.advertise(), Logger: log,
			Quota: e.Quota, Heartbeat: e.Heartbeat, Election: e.Election, Peer: etcdnode.PeerConfig(c.cfg.Peer),
		}
		if len(c.cfg.Join.Servers) > 0 {
			cfg.Join = &joiner{cfg: c.cfg, log: log}
		}
		node, err := etcdnode.Start(ctx, cfg)
		if err != nil {
			return nil, err
		}
		c.member = node
		c.doors.showTo(node.PeerFiles())
		return node, nil
	}
	lock, err := etcdnode.LockFolder(ctx, c.cfg.DataDir)
	if err != nil {
		return nil, err
	}
	c.onStop(lock.Close)
	return connect(ctx, e, log)
}

// connect to an existing etcd.
func connect(ctx context.Context, e EtcdConfig, log *slog.Logger) (*etcdnode.External, error) {
	return etcdnode.Connect(ctx, etcdnode.ExternalConfig{
		Endpoints: e.Endpoints, Prefix: e.prefix(), CA: e.CA, Cert: e.Cert, Key: e.Key,
		Username: e.Username, PasswordFile: e.PasswordFile, TxnOps: e.MaxTxnOps, Quota: e.Quota, Logger: log,
	})
}

func (c *Coordinator) startServices(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	grants := func() error {
		if low, _ := c.node.Low(); low {
			return semaphore.ErrDiskLow
		}
		return nil
	}
	writes := func() error {
		if _, low := c.node.Low(); low {
			return semaphore.ErrDiskLow
		}
		return nil
	}
	etcd, prefix := c.node.Client(), c.cfg.Etcd.prefix()
	db := etcdstore.New(etcdstore.Config{
		Client: etcd, Prefix: prefix, HasLeader: c.node.HasLeader, Floor: grants, WriteFloor: writes, Logger: c.log, Self: c.self(),
		Figures: c.figures(), Members: c.memberIDs(),
		Trail:  etcdstore.Trail{MaxEvents: c.cfg.Events.MaxCount, MaxAge: c.cfg.Events.MaxAge},
		Prunes: c.elected,
	})
	ownHosts := &service.OwnHosts{}
	store := semaphorestore.New(semaphorestore.Config{
		Client: etcd, Prefix: prefix, HasLeader: c.node.HasLeader, MaxTxnOps: c.node.TxnOps(),
		Logger: c.log, Registerer: c.registry, Floor: grants, WriteFloor: writes,
		FenceFloor: func() int64 { return db.Identity().FenceFloor }, Schema: db.Schema,
		ClockOff: db.ClockSkewed, Outages: db.Still, Coordinators: ownHosts.Now,
	})
	if err := store.Start(ctx); err != nil {
		return fmt.Errorf("load the semaphores: %w", err)
	}
	c.stopFunc(store.Stop)
	c.store = store

	if err := db.Start(ctx); err != nil {
		return err
	}
	c.stopFunc(db.Stop)
	c.db = db

	agents, guests := c.presence(db, fleet.Agents), c.presence(db, fleet.FleetLock)
	nodes := fleet.New(fleet.Config{Store: db, Semaphores: store, Presence: agents, Logger: c.log})
	if err := nodes.Start(ctx); err != nil {
		return fmt.Errorf("load the nodes: %w", err)
	}
	c.stopFunc(nodes.Stop)

	hooks, lasted := c.webhooks(), service.NewLasted(db.Events)
	engine := rollout.NewEngine(rollout.EngineConfig{
		Store: rolloutstore.New(rolloutstore.Config{
			Client: etcd, Prefix: prefix, HasLeader: c.node.HasLeader, Floor: grants, WriteFloor: writes,
			Logger: c.log, Schema: db.Schema, BundleKey: db.BundleKey,
		}),
		Fleet: nodes, Semaphores: store, Logger: c.log, Meter: meter.New(c.registry, time.Now), Quorum: c.node.HasLeader,
		Outages: func() (spans []rollout.Span) {
			for _, o := range db.Outages() {
				spans = append(spans, rollout.Span{From: o.From, To: o.To})
			}
			return spans
		},
		Gates: c.checker(), Notify: hooks.tell, Lasted: lasted.Of, GivesWay: db.GivesWay,
		BundleName: func(ctx context.Context, digest string) (string, error) {
			b, err := db.Bundle(ctx, digest)
			if errors.Is(err, etcdstore.ErrNotFound) {
				return "", api.Errorf(api.NotFound, "there is no bundle %s: it was never uploaded here, or was deleted", digest)
			}
			return b.Name, err
		},
	})
	silencer, err := c.silencer(store, nodes, engine, db)
	if err != nil {
		return fmt.Errorf("silences: %w", err)
	}
	c.engine.Store(engine)
	shots := c.snapshots(db)
	var members service.Members
	if c.member != nil {
		members = c.member
	}
	var silences service.Silences
	if silencer != nil {
		silences = silencer
	}
	c.service = service.New(service.Config{
		Store: store, Fleet: nodes, Guests: guests, Rollouts: engine, DB: db, Node: c.node, Members: members, OwnHosts: ownHosts, Logger: c.log, Version: c.version,
		AutoCreateGroups: c.cfg.AutoCreateGroups, StrictAddress: c.cfg.FleetLock.StrictAddress, Snapshots: shots, Webhooks: hooks,
		Gates: c.checker(), Silences: silences, Lasted: lasted,
	})
	// At every start, since the first may have been cut off before its end; and
	// before the engine, whose election would be data of a nameless cluster.
	if err := c.bootstrap(ctx, db); err != nil {
		return err
	}
	db.Announce()
	if err := engine.Start(ctx); err != nil {
		return err
	}
	c.stopFunc(engine.Stop)
	if silencer != nil {
		silencer.Start()
		c.stopFunc(silencer.Stop)
	}
	c.service.Start()
	c.stopFunc(c.service.Stop)
	c.prune()
	c.keepSnapshots(shots)
	return nil
}

// bootstrap makes the cluster, or finds it. It tries again while the store does
// not answer: what an earlier try made is found by the next.
func (c *Coordinator) bootstrap(ctx context.Context, db *etcdstore.DB) error {
	for {
		err := c.checkPin(ctx, db)
		if err == nil {
			err = c.service.Bootstrap(ctx)
		}
		if err == nil {
			return c.putPin(db.Identity().ID)
		}
		if !errors.Is(err, semaphore.ErrNoQuorum) {
			return err
		}
		if c.member != nil && len(c.member.Members()) > 1 && db.Identity().ID != "" {
			return nil // it was made long ago, and is to be read until a majority is back
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(bootstrapPause):
		}
	}
}

// self is this coordinator as the others see it.
func (c *Coordinator) self() etcdstore.Coordinator {
	name := c.cfg.Name
	if name == "" {
		name, _ = os.Hostname()
	}
	if name == "" {
		name = "coordinator"
	}
	return etcdstore.Coordinator{Name: name, URL: c.doors.advertise(), Version: c.version, MaxV: semaphore.SchemaVersion}
}

// figures are of the embedded member, as the other coordinators see it.
func (c *Coordinator) figures() func() etcdstore.Figures {
	if c.member == nil {
		return nil
	}
	return func() etcdstore.Figures {
		info, authority := c.member.Info(), c.member.Authority()
		return etcdstore.Figures{
			Member: c.member.MemberID(), Applied: c.member.Applied(), DBSize: info.DBSize, DBInUse: info.DBInUse, DiskFree: info.DiskFree,
			Shows: authority.Shows, Believes: authority.Believes, Unsettled: !authority.Settled(),
		}
	}
}

// memberIDs are those of the embedded store's members, who all have a
// coordinator.
func (c *Coordinator) memberIDs() func() []string {
	if c.member == nil {
		return nil
	}
	return func() []string {
		var ids []string
		for _, m := range c.member.Members() {
			ids = append(ids, m.ID)
		}
		return ids
	}
}

// presence shares with the other coordinators who is heard here.
func (c *Coordinator) presence(db *etcdstore.DB, kind fleet.Kind) *fleet.Presence {
	p := fleet.NewPresence(fleet.PresenceConfig{Store: db, Kind: kind, Logger: c.log})
	p.Start()
	c.stopFunc(p.Stop)
	return p
}

// elected: this coordinator's rollout engine is the one in office, and so what
// one coordinator is to do for all is for this one to do.
func (c *Coordinator) elected() bool {
	engine := c.engine.Load()
	return engine != nil && engine.Elected()
}

// prune deletes, every few minutes, what is past its bound, where it is elected.
func (c *Coordinator) prune() {
	ctx, cancel := context.WithCancel(context.Background())
	c.stopFunc(func() { cancel(); c.background.Wait() })
	c.background.Go(func() {
		tick := time.NewTicker(pruneEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if !c.elected() {
				continue
			}
			if err := c.service.Prune(ctx); err != nil && ctx.Err() == nil {
				c.log.Warn("old events, bundles and keys could not be deleted; trying again later", "error", err)
			}
		}
	})
}

// Addr is the HOST:PORT, or the path of the socket, that is listened on.
func (c *Coordinator) Addr() string { return c.doors.main.Addr().String() }

// URL is where clients and browsers find the coordinator.
func (c *Coordinator) URL() string { return c.doors.main.URL }

// Fatal delivers an error when the store ended for good, or is not the one any
// more that it was. The process should say so and end; Stop would have nothing
// to close.
func (c *Coordinator) Fatal() <-chan error { return c.node.Fatal() }

// Stop ends everything, the last begun first. Stopping twice is fine.
func (c *Coordinator) Stop() error {
	c.stopping.Do(func() {
		var errs []error
		for i := len(c.cleanups) - 1; i >= 0; i-- {
			errs = append(errs, c.cleanups[i]())
		}
		c.stopped = errors.Join(errs...)
	})
	return c.stopped
}
