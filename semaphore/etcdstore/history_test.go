package etcdstore_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// moment is group g and the fleet's freeze right after one revision, with the
// events that this revision put.
type moment struct {
	rev    int64
	head   semaphore.Head
	spec   semaphore.Spec
	holds  map[string]semaphore.Hold
	freeze *semaphore.Freeze
	events []semaphore.Event
}

// history is every moment from the declaration of the group on.
type history []moment

// readHistory replays all revisions behind one up to another.
func (f *fleet) readHistory(from, to int64) history {
	f.t.Helper()
	h := history{{rev: from, holds: map[string]semaphore.Hold{}}}
	for resp := range node.Client().Watch(f.t.Context(), f.prefix, clientv3.WithPrefix(), clientv3.WithRev(from+1)) {
		if err := resp.Err(); err != nil {
			f.t.Fatal(err)
		}
		for events := resp.Events; len(events) > 0; {
			rev := events[0].Kv.ModRevision
			n := slices.IndexFunc(events, func(e *clientv3.Event) bool { return e.Kv.ModRevision != rev })
			if n < 0 {
				n = len(events)
			}
			h = append(h, f.step(h[len(h)-1], events[:n]))
			events = events[n:]
			if rev >= to {
				return h
			}
		}
	}
	f.t.Fatal("the watch ended")
	return nil
}

// step is the moment after one revision.
func (f *fleet) step(was moment, events []*clientv3.Event) moment {
	now := was
	now.rev, now.events = events[0].Kv.ModRevision, nil
	now.holds = make(map[string]semaphore.Hold, len(was.holds))
	for node, h := range was.holds {
		now.holds[node] = h
	}
	headPut, bound := false, false
	for _, e := range events {
		key, err := strings.TrimPrefix(string(e.Kv.Key), f.prefix), error(nil)
		deleted := e.Type == clientv3.EventTypeDelete
		node, isHold := strings.CutPrefix(key, "groups/g/holds/")
		switch {
		case key == "freeze" && deleted:
			now.freeze = nil
		case key == "freeze":
			var fr semaphore.Freeze
			fr, err = semaphore.DecodeFreeze(e.Kv.Value)
			now.freeze = &fr
		case key == "groups/g/semaphore":
			headPut = true
			now.head, err = semaphore.DecodeHead(e.Kv.Value)
		case key == "groups/g/spec":
			bound = true
			now.spec, err = semaphore.DecodeSpec(e.Kv.Value)
		case isHold && deleted:
			bound = true
			delete(now.holds, node)
		case isHold:
			bound = true
			now.holds[node], err = semaphore.DecodeHold(e.Kv.Value)
		case strings.HasPrefix(key, "groups/g/members/"):
			bound = true
		case strings.HasPrefix(key, "events/"):
			var event semaphore.Event
			event, err = semaphore.DecodeEvent(e.Kv.Value)
			now.events = append(now.events, event)
		}
		if err != nil {
			f.t.Errorf("%s at %d: %v", key, now.rev, err)
		}
	}
	if bound && !headPut {
		f.t.Errorf("revision %d changed the group without its head", now.rev)
	}
	return now
}

// judge holds each revision against what no revision may do. One transaction
// can carry several decisions, so that what was before it counts too.
func (h history) judge(t *testing.T) {
	highest, seq := int64(0), int64(0)
	for i := 1; i < len(h); i++ {
		was, now := h[i-1], h[i]
		slots := max(was.spec.Slots.N, now.spec.Slots.N)
		for _, e := range now.events {
			slots = max(slots, e.Slots)
		}
		for node, hold := range now.holds {
			before, held := was.holds[node]
			granted := hold.State != semaphore.Revoked && (!held || before.Fence != hold.Fence && hold.Renewed == "")
			confirmed := held && before.Fence == hold.Fence && before.State == semaphore.Granted && hold.State == semaphore.Confirmed
			if granted && len(now.holds) > slots {
				t.Errorf("revision %d grants %s: %d holds of %d slots", now.rev, node, len(now.holds), slots)
			}
			if (granted || confirmed) && was.freeze != nil {
				t.Errorf("revision %d grants or confirms %s in a frozen fleet", now.rev, node)
			}
			if f := was.head.Freeze; (granted || confirmed) && f != nil && now.head.Freeze != nil && f.ID == now.head.Freeze.ID {
				t.Errorf("revision %d grants or confirms %s in a frozen group", now.rev, node)
			}
			if (!held || before.Fence != hold.Fence) && hold.Fence < was.head.Next {
				t.Errorf("revision %d gives fence %d again", now.rev, hold.Fence)
			}
		}
		if highest = max(highest, was.head.Next); now.head.Next < highest {
			t.Errorf("at revision %d the next fence went back to %d", now.rev, now.head.Next)
		}
		for _, e := range now.events {
			if e.Scope == "fleet" {
				continue
			}
			if seq++; e.Seq != seq {
				t.Errorf("revision %d has event %d where %d comes next", now.rev, e.Seq, seq)
			}
		}
	}
}

// told is one answer, and the revisions between which it was asked and given.
type told struct {
	what       string
	start, end int64
	at         func(m moment) bool          // true at some moment meanwhile
	event      func(e semaphore.Event) bool // or one of these was put meanwhile
}

// believe fails for an answer that was true at no moment between its question
// and itself.
func (h history) believe(t *testing.T, a told) {
	first, _ := slices.BinarySearchFunc(h, a.start, func(m moment, rev int64) int { return int(m.rev - rev) })
	if first == len(h) || h[first].rev > a.start {
		first-- // the moment that lasted when the question came
	}
	for i, m := range h[first:] {
		if m.rev > a.end {
			break
		}
		if a.at != nil && a.at(m) || i > 0 && a.event != nil && slices.ContainsFunc(m.events, a.event) {
			return
		}
	}
	t.Errorf("%s, asked at revision %d and answered at %d, was never true meanwhile", a.what, a.start, a.end)
}

// told puts an answer down in the words of the history.
func toldOf(op semaphore.Op, a semaphore.Answer, start, end int64) told {
	r := told{what: fmt.Sprintf("%+v: %+v", op, a), start: start, end: end}
	event := func(kind string, fence int64) func(semaphore.Event) bool {
		return func(e semaphore.Event) bool { return e.Kind == kind && e.Fence == fence }
	}
	switch op := op.(type) {
	case semaphore.Acquire:
		hold := *a.Hold
		r.event = func(e semaphore.Event) bool {
			return e.Fence == hold.Fence && (e.Kind == "hold.granted" || e.Kind == "hold.refenced")
		}
		if !a.Created {
			r.at = func(m moment) bool {
				h := m.holds[op.Node]
				return h.Fence == hold.Fence && h.Via == op.Via && h.Instance == op.Instance && h.State != semaphore.Revoked
			}
		}
	case semaphore.Confirm:
		r.event = event("hold.confirmed", op.Fence)
		r.at = func(m moment) bool {
			h := m.holds[op.Node]
			return h.Fence == op.Fence && h.State == semaphore.Confirmed
		}
	case semaphore.Release:
		r.at = func(m moment) bool { return m.holds[op.Node].Fence != op.Fence }
	case semaphore.Revoke:
		r.event = event("hold.revoked", op.Fence)
		r.at = func(m moment) bool {
			h := m.holds[op.Node]
			return h.Fence == op.Fence && h.State == semaphore.Revoked
		}
	case semaphore.Expire:
		r.at = func(m moment) bool {
			h := m.holds[op.Node]
			return h.Fence != op.Fence || h.State != semaphore.Granted
		}
	case semaphore.PutSpec:
		r.event = func(e semaphore.Event) bool {
			return e.Kind == "group.changed" && strings.HasSuffix(e.Detail, fmt.Sprintf("to %d", op.Spec.Slots.N))
		}
		r.at = func(m moment) bool { return m.spec.Slots.N == op.Spec.Slots.N }
	case semaphore.SetFreeze:
		r.event = func(e semaphore.Event) bool { return e.Kind == "freeze.set" }
		r.at = func(m moment) bool { return m.head.Freeze != nil && m.head.Freeze.ID == a.Freeze.ID }
	case semaphore.LiftFreeze:
		r.event = func(e semaphore.Event) bool { return e.Kind == "freeze.lifted" && e.Group != "" }
		r.at = func(m moment) bool { return m.head.Freeze == nil }
	}
	return r
}
