package rollout

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/spacing"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

const (
	// coalesce is the least time between two looks, so that a burst of reports is
	// decided once. Looks (at 10,000 nodes: some 13 ms) take one part in lookParts of
	// the time, looksAhead paid for later, so that what is asked for after quiet is
	// decided at once, and what its answer leads to soon after. None is put off for
	// longer than longestPause: a failure too many is not to wait.
	coalesce     = 50 * time.Millisecond
	longestPause = tick / 4
	lookParts    = 5
	looksAhead   = time.Second / 2
	// tick is the longest time between two looks: some things change by time alone.
	tick = time.Second
	// keptRollouts is how many ended rollouts are kept.
	keptRollouts = 100
)

// campaign stands for election again and again, and hands each term to run. One
// that would have to leave alone what another could carry on gives the office up.
func (e *Engine) campaign(ctx context.Context, terms chan<- Term) {
	for ctx.Err() == nil {
		if e.cfg.GivesWay() {
			_ = sleep.For(ctx, tick) // the loop looks at ctx
			continue
		}
		t, err := e.cfg.Store.Campaign(ctx)
		if err != nil {
			continue // only ctx ends a campaign
		}
		select {
		case terms <- t:
			e.serve(ctx, t)
		case <-ctx.Done():
		}
		if err := t.Resign(context.WithoutCancel(ctx)); err != nil {
			e.log.Debug("giving the office up failed; it ends by itself", "error", err)
		}
	}
}

// serve waits for the end of a term.
func (e *Engine) serve(ctx context.Context, t Term) {
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for !e.cfg.GivesWay() {
		select {
		case <-t.Done():
			return
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
	e.log.Warn("this coordinator's rollout engine gives its office up: another coordinator reads stored values that this one does not; update it")
}

// run looks at everything whenever something changed, and acts while elected.
func (e *Engine) run(ctx context.Context, terms <-chan Term) {
	var o *office
	looks := spacing.Looks{Least: coalesce, Most: longestPause, Parts: lookParts, Ahead: looksAhead}
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for {
		began := time.Now()
		fleet, groups, own := e.cfg.Fleet.Changed(), e.cfg.Semaphores.Changed(), e.cfg.Store.Changed()
		if o != nil {
			o.look()
		}
		p := e.refresh()
		if o != nil && !o.act(ctx, p) {
			e.leave(o)
			o = nil
		}
		var over <-chan struct{}
		if o != nil {
			over = o.term.Done()
		}
		if sleep.For(ctx, looks.Pause(began, time.Now())) != nil {
			break
		}
		select {
		case <-fleet:
		case <-groups:
		case <-own:
		case <-e.news:
		case <-ticker.C:
		case <-over:
			e.leave(o)
			o = nil
		case t := <-terms:
			if o != nil { // its end is as much news as the next
				e.leave(o)
			}
			o = newOffice(ctx, e, t)
			e.measure(NewClocks(), o.asker)
			e.elected(true)
			e.log.Info("this coordinator's rollout engine is elected")
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
	}
	if o != nil {
		e.leave(o)
	}
}

func (e *Engine) leave(o *office) {
	e.judge(nil)
	e.measure(nil, nil)
	o.asker.stop()
	o.tells.stop()
	e.elected(false)
	e.log.Info("this coordinator's rollout engine is not elected any more", "after", e.cfg.Now().Sub(o.since).Round(time.Second))
}

// measure says by whose clocks and answers is decided: nil on an engine that is
// not elected.
func (e *Engine) measure(c *Clocks, a *asker) {
	e.refreshing.Lock()
	defer e.refreshing.Unlock()
	e.clocks, e.asker = c, a
}

// told makes the engine look again soon.
func (e *Engine) told() {
	select {
	case e.news <- struct{}{}:
	default:
	}
}

func (e *Engine) judge(overdue map[holdKey]bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.overdue = overdue
}

// office is what the elected engine does in one term.
type office struct {
	e     *Engine
	term  Term
	since time.Time
	watch *watchman
	asker *asker
	// halted is since when this engine has seen of a rollout that nodes are to be
	// brought back.
	halted  map[string]halt
	tells   *messenger
	saidLow time.Time // when it was logged that the disk is low
}

func newOffice(ctx context.Context, e *Engine, t Term) *office {
	now := e.cfg.Now()
	return &office{
		e: e, term: t, since: now, watch: newWatchman(now), halted: map[string]halt{},
		asker: newAsker(e.cfg.Gates, e.cfg.Now, e.told, func(f func()) { e.wg.Go(f) }),
		tells: newMessenger(ctx, e, t),
	}
}

// look takes the time of holds and members.
func (o *office) look() {
	if !o.e.cfg.Quorum() {
		o.watch.stand(o.e.cfg.Now())
		return
	}
	o.watch.look(o.e.cfg.Semaphores, o.e.cfg.Fleet.Nodes, o.e.cfg.Now())
	o.e.judge(o.watch.overdue())
}

// act carries out what was decided. It reports false when the term is over.
func (o *office) act(ctx context.Context, p *picture) bool {
	o.asker.follow(ctx, p)
	o.tells.follow(p)
	for _, id := range p.order {
		d, ok := p.decisions[id]
		if !ok || !d.Changed {
			continue
		}
		if !o.write(ctx, id, p.states[id], d) {
			return false
		}
	}
	if !o.undo(ctx, p) || !o.join(ctx) || !o.prune(ctx, p) {
		return false
	}
	for _, duty := range o.watch.duties() {
		c, cancel := context.WithTimeout(ctx, 2*time.Second)
		answer, err := o.e.cfg.Semaphores.Do(c, duty.group, duty.op)
		cancel()
		if err != nil {
			o.failed(err, "a duty of the elected engine failed, trying again", "group", duty.group)
			break // the next look comes to it again
		}
		if answer.Kind != semaphore.OK {
			o.e.log.Debug("a duty of the elected engine was refused", "group", duty.group, "kind", answer.Kind, "detail", answer.Detail)
		}
	}
	return true
}

func (o *office) write(ctx context.Context, id string, st State, d Decisions) bool {
	err := o.e.cfg.Store.Write(ctx, Change{
		Revision: st.Revision, Head: d.Head, Results: d.Results, Events: d.Events, Term: o.term,
	})
	switch {
	case err == nil:
		if d.Head.State != st.Head.State {
			o.e.log.Info("rollout", "id", id, "state", d.Head.State, "why", d.Head.Why)
		}
	case errors.Is(err, ErrNotElected):
		return false
	case errors.Is(err, ErrChanged):
		// Another change came first: its arrival makes us look again.
	case ctx.Err() == nil:
		o.failed(err, "writing a rollout failed, trying again", "id", id)
	}
	return true
}

// lowReminders is how often it is logged that the disk is low, where it would be
// at every look: that would fill it.
const lowReminders = time.Minute

// failed logs that something could not be written.
func (o *office) failed(err error, what string, about ...any) {
	if errors.Is(err, semaphore.ErrDiskLow) {
		now := o.e.cfg.Now()
		if now.Sub(o.saidLow) < lowReminders {
			return
		}
		o.saidLow = now
	}
	o.e.log.With(about...).Warn(what, "error", err)
}

// prune forgets the oldest ended rollouts past the bound, one at each look.
func (o *office) prune(ctx context.Context, p *picture) bool {
	ended := 0
	for _, id := range p.order {
		if st := p.states[id]; !st.Head.State.Active() && st.Newer == "" {
			ended++
		}
	}
	if ended <= keptRollouts {
		return true
	}
	for _, id := range slices.Backward(p.order) {
		st := p.states[id]
		if st.Head.State.Active() || st.Newer != "" || telling(&st) {
			continue
		}
		return !errors.Is(o.e.cfg.Store.Delete(ctx, id, st.Revision, o.term), ErrNotElected)
	}
	return true
}
