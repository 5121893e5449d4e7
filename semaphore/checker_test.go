package semaphore_test

import (
	"flag"
	"hash/maphash"
	"strings"
	"testing"
	"time"
)

var checkerBudget = flag.Duration("checker", 20*time.Second, "how long the model checker explores, all scenarios together")

// node of the search: how a world was reached, for the trace.
type visit struct {
	parent int32
	choice int32 // which of the parent's steps
}

type outcome struct {
	states    int
	depth     int
	complete  bool // every reachable world was seen
	violation string
	trace     []string
}

// check explores breadth-first until a violation, the end, or the deadline.
func check(s scenario, budget time.Duration) outcome {
	m, start := newModel(s)
	seen := map[uint64]struct{}{maphash.Comparable(m.seed, start): {}}
	visits := []visit{{parent: -1}}
	frontier, numbers := []world{start}, []int32{0}
	deadline := time.Now().Add(budget)
	result := outcome{}
	for ; len(frontier) > 0; result.depth++ {
		var next []world
		var nextNumbers []int32
		for i, w := range frontier {
			if i%256 == 0 && time.Now().After(deadline) {
				result.states = len(visits)
				return result
			}
			for choice, s := range m.steps(w) {
				sum := maphash.Comparable(m.seed, s.world)
				if _, known := seen[sum]; known && s.violation == "" {
					continue
				}
				seen[sum] = struct{}{}
				number := int32(len(visits))
				visits = append(visits, visit{numbers[i], int32(choice)})
				if s.violation != "" {
					result.states, result.violation = len(visits), s.violation
					result.trace = m.replay(start, visits, number)
					return result
				}
				next = append(next, s.world)
				nextNumbers = append(nextNumbers, number)
			}
		}
		frontier, numbers = next, nextNumbers
	}
	result.states, result.complete = len(visits), true
	return result
}

// replay walks the way to a world again and tells it.
func (m *model) replay(start world, visits []visit, number int32) []string {
	var choices []int32
	for n := number; visits[n].parent >= 0; n = visits[n].parent {
		choices = append(choices, visits[n].choice)
	}
	m.tracing = true
	defer func() { m.tracing = false }()
	var trace []string
	w := start
	for i := len(choices) - 1; i >= 0; i-- {
		s := m.steps(w)[choices[i]]
		trace = append(trace, s.what)
		w = s.world
	}
	return trace
}

// The first scenarios are small enough to be explored whole; the others are
// explored as far as the time allows.
func scenarios() []scenario {
	return []scenario{
		{name: "two FleetLock hosts", hosts: twoFleetLock, asks: 1, requests: 2, late: 1},
		{name: "two FleetLock hosts, operator", hosts: twoFleetLock, asks: 1, requests: 2, freed: 1},
		{name: "two agents, expiry", hosts: twoAgents, asks: 1, requests: 2, expiries: 1},
		{name: "agent and FleetLock host, operator", hosts: agentAndFleetLock, asks: 1, requests: 2, freed: 1},
		{name: "agent and FleetLock host, freeze", hosts: agentAndFleetLock, asks: 1, requests: 2, freezes: 1},
		{name: "two agents of one id", hosts: twoAgents, same: true, asks: 1, requests: 2, late: 1},
		{name: "agent and FleetLock host of one id", hosts: agentAndFleetLock, same: true, asks: 1, requests: 2, late: 1},
		{name: "two FleetLock hosts, ask twice", hosts: twoFleetLock, asks: 2, requests: 3, late: 1},
		{name: "two agents, everything", hosts: twoAgents, asks: 2, requests: 4, late: 1, expiries: 1, freezes: 1, freed: 1},
		{name: "agent and FleetLock host, everything", hosts: agentAndFleetLock, asks: 2, requests: 5, late: 1, expiries: 1, freezes: 1, freed: 1},
	}
}

// With all rules kept, no order of events lets two hosts out with one slot,
// grants more than the slots, or grants anything while frozen.
func TestChecker_NoViolationWithAllRules(t *testing.T) {
	total := 0
	end := time.Now().Add(*checkerBudget)
	all := scenarios()
	for i, s := range all {
		share := time.Until(end)
		if !s.small() {
			share /= time.Duration(len(all) - i)
		}
		r := check(s, share)
		total += r.states
		t.Logf("%s: %d states, depth %d, complete %t", s.name, r.states, r.depth, r.complete)
		if r.violation != "" {
			t.Errorf("%s: %s:\n%s", s.name, r.violation, strings.Join(r.trace, "\n"))
		}
	}
	t.Logf("%d states in all", total)
}

// finds asserts that the checker sees what goes wrong without a rule.
func finds(t *testing.T, s scenario) {
	t.Helper()
	r := check(s, 30*time.Second)
	if r.violation == "" {
		t.Fatalf("no violation in %d states, depth %d, complete %t", r.states, r.depth, r.complete)
	}
	t.Logf("%s, after %d states:\n%s", r.violation, r.states, strings.Join(r.trace, "\n"))
}

var (
	twoFleetLock      = [2]clientKind{fleetLockClient, fleetLockClient}
	agentAndFleetLock = [2]clientKind{agentClient, fleetLockClient}
	twoAgents         = [2]clientKind{agentClient, agentClient}
)

func TestChecker_FindsConfirmFromMemory(t *testing.T) {
	finds(t, scenario{rule: confirmFromMemory, hosts: agentAndFleetLock, asks: 1, requests: 2, freed: 1})
}

func TestChecker_FindsAnswersSentLate(t *testing.T) {
	finds(t, scenario{rule: answersLate, hosts: twoFleetLock, asks: 1, requests: 2, freed: 1})
}

func TestChecker_FindsReleaseNotBoundToAFence(t *testing.T) {
	finds(t, scenario{rule: releaseUnbound, hosts: twoFleetLock, asks: 2, requests: 3})
}

func TestChecker_FindsHolderAskingAgainWithoutANewFence(t *testing.T) {
	finds(t, scenario{rule: acquireKeepsFence, hosts: twoFleetLock, asks: 2, requests: 3})
}

func TestChecker_FindsGivingBackAHoldThatWasOnlyRefenced(t *testing.T) {
	finds(t, scenario{rule: givesBackRenewed, hosts: twoFleetLock, asks: 2, requests: 3})
}

func TestChecker_FindsAnotherInstanceTakenForTheHolder(t *testing.T) {
	finds(t, scenario{rule: ignoresInstance, hosts: twoAgents, same: true, asks: 1, requests: 2})
}

func TestChecker_FindsAnotherDoorTakenForTheHolder(t *testing.T) {
	finds(t, scenario{rule: ignoresVia, hosts: agentAndFleetLock, same: true, asks: 1, requests: 2})
}

func TestChecker_FindsAHeadNotCompared(t *testing.T) {
	finds(t, scenario{rule: noHeadCompare, hosts: twoAgents, asks: 1, requests: 2})
}

func TestChecker_FindsAFreezeNotCompared(t *testing.T) {
	finds(t, scenario{rule: freezeNotCompared, hosts: twoAgents, asks: 1, requests: 2, freezes: 1})
}
