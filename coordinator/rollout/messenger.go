package rollout

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/notify"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
)

const (
	// maxTelling bounds how many webhooks are told at once. Each has one message
	// at a time, so that one that is slow keeps no other.
	maxTelling = 16
	// recordPause lies between two tries to write down what became of a message.
	recordPause = time.Second
)

// messenger delivers notices, each in a goroutine of its own, so that no
// webhook keeps the rollouts. Only the elected engine has one.
type messenger struct {
	e      *Engine
	term   Term
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	telling map[api.NotifySpec]bool
}

func newMessenger(ctx context.Context, e *Engine, t Term) *messenger {
	m := &messenger{e: e, term: t, telling: map[api.NotifySpec]bool{}}
	m.ctx, m.cancel = context.WithCancel(ctx)
	return m
}

// stop ends all tries. It does not wait.
func (m *messenger) stop() { m.cancel() }

// follow tries what is due. Without quorum nothing is: what was delivered could
// not be written down, and would be told again.
func (m *messenger) follow(p *picture) {
	if m.e.cfg.Notify == nil || !m.e.cfg.Quorum() {
		return
	}
	now := m.e.cfg.Now()
	for _, id := range slices.Backward(p.order) {
		st := p.states[id]
		if st.Newer != "" {
			continue
		}
		for _, n := range st.orderedNotices() {
			for _, r := range n.To {
				if !r.GaveUp && !r.Next.After(now) && m.take(r.NotifySpec) {
					m.e.wg.Go(func() {
						defer m.leave(r.NotifySpec)
						m.tell(n, r)
					})
				}
			}
		}
	}
}

func (st *State) orderedNotices() []Notice {
	var list []Notice
	for _, n := range st.Notices {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b Notice) int { return int(a.Seq - b.Seq) })
	return list
}

// take reports whether a webhook may be told something now.
func (m *messenger) take(r api.NotifySpec) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.telling[r] || len(m.telling) >= maxTelling {
		return false
	}
	m.telling[r] = true
	return true
}

func (m *messenger) leave(r api.NotifySpec) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.telling, r)
}

// tell tries once, and writes down what became of it.
func (m *messenger) tell(n Notice, r Receiver) {
	err := m.e.cfg.Notify(m.ctx, n, r.NotifySpec)
	if err != nil && m.ctx.Err() != nil {
		return // the next one in office tries
	}
	now := m.e.cfg.Now().UTC()
	outcome := "delivered"
	next, again := time.Time{}, false
	if err != nil {
		if next, again = notify.Again(n.At, r.Tries+1, err, now, rand.Float64()); again {
			outcome = "failed"
		} else {
			outcome = "given_up"
		}
	}
	m.e.cfg.Meter.Told(outcome)
	log := m.e.log.With("id", n.Rollout, "what", n.What, "to", shownTo(r.NotifySpec), "tries", r.Tries+1)
	switch {
	case err == nil:
		log.Info("told a webhook")
	case again:
		log.Warn("a webhook was not told, trying again", "error", err, "at", next)
	default:
		log.Error("a webhook was not told, and is not tried any more", "error", err)
	}
	m.record(n, func(to []Receiver) []Receiver {
		i := slices.IndexFunc(to, func(o Receiver) bool { return o.NotifySpec == r.NotifySpec })
		switch {
		case i < 0:
		case err == nil:
			to = slices.Delete(to, i, i+1)
		default:
			to[i].Tries, to[i].Last, to[i].Next, to[i].Detail, to[i].GaveUp = r.Tries+1, now, next, err.Error(), !again
		}
		return to
	})
}

// record changes who is still to be told, until it is written or somebody else
// is elected, who then tells again: no message is lost.
func (m *messenger) record(n Notice, change func([]Receiver) []Receiver) {
	for {
		st, err := m.e.cfg.Store.Read(m.ctx, n.Rollout)
		if err == nil {
			now, ok := st.Notices[n.Seq]
			if !ok {
				return
			}
			now.To = change(slices.Clone(now.To))
			err = m.e.cfg.Store.WriteNotice(m.ctx, now, m.term)
		}
		switch {
		case err == nil, errors.Is(err, ErrNotElected), errors.Is(err, ErrNotFound), m.ctx.Err() != nil:
			return
		case errors.Is(err, ErrChanged):
		case sleep.For(m.ctx, recordPause) != nil:
			return
		}
	}
}
