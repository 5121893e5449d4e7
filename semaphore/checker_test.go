package semaphore_test

import (
	"flag"
	"hash/maphash"
	"strings"
	"testing"
	"time"
)

var checkerBudget = flag.Duration("checker", 20*time.Second, "how long the model checker explores, all scenarios together")

// visit is how a world was reached, for the trace.
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

// mostStates bounds one scenario, for the sake of memory.
const mostStates = 12_000_000

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
		for i := range frontier {
			if i%256 == 0 && time.Now().After(deadline) || len(visits) > mostStates {
				result.states = len(visits)
				return result
			}
			steps := m.steps(&frontier[i])
			for choice := range steps {
				s := &steps[choice]
				sum := maphash.Comparable(m.seed, s.world)
				if _, known := seen[sum]; known && s.violation == "" {
					continue
				}
				seen[sum] = struct{}{}
				number := int32(len(visits))
				visits = append(visits, visit{numbers[i], int32(choice)})
				if s.violation == "" {
					s.violation = m.brokenWorld(&s.world)
				}
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
		s := m.steps(&w)[choices[i]]
		trace = append(trace, s.what)
		w = s.world
	}
	return trace
}

// budget is the part of the time that a test has: as the flag says, and so that
// it ends before the test binary's own deadline.
func budget(t *testing.T, part float64) time.Duration {
	all := *checkerBudget
	if end, ok := t.Deadline(); ok {
		all = min(all, time.Until(end)-2*time.Minute)
	}
	return time.Duration(part * float64(all))
}

// With all rules kept, no order of events breaks what must hold.
func TestChecker_NoViolationWithAllRules(t *testing.T) {
	total := 0
	end := time.Now().Add(budget(t, 0.8))
	all := scenarios()
	for i, s := range all {
		r := check(s, time.Until(end)/time.Duration(len(all)-i))
		total += r.states
		t.Logf("%s: %d states, depth %d, complete %t", s.name, r.states, r.depth, r.complete)
		if r.violation != "" {
			t.Errorf("%s: %s:\n%s", s.name, r.violation, strings.Join(r.trace, "\n"))
		}
	}
	t.Logf("%d states in all", total)
}

// The same by random ways to their end, where the search in breadth does not
// come to.
func TestChecker_NoViolationOnRandomWays(t *testing.T) {
	all := largeScenarios()
	for _, s := range all {
		walks, violation, trace := walk(s, budget(t, 0.2)/time.Duration(len(all)))
		t.Logf("%s: %d ways", s.name, walks)
		if violation != "" {
			t.Errorf("%s: %s:\n%s", s.name, violation, strings.Join(trace, "\n"))
		}
	}
}
