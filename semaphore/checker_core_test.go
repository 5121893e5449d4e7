package semaphore_test

import (
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// model runs a scenario and remembers what the real rules answered. States of
// the group without its queue ("cores") and attempts are numbered, so that a
// world is small.
type model struct {
	scenario
	class    [maxHosts]uint8 // hosts of one class are alike
	cores    []semaphore.State
	facts    []facts // of each core
	coreIDs  map[string]int32
	attempts []attempt
	sameTry  map[string]int32
	asked    map[question]int32
	applied  map[[2]int32]effect
	seed     maphash.Seed
	agents   *agents
	found    []step
	tracing  bool
}

// facts are what the steps ask most often of a core.
type facts struct {
	headRev, freezeRev, next int64
	frozen, exists           bool
	slots                    uint8
	holds                    [maxHosts]holdFacts // by node
	barred                   [maxHosts]uint8     // until this tick, by node
}

type holdFacts struct {
	fence   uint8 // 0: there is no hold
	host    uint8 // whose it is
	state   semaphore.HoldState
	renewed bool
	by      uint8 // the id of the request that made it
}

var modelTime = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) // a Thursday

// between two ticks lies more than the longest time of a window, an interval
// and a bar in the scenarios.
const betweenTicks = 2 * time.Hour

func newModel(s scenario) (*model, world) {
	m := &model{
		scenario: s, coreIDs: map[string]int32{}, sameTry: map[string]int32{}, asked: map[question]int32{},
		applied: map[[2]int32]effect{}, agents: newAgents(), seed: maphash.MakeSeed(),
		attempts: make([]attempt, 1), // 0 is none
	}
	m.batch = max(m.batch, 1)
	start := semaphore.State{
		Group: "g", Revision: 1, HeadRev: 1, SpecRev: 1, Head: semaphore.Head{V: 1, Next: 1}, Spec: s.spec,
		Holds: map[string]semaphore.Hold{}, Members: map[string]semaphore.Member{},
	}
	start.Spec.V = 1
	if start.Spec.Slots.N == 0 {
		start.Spec.Slots.N = 1
	}
	for h := range uint8(len(s.hosts)) {
		member := semaphore.Member{V: 1, Node: s.node(h), Registered: map[string]string{}}
		if s.zones != nil {
			member.Registered["zone"] = s.zones[h]
		}
		if s.racks != nil {
			member.Registered["rack"] = s.racks[h]
		}
		start.Members[member.Node] = member
	}
	m.classify()
	id := m.intern(start)
	w := world{
		core: id, expiries: s.expiries, freezes: s.freezes, freed: s.freed, lost: s.lost,
		crashes: s.crashes, leaves: s.leaves, ticks: s.ticks, cuts: s.cuts, kills: s.kills,
	}
	w.coords[0].core, w.coords[1].core = id, id
	return m, w
}

// classify finds hosts that nothing tells apart. They come in the order of
// their numbers: any other order is the same under other names.
func (m *model) classify() {
	special := map[int]bool{}
	for _, e := range m.edits {
		special[e.host] = true
	}
	for h := range m.hosts {
		m.class[h] = uint8(h)
		for o := range h {
			if m.hosts[o] == m.hosts[h] && (m.zones == nil || m.zones[o] == m.zones[h]) && (m.racks == nil || m.racks[o] == m.racks[h]) &&
				!special[h] && !special[o] {
				m.class[h] = m.class[o]
				break
			}
		}
	}
}

// mayBegin: a host asks for the first time after those before it that are like
// it.
func (m *model) mayBegin(w *world, h uint8) bool {
	if w.hosts[h].asked > 0 {
		return true
	}
	for o := range h {
		if m.class[o] == m.class[h] && w.hosts[o].asked == 0 {
			return false
		}
	}
	return true
}

func (m *model) state(id int32) *semaphore.State { return &m.cores[id] }

// intern gives equal cores one number. Only the head counts revisions, so that
// cores that differ in nothing but the store's revision are one.
func (m *model) intern(s semaphore.State) int32 {
	s.Queue, s.Revision, s.Head.EventSeq, s.Head.Grants = nil, s.HeadRev, 0, 0
	var b strings.Builder
	fmt.Fprintf(&b, "%d %d %t %t %t %v %d %d", s.HeadRev, s.FreezeRev, s.Freeze != nil, s.Head.Freeze != nil, s.Exists(), s.Spec.Slots, s.Head.Next, s.Head.LastGrant.Unix())
	for _, node := range slices.Sorted(maps.Keys(s.Members)) {
		if hold, ok := s.Holds[node]; ok {
			fmt.Fprintf(&b, "|%s %s %s %s %s %d %v", hold.State, hold.Via, hold.Instance, hold.Request, hold.Renewed, hold.Fence, hold.Labels)
		}
		member := s.Members[node]
		fmt.Fprintf(&b, "|%d %d %t %v", member.Unconfirmed, member.RetryAfter.Unix(), member.Down, member.Registered)
	}
	key := b.String()
	id, ok := m.coreIDs[key]
	if !ok {
		id = int32(len(m.cores))
		m.cores = append(m.cores, s)
		m.facts = append(m.facts, m.look(&s))
		m.coreIDs[key] = id
	}
	return id
}

func (m *model) look(s *semaphore.State) facts {
	f := facts{
		headRev: s.HeadRev, freezeRev: s.FreezeRev, next: s.Head.Next,
		frozen: s.Frozen() != nil, exists: s.Exists(), slots: uint8(s.SlotCount()),
	}
	for h := range uint8(len(m.hosts)) {
		node := m.nodeOf(h)
		for s.Members[m.node(h)].RetryAfter.After(m.time(f.barred[node])) {
			f.barred[node]++
		}
		if hold, ok := s.Holds[m.node(h)]; ok && hold.Via == m.via(h) && hold.Instance == m.instance(h) {
			f.holds[node] = holdFacts{fence: uint8(hold.Fence), host: h, state: hold.State, renewed: hold.Renewed != ""}
			for id := range m.asks {
				if hold.Request == requestName(h, id) {
					f.holds[node].by = id
				}
			}
		}
	}
	return f
}

func (m *model) hold(core int32, h uint8) holdFacts { return m.facts[core].holds[m.nodeOf(h)] }

// current: a read now would show what the coordinator believes.
func (m *model) current(w *world, at uint8) bool {
	view, now := &m.facts[w.coords[at].core], &m.facts[w.core]
	return view.headRev == now.headRev && view.freezeRev == now.freezeRev
}

// put makes a state the committed one, as a change outside any coordinator
// does: it compares and puts the head, if the rule is kept.
func (m *model) put(s semaphore.State, headRev int64) int32 {
	s.HeadRev = headRev
	return m.intern(s)
}
