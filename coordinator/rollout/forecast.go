package rollout

import (
	"maps"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// World is what Forecast starts from.
type World struct {
	Now time.Time
	// Groups are the semaphores; a kept state is played faster.
	Groups []semaphore.State
	// Nodes as they report now, those of the rollouts and all others that hold
	// or wait.
	Nodes []api.Node
	// Rollouts that are active.
	Rollouts []State
	// Course says how the next turn of a node goes.
	Course func(Step) Course
	// Overdue holds are not expected back, by group and node. nil: by their
	// deadline.
	Overdue func(group, node string, fence int64) bool
	// Out is told whenever the number of nodes of a group that are out of service
	// has changed, once for each moment; nil for nobody.
	Out func(at time.Time, group string, nodes int)
	// Undo brings nodes back as auto_rollback says when a rollout halts by itself.
	Undo bool
	// MaxEvents bounds the work; 0 is a million for each 10,000 nodes.
	MaxEvents int

	everyMoment bool // looks at every rollout whenever something happens, for tests
}

// Step is one turn of a node that is about to begin.
type Step struct {
	Node, Group string
	Rollout     int // index in World.Rollouts, beyond them one that brings nodes back; -1 for a node of none
	At          int // index of the node in its rollout, or among those of none
	Attempt     int
}

// Course is how a turn goes, from the confirm of its slot to the return.
type Course struct {
	Takes time.Duration
	// Fails: by then it is rolled back, healthy and in service, and has failed.
	Fails bool
	// Hangs: it never comes back and keeps its slot.
	Hangs bool
}

// Played is what a Forecast found.
type Played struct {
	Rollouts []PlayedRollout // as in World.Rollouts, and then those that brought nodes back
	Events   int             // that happened
	Looks    int             // decisions about whole rollouts
	End      time.Time       // of the last event
	// Cut: there was more than MaxEvents, and the end is not known.
	Cut bool
}

// PlayedRollout is how a rollout went.
type PlayedRollout struct {
	State State // at the end
	// Turns are those of its nodes, as in State.Nodes.
	Turns []Turn
	// Events are those of the rollout; of its nodes those that failed alone.
	Events []semaphore.Event
	// Ended is when it ended or was halted; zero when it does not.
	Ended time.Time
}

// Turn is the last turn of a node; times are zero where that does not come.
type Turn struct {
	Began, Ended time.Time
	State        string // as of api.RolloutNode
}

// Forecast plays rollouts through in virtual time, by the rules that coordinators
// go by: semaphore.Decide gives the slots, Decide and Wanted carry the rollouts
// on. Only hosts and time are made up. It changes nothing that it is given, and
// the same world comes to the same end.
//
// A node's result is recorded at the moment it has one, as Settle does for a
// failure; the rollout as a whole is decided when a failure, a clock or the last
// node under way may have changed it, at most once in 50 ms as the engine does.
// Decided at any other moment it would find nothing to do.
func Forecast(w World) Played {
	p := newPlayer(w)
	p.begin()
	most := w.MaxEvents
	if most == 0 {
		most = 1_000_000 * (1 + len(w.Nodes)/10_000)
	}
	for len(p.queue.list) > 0 && p.events < most && !p.done() {
		h := p.queue.pop()
		if h.at != p.at {
			p.tell()
			p.at = h.at
			p.now = p.start.Add(h.at)
		}
		p.events++
		p.happen(h)
		if w.everyMoment && h.kind != rolloutLook {
			for _, r := range p.rolls {
				p.lookAt(r, p.now)
			}
		}
	}
	p.tell()
	return p.played(p.events >= most)
}

// player is a world on its way into the future.
type player struct {
	w       World
	start   time.Time
	now     time.Time
	at      time.Duration // since start
	queue   happenings
	groups  []*playedGroup
	byName  map[string]*playedGroup
	hosts   []playedHost
	nodes   []api.Node
	byNode  map[string]int // in nodes
	numbers map[string]int // of hosts, by node
	rolls   []*playedRollout
	late    map[holdKey]bool // holds that are overdue
	ticket  int64
	events  int
	looks   int
	out     []*playedGroup // whose number out of service may have changed
}

func newPlayer(w World) *player {
	p := &player{
		w: w, start: w.Now, now: w.Now, byName: make(map[string]*playedGroup, len(w.Groups)),
		nodes: slices.Clone(w.Nodes), byNode: make(map[string]int, len(w.Nodes)), numbers: make(map[string]int, len(w.Nodes)),
		late: map[holdKey]bool{},
	}
	for i := range p.nodes {
		p.byNode[p.nodes[i].ID] = i
	}
	for i := range w.Groups {
		g := &playedGroup{number: int32(i), state: w.Groups[i], told: -1}
		g.state.Keep(w.Now)
		// A coordinator's host goes when it is its turn: leadership moves first.
		g.state.Coordinators = slices.Clone(g.state.Coordinators)
		for c := range g.state.Coordinators {
			g.state.Coordinators[c].Leads = false
		}
		p.groups = append(p.groups, g)
		p.byName[g.state.Group] = g
	}
	for i, st := range w.Rollouts {
		st.Results = maps.Clone(st.Results)
		if st.Results == nil {
			st.Results = map[string]Result{}
		}
		st.Nodes = slices.Clone(st.Nodes)
		// What is played approves gates: never those of the state that it was given.
		st.Head.Gates, st.Head.Waves = maps.Clone(st.Head.Gates), slices.Clone(st.Head.Waves)
		r := &playedRollout{number: i, st: st, hosts: make([]int32, len(st.Nodes)), turns: make([]Turn, len(st.Nodes))}
		p.rolls = append(p.rolls, r)
	}
	return p
}

func (p *player) happen(h happening) {
	switch h.kind {
	case hostOver:
		p.over(&p.hosts[h.of])
	case hostSettled:
		p.settled(&p.hosts[h.of])
	case hostTooLong:
		p.tooLong(&p.hosts[h.of])
	case hostOverdue:
		p.overdue(&p.hosts[h.of])
	case hostAsks:
		p.ask(&p.hosts[h.of])
	case hostGranted:
		p.granted(&p.hosts[h.of])
	case groupWakes:
		p.wake(p.groups[h.of])
	case rolloutLook:
		p.look(p.rolls[h.of])
	case rolloutUndo:
		p.undo(p.rolls[h.of])
	}
}

// in notes what happens in a while, or at once.
func (p *player) in(d time.Duration, kind int32, of int) {
	p.queue.push(p.at+max(0, d), kind, int32(of))
}

// until notes what happens at a moment, or at once if that is over.
func (p *player) until(t time.Time, kind int32, of int) { p.in(t.Sub(p.now), kind, of) }

// done reports whether nothing more will come of any rollout.
func (p *player) done() bool {
	for _, r := range p.rolls {
		if r.goesOn() || r.under > 0 || p.undoes(r) {
			return false
		}
	}
	return len(p.rolls) > 0
}

// tell tells what changed at this moment.
func (p *player) tell() {
	for _, g := range p.out {
		g.touched = false
		if p.w.Out == nil {
			continue
		}
		if n := g.state.OutOfService(); n != g.told {
			g.told = n
			p.w.Out(p.now, g.state.Group, n)
		}
	}
	p.out = p.out[:0]
}

func (p *player) played(cut bool) Played {
	out := Played{Events: p.events, Looks: p.looks, End: p.now, Cut: cut}
	for _, r := range p.rolls {
		out.Rollouts = append(out.Rollouts, r.played(p))
	}
	return out
}
