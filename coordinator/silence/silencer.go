package silence

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Defaults of a Config.
const (
	DefaultFor    = 5 * time.Minute
	DefaultLinger = time.Minute
)

const (
	// tick is how often to look at least although nothing changed: for renewals,
	// and for an election.
	tick = time.Second
	// coalesce lies between two rounds, so that changes that come together make
	// one.
	coalesce = 200 * time.Millisecond
	// relist is how often all silences are read, in case somebody changed one.
	relist = 10 * time.Minute
	// again lies between two tries of a silence that is refused.
	again = time.Minute
	// minPause and maxPause lie behind a round that failed.
	minPause, maxPause = 2 * time.Second, time.Minute
)

// Store is the semaphores as a Silencer needs them (semaphore.Store).
type Store interface {
	Groups() []string
	Look(group string) (semaphore.State, bool)
	Changed() <-chan struct{}
}

// Config of a Silencer.
type Config struct {
	Alertmanager ask.Service
	CAFile       string        // PEM; the system's authorities if empty
	Matchers     []string      // templates, as CheckMatchers wants them; none: DefaultMatcher
	For          time.Duration // how far ahead a silence reaches; 0: DefaultFor
	Linger       time.Duration // how long after a hold's return it ends; 0: DefaultLinger

	Semaphores Store
	// Phase is what a node last reported; false when it never did.
	Phase func(node string) (api.Phase, bool)
	// Fleet returns a channel that is closed when a phase changes.
	Fleet func() <-chan struct{}
	// Elected reports whether this coordinator is the one to do it.
	Elected func() bool
	// Cluster is the cluster's id.
	Cluster func() string

	Logger     *slog.Logger          // nil: discarded
	Registerer prometheus.Registerer // nil: no metrics
	Now        func() time.Time      // nil: time.Now
}

// refusal is why there is no silence for a hold.
type refusal struct {
	err error
	at  time.Time
}

// Silencer keeps an Alertmanager's silences.
type Silencer struct {
	cfg      Config
	template template
	client   *ask.Client
	log      *slog.Logger
	metrics  *metrics
	within   time.Duration // bounds one request

	mu      sync.Mutex
	failure string
	since   time.Time

	// Of the loop alone.
	known   map[key]silence // nil: to be read
	listed  time.Time
	ahead   time.Duration   // of the Alertmanager's clock before ours
	ending  map[key]bool    // their hold was returned, and their end is set
	refused map[key]refusal // not made, and no other is kept from being made

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// New makes a Silencer. Nothing runs before Start. Its error names what is wrong
// with the matchers.
func New(cfg Config) (*Silencer, error) {
	if len(cfg.Matchers) == 0 {
		cfg.Matchers = []string{DefaultMatcher}
	}
	if cfg.For == 0 {
		cfg.For = DefaultFor
	}
	if cfg.Linger == 0 {
		cfg.Linger = DefaultLinger
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	t, err := parseTemplate(cfg.Matchers)
	if err != nil {
		return nil, err
	}
	return &Silencer{
		cfg: cfg, template: t, log: cfg.Logger, metrics: newMetrics(cfg.Registerer), within: within,
		client: ask.New(ask.Config{Services: []ask.Service{cfg.Alertmanager}, CAFile: cfg.CAFile}),
	}, nil
}

// Start begins to follow the holds, until Stop.
func (s *Silencer) Start() {
	life, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.wg.Go(func() { s.run(life) })
}

// Stop ends it. The silences stay, for whoever comes next, and end by themselves.
func (s *Silencer) Stop() {
	if s.cancel != nil {
		s.cancel()
		s.wg.Wait()
	}
}

// Failure is why silences cannot be kept, and since when; empty while they can, or
// while another coordinator does.
func (s *Silencer) Failure() (string, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure, s.since
}

func (s *Silencer) run(ctx context.Context) {
	ticker := time.NewTicker(min(tick, s.cfg.For/10))
	defer ticker.Stop()
	pause := time.Duration(0)
	for {
		holds, fleet := s.cfg.Semaphores.Changed(), s.cfg.Fleet()
		switch {
		case !s.cfg.Elected():
			pause = 0
			s.leave()
		case s.round(ctx) != nil && ctx.Err() == nil:
			pause = min(max(minPause, 2*pause), maxPause)
		default:
			pause = 0
		}
		if sleep.For(ctx, max(coalesce, pause)) != nil {
			return
		}
		select {
		case <-holds:
		case <-fleet:
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// leave forgets what another coordinator looks after now.
func (s *Silencer) leave() {
	s.known, s.ending, s.refused = nil, nil, nil
	s.tell(nil)
	s.metrics.active.Set(0)
}

// tell makes a failure visible, and its end.
func (s *Silencer) tell(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := ""
	if err != nil {
		now = ask.Line(err.Error())
	}
	switch {
	case now == "" && s.failure != "":
		s.log.Info("silences in the Alertmanager are kept again", "after", s.cfg.Now().Sub(s.since).Round(time.Second))
	case now != "" && s.failure == "":
		s.since = s.cfg.Now()
		s.log.Warn("silences in the Alertmanager cannot be kept, so that hosts which are updated may alert; trying again", "error", now)
	}
	s.failure = now
	s.metrics.failing.Set(0)
	if now != "" {
		s.metrics.failing.Set(1)
	}
}
