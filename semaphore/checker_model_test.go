package semaphore_test

import (
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// The model: two coordinators whose views of the store may be stale, two
// hosts, and the requests, transactions and answers between them. What is
// decided comes from semaphore.Decide; what this file adds is everything that
// can happen around it: a transaction may lose its comparison, be given up and
// commit afterwards; an answer may get lost; a client may leave and ask
// elsewhere; a grant may expire; an operator may freeze, revoke and free.

// rule names a rule of the surroundings that the checker can break.
type rule int

const (
	allKept           rule = iota
	confirmFromMemory      // 1: a confirm is answered from a stale view
	answersLate            // 1: a 200 is sent any time after its commit
	releaseUnbound         // 2: a release takes whatever hold it finds
	acquireKeepsFence      // 2: a FleetLock holder that asks again keeps its fence
	givesBackRenewed       // 3: a hold only re-fenced is given back as well
	ignoresInstance        // 5: another instance counts as the holder
	ignoresVia             // 5: another door counts as the holder
	noHeadCompare          // 10: a transaction does not compare the head
	freezeNotCompared      // 10: a grant does not compare the freeze
)

// clientKind is how a host uses the semaphore.
type clientKind int

const (
	agentClient clientKind = iota
	fleetLockClient
)

// scenario is what a run of the checker begins with.
type scenario struct {
	name  string
	hosts [2]clientKind
	same  bool // both hosts have one id
	asks  uint8
	rule  rule
	// How often each may happen.
	expiries, freezes, freed uint8
	// How many requests and given up transactions may be under way at once.
	requests, late int
}

// small scenarios can be explored whole, in seconds.
func (s scenario) small() bool { return s.requests <= 2 }

func (s scenario) node(host uint8) string {
	if s.same {
		return "x"
	}
	return string(rune('x' + host))
}

func (s scenario) instance(host uint8) string {
	if s.hosts[host] == fleetLockClient {
		return ""
	}
	return fmt.Sprintf("i%d", host)
}

func (s scenario) via(host uint8) semaphore.Via {
	if s.hosts[host] == fleetLockClient {
		return semaphore.ViaFleetLock
	}
	return semaphore.ViaAgent
}

// Phases of a host. A host is out of service in phase out only: from the answer
// that lets it go until it sends its release.
const (
	idle uint8 = iota
	asking
	holding // an agent that knows its fence
	confirming
	out
	returning
)

type host struct {
	phase uint8
	fence uint8 // known to an agent
	asked uint8 // requests made so far: names the next one
}

// Kinds of a request, and its stages at the coordinator.
const (
	none uint8 = iota
	acquireReq
	confirmReq
	releaseReq
	expireReq
	freeReq // by name, the second step
)

const (
	toDecide uint8 = iota
	inFlight       // a transaction is under way
	parked         // refused for now, in the queue
	decided        // an answer is ready
)

// Clients of a request.
const (
	gone     uint8 = iota
	waiting        // the host acts on the answer
	bystands       // present, and nobody acts on the answer
)

// Answers.
const (
	refused uint8 = iota
	granted       // or renewed, confirmed, released
	created       // this very request made the hold
)

var (
	reqNames    = []string{"", "acquire", "confirm", "release", "expire", "freeing"}
	answerNames = []string{"refused", "ok", "ok, created"}
)

type request struct {
	kind, host, at uint8
	client         uint8
	bound          uint8 // fence found on arrival
	id             uint8
	stage          uint8
	answer, fence  uint8
	decision       int32
}

// world is everything at one moment. It is compared as a whole.
type world struct {
	store    int32    // the committed state
	view     [2]int32 // what each coordinator believes
	hosts    [2]host
	requests [5]request // sorted, so that their order does not matter
	late     [1]int32   // transactions given up, that may still commit; 0 none
	expiries uint8      // left to use
	freezes  uint8
	freed    uint8
}

// model runs a scenario and remembers what the real rules answered.
type model struct {
	scenario
	states    []semaphore.State
	stateIDs  map[string]int32
	decisions []decisionOn
	decided   map[decideKey]int32
	applied   map[[2]int32]int32
	seed      maphash.Seed
	tracing   bool
}

// decisionOn is a decision and the state that it rests on.
type decisionOn struct {
	semaphore.Decision
	base int32
}

type decideKey struct {
	state                 int32
	kind, host, bound, id uint8
	here                  [2]uint8
}

var modelTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newModel(s scenario) (*model, world) {
	m := &model{
		scenario: s, stateIDs: map[string]int32{}, decided: map[decideKey]int32{},
		applied: map[[2]int32]int32{}, seed: maphash.MakeSeed(),
		decisions: make([]decisionOn, 1), // 0 is none
	}
	start := semaphore.State{
		Group: "g", Revision: 1, HeadRev: 1, SpecRev: 1,
		Head: semaphore.Head{V: 1, Next: 1}, Spec: semaphore.Spec{V: 1, Slots: semaphore.Slots{N: 1}},
		Holds: map[string]semaphore.Hold{}, Members: map[string]semaphore.Member{},
	}
	for h := range uint8(2) {
		start.Members[s.node(h)] = semaphore.Member{V: 1, Node: s.node(h)}
	}
	id := m.intern(start)
	return m, world{store: id, view: [2]int32{id, id}, expiries: s.expiries, freezes: s.freezes, freed: s.freed}
}

func (m *model) state(id int32) *semaphore.State { return &m.states[id] }

// apply is the state after a commit. Only the head counts on, so that states
// that differ in nothing but the store's revision are one.
func (m *model) apply(s *semaphore.State, d semaphore.Decision) int32 {
	next := s.Apply(d)
	next.HeadRev = s.HeadRev + 1
	next.Revision = next.HeadRev
	return m.intern(next)
}

// intern gives equal states one number.
func (m *model) intern(s semaphore.State) int32 {
	s.Head.EventSeq = 0 // of the audit trail only
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d %d %t", s.HeadRev, s.FreezeRev, s.Head.Next, s.Freeze != nil)
	for h := range uint8(2) {
		if hold, ok := s.Holds[m.node(h)]; ok {
			fmt.Fprintf(&b, "|%s %s %s %s %s %s %d", hold.Node, hold.State, hold.Via, hold.Instance, hold.Request, hold.Renewed, hold.Fence)
		}
		fmt.Fprintf(&b, "|%d", s.Members[m.node(h)].Unconfirmed)
	}
	for _, w := range s.Queue {
		fmt.Fprintf(&b, "|%s %d %s %s", w.Node, w.CreateRevision, w.Via, w.Instance)
	}
	key := b.String()
	id, ok := m.stateIDs[key]
	if !ok {
		id = int32(len(m.states))
		m.states = append(m.states, s)
		m.stateIDs[key] = id
	}
	return id
}

// op is the request as the rules know it; a broken rule bends it here.
func (m *model) op(r request, view *semaphore.State) semaphore.Op {
	node, instance, via := m.node(r.host), m.instance(r.host), m.via(r.host)
	hold, holds := view.Holds[node]
	if holds && m.rule == ignoresInstance && hold.Via == via || holds && m.rule == ignoresVia {
		instance, via = hold.Instance, hold.Via
	}
	switch r.kind {
	case acquireReq:
		op := semaphore.Acquire{Node: node, Instance: instance, Via: via, Overtake: true, Request: fmt.Sprintf("r%d.%d", r.host, r.id)}
		if via == semaphore.ViaFleetLock {
			op.Bound = int64(r.bound)
		}
		return op
	case confirmReq:
		return semaphore.Confirm{Node: node, Instance: instance, Fence: int64(r.bound)}
	case expireReq:
		return semaphore.Expire{Node: node, Fence: int64(r.bound)}
	case freeReq:
		return semaphore.ForceRelease{Node: node, Name: node, Fence: int64(r.bound), By: "operator", HostIsDown: true}
	default:
		op := semaphore.Release{Node: node, Instance: instance, Via: via, Fence: int64(r.bound)}
		if holds && m.rule == releaseUnbound {
			op.Fence = hold.Fence
		}
		return op
	}
}

// here says which waiters are at the coordinator: their request's id from 1 on,
// or elsewhere.
func (w *world) here(at uint8) (here [2]uint8) {
	const elsewhere = 255
	for _, r := range w.requests {
		if r.kind != acquireReq || r.client == gone || r.stage != parked {
			continue
		}
		if r.at == at {
			here[r.host] = r.id + 1
		} else if here[r.host] == 0 {
			here[r.host] = elsewhere
		}
	}
	return here
}

// decide asks the real rules, once for each different question.
func (m *model) decide(w *world, r request) int32 {
	key := decideKey{state: w.view[r.at], kind: r.kind, host: r.host, bound: r.bound, id: r.id, here: w.here(r.at)}
	if id, ok := m.decided[key]; ok {
		return id
	}
	view := m.states[key.state]
	view.Queue = slices.Clone(view.Queue)
	for i := range view.Queue {
		waiter := &view.Queue[i]
		for h, id := range key.here {
			if m.node(uint8(h)) == waiter.Node && m.via(uint8(h)) == waiter.Via && m.instance(uint8(h)) == waiter.Instance && id != 0 {
				waiter.Present, waiter.Elsewhere = id != 255, id == 255
				waiter.Request = fmt.Sprintf("r%d.%d", h, id-1)
			}
		}
	}
	at := modelTime
	if r.kind == freeReq {
		at = at.Add(semaphore.FreeRevoked)
	}
	d := semaphore.Decide(&view, m.op(r, &view), at)
	hold := view.Holds[m.node(r.host)]
	if m.rule == acquireKeepsFence && r.kind == acquireReq && d.Answer.Kind == semaphore.OK && hold.Via == semaphore.ViaFleetLock {
		d = semaphore.Decision{Answer: semaphore.Answer{Hold: &hold}}
	}
	id := int32(len(m.decisions))
	m.decisions = append(m.decisions, decisionOn{d, key.state})
	m.decided[key] = id
	return id
}

// commit is the store: it compares, and applies. violation says what must not
// have been committed.
func (m *model) commit(store, decision int32) (next int32, ok bool, violation string) {
	d, now := &m.decisions[decision], m.state(store)
	base := m.state(d.base)
	switch {
	case base.HeadRev != now.HeadRev && m.rule != noHeadCompare:
		return store, false, ""
	case d.GuardFreeze && base.FreezeRev != now.FreezeRev && m.rule != freezeNotCompared:
		return store, false, ""
	}
	for _, c := range d.Changes {
		if c.DeleteWaiter != "" && !slices.ContainsFunc(now.Queue, func(w semaphore.Waiter) bool {
			return w.Node == c.DeleteWaiter && w.CreateRevision == c.Ticket
		}) {
			return store, false, ""
		}
	}
	key := [2]int32{store, decision}
	if next, ok = m.applied[key]; !ok {
		next = m.apply(now, d.Decision)
		m.applied[key] = next
	}
	for _, e := range d.Events {
		if (e.Kind == "hold.granted" || e.Kind == "hold.confirmed") && now.Frozen() != nil {
			violation = "a grant or a first confirm was committed although frozen"
		}
		if after := m.state(next); e.Kind == "hold.granted" && len(after.Holds) > after.SlotCount() {
			violation = fmt.Sprintf("a grant was committed with %d holds for %d slots", len(after.Holds), after.SlotCount())
		}
	}
	return next, true, violation
}

func (m *model) outOfService(w *world) int {
	n := 0
	for _, h := range w.hosts {
		if h.phase == out {
			n++
		}
	}
	return n
}
