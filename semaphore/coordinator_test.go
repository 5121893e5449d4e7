package semaphore_test

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// newHosts is a group of five slots with the nodes a to c and the hosts of two
// coordinators: c1, by its id, and n2, by its label.
func newHosts(t *testing.T) *bench {
	b := newBench(t)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 5}})
	b.ok(semaphore.PutMember{Node: "c1"})
	b.ok(semaphore.PutMember{Node: "n2", Registered: map[string]string{semaphore.HostLabel: "c2"}})
	b.State.Coordinators = []semaphore.Coordinator{{Name: "c1"}, {Name: "c2"}, {Name: "c3"}}
	return b
}

func (b *bench) detail(node, word string) {
	b.Helper()
	d := b.refused(agent(node), semaphore.CoordinatorHost)
	if !strings.Contains(d.Answer.Detail, word) {
		b.Errorf("%s is refused with %q, want %q in it", node, d.Answer.Detail, word)
	}
}

func TestCoordinatorHost_OneIsOutAtATimeInAllGroups(t *testing.T) {
	b := newHosts(t)
	d := b.ok(agent("c1"))
	if !d.GuardOut || b.Out == nil || b.Out.Member != "c1" || b.Out.Node != "c1" || b.Out.Group != "g" {
		t.Fatalf("compared %t, out %+v", d.GuardOut, b.Out)
	}
	b.detail("n2", "c1")
	b.take(agent("a")) // others go as ever
	b.ok(releaseOf(b.Holds["c1"]))
	if b.Out != nil {
		t.Errorf("out is still %+v", b.Out)
	}
	b.take(agent("n2"))
	if b.Out.Member != "c2" {
		t.Errorf("out is %+v", b.Out)
	}

	other := newHosts(t)
	other.State.Out = &semaphore.MemberOut{Member: "c3", Group: "elsewhere", Node: "c3"}
	other.detail("c1", "elsewhere")
	// One of this group that holds nothing is not out.
	other.State.Out = &semaphore.MemberOut{Member: "c3", Group: "g", Node: "c3"}
	other.take(agent("c1"))
}

func TestCoordinatorHost_TheReturnOfOneIsComparedThoughItIsNotKnownToBeOut(t *testing.T) {
	b := newHosts(t)
	h := b.take(agent("c1"))
	b.State.Out = nil // the watch is behind
	if d := b.ok(releaseOf(h)); !d.GuardOut {
		t.Error("the key is not compared, so that it may stay")
	}
}

// The label of a host may change while it is out: what it wrote goes with its hold.
func TestCoordinatorHost_ItsKeyGoesWithItsHoldWhateverTheLabelSaysByThen(t *testing.T) {
	for _, behind := range []bool{false, true} {
		b := newHosts(t)
		h := b.take(agent("n2"))
		b.ok(semaphore.PutMember{Node: "n2", Declared: map[string]string{semaphore.HostLabel: semaphore.NoCoordinator}})
		if behind {
			b.State.Out = nil
			if d := b.ok(releaseOf(h)); !d.GuardOut {
				t.Error("the key is not compared, so that it may stay")
			}
			continue
		}
		b.ok(releaseOf(h))
		if b.Out != nil {
			t.Errorf("out is still %+v", b.Out)
		}
	}
}

func TestCoordinatorHost_NeedsTheOthersWellAndAnotherToLead(t *testing.T) {
	b := newHosts(t)
	b.State.Unwell = "c3 cannot be reached"
	b.detail("c1", "c3 cannot be reached")
	b.take(agent("a"))
	b.State.Unwell = ""
	b.State.Coordinators[0].Leads = true
	b.detail("c1", "leads")
	if !semaphore.MayGoUnlessLeading(&b.State, "c1", b.now) || semaphore.MayGoUnlessLeading(&b.State, "n2", b.now) {
		t.Error("only c1 could go if it did not lead")
	}
	b.take(agent("n2"))
	if semaphore.MayGoUnlessLeading(&b.State, "c1", b.now) {
		t.Error("c1 could not go while c2 is out, leading or not")
	}
}

func TestCoordinatorHost_GoesAfterAllThatCouldGo(t *testing.T) {
	b := newHosts(t)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 1}})
	h := b.take(agent("c"))
	b.wait("c1", "n2", "b", "a")
	for _, want := range []string{"b", "a", "c1", "n2"} {
		b.ok(releaseOf(h))
		b.held(want)
		h = b.Holds[want]
	}
	b.ok(releaseOf(h))

	// The same for one that asks anew, and with room for several.
	b.wait("a")
	b.refused(agent("c1"), semaphore.Queued)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 5}})
	b.Queue = nil
	b.wait("c1", "n2", "b")
	b.ok(semaphore.Admit{})
	b.held("b", "c1")
	b.detail("n2", "c1")
}

func TestCoordinatorHost_TheLabelSaysOtherwise(t *testing.T) {
	b := newHosts(t)
	b.ok(semaphore.PutMember{Node: "c1", Declared: map[string]string{semaphore.HostLabel: semaphore.NoCoordinator}})
	if got := b.State.HostOf("c1") + " " + b.State.HostOf("n2"); got != " c2" {
		t.Errorf("hosts are %q", got)
	}
	b.State.Unwell = "c3 cannot be reached"
	b.take(agent("c1"))
	b.State.Coordinators = nil // nobody's
	b.take(agent("n2"))
}
