package service

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/coordinator/spacing"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Rollouts is the rollout engine as the service uses it. Errors are
// *api.Error, semaphore.ErrNoQuorum or the context's.
type Rollouts interface {
	Create(ctx context.Context, spec api.RolloutSpec, by, idempotencyKey string) (api.Rollout, bool, error)
	// Act does to a rollout what a person asked.
	Act(ctx context.Context, id string, ask rollout.Ask) (api.Rollout, error)
	// RetryNode tries a failed node of the newest rollout that selects it again.
	RetryNode(ctx context.Context, node, by, reason string) (api.Rollout, error)
	Get(id string) (api.Rollout, bool) // with its nodes
	List() []api.Rollout               // newest first, without their nodes
	Plan(spec api.RolloutSpec) (api.Plan, error)
	// BundleUse says which active rollout needs a bundle, "" for none, as of a
	// revision of the rollouts' catalog.
	BundleUse(ctx context.Context, digest string) (use string, catalog int64, err error)
	// Drift says of nodes whether they have what they were brought to; Forget
	// forgets what that was.
	Drift() func(*api.Node) *api.Drift
	Forget(ctx context.Context, node string) error
	// WantedFor is what a node should come to now, nil for nothing.
	WantedFor(node string) *api.Wanted
	// Settle records a failure that a node reports.
	Settle(ctx context.Context, node string, report api.Report) error
	// MayBegin returns nil while the rollout runs.
	MayBegin(ctx context.Context, id string) error
	Changed() <-chan struct{}
}

// ClusterInfo is the coordinator's own member of the store.
type ClusterInfo interface {
	HasLeader() bool
	Info() api.StoreInfo
	Members() []api.Member
	DiskFree() int64
}

// Config of a Service.
type Config struct {
	Store semaphore.Store
	Fleet *fleet.Registry
	// Guests tells of the FleetLock ids that other coordinators hear. Nil:
	// there are no others.
	Guests   *fleet.Presence
	Rollouts Rollouts
	DB       *etcdstore.DB
	Node     ClusterInfo
	// Members of the embedded store; nil: the store is one that others run.
	Members Members
	// OwnHosts is what the Store knows of them; nil: it knows nothing.
	OwnHosts *OwnHosts
	Logger   *slog.Logger
	Version  string
	// AutoCreateGroups makes a group that a node names, with 0 slots.
	AutoCreateGroups bool
	// StrictAddress refuses a FleetLock id that asks from a second address.
	StrictAddress bool
	// Gates checks those of a new rollout. Nil: nobody does.
	Gates Gates
	// Webhooks checks those of a new rollout. Nil: nobody does.
	Webhooks Webhooks
	// Silences of hosts that are out of service. Nil: there are none.
	Silences Silences
	// Snapshots of this coordinator. Nil: it takes none.
	Snapshots Snapshots
	// Lasted tells how long updates took; nil: it is read from DB.
	Lasted *Lasted
	Now    func() time.Time // nil: time.Now
}

// Service carries the requests of all doors out.
type Service struct {
	cfg    Config
	store  semaphore.Store
	fleet  *fleet.Registry
	roll   Rollouts
	db     *etcdstore.DB
	node   ClusterInfo
	logger *slog.Logger
	now    func() time.Time

	started time.Time

	view   viewCache
	quorum standing
	polls  polls
	peers  peers
	// revoked holds, and since when that is known.
	revoked revocations

	lasted    *Lasted
	estimates estimates

	joining sync.Mutex    // held while a new member is taken in
	foreign chan struct{} // holds one while a foreign agent is looked at

	mu      sync.Mutex
	changed chan struct{}

	life   context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New makes a Service. Nothing runs before Start.
func New(cfg Config) *Service {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Lasted == nil {
		cfg.Lasted = NewLasted(cfg.DB.Events)
	}
	s := &Service{
		lasted: cfg.Lasted,
		cfg:    cfg, store: cfg.Store, fleet: cfg.Fleet, roll: cfg.Rollouts, db: cfg.DB, node: cfg.Node,
		logger: cfg.Logger, now: cfg.Now, changed: make(chan struct{}), started: cfg.Now(), foreign: make(chan struct{}, 1),
	}
	s.view.looks = spacing.Looks{Most: overviewPause, Parts: overviewParts, Ahead: overviewAhead}
	s.polls.parked = map[string]*parked{}
	s.peers.seen = map[string]contact{}
	s.quorum.begin()
	s.life, s.cancel = context.WithCancel(context.Background())
	return s
}

// Start begins to follow what the service shows. Without it long polls are not
// woken, and Changed never fires.
func (s *Service) Start() {
	s.wg.Go(func() { s.monitorChanges(s.life) })
	s.wg.Go(func() { s.monitorQuorum(s.life) })
	if s.cfg.Members != nil {
		s.wg.Go(func() { s.keepMembers(s.life) })
		s.wg.Go(func() { s.keepAuthority(s.life) })
		if s.cfg.OwnHosts != nil {
			s.lookAtHosts() // before anybody can ask
			s.wg.Go(func() { s.watchHosts(s.life) })
		}
	}
}

// Stop ends every long poll and what Start began, and waits for the latter.
func (s *Service) Stop() {
	s.cancel()
	s.wg.Wait()
}

// Bootstrap makes what a new cluster needs, and changes nothing in an old one:
// its identity, and the group "default" with one slot.
func (s *Service) Bootstrap(ctx context.Context) error {
	id, created, err := s.db.Bootstrap(ctx)
	if err != nil {
		return fmt.Errorf("bootstrap the cluster: %w", err)
	}
	if created {
		s.logger.Warn("made a new cluster; agents that knew another one will not believe it", "cluster", id.ID)
	}
	st, err := s.store.Read(ctx, defaultGroup)
	if err != nil {
		return fmt.Errorf("bootstrap the group %q: %w", defaultGroup, err)
	}
	if st.HeadRev != 0 {
		return nil // it was there once; deleting it was somebody's wish
	}
	spec := semaphore.Spec{Slots: semaphore.Slots{N: 1}}
	if _, err := s.store.Do(ctx, defaultGroup, semaphore.PutSpec{Spec: spec, By: "bootstrap"}); err != nil {
		return fmt.Errorf("bootstrap the group %q: %w", defaultGroup, err)
	}
	return nil
}

// defaultGroup exists from the first start.
const defaultGroup = "default"

// ClusterID is the cluster's identity, empty before it was bootstrapped.
func (s *Service) ClusterID() (id string, incarnation int64) {
	i := s.db.Identity()
	return i.ID, i.Incarnation
}

// Revision is the store's revision as this coordinator knows it.
func (s *Service) Revision() int64 {
	// Every answer names it, and to gather all of Info asks the disk.
	if n, ok := s.node.(interface{ Revision() int64 }); ok {
		return n.Revision()
	}
	return s.node.Info().Revision
}

// Stale reports whether there is no quorum, so that reads may be behind.
func (s *Service) Stale() bool { return !s.node.HasLeader() }

// Ready returns nil while the coordinator has quorum and knows its cluster. Why it
// is not ready, which may name members and their addresses, is for who may look at
// the fleet.
func (s *Service) Ready(ctx context.Context) error {
	if !auth.From(ctx).Allows(api.RoleViewer) {
		if id, _ := s.ClusterID(); s.Stale() || id == "" {
			return &api.Error{Kind: api.NoQuorum, Detail: "not ready; with a token of the role viewer or above it says why", RetryAfter: retryNoQuorum}
		}
		return nil
	}
	if s.Stale() {
		e := noQuorum()
		if s.cfg.Members != nil && len(s.node.Members()) > 1 {
			e.Detail = "the store has no quorum: " + s.unreachable() + "; " + membership.LostForGood
		}
		return e
	}
	if id, _ := s.ClusterID(); id == "" {
		return &api.Error{Kind: api.NoQuorum, Detail: "the cluster's identity is not loaded yet", RetryAfter: retryNoQuorum}
	}
	return nil
}

// Changed returns a channel that is closed at the next change of anything that
// the service shows.
func (s *Service) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *Service) bump() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.changed)
	s.changed = make(chan struct{})
}
