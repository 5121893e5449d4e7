package semaphore_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

var plainly = cmp.Options{cmpopts.IgnoreUnexported(semaphore.State{}), cmpopts.EquateEmpty()}

// A state that keeps its parts is another form of the same state: whatever
// happens, both decide and become the same.
func TestKept_DecidesAndBecomesWhatAPlainStateDoes(t *testing.T) {
	var kept semaphore.State
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		if h.HeadRev == 0 {
			kept = semaphore.State{Group: "g", Revision: 1}
			kept.Keep(h.now)
		}
		for _, node := range nodes {
			kept.DropWaiter(node)
		}
		for _, w := range h.Queue {
			kept.SetWaiter(w, h.now)
		}
		before := kept
		if diff := cmp.Diff(d, semaphore.Decide(&kept, op, h.now)); diff != "" {
			t.Fatalf("%+v (-plain +kept):\n%s", op, diff)
		}
		kept = kept.Apply(d)
		if diff := cmp.Diff(h.State, before.Plain(), plainly); diff != "" {
			t.Fatalf("%+v changed the state before it:\n%s", op, diff)
		}
		if diff := cmp.Diff(after, kept.Plain(), plainly); diff != "" {
			t.Fatalf("after %+v (-plain +kept):\n%s", op, diff)
		}
		for _, node := range nodes {
			if diff := cmp.Diff(semaphore.Blockers(&after, node, h.now), semaphore.Blockers(&kept, node, h.now)); diff != "" {
				t.Fatalf("%s, after %+v (-plain +kept):\n%s", node, op, diff)
			}
		}
		if after.OutOfService() != kept.OutOfService() || after.Held() != kept.Held() || after.Size() != kept.Size() || after.Waiting() != kept.Waiting() {
			t.Fatalf("counts differ after %+v", op)
		}
	})
}

// The queue of a kept state is that of SortQueue, and each waiter knows its
// place in it, as waiters come, change, age and go by the thousand.
func TestKept_QueueIsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		at := now
		var kept semaphore.State
		kept.Keep(at)
		want := map[string]semaphore.Waiter{}
		for i := range rapid.IntRange(0, 300).Draw(t, "steps") {
			node := fmt.Sprintf("n%d", rapid.IntRange(0, 100).Draw(t, "node"))
			if rapid.IntRange(0, 3).Draw(t, "goes") == 0 {
				delete(want, node)
				kept.DropWaiter(node)
				continue
			}
			w, waits := want[node]
			if !waits {
				w = semaphore.Waiter{Node: node, CreateRevision: int64(i + 1), Since: at}
			}
			w.Priority = rapid.IntRange(-1, 1).Draw(t, "priority")
			want[node] = w
			kept.SetWaiter(w, at)
			if rapid.IntRange(0, 20).Draw(t, "a day passes") == 0 {
				at = at.Add(30 * time.Hour)
				kept.Reorder(at)
			}
		}
		var sorted []semaphore.Waiter
		for _, w := range want {
			sorted = append(sorted, w)
		}
		semaphore.SortQueue(sorted, at)
		st := kept.Plain()
		if diff := cmp.Diff(sorted, st.Queue, plainly); diff != "" {
			t.Fatalf("queue (-sorted +kept):\n%s", diff)
		}
		for i, w := range sorted {
			if got := semaphore.Place(&kept, w.Node); got != i+1 {
				t.Fatalf("%s is at place %d, want %d", w.Node, got, i+1)
			}
		}
		newcomers := slices.IndexFunc(sorted, func(w semaphore.Waiter) bool { return w.Rank(at) < 0 })
		if newcomers < 0 {
			newcomers = len(sorted)
		}
		if got := kept.Ahead(at); got != newcomers {
			t.Fatalf("%d stand before a newcomer, want %d", got, newcomers)
		}
	})
}

// large is a kept group of so many members, of which so many hold and wait.
func large(members, holds, waiters int) semaphore.State {
	s := semaphore.State{
		Group: "g", Revision: 1, HeadRev: 1, Head: semaphore.Head{V: 1, Next: 1},
		Spec: semaphore.Spec{V: 1, Slots: semaphore.Slots{N: holds + 1}, Limits: []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: members}}}},
	}
	s.Keep(now)
	for i := range members {
		s.SetMember(semaphore.Member{V: 1, Node: fmt.Sprintf("n%d", i), Registered: map[string]string{"zone": fmt.Sprint("z", i%10)}})
	}
	for i := range holds {
		s.SetHold(semaphore.Hold{V: 1, Node: fmt.Sprintf("n%d", i), Labels: map[string]string{"zone": fmt.Sprint("z", i%10)}, Fence: int64(i)})
	}
	for i := range waiters {
		s.SetWaiter(semaphore.Waiter{V: 1, Node: fmt.Sprintf("n%d", holds+1+i), CreateRevision: int64(i + 1), Present: true, Since: now}, now)
	}
	return s
}

// BenchmarkDecide is one acquire and its release, decided and applied.
func BenchmarkDecide(b *testing.B) {
	for _, size := range []struct{ members, holds, waiters int }{{20, 10, 0}, {2000, 1000, 0}, {10_000, 10, 0}, {20_000, 10, 9000}} {
		b.Run(fmt.Sprintf("members%d/holds%d/waiters%d", size.members, size.holds, size.waiters), func(b *testing.B) {
			s := large(size.members, size.holds, size.waiters)
			node := fmt.Sprintf("n%d", size.holds)
			b.ReportAllocs()
			for b.Loop() {
				d := semaphore.Decide(&s, agent(node), now)
				next := s.Apply(d)
				for _, h := range next.EachHold() {
					d = semaphore.Decide(&next, releaseOf(*h), now)
					break
				}
				_ = next.Apply(d)
			}
		})
	}
}
