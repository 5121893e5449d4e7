package rollout

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// mConfig is a small world, and which rule is broken in it.
type mConfig struct {
	slots, budget    int
	flat             bool // one wave without a soak or gate
	small            bool // two nodes, nobody dies, and no time passes that nobody waits for
	fails            int  // so many updates may fail
	elections        int  // so often another engine is elected
	resumes, retries int  // so often a person does
	rollback         string

	blindHead, blindTerm, blindBegin, lateSettle, hastyUndo, looseUndo, allWaves, freeGate, freeResume bool
}

const (
	mNodes = 3
	mMain  = "ro-1"
	mUndo  = "ro-1-undo-1"
)

// mPhase is where a node is.
type mPhase uint8

const (
	mIdle    mPhase = iota
	mWaiting        // in the queue
	mGranted        // has a slot that it has not confirmed
	mAllowed        // was told that its rollout runs; its confirm is on the way
	mWorking        // confirmed: the update is under way
	mBroken         // the update failed and is rolled back; its coordinator is to be told
)

type mNode struct {
	phase   mPhase
	undo    bool // what it works on is the rollback
	attempt uint8
	// ended is the attempt of each rollout that it has done, and applied how often
	// it did updates for each.
	ended, applied [2]uint8
	isNew          bool  // it has the new bundle
	failed         uint8 // attempt of the main rollout at which it failed last
	failures       uint8 // ground truth: how often it failed for the main rollout
	everNew        bool
}

// mWorld is one state of everything. The stored rollouts are kept once each by
// the model, which gives them numbers.
type mWorld struct {
	main, undo         int32 // as stored; undo is 0 until there is one
	seenMain, seenUndo int32 // as the coordinator that nodes ask has seen them
	engines            [2]mEngine
	elected            uint8
	nodes              [mNodes]mNode
	ticks              uint8 // of 10 minutes
	soaked             uint8 // tick at which the first wave had its last result, plus 1
	approved           bool
	acknowledged       bool // a person went on after a failure
	fails, elections   uint8
	resumes, retries   uint8
	deaths             uint8
	undone             uint8 // rollbacks that were made
}

// mEngine is what an engine has decided and not yet written.
type mEngine struct {
	halted uint8 // tick at which it saw that nodes are to be brought back, plus 1
	write  int32 // 0: nothing
	base   int32 // the rollout that it was decided on
}

type mStep struct {
	what      string
	world     mWorld
	violation string
}

// mWrite is a write that is on the way.
type mWrite struct {
	undo   bool // of the rollback, not of the main one
	change Change
}

type model struct {
	cfg    mConfig
	states []State
	byText map[string]int32
	writes []mWrite
	byKey  map[string]int32
	// What follows from what, so that it is decided once: the write by all that is
	// seen, what a write makes of a rollout, and what is wanted of a node.
	looks map[mLook]int32
	after map[[2]int32]int32
	wants map[mWant]*api.Wanted
}

type mWant struct {
	state int32
	i     int
	node  mNode
}

type mLook struct {
	what  string // engine, an action, or the node that tells of a failure
	state int32
	nodes [mNodes]mNode
	ticks uint8
	undo  bool // it has seen for long enough that nodes are to be brought back
}

func newModel(c mConfig) *model {
	return &model{
		cfg: c, states: []State{{}}, byText: map[string]int32{}, writes: []mWrite{{}}, byKey: map[string]int32{},
		looks: map[mLook]int32{}, after: map[[2]int32]int32{}, wants: map[mWant]*api.Wanted{},
	}
}

func (m *model) start() mWorld {
	st := inWaves([]api.WaveSpec{
		{Name: "canary", Count: 1, Soak: "10m", Gates: []api.GateSpec{{Name: "ok", Approval: &api.ApprovalGate{}}}},
		{Name: "rest"},
	}, 1, 2)
	if m.cfg.flat {
		st = rolloutOf(mNodes, 0)
		if m.cfg.small {
			st.Nodes = st.Nodes[:2]
		}
	}
	st.Head.Spec.MaxFailures = api.Slots(fmt.Sprint(m.cfg.budget))
	st.Head.Spec.AutoRollback = m.cfg.rollback
	for i := range st.Nodes {
		st.Nodes[i].Before = other
	}
	main := m.keep(st)
	return mWorld{
		main: main, seenMain: main, deaths: 1 - uint8(btoi(m.cfg.small)), fails: uint8(m.cfg.fails), elections: uint8(m.cfg.elections),
		resumes: uint8(m.cfg.resumes), retries: uint8(m.cfg.retries),
	}
}

// keep gives a stored rollout its number.
func (m *model) keep(st State) int32 {
	st.Observed = Observed{}
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

func (m *model) main(w mWorld) *State { return &m.states[w.main] }

func (w *mWorld) now() time.Time { return noon.Add(time.Duration(w.ticks) * 10 * time.Minute) }

// name of a node: n1 is in the first wave.
func name(i int) string { return fmt.Sprintf("n%d", i+1) }

// shown is what others see of a node.
func (n mNode) shown() mNode {
	n.applied, n.failures, n.everNew = [2]uint8{}, 0, false
	if n.ended != [2]uint8{} {
		n.ended = [2]uint8{1, 1}
	}
	if n.phase == mAllowed {
		n.phase = mGranted
	}
	return n
}

func (w *mWorld) shown() (out [mNodes]mNode) {
	for i, n := range w.nodes {
		out[i] = n.shown()
	}
	return out
}

// view is a node as a coordinator sees it.
func (n *mNode) view(i int, st *State) NodeView {
	v := NodeView{Node: name(i), Group: "web", Known: true, ChangedAt: noon}
	for _, s := range st.Nodes {
		if s.Node == v.Node {
			v.Wave = s.Wave
		}
	}
	p := &v.Report
	p.Healthy, p.Bundle = true, other
	if n.isNew {
		p.Bundle = bundle
	}
	if n.failed > 0 {
		p.Failure = &api.Failure{Bundle: bundle, Rollout: mMain, Reason: "unhealthy", Healthy: true, At: noon.Add(time.Duration(n.failed) * time.Second)}
	}
	if n.phase != mIdle || n.ended != [2]uint8{} {
		p.Rollout, p.Attempt = mMain, int(n.attempt)
		if n.undo {
			p.Rollout = mUndo
		}
	}
	p.Phase = map[mPhase]api.Phase{
		mIdle: api.PhaseIdle, mWaiting: api.PhaseWaiting, mGranted: api.PhaseHolding, mAllowed: api.PhaseHolding,
		mWorking: api.PhaseApplying, mBroken: api.PhaseReleasing,
	}[n.phase]
	v.Held = n.phase >= mGranted
	v.Unconfirmed = n.phase == mGranted || n.phase == mAllowed
	v.Fence = 1
	return v
}

func (m *model) fleet(w *mWorld, st *State) []NodeView {
	var views []NodeView
	for i := range w.nodes {
		if slices.ContainsFunc(st.Nodes, func(s Selected) bool { return s.Node == name(i) }) {
			views = append(views, w.nodes[i].view(i, st))
		}
	}
	return views
}

// look decides what an engine would write now of one rollout. mayUndo says that
// it has seen for long enough that nodes are to be brought back; must, that they
// are.
func (m *model) look(w *mWorld, undo, mayUndo bool) (write int32, must bool) {
	number := w.main
	if undo {
		number = w.undo
	}
	key := mLook{"engine", number, w.shown(), w.ticks, mayUndo}
	if known, ok := m.looks[key]; ok {
		return max(known, 0), known < 0
	}
	st := m.states[number]
	if m.cfg.freeGate && !undo {
		st.Head.Spec.Waves = slices.Clone(st.Head.Spec.Waves)
		st.Head.Spec.Waves[0].Gates = nil
	}
	d := Decide(st.Head.Spec, st, m.fleet(w, &st), w.now())
	if m.cfg.freeGate && !undo {
		d.Head.Spec = m.states[number].Head.Spec
	}
	out := int32(0)
	switch {
	case d.Changed:
		out = m.pend(mWrite{undo, Change{Head: d.Head, Results: d.Results, Events: d.Events}})
	case mustUndo(&st, &d) && !mayUndo && !m.cfg.hastyUndo:
		out = -1
	case mustUndo(&st, &d):
		c, err := undone(&st, &d, w.now(), func(string) (string, error) { return "old", nil })
		if err != nil {
			panic(err)
		}
		if m.cfg.looseUndo {
			c.Head = st.Head
			c.Events = nil
		}
		out = m.pend(mWrite{undo, c})
	}
	m.looks[key] = out
	return max(out, 0), out < 0
}

func (m *model) pend(write mWrite) int32 {
	b, err := json.Marshal(write.change)
	if err != nil {
		panic(err)
	}
	key := fmt.Sprint(write.undo, string(b))
	if n, ok := m.byKey[key]; ok {
		return n
	}
	n := int32(len(m.writes))
	m.writes, m.byKey[key] = append(m.writes, write), n
	return n
}

// commit applies a write of a rollout.
func (m *model) commit(w *mWorld, write int32) (violation string) {
	number, c, undo := &w.main, &m.writes[write].change, m.writes[write].undo
	if undo {
		number = &w.undo
	}
	base := *number
	st := m.states[base]
	if n := c.Head.EventSeq - st.Head.EventSeq; n != int64(len(c.Events)) {
		violation = fmt.Sprintf("%d events, and the sequence moves by %d: a change of somebody else is lost", len(c.Events), n)
	}
	for _, r := range c.Results {
		if old := st.Results[r.Node]; old.State == api.NodeUpdated && r.State != api.NodeUpdated {
			violation = r.Node + " was updated and is not any more"
		}
		i := int(r.Node[1] - '1')
		if r.State == api.NodeUpdated && !undo && !w.nodes[i].everNew {
			violation = r.Node + " is called updated and never was"
		}
	}
	*number = m.apply(base, write)
	for _, made := range c.Creates {
		w.undone++
		if w.undone > 1 || w.undo != 0 {
			violation = "a second rollback is made"
		}
		w.undo = m.keep(State{Head: made.Head, Nodes: made.Nodes, Results: map[string]Result{}})
	}
	truth := 0
	for _, n := range w.nodes {
		truth += int(n.failures)
	}
	if counted := int(m.states[w.main].Head.Failures); counted > truth {
		violation = fmt.Sprintf("%d failures are counted, and there were %d", counted, truth)
	}
	return violation
}

// apply is the rollout that a write makes of one.
func (m *model) apply(state, write int32) int32 {
	key := [2]int32{state, write}
	if known, ok := m.after[key]; ok {
		return known
	}
	st, c := m.states[state], &m.writes[write].change
	st.Head, st.Results = c.Head, maps.Clone(st.Results)
	for _, r := range c.Results {
		st.Results[r.Node] = r
	}
	m.after[key] = m.keep(st)
	return m.after[key]
}

// steps are all that may happen next.
func (m *model) steps(w mWorld) (out []mStep) {
	add := func(what string, next mWorld, violation string) {
		out = append(out, mStep{what, next, violation})
	}
	m.engineSteps(w, add)
	if w.seenMain != w.main || w.seenUndo != w.undo {
		next := w
		next.seenMain, next.seenUndo = w.main, w.undo
		add("the watch brings news to the coordinator", next, "")
	}
	for i := range w.nodes {
		m.nodeSteps(w, i, add)
	}
	m.personSteps(w, add)
	// Time passes in longer steps than a confirm takes.
	if (w.ticks < 2 && !m.cfg.small || m.timely(&w)) && !slices.ContainsFunc(w.nodes[:], func(n mNode) bool { return n.phase == mAllowed }) {
		next := w
		next.ticks++
		add("10 minutes pass", next, "")
	}
	return out
}

// timely reports whether something waits for time to pass.
func (m *model) timely(w *mWorld) bool {
	h := &m.states[w.main].Head
	return w.ticks < 8 && (h.State == api.RolloutSoaking && !h.Waves[0].FinishedAt.IsZero() && w.now().Before(h.Waves[0].FinishedAt.Add(10*time.Minute)) ||
		h.Undo != "" && w.engines[w.elected].halted == w.ticks+1)
}

// result notes when the first wave has come to its result.
func (m *model) result(w *mWorld, i int, n *mNode) {
	if i == 0 && !n.undo && m.states[w.main].Head.Wave == 0 {
		w.soaked = w.ticks + 1
	}
}

func (m *model) engineSteps(w mWorld, add func(string, mWorld, string)) {
	for i := range w.engines {
		e := &w.engines[i]
		if e.write == 0 && int(w.elected) == i {
			for _, undo := range []bool{false, true} {
				if undo && w.undo == 0 {
					continue
				}
				write, must := m.look(&w, undo, e.halted != 0 && e.halted <= w.ticks)
				if must && e.halted == 0 {
					next := w
					next.engines[i].halted = w.ticks + 1
					add(fmt.Sprintf("engine %d sees that nodes are to be brought back", i), next, "")
				}
				if write != 0 {
					next := w
					next.engines[i] = mEngine{e.halted, write, map[bool]int32{false: w.main, true: w.undo}[undo]}
					add(fmt.Sprintf("engine %d decides on %s", i, map[bool]string{false: "the rollout", true: "the rollback"}[undo]), next, "")
				}
			}
		}
		if e.write == 0 {
			continue
		}
		write := &m.writes[e.write]
		current := w.main
		if write.undo {
			current = w.undo
		}
		next := w
		next.engines[i] = mEngine{halted: e.halted}
		switch {
		case int(w.elected) != i && !m.cfg.blindTerm, e.base != current && !m.cfg.blindHead:
			add(fmt.Sprintf("the write of engine %d is refused", i), next, "")
		default:
			violation := m.commit(&next, e.write)
			if int(w.elected) != i {
				violation = "an engine writes that is not elected"
			}
			add(fmt.Sprintf("engine %d writes: %s", i, told(&write.change)), next, violation)
		}
		if int(w.elected) == i && w.deaths > 0 { // it dies before its write arrives
			next := w
			next.deaths--
			next.engines[i] = mEngine{}
			add(fmt.Sprintf("engine %d starts anew", i), next, "")
		}
	}
	if w.elections > 0 {
		next := w
		next.elections--
		next.elected = 1 - w.elected
		next.engines[next.elected] = mEngine{}
		add(fmt.Sprintf("engine %d is elected", next.elected), next, "")
	}
}

func told(c *Change) string {
	var out []string
	for _, r := range c.Results {
		out = append(out, r.Node+" "+r.State)
	}
	for _, e := range c.Events {
		out = append(out, e.Kind)
	}
	return strings.Join(append(out, string(c.Head.State)), ", ")
}

// wanted is what the coordinator that it asks wants of a node, by what it has
// seen: of the newest rollout that has begun.
func (m *model) wanted(w *mWorld, i int) *api.Wanted {
	for _, number := range []int32{w.seenUndo, w.seenMain} {
		st := &m.states[number]
		if number == 0 || !st.Head.State.Active() || !st.Head.begun() ||
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
			known = Wanted(st, v, w.now())
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
		if refused := h.mayBegin(w.now()); refused != nil && !m.cfg.blindBegin {
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
		key := mLook{name(i), next.main, w.shown(), w.ticks, false}
		write, ok := m.looks[key]
		if !ok {
			if d := decideFailure(st, name(i), v.Report, w.now()); d.Changed {
				write = m.pend(mWrite{false, Change{Head: d.Head, Results: d.Results, Events: d.Events}})
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
	case !m.cfg.flat && i > 0 && w.ticks < w.soaked:
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
		key := mLook{what: action, state: w.main, ticks: w.ticks}
		write, ok := m.looks[key]
		if !ok {
			if m.cfg.freeResume {
				st.Head.Rollbacks = nil
			}
			if d, refused := Apply(st, Ask{Action: action, By: "bob", Role: api.RoleAdmin}, w.now()); refused == nil && d.Changed {
				write = m.pend(mWrite{false, Change{Head: d.Head, Results: d.Results, Events: d.Events}})
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
