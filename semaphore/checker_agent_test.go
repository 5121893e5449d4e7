package semaphore_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	hostagent "github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// A host of the kind wholeAgent is run by the real hostagent.Next: one job, from the
// plan to the return of the slot, with its drain, its apply, a reboot, the
// verification and the way back. The model adds the machine below: files that
// are half replaced when the process is killed, what the machine runs, its
// boots, and a process that is killed between any two steps and starts again
// with nothing but its journal. What a journal, an act and an outcome say is
// numbered, so that a world stays small.

// What lies on a machine, and what it runs.
const (
	oldFiles uint8 = iota
	halfFiles
	newFiles
)

// What the process knows of its gate.
const (
	gateUnasked uint8 = iota
	gateFresh
	gateOld // open, and more than 10 s ago
	gateGone
)

// machine is a host of the kind wholeAgent.
type machine struct {
	journal, act, last int32 // numbers; act 0: to be decided, last 0: no outcome
	files, runs        uint8
	boots              uint8
	gate               uint8
	preReboot          bool // its hooks have run, in this process
	stopped            bool // the process was killed
	drained            bool
	going              bool // a reboot was accepted, and comes at any moment
	late               bool // none came for as long as one may take
	sick               bool // found so with what it runs
	// given: the operator has revoked the slot of a host that had failed. Its agent
	// gives it up and stays out, which is for the operator to know.
	given bool
}

// agents numbers what the agents of a model say.
type agents struct {
	journals []hostagent.State
	acts     []hostagent.Action
	outcomes []hostagent.Outcome
	known    map[string]int32
}

func newAgents() *agents {
	a := &agents{acts: make([]hostagent.Action, 1), outcomes: make([]hostagent.Outcome, 1), known: map[string]int32{}}
	a.journal(hostagent.State{Phase: api.PhaseIdle})
	return a
}

func numbered[T any](a *agents, list *[]T, v T) int32 {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	key := fmt.Sprintf("%T %s", v, text)
	n, ok := a.known[key]
	if !ok {
		n = int32(len(*list))
		*list = append(*list, v)
		a.known[key] = n
	}
	return n
}

func (a *agents) journal(s hostagent.State) int32   { return numbered(a, &a.journals, s) }
func (a *agents) act(v hostagent.Action) int32      { v.Why = ""; return numbered(a, &a.acts, v) }
func (a *agents) outcome(v hostagent.Outcome) int32 { return numbered(a, &a.outcomes, v) }

const (
	agentNow = time.Hour
	theNew   = "new" // the bundle's digest
)

// observed is what the agent sees of itself and of the world.
func (g *steps) observed(h uint8, s *hostagent.State) hostagent.Observation {
	m := &g.from.machines[h]
	o := hostagent.Observation{
		Now: agentNow, At: modelTime, BootID: fmt.Sprint("boot ", m.boots), NewID: "request", Known: true, Cluster: "c", Instance: g.instance(h),
		Wanted: &api.Wanted{Rollout: "r", Bundle: theNew, Attempt: 1}, PreReboot: m.preReboot, MaxAttempts: 1,
		Last: g.agents.outcomes[m.last],
	}
	switch m.gate {
	case gateFresh:
		o.Gate = hostagent.Gate{Fence: s.Fence, Answer: hostagent.GateOpen, Asked: agentNow}
	case gateOld:
		o.Gate = hostagent.Gate{Fence: s.Fence, Answer: hostagent.GateOpen, Asked: agentNow - hostagent.GateFor}
	case gateGone:
		o.Gate = hostagent.Gate{Fence: s.Fence, Answer: hostagent.GateGone, Asked: agentNow, Detail: "gone"}
	}
	if hold := g.hold(g.from.core, h); hold.fence != 0 && hold.host == h {
		o.Hold = &api.Hold{Via: "agent", Instance: g.instance(h), Fence: int64(hold.fence), State: string(hold.state)}
	}
	if m.late {
		o.Now += hostagent.RebootWithin
		o.Gate.Asked += hostagent.RebootWithin
	}
	g.bendSight(&o, s)
	return o
}

// machine: what the agent of a host can do next, and what can befall it.
func (g *steps) machine(h uint8) {
	m := &g.from.machines[h]
	if m.going {
		g.boots(h)
	} else if s := &g.agents.journals[m.journal]; s.AskedAt != 0 && !m.late && m.gate != gateFresh {
		next := *g.from
		next.machines[h].late = true
		g.toAgent(&next, h, "", func() string { return "10 minutes pass, and " + g.node(h) + " has not gone down" })
	}
	if m.stopped {
		next := *g.from
		me := &next.machines[h]
		me.stopped = false
		s := g.agents.journals[me.journal]
		s.Starts++
		g.bendStart(&s)
		me.journal = g.agents.journal(s)
		g.toAgent(&next, h, "", func() string { return "the agent of " + g.node(h) + " starts, in phase " + string(s.Phase) })
		return
	}
	if g.from.kills > 0 {
		next := *g.from
		next.kills--
		g.stop(&next, h)
		g.toAgent(&next, h, "", func() string { return "the agent of " + g.node(h) + " is killed" })
	}
	if m.gate == gateFresh && g.rule != agentKeepsGate {
		next := *g.from
		next.machines[h].gate = gateOld
		g.toAgent(&next, h, "", func() string { return "10 s pass since " + g.node(h) + " asked its gate" })
	}
	for i := range g.from.requests {
		if r := &g.from.requests[i]; r.kind != none && r.host == h && r.client == waiting {
			return // it waits for an answer
		}
	}
	if m.act == 0 {
		g.decideAgent(h)
	} else {
		g.carryOut(h)
	}
}

// stop ends the process: what it knew is gone, and its requests are cut off.
func (g *steps) stop(w *world, h uint8) {
	me := &w.machines[h]
	me.stopped, me.act, me.last, me.gate, me.preReboot = true, 0, 0, gateUnasked, false
	for i := range w.requests {
		if r := &w.requests[i]; r.kind != none && r.host == h && r.client == waiting {
			g.hangUp(w, i)
		}
	}
}

// decideAgent asks hostagent.Next and writes the journal.
func (g *steps) decideAgent(h uint8) {
	next := *g.from
	me := &next.machines[h]
	before := g.agents.journals[me.journal]
	s, act := hostagent.Next(before, g.observed(h, &before))
	g.bendDecision(&s, &act, &before)
	if s.Fence != before.Fence {
		me.gate = gateUnasked // the answer was about another hold
	}
	me.last = 0
	if act.Do != hostagent.DoRecord && act.Do != hostagent.DoWait {
		me.act = g.agents.act(act)
	}
	if g.rule != agentActsFirst || act.Do != hostagent.DoDrain {
		me.journal = g.agents.journal(s)
	}
	if *me == g.from.machines[h] {
		return // it waits for news
	}
	g.toAgent(&next, h, g.ended(me, &s), func() string {
		return fmt.Sprintf("the agent of %s writes %s, to %s: %s", g.node(h), s.Phase, act.Do, act.Why)
	})
}

// ended says what is wrong with a machine whose agent has no job.
func (g *steps) ended(m *machine, s *hostagent.State) string {
	switch {
	case s.Phase != api.PhaseIdle:
		return ""
	case m.drained:
		return "has ended its job and is still drained"
	case s.Failure != nil && strings.Contains(s.Failure.Detail, "; rolled back, and then: "):
		// It could not go back, was reported as failed, and was found healthy later
		// with whatever it runs.
	case m.files != m.runs:
		return "has ended its job and does not run what is in place"
	case (s.Applied == theNew) != (m.files == newFiles):
		return fmt.Sprintf("has ended its job with the bundle %q, and other files in place", s.Applied)
	}
	return ""
}

// carryOut does what was decided.
func (g *steps) carryOut(h uint8) {
	me := g.from.machines[h]
	act, s := g.agents.acts[me.act], g.agents.journals[me.journal]
	if act.Gated && me.gate != gateFresh && g.rule != agentSkipsGate && g.rule != agentIgnoresLoss {
		next := *g.from
		next.machines[h].act = 0
		g.toAgent(&next, h, "", func() string { return g.node(h) + " lets its gate be asked again" })
		return
	}
	done := hostagent.Outcome{Do: act.Do, Status: hostagent.Done, Fence: act.Fence}
	failed := hostagent.Outcome{Do: act.Do, Status: hostagent.Failed, Reason: "unhealthy", Detail: "unhealthy"}
	switch act.Do {
	case hostagent.DoAcquire:
		g.ask(h, request{kind: acquireReq, client: waiting})
	case hostagent.DoConfirm:
		g.ask(h, request{kind: confirmReq, client: waiting, bound: uint8(s.Fence)})
	case hostagent.DoRelease:
		was := g.from
		if s.Phase == api.PhaseFailed {
			from := *was
			from.machines[h].given = true
			g.service(&from, h)
			g.from = &from
		}
		g.ask(h, request{kind: releaseReq, client: waiting, bound: uint8(act.Fence)})
		g.from = was
	case hostagent.DoPlan:
		done.Job, done.Changed = act.Job, true
		g.after(h, done, func(*machine) {})
	case hostagent.DoDrain:
		g.after(h, done, func(m *machine) { m.drained = true })
	case hostagent.DoUndrain:
		g.after(h, done, func(m *machine) { m.drained = false })
	case hostagent.DoPreReboot:
		g.after(h, done, func(m *machine) { m.preReboot = true })
	case hostagent.DoApply:
		done.Interrupt = bundle.InterruptReboot
		g.replace(h, newFiles, done)
		if me.files == halfFiles {
			failed.Reason = "apply"
			g.after(h, failed, func(*machine) {})
		}
	case hostagent.DoRollBack:
		g.replace(h, oldFiles, done)
	case hostagent.DoReboot:
		g.after(h, done, func(m *machine) { m.going = true })
	case hostagent.DoVerify, hostagent.DoRecheck:
		bad := g.bad && me.runs == newFiles
		if !bad {
			g.after(h, done, func(m *machine) { m.sick = false })
		}
		if bad || me.runs != oldFiles || g.sickly {
			g.after(h, failed, func(m *machine) { m.sick = true })
		}
	default:
		panic("the model has no act " + act.Do)
	}
}

// after is an act that ended, with what it did to the machine.
func (g *steps) after(h uint8, out hostagent.Outcome, change func(m *machine)) {
	next := *g.from
	me := &next.machines[h]
	change(me)
	me.act, me.last = 0, g.agents.outcome(out)
	g.toAgent(&next, h, "", func() string { return fmt.Sprintf("%s: %s is %s", g.node(h), out.Do, out.Status) })
}

// replace puts files in place in two steps: in between, some are the old and some the new.
func (g *steps) replace(h, files uint8, done hostagent.Outcome) {
	if now := g.from.machines[h].files; now == files || now == halfFiles {
		violation := ""
		if files == newFiles && g.from.machines[h].runs == newFiles {
			violation = "puts the bundle in place again, which it runs already"
		}
		next := *g.from
		me := &next.machines[h]
		me.files, me.act, me.last = files, 0, g.agents.outcome(done)
		g.toAgent(&next, h, violation, func() string { return fmt.Sprintf("%s: %s is done", g.node(h), done.Do) })
		return
	}
	next := *g.from
	next.machines[h].files = halfFiles
	g.toAgent(&next, h, "", func() string { return g.node(h) + ": half of the files are replaced" })
}

// boots is the reboot that was accepted: the machine runs what is in place then.
func (g *steps) boots(h uint8) {
	next := *g.from
	me := &next.machines[h]
	violation := ""
	if me.runs == me.files {
		violation = "reboots although it runs what is in place"
	}
	g.stop(&next, h)
	me.going, me.late, me.boots, me.runs, me.sick = false, false, me.boots+1, me.files, false
	g.toAgent(&next, h, violation, func() string { return g.node(h) + " reboots" })
}

// ask sends a request of the agent at either coordinator.
func (g *steps) ask(h uint8, r request) {
	me := &g.from.hosts[h]
	if r.kind == acquireReq && me.asked >= g.asks {
		return
	}
	was := g.from
	from := *was
	from.machines[h].act = 0
	g.from = &from
	g.send(h, r, me.phase)
	g.from = was
}

// tell is the answer that an agent gets.
func (g *steps) tell(w *world, r *request) {
	me := &w.machines[r.host]
	ok := r.answer != refused
	switch {
	case r.kind == acquireReq && ok:
		me.last = g.agents.outcome(hostagent.Outcome{Do: hostagent.DoAcquire, Status: hostagent.Done, Fence: int64(r.fence)})
	case r.kind == releaseReq && ok:
		me.last = g.agents.outcome(hostagent.Outcome{Do: hostagent.DoRelease, Status: hostagent.Done, Fence: int64(r.bound)})
	case r.kind == confirmReq && ok:
		me.gate = gateFresh
	case r.kind == confirmReq:
		me.gate = gateGone
	}
	g.service(w, r.host)
}

// toAgent adds a step of a machine.
func (g *steps) toAgent(w *world, h uint8, violation string, what func() string) {
	if violation != "" {
		violation = g.node(h) + " " + violation
	}
	g.service(w, h)
	g.to(w, violation, what)
}

// service keeps what the checker judges by: whether the host is out of service,
// and with which fence. Drained, down, sick or running half a bundle is out.
func (g *steps) service(w *world, h uint8) {
	m, me := &w.machines[h], &w.hosts[h]
	me.fence = uint8(g.agents.journals[m.journal].Fence)
	me.phase = idle
	if m.given {
		return
	}
	if m.drained || m.going || m.sick || g.bad && m.runs == newFiles || m.runs == halfFiles {
		me.phase = out
	}
}

// agentScenarios run whole agents through everything that can befall them.
func agentScenarios() []scenario {
	return []scenario{
		{name: "a whole agent, killed twice", hosts: oneWholeAgent, asks: 2, requests: 2, kills: 2},
		{name: "a whole agent, killed, its slot revoked and freed", hosts: oneWholeAgent, asks: 2, requests: 2, kills: 1, freed: 1},
		{name: "a whole agent with a bad bundle, sickly, killed", hosts: oneWholeAgent, bad: true, sickly: true, asks: 2, requests: 2, kills: 1, freed: 1},
		{name: "a whole agent, killed, its grant expires", hosts: oneWholeAgent, asks: 2, requests: 2, kills: 1, expiries: 1, ticks: 1},
		{name: "a whole agent, killed, answers lost, a coordinator dies", hosts: oneWholeAgent, asks: 2, requests: 2, kills: 1, cuts: 1, crashes: 1},
		{name: "a whole agent, killed, unknown outcomes", hosts: oneWholeAgent, asks: 2, requests: 2, kills: 1, lost: 1},
		{name: "a whole agent, killed, the group frozen and lifted", hosts: oneWholeAgent, edits: []edit{freezeGroup, liftGroup}, asks: 2, requests: 2, kills: 1},
		{name: "a whole agent beside another, killed, freed", hosts: wholeAndAnAgent, asks: 2, requests: 2, kills: 1, freed: 1},
		{name: "two whole agents, killed", hosts: []clientKind{wholeAgent, wholeAgent}, asks: 1, requests: 2, kills: 1},
		{name: "two whole agents, killed, freed, a coordinator dies", hosts: []clientKind{wholeAgent, wholeAgent}, asks: 2, requests: 3, kills: 1, freed: 1, crashes: 1},
	}
}

// With all rules kept by agent and semaphore, no host is out of service without
// a hold of its own, or left half-way, whatever happens in between.
func TestChecker_NoViolationByWholeAgents(t *testing.T) {
	end := time.Now().Add(budget(t, 0.5))
	all := agentScenarios()
	for i, s := range all {
		r := check(s, time.Until(end)/time.Duration(len(all)-i))
		t.Logf("%s: %d states, depth %d, complete %t", s.name, r.states, r.depth, r.complete)
		if r.violation != "" {
			t.Errorf("%s: %s:\n%s", s.name, r.violation, strings.Join(r.trace, "\n"))
		}
	}
}
