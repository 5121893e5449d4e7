package semaphore_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// What must never break, as far as the semaphore decides it: each rule of the
// design by its number, as a statement about every history of requests.

// history is a group under random requests, and what is true outside of it.
type history struct {
	semaphore.State
	now    time.Time
	fences map[int64]string // every fence ever given
}

var (
	nodes  = []string{"a", "b", "c", "d", "e"}
	zones  = []string{"", "z1", "z2"}
	spread = []semaphore.Limit{{By: "zone", Max: semaphore.Slots{N: 1}}}
)

func drawSpec(t *rapid.T) semaphore.Spec {
	return semaphore.Spec{
		Slots:            rapid.SampledFrom([]semaphore.Slots{{N: 0}, {N: 1}, {N: 2}, {N: 3}, {N: 50, Percent: true}}).Draw(t, "slots"),
		Limits:           rapid.SampledFrom([][]semaphore.Limit{nil, spread, {{By: "zone", Max: semaphore.Slots{N: 50, Percent: true}}}}).Draw(t, "limits"),
		CountUnreachable: rapid.Bool().Draw(t, "count_unreachable"),
		Windows: rapid.SampledFrom([][]semaphore.Window{
			nil, nil, {{Cron: "*/10 * * * *", Duration: semaphore.Duration(5 * time.Minute), Cutoff: semaphore.Duration(time.Minute)}},
		}).Draw(t, "windows"),
		Blackouts: rapid.SampledFrom([][]semaphore.Blackout{
			nil, nil, {{Name: "x", Start: now.Add(5 * time.Minute), End: now.Add(8 * time.Minute)}},
		}).Draw(t, "blackouts"),
		GrantInterval: rapid.SampledFrom([]semaphore.Duration{0, 0, semaphore.Duration(time.Minute)}).Draw(t, "interval"),
	}
}

// drawOp draws a request: mostly sensible ones, with right and wrong fences.
func (h *history) drawOp(t *rapid.T) semaphore.Op {
	node := rapid.SampledFrom(nodes).Draw(t, "node")
	hold := h.Holds[node]
	fence := rapid.SampledFrom([]int64{hold.Fence, hold.Fence, hold.Fence, hold.Fence - 1, 0}).Draw(t, "fence")
	instance := rapid.SampledFrom([]string{"i1", "i1", "i1", "i2"}).Draw(t, "instance")
	via := semaphore.ViaAgent
	if node == "d" || node == "e" {
		via, instance = semaphore.ViaFleetLock, ""
	}
	request := fmt.Sprint("r", rapid.IntRange(0, 20).Draw(t, "request"))
	switch rapid.IntRange(0, 17).Draw(t, "op") {
	case 0, 1, 2, 3, 4:
		return semaphore.Acquire{
			Node: node, Via: via, Instance: instance, Request: request, Bound: fence, Register: via == semaphore.ViaFleetLock,
			Overtake: rapid.Bool().Draw(t, "overtake"),
		}
	case 5, 6:
		return semaphore.Confirm{Node: node, Instance: instance, Fence: fence}
	case 7, 8:
		return semaphore.Release{Node: node, Instance: instance, Via: via, Fence: fence}
	case 9:
		return semaphore.Revoke{Node: node, Name: node, Fence: fence, By: "operator"}
	case 10:
		return semaphore.ForceRelease{Node: node, Name: node, Fence: fence, By: "operator", HostIsDown: true}
	case 11:
		return semaphore.Expire{Node: node, Fence: fence}
	case 12:
		return semaphore.Admit{Overtake: rapid.Bool().Draw(t, "overtake")}
	case 13:
		return semaphore.PutSpec{Spec: drawSpec(t), IfMatch: -1}
	case 14:
		zone := rapid.SampledFrom(zones).Draw(t, "zone")
		return semaphore.PutMember{Node: node, Registered: map[string]string{"zone": zone}}
	case 15:
		return semaphore.SetDown{Node: node, Down: rapid.Bool().Draw(t, "down")}
	case 16:
		if h.Head.Freeze != nil {
			return semaphore.LiftFreeze{ID: h.Head.Freeze.ID}
		}
		return semaphore.SetFreeze{Freeze: semaphore.Freeze{ID: "f", Stop: rapid.Bool().Draw(t, "stop")}}
	default:
		return rapid.SampledFrom([]semaphore.Op{
			semaphore.RemoveMember{Node: node}, semaphore.DeleteGroup{IfMatch: -1}, semaphore.SetDuplicate{Node: node, Why: "twice"}, semaphore.SetDuplicate{Node: node},
		}).Draw(t, "rare")
	}
}

func (h *history) shuffleQueue(t *rapid.T) {
	h.Queue = nil
	for i, node := range rapid.Permutation(nodes).Draw(t, "queue")[:rapid.IntRange(0, 3).Draw(t, "waiting")] {
		via, instance := semaphore.ViaAgent, "i1"
		if node == "d" || node == "e" {
			via, instance = semaphore.ViaFleetLock, ""
		}
		where := rapid.IntRange(0, 2).Draw(t, "where")
		h.Queue = append(h.Queue, semaphore.Waiter{
			V: 1, Node: node, Via: via, Instance: instance, Since: h.now, CreateRevision: int64(i + 1),
			Present: where == 0, Elsewhere: where == 1, Reserved: rapid.IntRange(0, 4).Draw(t, "reserved") == 0,
		})
	}
}

// histories runs check on every decision of random histories.
func histories(t *testing.T, check func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State)) {
	rapid.Check(t, func(t *rapid.T) {
		h := &history{State: semaphore.State{Group: "g", Revision: 1}, now: now, fences: map[int64]string{}}
		step := func(op semaphore.Op) {
			d := semaphore.Decide(&h.State, op, h.now)
			after := h.State.Apply(d)
			check(t, h, op, d, after)
			for _, hold := range after.Holds {
				h.fences[hold.Fence] = hold.Node
			}
			h.State = after
		}
		step(semaphore.PutSpec{Spec: drawSpec(t)})
		for _, node := range nodes[:3] {
			step(semaphore.PutMember{Node: node})
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			h.now = h.now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
			h.shuffleQueue(t)
			step(h.drawOp(t))
		}
	})
}

// grants are the holds that the decision adds.
func grants(h *history, after semaphore.State) []semaphore.Hold {
	var made []semaphore.Hold
	for node, hold := range after.Holds {
		if before, held := h.Holds[node]; !held || before.Request != hold.Request && before.Since != hold.Since {
			made = append(made, hold)
		}
	}
	return made
}

func TestNeverBreak1_NoGrantExceedsSlots(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		if len(grants(h, after)) > 0 && (len(after.Holds) > after.SlotCount() || after.OutOfService() > after.SlotCount()) {
			t.Fatalf("%+v grants: %d holds, %d out of service, %d slots", op, len(after.Holds), after.OutOfService(), after.SlotCount())
		}
	})
}

func TestNeverBreak1_NoGrantExceedsALimit(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		for _, made := range grants(h, after) {
			for _, limit := range after.Spec.Limits {
				value, n, members := made.Labels[limit.By], 0, 0
				for _, hold := range after.Holds {
					if hold.Labels[limit.By] == value {
						n++
					}
				}
				for _, m := range after.Members {
					if m.Labels()[limit.By] == value {
						members++
					}
				}
				if bound := limit.Max.Of(members); n > bound {
					t.Fatalf("%+v grants: %d holds with %s=%q, the limit is %d", op, n, limit.By, value, bound)
				}
			}
		}
	})
}

func TestNeverBreak1_EveryGrantAndFirstConfirmComparesTheFreeze(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		first := false
		for node, hold := range after.Holds {
			first = first || hold.State == semaphore.Confirmed && h.Holds[node].State == semaphore.Granted
		}
		if (first || len(grants(h, after)) > 0) && (!d.GuardFreeze || h.Frozen() != nil) {
			t.Fatalf("%+v lets a host go: freeze compared %t, frozen %t", op, d.GuardFreeze, h.Frozen() != nil)
		}
	})
}

func TestNeverBreak1_NoGrantOutsideAWindowInABlackoutOrTooSoon(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		made := grants(h, after)
		if len(made) == 0 {
			return
		}
		spec := h.Spec
		if interval := time.Duration(spec.GrantInterval); interval > 0 {
			if len(made) > 1 {
				t.Fatalf("%T %+v made %d grants at once", op, op, len(made))
			}
			if since := h.now.Sub(h.Head.LastGrant); since < interval {
				t.Fatalf("%T %+v: a grant %s after the last", op, op, since)
			}
		}
		for _, b := range spec.Blackouts {
			if !h.now.Before(b.Start) && h.now.Before(b.End) {
				t.Fatalf("%T %+v: a grant in blackout %q", op, op, b.Name)
			}
		}
		if m := h.now.Minute() % 10; len(spec.Windows) > 0 && m >= 4 {
			t.Fatalf("%T %+v: a grant at minute %d, and the window is open to starts in the first four", op, op, m)
		}
	})
}

func TestNeverBreak1_HoldsKeepTheLabelsOfTheirGrant(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		for node, hold := range after.Holds {
			if before, held := h.Holds[node]; held && before.Since == hold.Since && fmt.Sprint(before.Labels) != fmt.Sprint(hold.Labels) {
				t.Fatalf("%+v changed labels %v to %v", op, before.Labels, hold.Labels)
			}
		}
	})
}

func TestNeverBreak2_AHoldEndsByItsOwnerOrByNameOnly(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		for node, before := range h.Holds {
			if _, held := after.Holds[node]; held {
				continue
			}
			var right bool
			switch op := op.(type) {
			case semaphore.Release:
				right = op.Node == node && op.Fence == before.Fence && op.Via == before.Via && op.Instance == before.Instance
			case semaphore.ForceRelease:
				right = op.Node == node && op.Fence == before.Fence && before.State == semaphore.Revoked
			case semaphore.Expire:
				right = op.Node == node && op.Fence == before.Fence && before.State == semaphore.Granted
			}
			if !right {
				t.Fatalf("%T %+v ended the hold %+v", op, op, before)
			}
		}
	})
}

func TestNeverBreak5_FencesOnlyGrow(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		if after.Head.Next < h.Head.Next {
			t.Fatalf("%+v takes the next fence from %d to %d", op, h.Head.Next, after.Head.Next)
		}
		for node, hold := range after.Holds {
			if owner, given := h.fences[hold.Fence]; given && (owner != node || h.Holds[node].Fence != hold.Fence) {
				t.Fatalf("%+v gives fence %d to %s, it was %s's", op, hold.Fence, node, owner)
			}
		}
	})
}

func TestNeverBreak5_TheSameRequestAgainChangesNothingMore(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		switch op := op.(type) {
		case semaphore.Admit, semaphore.Expire, semaphore.DeleteGroup:
			return
		case semaphore.Acquire:
			if op.Request == "" {
				return
			}
		}
		again := semaphore.Decide(&after, op, h.now)
		if d.Answer.Kind != semaphore.OK || !d.Writes() {
			return
		}
		if again.Writes() {
			t.Fatalf("%T %+v, decided again, writes %+v", op, op, again.Changes)
		}
		if acquire, ok := op.(semaphore.Acquire); ok && (again.Answer.Kind != semaphore.OK || again.Answer.Hold.Fence != after.Holds[acquire.Node].Fence) {
			t.Fatalf("%+v, decided again, answers %+v", op, again.Answer)
		}
	})
}

func TestNeverBreak5_AStaleFenceChangesNothing(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		var node string
		var fence int64
		switch op := op.(type) {
		case semaphore.Confirm:
			node, fence = op.Node, op.Fence
		case semaphore.Release:
			node, fence = op.Node, op.Fence
		case semaphore.Revoke:
			node, fence = op.Node, op.Fence
		case semaphore.ForceRelease:
			node, fence = op.Node, op.Fence
		case semaphore.Expire:
			node, fence = op.Node, op.Fence
		default:
			return
		}
		if hold, held := h.Holds[node]; d.Writes() && (!held || hold.Fence != fence) {
			t.Fatalf("%T %+v writes %+v, the hold is %+v", op, op, d.Changes, hold)
		}
	})
}

func TestHistory_EveryChangeHasAnEventAndGoesThroughTheHead(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		if len(d.Changes) > 0 && len(d.Events) == 0 {
			t.Fatalf("%T %+v changes %+v without an event", op, op, d.Changes)
		}
		seq := h.Head.EventSeq
		for _, e := range d.Events {
			if seq++; e.Seq != seq {
				t.Fatalf("%T: event %d follows %d", op, e.Seq, seq-1)
			}
		}
		if len(d.Events) > 0 {
			last := d.Events[len(d.Events)-1]
			if last.Held != len(after.Holds) || after.Exists() && last.Slots != after.SlotCount() {
				t.Fatalf("%T: event %+v, there are %d holds and %d slots", op, last, len(after.Holds), after.SlotCount())
			}
			if d.Head.EventSeq != seq || after.HeadRev <= h.HeadRev {
				t.Fatalf("%T: the head is not changed: %+v", op, d.Head)
			}
		}
	})
}

func TestHistory_NoKeyIsChangedTwiceInOneDecision(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		var keys []string
		for _, c := range d.Changes {
			switch {
			case c.Hold != nil:
				keys = append(keys, "hold "+c.Hold.Node)
			case c.DeleteHold != "":
				keys = append(keys, "hold "+c.DeleteHold)
			case c.Member != nil:
				keys = append(keys, "member "+c.Member.Node)
			case c.DeleteMember != "":
				keys = append(keys, "member "+c.DeleteMember)
			case c.DeleteWaiter != "":
				keys = append(keys, "waiter "+c.DeleteWaiter)
			case c.Spec != nil, c.DeleteSpec:
				keys = append(keys, "spec")
			default:
				t.Fatalf("%T: an empty change", op)
			}
		}
		slices.Sort(keys)
		if len(slices.Compact(slices.Clone(keys))) != len(keys) {
			t.Fatalf("%T %+v changes %v", op, op, keys)
		}
	})
}

func TestHistory_BlockersAndDecideAgree(t *testing.T) {
	histories(t, func(t *rapid.T, h *history, op semaphore.Op, d semaphore.Decision, after semaphore.State) {
		for _, m := range after.Members {
			op := semaphore.Acquire{Node: m.Node, Via: semaphore.ViaAgent, Instance: "i1"}
			if _, holds := after.Holds[m.Node]; holds {
				continue
			}
			d := semaphore.Decide(&after, op, h.now)
			if mayGo := len(semaphore.Blockers(&after, m.Node, h.now)) == 0; mayGo != (d.Answer.Kind == semaphore.OK) {
				t.Fatalf("Blockers says %t, Decide %q", mayGo, d.Answer.Kind)
			}
		}
	})
}
