package rollout

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// mConfig is a small world, and which rule is broken in it.
type mConfig struct {
	slots, budget    int
	flat             bool // one wave without a soak or gate
	small            bool // two nodes
	atWork           int  // so many nodes are updated when it begins
	late             bool // writes that will be refused are kept until they are
	fails            int  // so many updates may fail
	resumes, retries int  // so often a person does
	rollback         string

	blindHead, blindTerm, blindBegin, lateSettle, hastyUndo, looseUndo, allWaves, freeGate, freeResume, oldHalt bool
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
// the model, which gives them numbers. How often engines die, others are elected
// and time passes has no bound: what follows is a world that was there already.
type mWorld struct {
	main, undo         int32 // as stored; undo is 0 until there is one
	seenMain, seenUndo int32 // what the coordinator that nodes ask has seen of them
	engines            [2]mEngine
	nodes              [mNodes]mNode
	soaked             uint8 // the first wave had its last result: 1 within this tick, 2 before
	approved           bool
	acknowledged       bool // a person went on after a failure
	fails              uint8
	resumes, retries   uint8
	undone             uint8 // rollbacks that were made
}

// mEngine is what an engine has decided and not yet written. The first one is
// elected; the second was before, and only its write is left of it.
type mEngine struct {
	halted  uint8 // it saw that nodes are to be brought back: 1 within this tick, 2 before
	after   uint8 // so many failures
	write   int32 // 0: nothing
	refused bool  // the rollout has changed since
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
	// What is left of a rollout for those who only ask what is wanted, and what
	// becomes of a rollout and of a write when time passes; see checker_same_test.go.
	glimpses, aged, agedWrites map[int32]int32
	renamings                  []*renaming
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
	undo  bool // it has seen for long enough that nodes are to be brought back
}

func newModel(c mConfig) *model {
	return &model{
		cfg: c, states: []State{{}}, byText: map[string]int32{}, writes: []mWrite{{}}, byKey: map[string]int32{},
		looks: map[mLook]int32{}, after: map[[2]int32]int32{}, wants: map[mWant]*api.Wanted{},
		glimpses: map[int32]int32{}, aged: map[int32]int32{}, agedWrites: map[int32]int32{}, renamings: renamings(&c),
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
	w := mWorld{
		main: main, seenMain: m.glimpse(main), fails: uint8(m.cfg.fails), resumes: uint8(m.cfg.resumes), retries: uint8(m.cfg.retries),
	}
	for i := range m.cfg.atWork {
		w.nodes[i] = mNode{phase: mWorking, attempt: 1, applied: [2]uint8{1, 0}}
	}
	return m.first(w)
}

func (m *model) main(w mWorld) *State { return &m.states[w.main] }

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
	key := mLook{"engine", number, w.shown(), mayUndo}
	if known, ok := m.looks[key]; ok {
		return max(known, 0), known < 0
	}
	st := m.states[number]
	if m.cfg.freeGate && !undo {
		st.Head.Spec.Waves = slices.Clone(st.Head.Spec.Waves)
		st.Head.Spec.Waves[0].Gates = nil
	}
	fleet := m.fleet(w, &st)
	d := Decide(st.Head.Spec, st, fleet, noon)
	if m.cfg.freeGate && !undo {
		d.Head.Spec = m.states[number].Head.Spec
	}
	out := int32(0)
	switch {
	case d.Changed:
		out = m.pend(&st, mWrite{undo, Change{Head: d.Head, Results: d.Results, Events: d.Events}})
		m.same(&st, &d, fleet)
		if !m.cfg.freeGate {
			m.unnamed(&st, out, undo, fleet)
		}
	case mustUndo(&st, &d) && !mayUndo && !m.cfg.hastyUndo:
		out = -1
	case mustUndo(&st, &d):
		c, err := undone(&st, &d, whole, noon, func(string) (string, error) { return "old", nil })
		if err != nil {
			panic(err)
		}
		if m.cfg.looseUndo {
			c.Head = st.Head
			c.Events = nil
		}
		out = m.pend(&st, mWrite{undo, c})
	}
	m.looks[key] = out
	return max(out, 0), out < 0
}

// pend gives a write on a rollout its number.
func (m *model) pend(st *State, write mWrite) int32 {
	c := &write.change
	if n := c.Head.EventSeq - st.Head.EventSeq; n != int64(len(c.Events)) && st.Head.ID != "" {
		panic(fmt.Sprintf("%d events, and the sequence moves by %d", len(c.Events), n))
	}
	plain(&c.Head)
	c.Results = slices.Clone(c.Results)
	for i := range c.Results {
		c.Results[i] = plainResult(c.Results[i])
	}
	slices.SortFunc(c.Results, func(a, b Result) int { return strings.Compare(a.Node, b.Node) })
	c.Events = slices.Clone(c.Events)
	for i, e := range c.Events {
		c.Events[i] = semaphore.Event{Kind: e.Kind, Node: e.Node}
	}
	slices.SortFunc(c.Events, func(a, b semaphore.Event) int { return strings.Compare(a.Node, b.Node) })
	c.Creates = slices.Clone(c.Creates)
	for i := range c.Creates {
		made := &c.Creates[i]
		plain(&made.Head)
		made.Nodes, made.Event = sorted(made.Nodes), semaphore.Event{}
	}
	b, err := json.Marshal(c)
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
	for i := range w.engines {
		e := &w.engines[i]
		e.refused = e.refused || e.write != 0 && m.writes[e.write].undo == undo
		if e.refused && !m.cfg.keeps() {
			e.write, e.refused = 0, false
		}
	}
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
		if next != w || violation != "" {
			out = append(out, mStep{what, m.first(next), violation})
		}
	}
	m.engineSteps(w, add)
	next := w
	next.seenMain, next.seenUndo = m.glimpse(w.main), m.glimpse(w.undo)
	add("the watch brings news to the coordinator", next, "")
	for i := range w.nodes {
		m.nodeSteps(w, i, add)
	}
	m.personSteps(w, add)
	// Time passes in longer steps than a confirm takes.
	if !slices.ContainsFunc(w.nodes[:], func(n mNode) bool { return n.phase == mAllowed }) {
		add("10 minutes pass", m.later(w), "")
	}
	return out
}

// result notes when the first wave has come to its result.
func (m *model) result(w *mWorld, i int, n *mNode) {
	if i == 0 && !m.cfg.flat && !n.undo && m.states[w.main].Head.Wave == 0 {
		w.soaked = 1
	}
}

func (m *model) engineSteps(w mWorld, add func(string, mWorld, string)) {
	e := w.engines[0]
	for _, undo := range []bool{false, true} {
		if e.write != 0 || undo && w.undo == 0 {
			continue
		}
		failures := uint8(m.states[w.main].Head.Failures)
		noted := e.halted != 0 && (e.after == failures || m.cfg.oldHalt)
		write, must := m.look(&w, undo, noted && e.halted == 2)
		next := w
		switch {
		case must && !noted:
			next.engines[0].halted, next.engines[0].after = 1, failures
			add("the engine sees that nodes are to be brought back", next, "")
		case write == 0 && !must && !undo:
			next.engines[0].halted, next.engines[0].after = 0, 0
			add("the engine sees that no node is to be brought back", next, "")
		case write != 0:
			next.engines[0].write = write
			if !undo && len(m.writes[write].change.Creates) == 0 {
				next.engines[0].halted, next.engines[0].after = 0, 0
			}
			add("the engine decides on "+map[bool]string{false: "the rollout", true: "the rollback"}[undo], next, "")
		}
	}
	for i, e := range w.engines {
		if e.write == 0 {
			continue
		}
		next := w
		next.engines[i] = mEngine{halted: e.halted, after: e.after}
		switch {
		case i == 1 && !m.cfg.blindTerm, e.refused && !m.cfg.blindHead:
			add("a write is refused", next, "")
		default:
			violation := m.commit(&next, e.write)
			switch {
			case i == 1:
				violation = "an engine writes that is not elected"
			case e.refused:
				violation = "a change of somebody else is lost"
			}
			add("the engine writes: "+told(&m.writes[e.write].change), next, violation)
		}
	}
	// It dies, or pauses for so long that another one is elected.
	next := w
	next.engines[0] = mEngine{}
	if next.engines[1].write == 0 && m.cfg.keeps() {
		next.engines[1] = mEngine{write: e.write, refused: e.refused}
	}
	add("another engine is elected", next, "")
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
