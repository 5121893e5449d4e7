package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Agent runs one node's state machine. Run may be called once.
type Agent struct {
	cfg   Config
	dir   folder
	log   *slog.Logger
	wake  chan struct{}             // news for the loop
	heard atomic.Pointer[time.Time] // when a poll was last answered, or tried

	counters counters

	mu       sync.Mutex // guards what the loop and the poller share
	state    State
	instance string
	bootID   string
	bootedAt time.Time // by the wall clock when this boot was first seen
	message  string
	pin      Pin
	distrust string // cluster that was refused last, to log it once
	trouble  string // why nothing can be done, "" for no such reason
	known    bool
	wanted   *api.Wanted
	hold     *api.Hold
	seq      uint64             // of the last report
	needs    needs              // for reboots without a rollout
	resend   context.CancelFunc // ends the poll in flight: there is more to report
	acquire  context.CancelFunc // ends the acquire in flight

	// Only the loop uses these.
	now         func() time.Time // the wall clock, which anybody may set
	unsaved     bool             // the journal has to be written before anything is done
	unable      time.Duration    // since when the journal cannot be written, 0: it can
	gate        Gate
	rebootAsked time.Duration
	last        Outcome
	why         string // of the last act; what an outcome said since is kept
	pauses      map[Do]*pause
	opened      opened
	fetching    fetching
	hooks       hooks
	queued      string // the request for a slot that has been made in this process
}

// New makes an agent; Run checks its configuration.
func New(cfg Config) *Agent {
	return &Agent{cfg: cfg, dir: folder{cfg.StateDir}, wake: make(chan struct{}, 1), now: time.Now, pauses: map[Do]*pause{}}
}

// Check returns what in the configuration can never be, whatever the host and
// the coordinators do. Run begins with it too.
func (c *Config) Check() error {
	if err := semaphore.ValidNode(c.Node); err != nil {
		return err
	}
	if err := semaphore.ValidGroup(c.Group); err != nil {
		return err
	}
	for _, name := range c.labelNames() {
		if err := semaphore.ValidLabel(name); err != nil {
			return fmt.Errorf("--label: %w", err)
		}
	}
	return c.checkPaths()
}

func (c *Config) complete() error {
	if err := c.Check(); err != nil {
		return err
	}
	if c.StateDir == "" || c.Coordinator == nil || c.Host == nil {
		return errors.New("agent: StateDir, Coordinator and Host are needed")
	}
	if c.MaxBundle <= 0 {
		c.MaxBundle = 256 << 20
	}
	c.MaxBundle = min(c.MaxBundle, bundle.MaxLinked)
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&c.PollWait, 30*time.Second)
	def(&c.AcquireWait, 25*time.Second)
	def(&c.Retry, time.Second)
	def(&c.NotYetFor, time.Hour)
	def(&c.NeedEvery, 10*time.Minute)
	if c.MaxAttempts <= 0 {
		c.MaxAttempts = 2
	}
	if c.Failpoint == nil {
		c.Failpoint = builtin
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return nil
}

// Run works until ctx ends and returns nil then, host.ErrRebooting when the
// host goes down, or why it cannot begin: ErrLocked, ErrOtherNode, or a state
// folder that cannot be made or read. With a journal that it cannot believe, or
// a disk that takes no more, it does nothing but say so, and goes on by itself
// once that is mended.
func (a *Agent) Run(ctx context.Context) error {
	if err := a.cfg.complete(); err != nil {
		return err
	}
	a.log = a.cfg.Logger.With("node", a.cfg.Node, "group", a.cfg.Group)
	if a.cfg.Host.Simulated() {
		a.log = a.log.With("simulated", true)
	}
	unlock, err := a.dir.make()
	if err != nil {
		return err
	}
	defer unlock()
	if err := a.identify(); err != nil {
		return err
	}
	a.state = State{Phase: api.PhaseFailed, Group: a.cfg.Group} // until the journal says better
	err = a.load()
	if err != nil && !unbelievable(err) {
		return err
	}
	a.counters.phase()
	if a.cfg.Ready != nil {
		a.cfg.Ready()
	}
	ctx, cancel := context.WithCancel(ctx)
	var monitors sync.WaitGroup
	monitors.Go(func() { a.monitorCoordinator(ctx) })
	monitors.Go(func() { a.monitorNeed(ctx) })
	defer func() {
		cancel()
		monitors.Wait()
	}()
	if err != nil {
		if err = a.believeNothing(ctx, err); err != nil {
			return err
		}
	}
	return a.loop(ctx)
}

// booted keeps which boot this is, and when it was. The time is taken once a
// boot, as a report that changes is written to the store.
func (a *Agent) booted(id string) {
	if id != a.bootID {
		a.bootID = id
		a.bootedAt = a.now().Add(-a.cfg.Host.Clock()).UTC().Truncate(time.Second)
	}
}

// identify reads who this agent is and whom it believes.
func (a *Agent) identify() (err error) {
	if a.instance, err = a.dir.instance(); err != nil {
		return err
	}
	if a.pin, err = a.dir.loadPin(); err != nil {
		return err
	}
	boot, err := a.cfg.Host.BootID()
	if err != nil {
		return err
	}
	a.booted(boot)
	a.trustPin()
	a.hears()
	return nil
}

// load reads the journal and counts the start; the first record writes both.
func (a *Agent) load() error {
	s, err := a.dir.loadState()
	if err != nil {
		return err
	}
	s.Starts++
	if err := a.adopt(&s); err != nil {
		return err
	}
	a.mu.Lock()
	a.state, a.unsaved = s, true
	a.mu.Unlock()
	a.log.Info("agent starts", "phase", s.Phase, "fence", s.Fence, "boot", a.bootID, "instance", a.instance, "bundle", s.Applied)
	return nil
}

// adopt gives an idle journal this agent's node and group. In the middle of a
// job both stay: the slot is the group's that gave it, and to act for another
// node would be to return a slot on which that one reboots.
func (a *Agent) adopt(s *State) error {
	if s.Phase == api.PhaseIdle || s.Node == "" {
		s.Node = a.cfg.Node
	}
	if s.Phase == api.PhaseIdle || s.Group == "" {
		s.Group = a.cfg.Group
	}
	if s.Node != a.cfg.Node {
		return fmt.Errorf("%w: it is of node %q in phase %s, and this agent is node %q. Start it with --node %s until that has ended; if the folder %s is a copy of another host's, remove it",
			ErrOtherNode, s.Node, s.Phase, a.cfg.Node, s.Node, a.dir.dir)
	}
	return nil
}

// Heard is when the coordinator last answered a poll, or when that was last
// tried: an agent whose Heard stands still hangs.
func (a *Agent) Heard() time.Time {
	if at := a.heard.Load(); at != nil {
		return *at
	}
	return time.Time{}
}

// hears notes the moment, with its monotonic reading: a wall clock that jumps
// is no agent that hangs.
func (a *Agent) hears() {
	now := time.Now()
	a.heard.Store(&now)
}

// loop decides, writes the intent down, acts and observes.
func (a *Agent) loop(ctx context.Context) error {
	for ctx.Err() == nil {
		o := a.observe()
		next, act := Next(a.state, o)
		if err := a.record(next, act); ends(err) {
			return err
		} else if err != nil {
			a.cannotRecord(ctx, err) // what was done last stays to be recorded
			continue
		}
		a.last, a.unable = Outcome{}, 0
		if act.Do == DoReboot {
			a.announce(ctx)
		}
		switch {
		case act.Do == DoRecord:
			continue
		case act.Do == DoWait:
			a.wait(ctx, act.For)
			continue
		case act.Gated && !a.stillOpen():
			continue
		}
		if left := a.pauses[act.Do].left(); left > 0 {
			a.wait(ctx, left)
			continue
		}
		if err := a.step("before " + string(act.Do)); err != nil {
			return err
		}
		out, err := a.do(ctx, act)
		if err != nil {
			return err
		}
		if ctx.Err() != nil {
			return nil
		}
		if err := a.step("after " + string(act.Do)); err != nil {
			return err
		}
		a.note(out)
	}
	return nil
}

// stillOpen looks at the gate once more: writing the journal may have taken
// longer than its answer counts.
func (a *Agent) stillOpen() bool {
	return a.gate.Answer == GateOpen && a.gate.Fence == a.state.Fence && a.cfg.Host.Clock()-a.gate.Asked < GateFor
}

func (a *Agent) observe() Observation {
	boot, err := a.cfg.Host.BootID()
	userspace := a.userspace()
	why, needs := a.hostNeeds()
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.log.Error("boot id cannot be read", "err", err)
	} else {
		a.booted(boot)
	}
	return Observation{
		Now: a.cfg.Host.Clock(), At: a.now().UTC(), BootID: a.bootID, Userspace: userspace, NewID: newID(),
		Known: a.known, Cluster: a.pin.Cluster, Instance: a.instance, Wanted: a.wanted, Hold: a.hold,
		NeedsReboot: a.cfg.RebootWhenRequired && needs, NeedsWhy: why, Request: a.needs.request,
		Gate: a.gate, PreReboot: a.hooks.mayReboot == a.occasion(), RebootAsked: a.rebootAsked, Last: a.last, MaxAttempts: a.cfg.MaxAttempts,
	}
}

// ofJob is the configuration as the job sees it: its group is the one that gave
// the slot, to the end, whatever this agent was given since.
func (a *Agent) ofJob() *Config {
	c := a.cfg
	c.Group = a.state.Group
	return &c
}

// record makes the state durable before anything is done for it.
func (a *Agent) record(next State, act Action) error {
	if next.Group == "" {
		next.Group = a.cfg.Group
	}
	was := a.state
	if !reflect.DeepEqual(next, was) || a.unsaved {
		name := string(next.Phase) + " for " + string(act.Do)
		if err := a.step("before journal " + name); err != nil {
			return err
		}
		if err := a.save(next); err != nil {
			return err
		}
		if err := a.step("after journal " + name); err != nil {
			return err
		}
	}
	if next.Phase != was.Phase {
		a.log.Info("phase", "from", was.Phase, "to", next.Phase, "fence", next.Fence, "why", act.Why)
		a.counters.phase()
		if was.Phase == api.PhaseRebooting {
			a.rebootAsked = 0
		}
	}
	a.mu.Lock()
	a.state, a.unsaved = next, false
	tell := !reflect.DeepEqual(next, was) || a.trouble != ""
	a.trouble = ""
	if act.Why != "" && act.Why != a.why {
		a.why, a.message = act.Why, act.Why
		tell = tell || act.Do == DoWait // it will stay that way
	}
	if tell && a.resend != nil {
		a.resend()
	}
	a.mu.Unlock()
	if tell && a.cfg.Changed != nil {
		a.cfg.Changed()
	}
	if next.Phase == api.PhaseIdle && was.Phase != api.PhaseIdle {
		a.tidy()
	}
	return nil
}

// note keeps an outcome for the next decision, and how long to wait before the
// same is tried again.
func (a *Agent) note(out Outcome) {
	a.last = out
	a.counters.act(out)
	if (out.Do == DoApply || out.Do == DoRollBack) && out.Status != Unknown {
		a.gate = Gate{} // the gate before the interrupt is a question of its own
	}
	if out.Status == Done {
		delete(a.pauses, out.Do)
	} else if out.Detail != "" {
		a.log.Warn(string(out.Do)+" did not succeed", "status", out.Status, "reason", out.Reason, "detail", out.Detail)
		a.setMessage(out.Detail)
	}
}

func (a *Agent) setMessage(text string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.message != text && a.resend != nil && a.state.Phase == api.PhaseWaiting {
		a.resend()
	}
	a.message = text
}

// wait waits for news, for at most d; 0 is without end.
func (a *Agent) wait(ctx context.Context, d time.Duration) {
	var timeout <-chan time.Time
	if d > 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		timeout = t.C
	} else {
		// The host's own wish for a reboot comes without news.
		t := time.NewTimer(time.Minute)
		defer t.Stop()
		timeout = t.C
	}
	select {
	case <-a.wake:
	case <-timeout:
	case <-ctx.Done():
	}
}

// news wakes the loop.
func (a *Agent) news() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}
