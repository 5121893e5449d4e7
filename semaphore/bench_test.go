package semaphore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

var now = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// bench is a group on which ops are decided and applied one after another.
type bench struct {
	*testing.T
	semaphore.State
	now time.Time
}

// newBench has one slot and the members a, b and c.
func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{T: t, State: semaphore.State{Group: "g", Revision: 10}, now: now}
	b.ok(semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 1}}, By: "operator"})
	for _, node := range []string{"a", "b", "c"} {
		b.ok(semaphore.PutMember{Node: node, By: node})
	}
	return b
}

// do decides and, when there is something to write, applies.
func (b *bench) do(op semaphore.Op) semaphore.Decision {
	b.Helper()
	before := fmt.Sprintf("%+v", b.State)
	d := semaphore.Decide(&b.State, op, b.now)
	if after := fmt.Sprintf("%+v", b.State); after != before {
		b.Fatalf("Decide of %+v changed the state:\n%s\n%s", op, before, after)
	}
	b.State = b.State.Apply(d)
	if after := fmt.Sprintf("%+v", b.State); d.Writes() && after == before {
		b.Fatalf("Apply of %+v changed nothing", d)
	}
	return d
}

func (b *bench) ok(op semaphore.Op) semaphore.Decision {
	b.Helper()
	d := b.do(op)
	if d.Answer.Kind != semaphore.OK {
		b.Fatalf("%T %+v: %s: %s", op, op, d.Answer.Kind, d.Answer.Detail)
	}
	return d
}

// refused expects the kind and that nothing is written.
func (b *bench) refused(op semaphore.Op, kind semaphore.Kind) semaphore.Decision {
	b.Helper()
	d := b.do(op)
	if d.Answer.Kind != kind || d.Answer.Detail == "" {
		b.Fatalf("%T %+v: got %q (%q), want %q and why", op, op, d.Answer.Kind, d.Answer.Detail, kind)
	}
	if d.Writes() {
		b.Fatalf("%T %+v was refused and writes %+v", op, op, d.Changes)
	}
	return d
}

// nothing expects success without a write.
func (b *bench) nothing(op semaphore.Op) semaphore.Decision {
	b.Helper()
	d := b.ok(op)
	if d.Writes() {
		b.Fatalf("%T %+v writes %+v", op, op, d.Changes)
	}
	return d
}

// take acquires and returns the hold.
func (b *bench) take(op semaphore.Acquire) semaphore.Hold {
	b.Helper()
	d := b.ok(op)
	if d.Answer.Hold == nil {
		b.Fatalf("acquire %+v: no hold in the answer", op)
	}
	return *d.Answer.Hold
}

// wait puts waiters of agents that are present.
func (b *bench) wait(nodes ...string) {
	for _, node := range nodes {
		b.Queue = append(b.Queue, semaphore.Waiter{
			V: 1, Node: node, Via: semaphore.ViaAgent, Instance: "i-" + node, Since: b.now, Reason: "test",
			CreateRevision: int64(100 + len(b.Queue)), Present: true, Request: "parked-" + node, BootID: "boot-" + node,
		})
	}
}

func (b *bench) kinds(d semaphore.Decision, want ...string) {
	b.Helper()
	var got []string
	for _, e := range d.Events {
		got = append(got, e.Kind)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		b.Fatalf("events (-want +got):\n%s", diff)
	}
}

func (b *bench) held(nodes ...string) {
	b.Helper()
	for _, node := range nodes {
		if _, ok := b.Holds[node]; !ok {
			b.Fatalf("%s does not hold: %+v", node, b.Holds)
		}
	}
	if len(b.Holds) != len(nodes) {
		b.Fatalf("want holds of %v, got %+v", nodes, b.Holds)
	}
}

func agent(node string) semaphore.Acquire {
	return semaphore.Acquire{Node: node, Instance: "i-" + node, Request: "r-" + node, BootID: "boot-" + node, Via: semaphore.ViaAgent, Reason: "update"}
}

func fleetLock(node, request string, bound int64) semaphore.Acquire {
	return semaphore.Acquire{Node: node, Request: request, Peer: "192.0.2.1", Via: semaphore.ViaFleetLock, Register: true, Bound: bound}
}

func confirmOf(h semaphore.Hold) semaphore.Confirm {
	return semaphore.Confirm{Node: h.Node, Instance: h.Instance, BootID: h.BootID, Fence: h.Fence}
}

func releaseOf(h semaphore.Hold) semaphore.Release {
	return semaphore.Release{Node: h.Node, Instance: h.Instance, Via: h.Via, Fence: h.Fence}
}

func revokeOf(h semaphore.Hold) semaphore.Revoke {
	return semaphore.Revoke{Node: h.Node, Name: h.Node, Fence: h.Fence, By: "operator", Reason: "dead"}
}

func freeOf(h semaphore.Hold) semaphore.ForceRelease {
	return semaphore.ForceRelease{Node: h.Node, Name: h.Node, Fence: h.Fence, By: "operator", Reason: "dead", HostIsDown: true}
}

func (b *bench) freeze(stop bool) {
	b.Helper()
	b.ok(semaphore.SetFreeze{Freeze: semaphore.Freeze{ID: "f1", By: "operator", At: b.now, Reason: "test", Stop: stop}})
}
