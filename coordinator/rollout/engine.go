package rollout

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Fleet is what the engine knows the nodes by.
type Fleet interface {
	// Nodes lists all nodes; the caller does not change them.
	Nodes() []api.Node
	// Changed returns a channel that is closed at the next change.
	Changed() <-chan struct{}
}

// Meter is told of what there is to count.
type Meter interface {
	// Show replaces the rollouts that were shown; they are not changed afterwards.
	Show([]api.Rollout)
	// Elected says whether this engine is the elected one.
	Elected(bool)
	// Told counts a try to tell a webhook: delivered, failed or given_up.
	Told(outcome string)
}

// unmetered counts nothing.
type unmetered struct{}

func (unmetered) Show([]api.Rollout) {}
func (unmetered) Elected(bool)       {}
func (unmetered) Told(string)        {}

// EngineConfig is what an Engine works with.
type EngineConfig struct {
	Store      Store
	Fleet      Fleet
	Semaphores semaphore.Store
	Logger     *slog.Logger     // nil: discarded
	Meter      Meter            // nil: nothing is counted
	Now        func() time.Time // nil: time.Now
	// Quorum reports whether there is one now, and Outages are the times when
	// there was none: deadlines stand still. nil: always, and none.
	Quorum  func() bool
	Outages func() []Span
	// Notify makes one try to tell a webhook; its error has no secrets in it, and
	// may be a *notify.Failure. nil: nobody is told.
	Notify func(ctx context.Context, n Notice, to api.NotifySpec) error
	// Gates asks the gates of rollouts. nil: none passes but approvals.
	Gates Gates
	// Lasted is how long the last updates of a group's nodes took; nil or none when
	// nothing is on record. By it goes what is estimated.
	Lasted func(ctx context.Context, group string) []time.Duration
	// GivesWay says that another coordinator reads stored values that this one does
	// not: then it is not for this one to be elected. nil: never.
	GivesWay func() bool
	// BundleName is the name of a stored bundle. Its error is passed on: an
	// *api.Error of kind not_found when there is no such bundle.
	BundleName func(ctx context.Context, digest string) (string, error)
}

// attempts bounds how often a change is decided anew when others come between.
const attempts = 16

// Engine answers for rollouts on every coordinator, and on the elected one
// also carries them on.
type Engine struct {
	cfg    EngineConfig
	log    *slog.Logger
	office atomic.Bool // it is the elected one

	refreshing sync.Mutex // one refresh at a time
	ended      map[string]endedRollout
	past       gatePast
	clocks     *Clocks // while elected; of refreshing
	asker      *asker  // the same
	mu         sync.Mutex
	shown      *picture
	overdue    map[holdKey]bool // as the elected engine judges
	changed    chan struct{}
	news       chan struct{}       // a gate has answered
	expected   map[string]expected // of the active rollouts, as last forecast
	planning   sync.Mutex          // one plan at a time

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewEngine makes an Engine. Nothing runs before Start.
func NewEngine(cfg EngineConfig) *Engine {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Meter == nil {
		cfg.Meter = unmetered{}
	}
	if cfg.Quorum == nil {
		cfg.Quorum = func() bool { return true }
	}
	if cfg.GivesWay == nil {
		cfg.GivesWay = func() bool { return false }
	}
	if cfg.Outages == nil {
		cfg.Outages = func() []Span { return nil }
	}
	return &Engine{
		cfg: cfg, log: cfg.Logger,
		ended: map[string]endedRollout{}, past: gatePast{}, shown: &picture{}, changed: make(chan struct{}), news: make(chan struct{}, 1),
	}
}

// Elected reports whether this coordinator's engine is, as far as it knows, the
// elected one. Another may have been elected a moment ago: what rests on it must
// bear being done twice.
func (e *Engine) Elected() bool { return e.office.Load() }

func (e *Engine) elected(yes bool) {
	e.office.Store(yes)
	e.cfg.Meter.Elected(yes)
}

// Start loads the rollouts, follows them, and stands for election, until Stop.
func (e *Engine) Start(ctx context.Context) error {
	if err := e.cfg.Store.Start(ctx); err != nil {
		return fmt.Errorf("load the rollouts: %w", err)
	}
	e.refresh()
	life, cancel := context.WithCancel(context.Background())
	e.cancel = cancel
	terms := make(chan Term)
	e.wg.Go(func() { e.campaign(life, terms) })
	e.wg.Go(func() { e.run(life, terms) })
	e.wg.Go(func() { e.expect(life) })
	return nil
}

// Stop ends what Start began and waits for it. An elected engine resigns, so
// that another takes over at once.
func (e *Engine) Stop() {
	if e.cancel == nil {
		return
	}
	e.cancel()
	e.wg.Wait()
	e.cfg.Store.Stop()
}

// Get is a rollout with its nodes.
func (e *Engine) Get(id string) (api.Rollout, bool) {
	r, ok := e.picture().rollouts[id]
	return r, ok
}

// List is all rollouts, newest first, without their nodes and what their gates said
// before.
func (e *Engine) List() []api.Rollout {
	p := e.picture()
	out := make([]api.Rollout, 0, len(p.order))
	for _, id := range p.order {
		r := p.rollouts[id]
		r.Nodes, r.Gates = nil, slices.Clone(r.Gates)
		for i := range r.Gates {
			r.Gates[i].Past = nil
		}
		out = append(out, r)
	}
	return out
}

// WantedFor is what the newest rollout that selects the node wants of it now;
// nil when none does, when it has its result, or when it may not start.
func (e *Engine) WantedFor(node string) *api.Wanted {
	p := e.picture()
	at, ok := p.active[node]
	if !ok {
		return nil
	}
	st := p.states[at.rollout]
	return Wanted(&st, *at.view, e.cfg.Now())
}

// Changed returns a channel that is closed at the next change of what Get,
// List and WantedFor tell.
func (e *Engine) Changed() <-chan struct{} {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.changed
}

// Create starts a rollout. It reports false when the idempotency key was used
// before for the same spec: then it is the rollout made that time. Errors are
// *api.Error, semaphore.ErrNoQuorum, semaphore.ErrDiskLow or the context's.
func (e *Engine) Create(ctx context.Context, spec api.RolloutSpec, by, key string) (api.Rollout, bool, error) {
	if err := Validate(spec); err != nil {
		return api.Rollout{}, false, err
	}
	digest, err := specDigest(spec)
	if err != nil {
		return api.Rollout{}, false, err
	}
	if r, found, err := e.earlier(ctx, key, digest); err != nil || found {
		return r, false, err
	}
	nodes, name, err := e.resolve(ctx, spec)
	if err != nil {
		return api.Rollout{}, false, err
	}
	now := e.cfg.Now().UTC()
	head := Head{
		ID: "ro-" + strings.ToLower(ulid.Make().String()), Spec: spec, BundleName: name,
		State: api.RolloutRunning, By: by, CreatedAt: now, EventSeq: 1,
	}
	c := Creation{
		Head: head, Nodes: nodes, Key: key, Digest: digest,
		Event: event(&head, EventCreated, by, "", fmt.Sprintf("%s to bundle %s", plural(len(nodes), "node"), label(name, spec.Bundle)), now),
	}
	for try := 1; ; try++ {
		all, err := e.cfg.Store.ReadAll(ctx)
		if err == nil {
			if _, made := all.Rollouts[head.ID]; made { // by a try whose answer was lost
				return e.answer(head.ID, State{Head: c.Head, Nodes: nodes}), true, nil
			}
			if try > 1 { // the bundle may be what changed
				if _, err := e.bundleName(ctx, spec.Bundle); err != nil {
					return api.Rollout{}, false, err
				}
			}
			if refused := unreadable(all.Unread); refused != nil {
				return api.Rollout{}, false, refused
			}
			if conflict := meet(&c, overlaps(all.Rollouts, nodes), now); conflict != nil {
				if r, found, err := e.earlier(ctx, key, digest); err != nil || found {
					return r, false, err
				}
				return api.Rollout{}, false, conflict
			}
			c.Catalog = all.Catalog
			err = e.cfg.Store.Create(ctx, c)
		}
		switch {
		case err == nil:
			return e.answer(head.ID, State{Head: c.Head, Nodes: nodes}), true, nil
		case tooLarge(err, &c) != nil:
			return api.Rollout{}, false, tooLarge(err, &c)
		case !again(ctx, err, try):
			return api.Rollout{}, false, err
		}
		if r, found, err := e.earlier(ctx, key, digest); err != nil || found && r.ID != head.ID {
			return r, false, err
		}
	}
}

// tooLarge is the refusal of a new rollout that does not fit, nil for another error.
func tooLarge(err error, c *Creation) *api.Error {
	switch {
	case errors.Is(err, ErrTooLarge), errors.Is(err, ErrTooMuch) && len(c.Supersedes) == 0:
		return api.Errorf(api.TooLarge, "a rollout of %s: %v: select them by group or labels instead of a list, or make several rollouts", plural(len(c.Nodes), "node"), err)
	case errors.Is(err, ErrTooMuch):
		var ids []string
		for _, s := range c.Supersedes {
			ids = append(ids, s.Head.ID)
		}
		return api.Errorf(api.TooLarge, "it would end %s (%s) as it begins, which is %v: abort some of them before", plural(len(ids), "rollout"), listed(ids), err)
	}
	return nil
}

// again reports whether to try once more: another change came between, or a
// request got no answer in time, so that only reading tells what became of it.
func again(ctx context.Context, err error, try int) bool {
	if ctx.Err() != nil {
		return false
	}
	return errors.Is(err, ErrChanged) && try < attempts || errors.Is(err, context.DeadlineExceeded) && try < 3
}

// earlier is the rollout that was made under an idempotency key.
func (e *Engine) earlier(ctx context.Context, key, digest string) (api.Rollout, bool, error) {
	if key == "" {
		return api.Rollout{}, false, nil
	}
	r, found, err := e.cfg.Store.Request(ctx, key)
	if err != nil || !found {
		return api.Rollout{}, false, err
	}
	if r.Digest != digest {
		return api.Rollout{}, false, api.Errorf(api.Conflict, "the idempotency key %q was used for another request: take a new key for a new body", key)
	}
	st, err := e.cfg.Store.Read(ctx, r.ID)
	if errors.Is(err, ErrNotFound) {
		return api.Rollout{}, false, api.Errorf(api.Conflict, "the idempotency key %q made rollout %s, which is not kept any more", key, r.ID)
	}
	if err != nil {
		return api.Rollout{}, false, err
	}
	return e.answer(r.ID, st), true, nil
}

// resolve finds the nodes and the bundle that a spec names.
func (e *Engine) resolve(ctx context.Context, spec api.RolloutSpec) ([]Selected, string, error) {
	name, err := e.bundleName(ctx, spec.Bundle)
	if err != nil {
		return nil, "", err
	}
	selected, refused := Select(spec, e.cfg.Fleet.Nodes(), func(group string) bool {
		_, ok := e.cfg.Semaphores.View(group)
		return ok
	})
	if refused != nil {
		return nil, "", refused
	}
	nodes, refused := Deal(spec, selected, e.isHost)
	if refused != nil {
		return nil, "", refused
	}
	if refused := e.fits(ctx, &spec, nodes); refused != nil {
		return nil, "", refused
	}
	return nodes, name, nil
}

// bundleName is the name of a stored bundle.
func (e *Engine) bundleName(ctx context.Context, digest string) (string, error) {
	if e.cfg.BundleName == nil {
		return "", nil
	}
	return e.cfg.BundleName(ctx, digest)
}

// isHost reports whether a coordinator runs on a node.
func (e *Engine) isHost(n api.Node) bool {
	st, ok := e.cfg.Semaphores.View(n.Group)
	return ok && st.HostOf(n.ID) != ""
}

// answer is the rollout as it is after a change, also when the view lags.
func (e *Engine) answer(id string, st State) api.Rollout {
	e.refresh()
	if r, ok := e.Get(id); ok && e.picture().states[id].Head.EventSeq >= st.Head.EventSeq {
		return r
	}
	return present(st, Decide(st.Head.Spec, st, nil, e.cfg.Now()))
}

func specDigest(spec api.RolloutSpec) (string, error) {
	b, err := json.Marshal(spec)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:]), nil
}

func label(name, digest string) string {
	if name != "" {
		return name
	}
	return digest[:min(len(digest), 12)]
}
