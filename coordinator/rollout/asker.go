package rollout

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
)

// Gates makes one try of a gate.
type Gates interface {
	// Check says whether the gate passes now. It takes no longer than the gate's
	// timeout, and ends with ctx.
	Check(ctx context.Context, g api.GateSpec) condition.Answer
}

const (
	defaultEvery   = 30 * time.Second
	defaultTimeout = 10 * time.Second
)

// asker asks the gates at which rollouts stand, each in a goroutine of its own,
// so that a slow one keeps nothing else. Only the elected engine has one, and
// what it has seen goes with it: whoever comes next asks anew.
type asker struct {
	gates Gates
	now   func() time.Time
	news  func() // called after each answer
	start func(func())

	mu   sync.Mutex
	asks map[askKey]*asking
}

type askKey struct{ rollout, gate string }

// asking is one gate that is being asked.
type asking struct {
	spec   api.GateSpec
	cancel context.CancelFunc
	since  time.Time // it passes, without a break
	answer condition.Answer
}

// newAsker makes an asker whose goroutines are started by start.
func newAsker(gates Gates, now func() time.Time, news func(), start func(func())) *asker {
	return &asker{gates: gates, now: now, news: news, start: start, asks: map[askKey]*asking{}}
}

// follow asks the gates at which rollouts stand, and no others.
func (a *asker) follow(ctx context.Context, p *picture) {
	wanted := map[askKey]api.GateSpec{}
	for id := range p.decisions {
		st := p.states[id]
		h := &st.Head
		if h.State == api.RolloutPaused || h.State == api.RolloutHalted || len(h.Gates) == 0 {
			continue
		}
		place, list := newCourse(h.Spec, &st).gatesAt(h, &h.Spec)
		for i, g := range list {
			key := gateKey(place, gateName(list, i))
			if g.Approval == nil && !h.Gates[key].AskedAt.IsZero() {
				wanted[askKey{id, key}] = g
			}
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for key, k := range a.asks {
		if _, ok := wanted[key]; !ok {
			k.cancel()
			delete(a.asks, key)
		}
	}
	for key, g := range wanted {
		if a.asks[key] == nil {
			c, cancel := context.WithCancel(ctx)
			k := &asking{spec: g, cancel: cancel}
			a.asks[key] = k
			a.start(func() { a.ask(c, k) })
		}
	}
}

// stop ends all asking. It does not wait.
func (a *asker) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.asks {
		k.cancel()
	}
	a.asks = map[askKey]*asking{}
}

// ask asks one gate again and again.
func (a *asker) ask(ctx context.Context, k *asking) {
	for {
		answer := a.check(ctx, k.spec)
		if ctx.Err() != nil {
			return
		}
		a.mu.Lock()
		k.take(answer)
		a.mu.Unlock()
		a.news()
		if sleep.For(ctx, every(k.spec)) != nil {
			return
		}
	}
}

func (a *asker) check(ctx context.Context, g api.GateSpec) condition.Answer {
	if a.gates == nil {
		return condition.Answer{Detail: "the coordinator is not set up to ask gates", At: a.now()}
	}
	c, cancel := context.WithTimeout(ctx, timeout(g))
	defer cancel()
	answer := a.gates.Check(c, g)
	if c.Err() != nil && answer.Passes {
		answer.Passes, answer.Detail = false, fmt.Sprintf("answered after more than %s", timeout(g))
	}
	return answer
}

// take keeps an answer. One that passes counts once all have done so for as long
// as the gate asks.
func (k *asking) take(answer condition.Answer) {
	k.answer = answer
	if !answer.Passes {
		k.since = time.Time{}
		return
	}
	if k.since.IsZero() {
		k.since = answer.At
	}
	if least := lasting(k.spec); answer.At.Sub(k.since) < least {
		k.answer.Passes = false
		k.answer.Detail = fmt.Sprintf("passes since %s, and is to pass for %s without a break: %s", stamp(k.since), least, answer.Detail)
	}
}

// answers are what the gates of a rollout said last. One that has not answered
// for so long that it should have twice does not pass.
func (a *asker) answers(rollout string) map[string]condition.Answer {
	a.mu.Lock()
	defer a.mu.Unlock()
	out := map[string]condition.Answer{}
	for key, k := range a.asks {
		if key.rollout != rollout || k.answer.At.IsZero() {
			continue
		}
		answer := k.answer
		if late := 2 * (every(k.spec) + timeout(k.spec)); a.now().Sub(answer.At) > late {
			answer.Passes = false
			answer.Detail = fmt.Sprintf("has not answered since %s", stamp(answer.At))
		}
		out[key.gate] = answer
	}
	return out
}

func every(g api.GateSpec) time.Duration {
	if d := Duration(g.Every); d > 0 {
		return d
	}
	return defaultEvery
}

func timeout(g api.GateSpec) time.Duration {
	if d := Duration(g.Timeout); d > 0 {
		return d
	}
	return defaultTimeout
}

// lasting is for how long a gate must pass without a break.
func lasting(g api.GateSpec) time.Duration {
	switch {
	case g.PromQL != nil:
		return Duration(g.PromQL.For)
	case g.Alertmanager != nil:
		return Duration(g.Alertmanager.For)
	}
	return 0
}
