package rollout

import (
	"fmt"
	"slices"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// wanted is what the coordinator that it asks wants of a node, by what it has
// seen: of the newest rollout that has begun.
func (m *model) wanted(w *mWorld, i int) *api.Wanted {
	for _, number := range []int32{w.seenUndo, w.seenMain} {
		st := &m.states[number]
		if number == 0 || !st.Head.begun() ||
			!slices.ContainsFunc(st.Nodes, func(s Selected) bool { return s.Node == name(i) }) {
			continue
		}
		key := mWant{number, i, w.nodes[i].shown()}
		known, ok := m.wants[key]
		if !ok {
			v := w.nodes[i].view(i, st)
			if m.cfg.allWaves {
				v.Wave = 0
			}
			known = Wanted(st, v, noon)
			m.wants[key] = known
		}
		return known
	}
	return nil
}

func (m *model) nodeSteps(w mWorld, i int, add func(string, mWorld, string)) {
	n := w.nodes[i]
	at := func(what string, change func(next *mWorld, n *mNode) string) {
		next := w
		violation := change(&next, &next.nodes[i])
		add(name(i)+" "+what, next, violation)
	}
	want := m.wanted(&w, i)
	which := 0
	if n.undo {
		which = 1
	}
	switch n.phase {
	case mIdle:
		if want == nil {
			return
		}
		k := 0
		if want.Rollout == mUndo {
			k = 1
		}
		if int(n.ended[k]) < want.Attempt {
			at("waits for a slot", func(_ *mWorld, n *mNode) string {
				n.phase, n.undo, n.attempt = mWaiting, k == 1, uint8(want.Attempt)
				return ""
			})
		}
	case mWaiting:
		if want == nil || (want.Rollout == mUndo) != n.undo {
			at("leaves the queue", func(_ *mWorld, n *mNode) string { n.phase = mIdle; return "" })
			return
		}
		held := 0
		for _, o := range w.nodes {
			if o.phase >= mGranted {
				held++
			}
		}
		if held < m.cfg.slots {
			at("is granted a slot", func(_ *mWorld, n *mNode) string { n.phase = mGranted; return "" })
		}
	case mGranted:
		number := w.main
		if n.undo {
			number = w.undo
		}
		h := &m.states[number].Head
		if refused := h.mayBegin(noon); refused != nil && !m.cfg.blindBegin {
			at("is told to return its slot", func(_ *mWorld, n *mNode) string { n.phase = mIdle; return "" })
			return
		}
		at("asks whether its rollout runs", func(next *mWorld, n *mNode) string {
			n.phase = mAllowed
			return m.brokenBegin(next, i)
		})
	case mAllowed:
		at("confirms and begins", func(_ *mWorld, n *mNode) string {
			n.phase = mWorking
			n.applied[which]++
			if w.undone > 0 && which == 0 {
				return name(i) + " begins after its rollback was made"
			}
			if n.applied[which] > n.attempt {
				return fmt.Sprintf("%s does attempt %d of %d twice", name(i), n.attempt, which)
			}
			return ""
		})
	case mWorking:
		at("is done", func(next *mWorld, n *mNode) string {
			m.result(next, i, n)
			n.phase, n.ended[which], n.isNew = mIdle, n.attempt, !n.undo
			n.everNew = n.everNew || n.isNew
			n.failed = 0
			return ""
		})
		if w.fails > 0 && !n.undo {
			at("fails", func(next *mWorld, n *mNode) string {
				m.result(next, i, n)
				next.fails--
				n.phase, n.failed = mBroken, n.attempt
				n.failures++
				return ""
			})
		}
	case mBroken:
		m.failStep(w, i, at)
	}
}

// failStep tells a coordinator of a failure and returns the slot.
func (m *model) failStep(w mWorld, i int, at func(string, func(*mWorld, *mNode) string)) {
	if m.cfg.lateSettle {
		at("returns its slot without a word", func(next *mWorld, n *mNode) string {
			m.result(next, i, n)
			n.phase, n.ended[0] = mIdle, n.attempt
			return ""
		})
		return
	}
	at("tells of its failure and returns its slot", func(next *mWorld, n *mNode) (violation string) {
		st := m.states[next.main]
		v := w.nodes[i].view(i, &st)
		key := mLook{name(i), next.main, w.shown(), false}
		write, ok := m.looks[key]
		if !ok {
			if d := decideFailure(st, name(i), v.Report, noon); d.Changed {
				write = m.pend(&st, mWrite{false, Change{Head: d.Head, Results: d.Results, Events: d.Events}})
			}
			m.looks[key] = write
		}
		if write != 0 {
			violation = m.commit(next, write)
		}
		n.phase, n.ended[0] = mIdle, n.attempt
		return violation
	})
}

// brokenBegin says what is wrong with a node that was just let begin.
func (m *model) brokenBegin(w *mWorld, i int) string {
	n := w.nodes[i]
	st := &m.states[w.main]
	if n.undo {
		return ""
	}
	failed := 0
	for _, o := range w.nodes {
		if o.failures > 0 && o.phase != mBroken { // told, and its slot returned
			failed++
		}
	}
	switch {
	case w.undone > 0:
		return name(i) + " begins for a rollout whose rollback is made"
	case !m.cfg.flat && i > 0 && w.soaked == 0:
		return name(i) + " begins before the first wave has its result"
	case !m.cfg.flat && i > 0 && !w.approved:
		return name(i) + " begins without the approval"
	case !m.cfg.flat && i > 0 && w.soaked == 1:
		return name(i) + " begins while the first wave soaks"
	case failed > m.cfg.budget && !w.acknowledged:
		return fmt.Sprintf("%s begins after %d failures of at most %d", name(i), failed, m.cfg.budget)
	case st.Head.State != api.RolloutRunning:
		return fmt.Sprintf("%s begins for a rollout that is %s", name(i), st.Head.State)
	}
	return ""
}

func (m *model) personSteps(w mWorld, add func(string, mWorld, string)) {
	st := m.states[w.main]
	do := func(action string, change func(*mWorld)) {
		key := mLook{what: action, state: w.main}
		write, ok := m.looks[key]
		if !ok {
			if m.cfg.freeResume {
				st.Head.Rollbacks = nil
			}
			if d, refused := Apply(st, Ask{Action: action, By: "bob", Role: api.RoleAdmin}, noon); refused == nil && d.Changed {
				write = m.pend(&m.states[w.main], mWrite{false, Change{Head: d.Head, Results: d.Results, Events: d.Events}})
			}
			m.looks[key] = write
		}
		if write == 0 {
			return
		}
		next := w
		change(&next)
		violation := m.commit(&next, write)
		add("a person: "+action, next, violation)
	}
	if !w.approved && !m.cfg.flat {
		do(ActApprove, func(next *mWorld) { next.approved = true })
	}
	if w.resumes > 0 && st.Head.State == api.RolloutHalted {
		do(ActResume, func(next *mWorld) { next.resumes--; next.acknowledged = true })
	}
	if w.retries > 0 {
		do(ActRetry, func(next *mWorld) { next.retries--; next.acknowledged = true })
	}
}

// brokenEnd says what is wrong with a world in which nothing is left to happen.
func (m *model) brokenEnd(w mWorld) string {
	st := m.main(w)
	switch st.Head.State {
	case api.RolloutSucceeded, api.RolloutFailed:
		return ""
	case api.RolloutHalted:
	case api.RolloutApproval: // of nodes that were tried again since
		if w.retries < uint8(m.cfg.retries) {
			return ""
		}
		return "nothing is left to happen, and it waits for an approval that it has"
	default:
		return fmt.Sprintf("nothing is left to happen, and it is %s: %s", st.Head.State, st.Head.Why)
	}
	if m.cfg.rollback == "" {
		return ""
	}
	if w.undo == 0 && w.acknowledged {
		return ""
	}
	if w.undo == 0 {
		return "it halted, and no rollback is made"
	}
	if s := m.states[w.undo].Head.State; s != api.RolloutSucceeded {
		return fmt.Sprintf("nothing is left to happen, and the rollback is %s", s)
	}
	for i, n := range w.nodes {
		if n.isNew && (m.cfg.rollback == api.RollbackAll || m.states[w.undo].Nodes != nil && slices.ContainsFunc(m.states[w.undo].Nodes, func(s Selected) bool { return s.Node == name(i) })) {
			return name(i) + " has the bundle that was to be undone"
		}
	}
	return ""
}
