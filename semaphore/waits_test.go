package semaphore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Who finds by a count that no waiter fits comes to the same as who asks each:
// under limits, while waiters come, go and move to another zone.
func TestKept_ASlotThatComesBackGoesToTheWaiterThatAPlainStateGivesItTo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		limits := []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: rapid.IntRange(0, 2).Draw(t, "max")}}}
		if rapid.Bool().Draw(t, "two limits") {
			limits = append(limits, semaphore.Limit{By: "rack", Max: semaphore.Slots{N: 50, Percent: true}})
		}
		kept := semaphore.State{Group: "g", Revision: 1, HeadRev: 1, Spec: semaphore.Spec{Slots: semaphore.Slots{N: 4}, Limits: limits}}
		kept.Keep(now)
		draw := func(what string, of int) int { return rapid.IntRange(0, of-1).Draw(t, what) }
		member := func(node string) {
			kept.SetMember(semaphore.Member{Node: node, Registered: map[string]string{
				"zone": fmt.Sprint(draw("zone", 3)), "rack": fmt.Sprint(draw("rack", 4)),
			}})
		}
		name := func() string { return fmt.Sprint("n", draw("node", 12)) }
		for i := range 12 {
			member(fmt.Sprint("n", i))
		}
		at := now
		for step := range rapid.IntRange(1, 60).Draw(t, "steps") {
			at = at.Add(time.Second)
			node := name()
			_, holds := kept.Hold(node)
			var op semaphore.Op = semaphore.Admit{}
			switch draw("step", 5) {
			case 0:
				if !holds {
					kept.SetWaiter(semaphore.Waiter{Node: node, Via: semaphore.ViaAgent, Since: at, CreateRevision: int64(step + 1), Present: true}, at)
				}
			case 1:
				kept.DropWaiter(node)
			case 2:
				member(node)
			default:
				if h, ok := kept.Hold(node); ok {
					op = semaphore.Release{Node: node, Via: h.Via, Fence: h.Fence}
				}
			}
			plain := kept.Plain()
			d := semaphore.Decide(&kept, op, at)
			if diff := cmp.Diff(semaphore.Decide(&plain, op, at), d); diff != "" {
				t.Fatalf("%T (-plain +kept):\n%s", op, diff)
			}
			kept = kept.Apply(d)
		}
	})
}
