package main

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func event(kind, node string, fence int64) api.Event {
	return api.Event{Kind: kind, Group: "web", Node: node, Fence: fence, Slots: 1}
}

func TestJudgeEvents_FindsAGrantBeyondTheSlots(t *testing.T) {
	wrong := judgeEvents([]api.Event{event("hold.granted", "a", 1), event("hold.granted", "b", 2)})
	if len(wrong) != 1 || !strings.Contains(wrong[0], "2 holds of 1 slots") {
		t.Fatalf("got %q, want the second grant named", wrong)
	}
}

func TestJudgeEvents_FindsAFenceThatDidNotGrow(t *testing.T) {
	wrong := judgeEvents([]api.Event{
		event("hold.granted", "a", 2), event("hold.released", "a", 2), event("hold.granted", "b", 2),
	})
	if len(wrong) != 1 || !strings.Contains(wrong[0], "fence 2 of b") {
		t.Fatalf("got %q, want the repeated fence named", wrong)
	}
}

func TestJudgeEvents_IsContentWithOneAfterTheOther(t *testing.T) {
	if wrong := judgeEvents([]api.Event{
		event("hold.granted", "a", 1), event("hold.released", "a", 1), event("hold.granted", "b", 2),
	}); len(wrong) != 0 {
		t.Fatalf("got %q, want nothing", wrong)
	}
}

func TestObserver_RemembersTheLargestNumberOut(t *testing.T) {
	o := newObserver()
	for _, n := range []string{"a", "b", "c"} {
		o.watch(n, "web")
	}
	o.Down("a")
	o.Down("a")
	o.Down("b")
	o.Up("a")
	o.Down("c")
	if got := o.largest("web"); got != 2 {
		t.Fatalf("largest = %d, want 2", got)
	}
}

func TestIdeal_CountsRounds(t *testing.T) {
	for _, c := range []struct{ nodes, slots, rounds int }{{12, 2, 6}, {7, 2, 4}, {1, 5, 1}, {3, 0, 0}} {
		if got := ideal(c.nodes, c.slots, time.Second); got != time.Duration(c.rounds)*time.Second {
			t.Errorf("ideal(%d, %d) = %s, want %d rounds", c.nodes, c.slots, got, c.rounds)
		}
	}
}
