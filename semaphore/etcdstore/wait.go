package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// waiter is a place in the queue that this store keeps, with or without a
// client that waits. Guarded by the Store's mu.
type waiter struct {
	node    string
	via     semaphore.Via
	calls   []*call       // parked; the newest last
	timer   *time.Timer   // gives up the place while there is no call
	assumed time.Duration // between its requests, as long as none is known
	left    bool          // told to leave: a request under way takes no new place
}

// call is one parked Acquire.
type call struct {
	op     semaphore.Acquire
	result chan *result // of one: the last thing it was told
	parked bool         // guarded by the Store's mu, as is end
	end    end
}

// end says how a call ended.
type end int

const (
	notEnded end = iota
	endedWithHold
	endedWithout
)

// result ends the parking: with an answer, or to look again.
type result struct {
	answer semaphore.Answer
	final  bool
}

// tell hands a result to a call. An answer is never replaced by a look.
func (c *call) tell(r *result) {
	for {
		select {
		case c.result <- r:
			return
		default:
		}
		select {
		case old := <-c.result:
			if old.final {
				r = old
			}
		default:
		}
	}
}

func (w *waiter) wakeAll() {
	for _, c := range w.calls {
		c.tell(&result{})
	}
}

func (w *waiter) stopTimer() {
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
}

// Acquire implements semaphore.Store.
func (s *Store) Acquire(ctx context.Context, name string, op *semaphore.Acquire, wait time.Duration) (semaphore.Answer, error) {
	if err := semaphore.ValidGroup(name); err != nil {
		return semaphore.Answer{Kind: semaphore.Invalid, Detail: err.Error()}, nil
	}
	a := &acquiring{s: s, g: s.enter(name), c: newCall(op), wait: wait}
	defer s.exit(a.g)
	s.arrive(a.g, op)
	a.run(ctx)
	a.close()
	return a.answer, a.err
}

func newCall(op *semaphore.Acquire) *call {
	c := &call{result: make(chan *result, 1)}
	c.op = *op
	return c
}

// close tells whoever must know how it ended.
func (a *acquiring) close() {
	a.s.endCall(a.g, a.c, a.err == nil && a.answer.Kind == semaphore.OK)
	if a.err == nil {
		a.s.metrics.answered(a.c.op, a.answer)
	}
}

// endCall notes how a call ended. A FleetLock hold that was granted for it
// without its client hearing of it is given back.
func (s *Store) endCall(g *group, c *call, withHold bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if withHold {
		c.end = endedWithHold
		return
	}
	c.end = endedWithout
	h, held := g.st.Hold(c.op.Node)
	if held && c.op.Via == semaphore.ViaFleetLock && h.Via == c.op.Via &&
		c.op.Request != "" && h.Request == c.op.Request && h.Renewed == "" {
		s.spawnLocked(func() { s.giveBack(g, h) })
	}
}

// acquiring is one Acquire on its way. What it needs while it is parked is kept
// here and not on its stack, of which there may be ten thousand.
type acquiring struct {
	s      *Store
	g      *group
	c      *call
	w      *waiter
	wait   time.Duration
	placed bool // it has its place among those who wait
	told   *result

	answer semaphore.Answer
	err    error
}

func (a *acquiring) run(ctx context.Context) {
	if a.wait <= 0 {
		a.look(ctx) // is all there is to do
		return
	}
	over := time.NewTimer(a.wait)
	defer over.Stop()
	for !a.lookAside(ctx) {
		done := false
		select {
		case a.told = <-a.c.result:
			done = a.woken()
		case <-over.C:
			done = a.lastLook(ctx)
		case <-ctx.Done():
			done = a.ended(ctx.Err)
		case <-a.s.ctx.Done():
			done = a.ended(a.stopped)
		}
		if done {
			return
		}
	}
}

func (a *acquiring) stopped() error { return a.s.ready(context.Background()) }

// finish is what a look, or the end of the parking, came to.
func (a *acquiring) finish(answer semaphore.Answer, err error) bool {
	a.answer, a.err = answer, err
	return true
}

// lookAside is look on a stack of its own, since the call may be parked behind
// it. To decide takes more stack than to wait, and a stack does not shrink by
// itself.
func (a *acquiring) lookAside(ctx context.Context) bool {
	over := make(chan bool, 1)
	go func() { over <- a.look(ctx) }()
	return <-over
}

// look asks for the slot, and parks the call when it has to wait. It reports
// true when that was all.
func (a *acquiring) look(ctx context.Context) bool {
	s, g, op := a.s, a.g, a.c.op
	if !a.placed {
		if answer, tooMany := s.tooMany(g, op, a.wait); tooMany {
			return a.finish(answer, nil)
		}
	}
	for {
		ask := s.ask
		if a.placed {
			ask = s.do
		}
		a.placed = true
		answer, err := ask(ctx, g, op)
		if err != nil || !answer.Kind.Passes() || op.Via == semaphore.ViaAgent && a.wait <= 0 {
			s.leaveOff(g, op.Node, err == nil && answer.Kind == semaphore.OK)
			return a.finish(answer, err)
		}
		a.w, err = s.keepPlace(ctx, g, op)
		if errors.Is(err, errTooMany) {
			s.leaveOff(g, op.Node, false)
			return a.finish(tooManyWait(g.name, s.cfg.MaxWaiters, answer.Revision), nil)
		}
		if err != nil {
			s.leaveOff(g, op.Node, false)
			return a.finish(semaphore.Answer{}, err)
		}
		if a.wait <= 0 {
			s.leaveOff(g, op.Node, false)
			return a.finish(s.placed(g, op.Node, answer), nil)
		}
		parked, left := s.park(g, a.w, a.c)
		if left {
			s.dropPlace(g, op.Node)
			return a.finish(leftQueue(answer.Revision), nil)
		}
		if parked {
			a.answer = answer
			return false
		}
	}
}

// woken ends the parking with what the call was told.
func (a *acquiring) woken() bool {
	a.s.unpark(a.g, a.c)
	switch r := a.told; {
	case r.final && time.Since(r.answer.At) < attemptTimeout:
		return a.finish(r.answer, nil)
	case a.s.hasLeft(a.w):
		return a.finish(leftQueue(a.answer.Revision), nil)
	}
	return false
}

// lastLook is made when the time is over, while it still stands in the queue.
func (a *acquiring) lastLook(ctx context.Context) bool {
	answer, err := a.s.do(ctx, a.g, a.c.op)
	a.s.unpark(a.g, a.c)
	if r := a.c.told(); r.final {
		return a.finish(r.answer, nil)
	}
	a.s.leaveOff(a.g, a.c.op.Node, err == nil && answer.Kind == semaphore.OK)
	return a.finish(answer, err)
}

// ended: the client has gone, or the store stops.
func (a *acquiring) ended(why func() error) bool {
	a.s.unpark(a.g, a.c)
	if r := a.c.told(); r.final {
		// Granted in the moment it left: the caller knows what to do.
		return a.finish(r.answer, nil)
	}
	return a.finish(a.answer, why())
}

// errTooMany: the queue is as long as it may be.
var errTooMany = errors.New("too many nodes wait")

// tooMany answers one who would need a place in a queue that is as long as it
// may be. Nothing is written for it, not even its membership.
func (s *Store) tooMany(g *group, op semaphore.Acquire, wait time.Duration) (semaphore.Answer, bool) {
	if op.Via == semaphore.ViaAgent && wait <= 0 {
		return semaphore.Answer{}, false // it takes no place
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, queued := g.places[op.Node]; queued || g.st.Waiting() < s.cfg.MaxWaiters {
		return semaphore.Answer{}, false
	}
	st := s.stateLocked(g)
	if d := semaphore.Decide(&st, op, s.cfg.Now()); !d.Answer.Kind.Passes() {
		return semaphore.Answer{}, false
	}
	return tooManyWait(g.name, s.cfg.MaxWaiters, st.Revision), true
}

func tooManyWait(group string, most int, rev int64) semaphore.Answer {
	detail := fmt.Sprintf("%d nodes wait already in group %q, which is the most; ask again later", most, group)
	return semaphore.Answer{
		Kind: semaphore.RetryLater, Detail: detail, Revision: rev, At: time.Now(),
		Blockers: []semaphore.Blocker{{Kind: semaphore.RetryLater, Detail: detail}},
	}
}

// told is what the call was told and has not taken yet.
func (c *call) told() *result {
	select {
	case r := <-c.result:
		return r
	default:
		return &result{}
	}
}

// placed is a refusal with the place in the queue as of now.
func (s *Store) placed(g *group, node string, answer semaphore.Answer) semaphore.Answer {
	st := s.state(g)
	answer.Place = semaphore.Place(&st, node)
	return answer
}
