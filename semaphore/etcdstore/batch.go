package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Group commit: requests for one group that arrive while a transaction is in
// flight are decided one after another and committed by the next single one.

// Bounds of one batch, where etcd's own bound on a transaction is no lower.
const (
	batchRequests = 128
	batchChanges  = 256
)

// spareOps are what a transaction holds beside changes: the head, the
// comparisons of head and freeze, the reads of a lost comparison, among them
// one for each earlier attempt whose outcome is not known.
const spareOps = 16

// changesFit is how many changes one transaction takes.
func (s *Store) changesFit() int { return min(batchChanges, s.cfg.MaxTxnOps-spareOps) }

// request is one call of do.
type request struct {
	op    semaphore.Op
	ctx   context.Context //nolint:containedctx // of whoever asks, which may end before it is decided
	state atomic.Int32
	reply chan reply // of one
}

type reply struct {
	answer semaphore.Answer
	err    error
}

// The states of a request.
const (
	waiting int32 = iota
	answered
	abandoned // its caller is gone
)

// answer tells the caller, unless it is gone or was told before.
func (r *request) answer(a semaphore.Answer, err error) bool {
	if r.ctx.Err() != nil {
		r.abandon() // it may be who leads that is gone
	}
	if !r.state.CompareAndSwap(waiting, answered) {
		return false
	}
	r.reply <- reply{a, err}
	return true
}

// abandon reports whether the caller goes without an answer.
func (r *request) abandon() bool {
	return r.state.CompareAndSwap(waiting, abandoned) || r.state.Load() == abandoned
}

func (r *request) waits() bool { return r.state.Load() == waiting && r.ctx.Err() == nil }

// ask is do for what a client asks anew: ErrBusy when too many do. Releases and
// all else that sets things right have room when a flood of acquires has taken
// its own.
func (s *Store) ask(ctx context.Context, g *group, op semaphore.Op) (semaphore.Answer, error) {
	most := 2 * s.cfg.MaxPending
	if _, acquires := op.(semaphore.Acquire); acquires {
		most = s.cfg.MaxPending
	}
	return s.decided(ctx, g, op, most)
}

// do decides op on a group that was entered, in a batch with others.
func (s *Store) do(ctx context.Context, g *group, op semaphore.Op) (semaphore.Answer, error) {
	return s.decided(ctx, g, op, math.MaxInt)
}

// decided is do for one of at most so many requests that are under way: they are
// counted where they are taken in, as a flood comes all at once.
func (s *Store) decided(ctx context.Context, g *group, op semaphore.Op, most int) (semaphore.Answer, error) {
	if err := s.ready(ctx); err != nil {
		return semaphore.Answer{}, err
	}
	r := &request{op: op, ctx: ctx, reply: make(chan reply, 1)}
	s.mu.Lock()
	n := len(g.pending)
	if n < most {
		g.pending = append(g.pending, r)
	}
	s.mu.Unlock()
	if n >= most {
		return semaphore.Answer{}, fmt.Errorf("%w: %d requests for group %q are under way", semaphore.ErrBusy, n, g.name)
	}
	if s.mayLead(g) {
		// Nobody is before it: to hand it to a goroutine, and that back to this one,
		// takes a quarter of the time of a change that is alone.
		s.leadOnce(g)
	}

	var err error
	select {
	case told := <-r.reply:
		return told.answer, told.err
	case <-ctx.Done():
		err = ctx.Err()
	case <-s.ctx.Done():
		err = s.ready(context.Background())
	}
	if !r.abandon() {
		told := <-r.reply
		return told.answer, told.err
	}
	return semaphore.Answer{}, err
}

// tryLead starts the next batch, unless one is under way: that one's end does.
func (s *Store) tryLead(g *group) {
	if s.mayLead(g) {
		go s.leadOnce(g)
	}
}

// mayLead takes the group's turn for a batch, if there is one and the turn is
// free. leadOnce must follow.
func (s *Store) mayLead(g *group) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(g.pending) == 0 || s.stopped {
		return false
	}
	select {
	case g.turn <- struct{}{}:
	default:
		return false
	}
	g.users++
	s.loops.Add(1)
	return true
}

func (s *Store) leadOnce(g *group) {
	defer s.loops.Done()
	s.lead(g)
	s.yield(g)
	s.exit(g)
}

// yield gives the group's turn to the next.
func (s *Store) yield(g *group) {
	<-g.turn
	s.tryLead(g)
}

func (g *group) takePending() []*request {
	n := min(len(g.pending), batchRequests)
	batch := g.pending[:n:n]
	g.pending = g.pending[n:]
	if len(g.pending) == 0 {
		g.pending = nil
	}
	return batch
}

// lead decides one batch and commits it, again and again until the outcome is
// known, nobody asks any more, or nothing can be asked of etcd. The group's
// turn is held.
func (s *Store) lead(g *group) {
	s.mu.Lock()
	batch := g.takePending()
	s.mu.Unlock()
	defer s.gave(g)
	var tried []*attempt // with unknown outcome
	for {
		s.gave(g)
		batch = slices.DeleteFunc(batch, func(r *request) bool { return !r.waits() })
		if len(batch) == 0 {
			s.abandon(g, tried)
			return
		}
		if err := s.ready(context.Background()); err != nil {
			fail(batch, err)
			s.abandon(g, tried)
			return
		}
		a, n := s.decide(g, batch)
		s.putBack(g, batch[n:])
		batch = batch[:n]
		s.gives(g, a)
		won, rev, err := s.outcome(g, a, tried)
		switch {
		case err == nil && won == a && !a.writes() && mayGrantFleetLock(tried):
			// What was tried before may commit still. Whoever is refused now and
			// waits on would take that hold for the answer, and it is given back.
			if won, rev, err = s.seal(g, tried); won != nil {
				s.commit(g, won, rev, false)
				return
			}
			if err == nil || errors.Is(err, semaphore.ErrNewerSchema) { // whose key is compared, and has changed
				tried = nil
			}
			continue
		case err == nil:
			s.commit(g, won, rev, won == a)
			return
		case errors.Is(err, errLost):
			continue
		case !errors.As(err, new(unknown)) && len(batch) > 1:
			// One of them may be to blame: each for itself.
			s.putBack(g, batch[1:])
			batch = batch[:1]
			continue
		case !errors.As(err, new(unknown)):
			fail(batch, err)
			s.abandon(g, tried)
			return
		}
		if a.key != "" {
			tried = append(tried, a)
		}
		won, rev, again := s.resolve(g, tried)
		if won != nil {
			s.commit(g, won, rev, false)
			return
		}
		if again == nil && errors.Is(err, rpctypes.ErrNoSpace) {
			fail(batch, fmt.Errorf("%w: %w", semaphore.ErrDiskLow, err))
			s.abandon(g, tried)
			return
		}
	}
}

func fail(batch []*request, err error) {
	for _, r := range batch {
		r.answer(semaphore.Answer{}, err)
	}
}

// part is one decision of an attempt.
type part struct {
	r      *request // nil for what nobody asked for
	d      semaphore.Decision
	counts counts
	calls  []*call // parked, for each hold in d.Granted; nil: it left meanwhile
}

// attempt is one transaction. With an unknown outcome it may have committed,
// and until the head changes it may commit still.
type attempt struct {
	base    semaphore.State // compared
	next    semaphore.State // when it has committed
	parts   []part
	changes int    // in all of them
	key     string // of its first event, once it was written down
	value   string // what it puts there: found there, it has committed
}

func (a *attempt) writes() bool {
	return slices.ContainsFunc(a.parts, func(p part) bool { return p.d.Writes() })
}

// putBack lets requests wait for the next batch.
func (s *Store) putBack(g *group, rest []*request) {
	if len(rest) == 0 {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	g.pending = append(slices.Clone(rest), g.pending...)
}

// decide makes one decision after the other, as many as fit into one
// transaction, and says how many that were.
func (s *Store) decide(g *group, batch []*request) (*attempt, int) {
	low := s.cfg.Floor()
	st := s.state(g)
	a := &attempt{base: st, next: st, parts: make([]part, 0, len(batch))}
	now := s.cfg.Now()
	for i, r := range batch {
		d := decideOn(&a.next, r.op, now, low != nil)
		size := len(d.Changes) + len(d.Events)
		if i > 0 && a.changes+size > s.changesFit() {
			return a, i
		}
		if low != nil && (grants(&a.next, d) || joins(&a.next, d)) {
			r.answer(semaphore.Answer{}, low)
			continue
		}
		a.add(r, d)
		a.parts[len(a.parts)-1].calls = s.callsFor(g, d.Granted)
	}
	return a, len(batch)
}

// decideOn is Decide. When nothing may be granted, it is made as if nobody
// waited: so nobody stands in the way of the one who is told why, and nothing
// is granted on the way.
func decideOn(st *semaphore.State, op semaphore.Op, now time.Time, ungranted bool) semaphore.Decision {
	if !ungranted {
		return semaphore.Decide(st, op, now)
	}
	alone := *st
	alone.DropQueue()
	d := semaphore.Decide(&alone, op, now)
	if acquire, acquires := op.(semaphore.Acquire); acquires {
		d.Answer.Place = semaphore.Place(st, acquire.Node)
	}
	return d
}

func (a *attempt) add(r *request, d semaphore.Decision) {
	a.parts = append(a.parts, part{r: r, d: d})
	if d.Writes() {
		a.parts[len(a.parts)-1].counts = countsOf(&a.next, d)
		a.next = a.next.Apply(d)
		a.changes += len(d.Changes) + len(d.Events)
	}
}

// grants reports whether the decision makes a hold that was not there.
func grants(st *semaphore.State, d semaphore.Decision) bool {
	return slices.ContainsFunc(d.Changes, func(c semaphore.Change) bool {
		if c.Hold == nil {
			return false
		}
		_, held := st.Hold(c.Hold.Node)
		return !held
	})
}

// joins reports whether the decision makes a member that was not there.
func joins(st *semaphore.State, d semaphore.Decision) bool {
	return slices.ContainsFunc(d.Changes, func(c semaphore.Change) bool {
		if c.Member == nil {
			return false
		}
		_, known := st.Member(c.Member.Node)
		return !known
	})
}

// commit takes over what an attempt committed or verified at rev, and answers
// those who asked. Not fresh: it was found out by reading, and other changes
// may have come behind it.
func (s *Store) commit(g *group, a *attempt, rev int64, fresh bool) {
	at := time.Now()
	if a.writes() {
		s.adopt(g, a, rev, at, fresh)
	}
	for _, p := range a.parts {
		s.metrics.committed(p.counts)
		if p.r == nil {
			continue
		}
		answer := p.d.Answer
		answer.At = at
		if p.d.Writes() || answer.Revision > a.base.Revision {
			answer.Revision = rev
		}
		if !fresh && !s.stillTrue(g, p.r.op, answer) && p.r.waits() {
			s.putBack(g, []*request{p.r})
			continue
		}
		if !p.r.answer(answer, nil) && answer.Created && answer.Hold.Via == semaphore.ViaFleetLock {
			// Nobody else will ever know of this hold.
			s.spawn(func() { s.giveBack(g, *answer.Hold) })
		}
	}
}

// stillTrue reports whether an answer with a hold is that of the group as just
// read.
func (s *Store) stillTrue(g *group, op semaphore.Op, answer semaphore.Answer) bool {
	switch op.(type) {
	case semaphore.Acquire, semaphore.Confirm:
		if answer.Kind != semaphore.OK {
			return false
		}
		s.mu.RLock()
		defer s.mu.RUnlock()
		h, held := g.st.Hold(answer.Hold.Node)
		return held && h.Fence == answer.Hold.Fence && h.State == answer.Hold.State
	}
	return true
}

// adopt makes the state after an attempt the group's.
func (s *Store) adopt(g *group, a *attempt, rev int64, at time.Time, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := rev > g.rev
	if news {
		g.st.Head, g.st.HeadRev, g.st.Spec = a.next.Head, rev, a.next.Spec
		g.st.TakeHoldsAndMembers(&a.next)
		g.rev = rev
		defer s.reserve(g)
	}
	for _, p := range a.parts {
		// Before the hold is news that wakes its node's waiter: one that wakes
		// without its answer asks etcd for it again.
		for i, h := range p.d.Granted {
			s.deliver(g, p.calls[i], h, semaphore.Answer{Hold: &h, Created: true, Revision: rev, At: at}, fresh)
		}
		for _, c := range p.d.Changes {
			switch {
			case c.Out != nil:
				s.tookOut(c.Out, rev)
			case c.DeleteOut:
				s.tookOut(nil, rev)
			case c.Hold != nil:
				g.concern(holdKeys, c.Hold.Node, false)
			case c.DeleteHold != "" && news:
				// A release is what may happen to a hold that cannot be read.
				delete(g.newer, s.keys.node(g.name, holdKeys, c.DeleteHold))
			case c.Member != nil:
				if m, known := g.st.Member(c.Member.Node); known && news {
					m.Revision = rev
					g.st.SetMember(m)
				}
				g.concern(memberKeys, c.Member.Node, false)
			case c.DeleteMember != "":
				g.concern(memberKeys, c.DeleteMember, true)
			case c.DeleteWaiter != "":
				s.removeWaiter(g, c.DeleteWaiter, rev)
			case c.Spec != nil && news:
				g.st.SpecRev = rev
			case c.DeleteSpec && news:
				g.st.SpecRev = 0
				g.concern(specKey, "", true)
			}
		}
	}
	s.wakeLocked()
	g.wake()
}
