package rollout

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Which worlds are the same, so that a search ends. Left out of what is kept is
// what no decision reads: event numbers, texts, the times that people are shown.
// The checker holds decisions on the whole against those on what is kept (same),
// and what is wanted by the one against the other (unlike).

// mTick is how far time passes at once; it is as long as the soak.
const mTick = 10 * time.Minute

// mOldest is how far back a time can be told from one before it. A soak that has
// been over for a tick is over for good.
const mOldest = 2 * mTick

// keeps reports whether writes are kept that will be refused. Nothing comes of
// them, and the engine that made them is free to decide again, or not elected:
// the world without them can do all that the world with them can.
func (c *mConfig) keeps() bool { return c.late || c.blindHead || c.blindTerm }

// plain takes out of a rollout what no decision reads.
func plain(h *Head) {
	h.EventSeq, h.Stopped, h.Spec.Reason = 0, Stop{}, ""
	h.Spec.Nodes = slices.Sorted(slices.Values(h.Spec.Nodes))
	switch h.State {
	case api.RolloutScheduled, api.RolloutSoaking, api.RolloutApproval:
	default:
		h.Why = "" // only of the others is it compared, to be said anew
	}
}

func plainResult(r Result) Result {
	r.Began = time.Time{}
	if r.Detail != hadAlready {
		r.Detail = ""
	}
	return r
}

// sorted is nodes by their names: those that failed come first where they are
// brought back, which is an order and no more.
func sorted(nodes []Selected) []Selected {
	return slices.SortedFunc(slices.Values(nodes), func(a, b Selected) int { return strings.Compare(a.Node, b.Node) })
}

// keep gives a stored rollout its number.
func (m *model) keep(st State) int32 {
	st.Observed = Observed{}
	plain(&st.Head)
	st.Nodes, st.Results = sorted(st.Nodes), maps.Clone(st.Results)
	for node, r := range st.Results {
		st.Results[node] = plainResult(r)
	}
	b, err := json.Marshal(struct {
		Head    Head
		Results map[string]Result
		Nodes   []Selected
	}{st.Head, st.Results, st.Nodes})
	if err != nil {
		panic(err)
	}
	if n, ok := m.byText[string(b)]; ok {
		return n
	}
	n := int32(len(m.states))
	m.states, m.byText[string(b)] = append(m.states, st), n
	return n
}

// same panics if it makes a difference to the next decision what was left out
// of a rollout.
func (m *model) same(st *State, d *Decisions, fleet []NodeView) {
	whole := *st
	whole.Head, whole.Results = d.Head, maps.Clone(st.Results)
	for _, r := range d.Results {
		whole.Results[r.Node] = r
	}
	kept := m.states[m.keep(whole)]
	a, b := Decide(whole.Head.Spec, whole, fleet, noon), Decide(kept.Head.Spec, kept, fleet, noon)
	number := func(st *State, d *Decisions) int32 {
		if !d.Changed {
			return 0
		}
		return m.pend(st, mWrite{change: Change{Head: d.Head, Results: d.Results, Events: d.Events}})
	}
	if number(&whole, &a) != number(&kept, &b) {
		panic(fmt.Sprintf("what is kept of a rollout is too little to decide on:\n%+v\n%+v", a.Head, b.Head))
	}
}

// glimpse is what is kept of a rollout by a coordinator that is only asked what is
// wanted of nodes; 0 when that is nothing for good.
func (m *model) glimpse(number int32) int32 {
	if known, ok := m.glimpses[number]; ok {
		return known
	}
	st := m.states[number]
	m.glimpses[number] = 0
	if st.Head.State.Active() {
		h := &st.Head
		*h = Head{V: h.V, ID: h.ID, Spec: h.Spec, BundleName: h.BundleName, State: h.State, CreatedAt: noon, Retried: h.Retried, Wave: h.Wave}
		if h.State != api.RolloutRunning {
			h.State = api.RolloutHalted
		}
		for _, w := range m.states[number].Head.Waves {
			if !w.StartedAt.IsZero() {
				w.StartedAt = noon
			}
			w.FinishedAt, w.DoneAt = time.Time{}, time.Time{}
			h.Waves = append(h.Waves, w)
		}
		results := map[string]Result{}
		for node, r := range st.Results {
			r.At, r.Before, r.Detail = noon, "", ""
			results[node] = r
		}
		st.Results = results
		m.glimpses[number] = m.keep(st)
	}
	return m.glimpses[number]
}

// unlike says where a glimpse of a rollout tells something else than the rollout,
// of any node as any was seen.
func (m *model) unlike() string {
	known := len(m.states)
	stride := 1 + known*len(m.wants)/1_000_000
	i := 0
	for key := range m.wants {
		for number := int32(1); int(number) < known; number++ {
			if i++; i%stride != 0 {
				continue
			}
			st := &m.states[number]
			var got, want *api.Wanted
			if st.Head.begun() {
				want = Wanted(st, key.node.view(key.i, st), noon)
			}
			if g := &m.states[m.glimpse(number)]; g.Head.begun() && g.Head.ID != "" {
				got = Wanted(g, key.node.view(key.i, st), noon)
			}
			if (got == nil) != (want == nil) || got != nil && *got != *want {
				return fmt.Sprintf("of %s is wanted %v, and by a glimpse of its rollout %v", name(key.i), want, got)
			}
		}
	}
	return ""
}

// later is a world after a tick: all times are further back, as the clock stands.
func (m *model) later(w mWorld) mWorld {
	w.main, w.undo = m.age(w.main), m.age(w.undo)
	w.soaked = notNow(w.soaked)
	for i := range w.engines {
		e := &w.engines[i]
		e.halted = notNow(e.halted)
		e.write = m.ageWrite(e.write)
	}
	return w
}

// notNow is that of something which happened within this tick.
func notNow(since uint8) uint8 {
	if since == 0 {
		return 0
	}
	return 2
}

func (m *model) age(number int32) int32 {
	if number == 0 {
		return 0
	}
	known, ok := m.aged[number]
	if !ok {
		st := m.states[number]
		st.Head, st.Results = aged(st.Head), aged(st.Results)
		known = m.keep(st)
		m.aged[number] = known
	}
	return known
}

func (m *model) ageWrite(number int32) int32 {
	if number == 0 {
		return 0
	}
	known, ok := m.agedWrites[number]
	if !ok {
		w := m.writes[number]
		c := Change{Head: aged(w.change.Head), Results: aged(w.change.Results), Events: w.change.Events}
		for _, made := range w.change.Creates {
			made.Head = aged(made.Head)
			c.Creates = append(c.Creates, made)
		}
		known = m.pend(&State{}, mWrite{w.undo, c})
		m.agedWrites[number] = known
	}
	return known
}

// Whole minutes; what a node gives as the time of its failure only tells one
// failure from another.
var minutes = regexp.MustCompile(`2026-\d\d-\d\dT\d\d:\d\d:00Z`)

// aged is a value a tick later, with the times in its texts.
func aged[T any](v T) (out T) {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	b = minutes.ReplaceAllFunc(b, func(text []byte) []byte {
		at, err := time.Parse(time.RFC3339, string(text))
		if err != nil {
			panic(err)
		}
		if at = at.Add(-mTick); at.Before(noon.Add(-mOldest)) {
			at = noon.Add(-mOldest)
		}
		return []byte(stamp(at))
	})
	if err := json.Unmarshal(b, &out); err != nil {
		panic(err)
	}
	return out
}
