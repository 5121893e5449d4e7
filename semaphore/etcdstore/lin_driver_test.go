package etcdstore_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// linRound is some groups under one prefix, with clients that put everything
// down that they ask and are told.
type linRound struct {
	lab    *lab
	prefix string
	began  time.Time
	most   int           // requests of a group's history: they bound the time to check it
	calm   time.Duration // how long operators think at most
	hangUp int           // one request in so many is hung up on; 0: none
	groups []*linGroup

	mu    sync.Mutex
	fleet []porcupine.Operation // about the fleet-wide freeze: part of every group's history
}

type linGroup struct {
	round *linRound
	name  string
	count atomic.Int64

	mu    sync.Mutex
	ops   []porcupine.Operation
	start linState
}

var linNames atomic.Int64

func unique(what string) string { return fmt.Sprintf("%s%d", what, linNames.Add(1)) }

func newRound(l *lab, groups int) *linRound {
	r := &linRound{lab: l, prefix: "/" + unique("round") + "/", began: time.Now(), most: 500, calm: 30 * time.Millisecond, hangUp: 12}
	for i := range groups {
		r.groups = append(r.groups, &linGroup{
			round: r, name: fmt.Sprintf("g%d", i), start: linState{exists: true, next: 1, slots: 2},
		})
	}
	return r
}

// declare makes the groups, before the histories begin.
func (r *linRound) declare(ctx context.Context) error {
	for _, g := range r.groups {
		ops := []any{semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: g.start.slots}}, IfMatch: -1}}
		for n := range linNodes {
			ops = append(ops, semaphore.PutMember{Node: fmt.Sprintf("n%d", n)})
		}
		for _, op := range ops {
			if err := g.must(ctx, op); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *linGroup) must(ctx context.Context, op any) error {
	for {
		_, reply, err := g.round.lab.ask(ctx, 0, g.round.prefix, g.name, op, 0)
		switch {
		case err == nil && reply.Answer.Kind == semaphore.OK:
			return nil
		case ctx.Err() != nil:
			return fmt.Errorf("%T: %w, %+v", op, err, reply.Answer)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func (g *linGroup) full() bool { return g.count.Load() >= int64(g.round.most) }

// ask sends one request to any store and puts down what became of it. Now and
// then the client hangs up at once. known is false when nobody can say.
func (g *linGroup) ask(ctx context.Context, client int, op any, wait time.Duration) (answer semaphore.Answer, known bool) {
	reply, known := g.put(ctx, client, op, wait)
	return reply.Answer, known
}

func (g *linGroup) put(ctx context.Context, client int, op any, wait time.Duration) (wireReply, bool) {
	patience := wait + 400*time.Millisecond
	if n := g.round.hangUp; n > 0 && rand.IntN(n) == 0 {
		patience = rand.N(wait + 8*time.Millisecond)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	l := g.round.lab
	call := time.Since(g.round.began)
	sent, reply, err := l.ask(ctx, rand.IntN(len(l.stores)), g.round.prefix, g.name, op, wait)
	if !sent {
		time.Sleep(10 * time.Millisecond)
		return wireReply{}, false
	}
	record := porcupine.Operation{
		ClientId: client, Input: linInput{op: op}, Call: int64(call),
		Output: linOutput{wireReply: reply}, Return: int64(time.Since(g.round.began)),
	}
	if _, reads := op.(readGroup); err != nil && reads {
		return wireReply{}, false // and nothing was changed
	}
	_, acquires := op.(semaphore.Acquire)
	kind := reply.Answer.Kind
	// One that waited can have been granted, and lost it again to a revoke or
	// to its time, before it was told.
	lost := wait > 0 && (kind == semaphore.StaleFence || kind == semaphore.RetryLater)
	refused := acquires && (kind.Passes() || lost)
	if err != nil || refused {
		record.Output, record.Return = linOutput{unknown: true, wireReply: reply}, record.Call
	}
	g.count.Add(1)
	if refused && wait == 0 {
		return reply, true // no matter when it is true
	}
	switch op.(type) {
	case setFleet, liftFleet:
		g.round.mu.Lock()
		defer g.round.mu.Unlock()
		g.round.fleet = append(g.round.fleet, record)
	default:
		g.mu.Lock()
		defer g.mu.Unlock()
		g.ops = append(g.ops, record)
	}
	return reply, err == nil
}

// insist asks the same request again, perhaps of another store, for as long as
// nobody says what became of it.
func (g *linGroup) insist(ctx context.Context, client int, op any) semaphore.Answer {
	for ctx.Err() == nil {
		if a, known := g.ask(ctx, client, op, 0); known {
			return a
		}
	}
	return semaphore.Answer{}
}

func think(most time.Duration) { time.Sleep(rand.N(most)) }

// meanwhile waits until so many more requests of the group have ended, on
// whatever machine, and for a moment at most.
func (g *linGroup) meanwhile(ctx context.Context, requests int) {
	enough := g.count.Load() + int64(requests)
	for late := time.Now().Add(300 * time.Millisecond); g.count.Load() < enough && ctx.Err() == nil && time.Now().Before(late); {
		think(5 * time.Millisecond)
	}
}

// host is a client that takes the slot of a node and returns it, mostly.
func (g *linGroup) host(ctx context.Context, client, n int, via semaphore.Via, instance string) {
	op := semaphore.Acquire{Node: fmt.Sprintf("n%d", n), Instance: instance, BootID: "b", Via: via}
	var last *semaphore.Hold
	for ctx.Err() == nil && !g.full() {
		think(10 * time.Millisecond)
		op.Request = unique("r")
		a, known := g.ask(ctx, client, op, rand.N(100*time.Millisecond))
		for tries := 0; !known && via == semaphore.ViaAgent && tries < 4 && ctx.Err() == nil; tries++ {
			a, known = g.ask(ctx, client, op, rand.N(50*time.Millisecond))
		}
		if !known || a.Hold == nil || a.Kind == semaphore.HeldByOther {
			continue
		}
		h := a.Hold
		if last != nil && rand.IntN(8) == 0 { // an old return that comes late
			g.ask(ctx, client, release(last), 0)
		}
		last = h
		for range rand.IntN(3) {
			if via != semaphore.ViaAgent || a.Kind != semaphore.OK {
				break
			}
			think(3 * time.Millisecond)
			a, _ = g.ask(ctx, client, semaphore.Confirm{Node: op.Node, Instance: instance, BootID: "b", Fence: h.Fence}, 0)
		}
		if rand.IntN(10) > 0 {
			g.insist(ctx, client, release(h))
		}
	}
}

// operator looks at the group and does to it what operators and the engine do.
func (g *linGroup) operator(ctx context.Context, client int) {
	for ctx.Err() == nil && !g.full() {
		think(g.round.calm)
		reply, known := g.put(ctx, client, readGroup{}, 0)
		if !known || reply.Read == nil {
			continue
		}
		for _, h := range reply.Read.Holds {
			switch dice := rand.IntN(10); {
			case h.State == semaphore.Revoked:
				g.ask(ctx, client, semaphore.ForceRelease{Node: h.Node, Name: h.Node, Fence: h.Fence, HostIsDown: true}, 0)
			case dice < 2:
				a, _ := g.ask(ctx, client, semaphore.Revoke{Node: h.Node, Name: h.Node, Fence: h.Fence}, 0)
				if a.Kind == semaphore.OK && rand.IntN(2) == 0 { // its host may return it before the next look
					g.ask(ctx, client, semaphore.ForceRelease{Node: h.Node, Name: h.Node, Fence: h.Fence, HostIsDown: true}, 0)
				}
			case dice < 4:
				g.ask(ctx, client, semaphore.Expire{Node: h.Node, Fence: h.Fence}, 0)
			case dice < 5:
				g.ask(ctx, client, semaphore.ForceRelease{Node: h.Node, Name: h.Node, Fence: h.Fence, HostIsDown: true}, 0)
			}
		}
		dice := rand.IntN(6)
		if len(reply.Read.Holds) == 0 {
			dice = 2
		}
		switch dice {
		case 0:
			g.ask(ctx, client, semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 1 + rand.IntN(3)}}, IfMatch: -1}, 0)
		case 1:
			freeze := semaphore.Freeze{ID: unique("f"), Stop: rand.IntN(2) == 0}
			g.insist(ctx, client, semaphore.SetFreeze{Freeze: freeze})
			g.meanwhile(ctx, rand.IntN(10))
			g.insist(ctx, client, semaphore.LiftFreeze{ID: freeze.ID})
		case 2:
			if a, known := g.ask(ctx, client, semaphore.DeleteGroup{IfMatch: -1}, 0); !known || a.Kind == semaphore.OK {
				think(5 * time.Millisecond)
				g.insist(ctx, client, semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 2}}, IfMatch: -1})
			}
		}
	}
}

// watcher reads the group now and then.
func (g *linGroup) watcher(ctx context.Context, client int) {
	for ctx.Err() == nil && !g.full() {
		think(25 * time.Millisecond)
		g.put(ctx, client, readGroup{}, 0)
	}
}

// stopFleet freezes the fleet and lifts that again.
func (r *linRound) stopFleet(ctx context.Context, client int) {
	g := r.groups[0]
	for ctx.Err() == nil && !g.full() {
		think(5 * r.calm)
		freeze := semaphore.Freeze{ID: unique("f"), Stop: rand.IntN(2) == 0}
		g.insist(ctx, client, setFleet{freeze})
		g.meanwhile(ctx, rand.IntN(10))
		g.insist(ctx, client, liftFleet{ID: freeze.ID})
	}
}

// run lets all clients loose for a time, or until the histories are full, and
// has each group read at the end.
func (r *linRound) run(ctx context.Context, last time.Duration, faults func(ctx context.Context)) ([]*linHistory, error) {
	if err := r.declare(ctx); err != nil {
		return nil, err
	}
	working, stop := context.WithTimeout(ctx, last)
	defer stop()
	var clients, trouble sync.WaitGroup
	for _, g := range r.groups {
		for n := range linNodes {
			via, instance := semaphore.ViaAgent, fmt.Sprintf("i%d", n)
			if n >= 3 {
				via, instance = semaphore.ViaFleetLock, ""
			}
			clients.Go(func() { g.host(working, n, n, via, instance) })
		}
		clients.Go(func() { g.host(working, linNodes, 0, semaphore.ViaAgent, "other") })
		clients.Go(func() { g.operator(working, linNodes+1) })
		clients.Go(func() { g.watcher(working, linNodes+2) })
	}
	clients.Go(func() { r.stopFleet(working, linNodes+3) })
	trouble.Go(func() { faults(working) })
	clients.Wait()
	stop()
	trouble.Wait()
	var histories []*linHistory
	for _, g := range r.groups {
		for known := false; !known && ctx.Err() == nil; {
			_, known = g.put(ctx, linNodes+2, readGroup{}, 0)
		}
		histories = append(histories, &linHistory{start: g.start, ops: append(g.ops, r.fleet...)})
	}
	return histories, nil
}
