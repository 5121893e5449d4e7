package etcdstore_test

import (
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// linHistory is what one group's clients asked and were told. In it a request
// of unknown outcome takes no time: from its question on it is pending.
type linHistory struct {
	start linState
	ops   []porcupine.Operation
	// owners are the fences that somebody was told of, with the host that has
	// each, and given those that somebody was told to have been given just then.
	// No fence is given twice, so that a pending request cannot have had one of
	// these, and only one of the same host can have had one of those.
	owners map[int64]owner
	given  map[int64]bool
	last   int64 // the next fence at the end of the history
}

// owner is the host of a hold, or of a request for one.
type owner struct{ node, via, instance string }

// number gives the requests their numbers, and notes the fences.
func (h *linHistory) number() {
	slices.SortFunc(h.ops, func(a, b porcupine.Operation) int { return int(a.Call - b.Call) })
	h.owners, h.given, h.last = map[int64]owner{}, map[int64]bool{}, 0
	note := func(hold semaphore.Hold) {
		h.owners[hold.Fence] = owner{hold.Node, string(hold.Via), hold.Instance}
	}
	for i := range h.ops {
		in, out := h.ops[i].Input.(linInput), h.ops[i].Output.(linOutput)
		in.number = i
		h.ops[i].Input = in
		if out.unknown {
			continue
		}
		if out.Read != nil {
			h.last = max(h.last, out.Read.Next)
			for _, hold := range out.Read.Holds {
				note(hold)
			}
		}
		a := out.Answer
		if a.Hold == nil {
			continue
		}
		note(*a.Hold)
		if acquire, acquires := in.op.(semaphore.Acquire); acquires && a.Kind == semaphore.OK && (a.Created || acquire.Via == semaphore.ViaFleetLock) {
			h.given[a.Hold.Fence] = true
		}
	}
}

// canHave reports whether a pending request can have been given a fence.
func (h *linHistory) canHave(a semaphore.Acquire, fence int64) bool {
	who, told := h.owners[fence]
	return fence < h.last && (!told || !h.given[fence] && who == owner{a.Node, string(a.Via), a.Instance})
}

// check asks porcupine.
func (h *linHistory) check(budget time.Duration) porcupine.CheckResult {
	h.number()
	return porcupine.CheckOperationsTimeout(h.model(), h.ops, budget)
}

// envOutput is the folder for what a person may want to see of a test.
const envOutput = "LOCKKEEPER_TEST_OUTPUT"

// show writes the history as a page, with what porcupine finds in the time that
// it has, and says where.
func (h *linHistory) show(t *testing.T, name string, budget time.Duration) {
	dir := os.Getenv(envOutput)
	if dir == "" {
		dir = os.TempDir()
	}
	path := filepath.Join(dir, strings.ReplaceAll(name, "/", "-")+".html")
	_, info := porcupine.CheckOperationsVerbose(h.model(), h.ops, budget)
	if err := porcupine.VisualizePath(h.model(), info, path); err != nil {
		t.Error(err)
		return
	}
	t.Logf("the history is in %s", path)
}

var linSeed = maphash.MakeSeed()

// linSet is the states in which a group can be, in order. None is in it that
// is another with fewer pending requests: what can happen in that can happen in
// the other.
type linSet []linState

func (s linSet) String() string {
	texts := make([]string, len(s))
	for i, state := range s {
		texts[i] = state.String()
	}
	return strings.Join(texts, " or ")
}

func (h *linHistory) model() porcupine.Model {
	return porcupine.Model{
		Init: func() any { return linSet{h.start} },
		Step: func(state, input, output any) (bool, any) {
			next := h.step(state.(linSet), input.(linInput), output.(linOutput))
			return len(next) > 0, next
		},
		Equal: func(a, b any) bool { return slices.Equal(a.(linSet), b.(linSet)) },
		Hash: func(state any) uint64 {
			sum := uint64(0)
			for _, s := range state.(linSet) {
				sum = sum*31 + maphash.Comparable(linSeed, s)
			}
			return sum
		},
		DescribeOperation: func(in, out any) string { return describe(in.(linInput), out.(linOutput)) },
		DescribeState:     func(state any) string { return state.(linSet).String() },
	}
}

// step is where a request and its answer lead to; nowhere if the answer cannot
// be true.
func (h *linHistory) step(from linSet, in linInput, out linOutput) linSet {
	var next linSet
	for _, s := range from {
		if out.unknown {
			next = next.with(h.remember(s, in))
			continue
		}
		for _, now := range h.reachable(s) {
			if out.Read != nil {
				if now.is(*out.Read) {
					next = next.with(now)
				}
				continue
			}
			for _, o := range now.outcomes(in.op) {
				if o.matches(out.Answer) {
					next = next.with(h.forget(o.state))
				}
			}
		}
	}
	return next
}

// with adds a state, unless there is a better one, and drops those that it is
// better than.
func (s linSet) with(state linState) linSet {
	if s.covers(state) {
		return s
	}
	alone := linSet{state}
	return append(slices.DeleteFunc(s, alone.covers), state)
}

// covers reports whether all that can happen in a state can happen in one of
// the set.
func (s linSet) covers(state linState) bool {
	return slices.ContainsFunc(s, func(other linState) bool {
		a, b := state, other
		a.pending, b.pending = "", ""
		return a == b && contains(other.pending, state.pending)
	})
}

// contains reports whether all numbers of one list, in order, are in another.
func contains(all, some string) bool {
	rest := []rune(some)
	for _, number := range all {
		if len(rest) > 0 && rest[0] == number {
			rest = rest[1:]
		}
	}
	return len(rest) == 0
}

// reachable are the states that pending requests can lead to, and the giving
// back of holds that nobody was told of.
func (h *linHistory) reachable(s linState) linSet {
	list := linSet{s}
	add := func(s linState) {
		if s = h.forget(s); !list.covers(s) {
			list = append(list, s)
		}
	}
	for i := 0; i < len(list); i++ {
		s := list[i]
		for n, hold := range s.holds {
			if hold.orphan {
				add(s.with(n, linHold{}))
			}
		}
		var tried []any
		for _, number := range s.pending {
			op := h.ops[number].Input.(linInput).op
			a, acquires := op.(semaphore.Acquire)
			if acquires && !h.canHave(a, s.next) {
				continue
			}
			kind := like(number, op)
			if slices.Contains(tried, kind) {
				continue
			}
			tried = append(tried, kind)
			rest := s
			rest.pending = strings.Replace(s.pending, string(number), "", 1)
			for _, o := range rest.outcomes(op) {
				if o.state == rest {
					continue
				}
				if acquires {
					n := index(a.Node)
					o.state.holds[n].orphan = a.Via == semaphore.ViaFleetLock && rest.holds[n].fence == 0
				}
				add(o.state)
			}
		}
	}
	return list
}

// remember lets a request be pending.
func (h *linHistory) remember(s linState, in linInput) linState {
	s.pending += string(rune(in.number))
	return h.forget(s)
}

// like is what two requests have in common of which either may as well have
// its effect first.
func like(number rune, op any) any {
	switch op := op.(type) {
	case semaphore.Acquire:
		return owner{op.Node, string(op.Via), op.Instance}
	case semaphore.SetFreeze, semaphore.LiftFreeze, semaphore.PutSpec, semaphore.DeleteGroup, setFleet, liftFleet:
		return fmt.Sprintf("%T %+v", op, op)
	}
	return number
}

// forget drops pending requests that can have no effect any more: fences do not
// come back.
func (h *linHistory) forget(s linState) linState {
	if s.pending == "" {
		return s
	}
	s.pending = strings.Map(func(number rune) rune {
		node, fence := boundTo(h.ops[number].Input.(linInput).op)
		if node != "" && s.holds[index(node)].fence != fence {
			return -1
		}
		return number
	}, s.pending)
	return s
}

func boundTo(op any) (node string, fence int64) {
	switch op := op.(type) {
	case semaphore.Confirm:
		return op.Node, op.Fence
	case semaphore.Release:
		return op.Node, op.Fence
	case semaphore.Revoke:
		return op.Node, op.Fence
	case semaphore.ForceRelease:
		return op.Node, op.Fence
	case semaphore.Expire:
		return op.Node, op.Fence
	}
	return "", 0
}
