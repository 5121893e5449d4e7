package web

import (
	"cmp"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// stay is one node's time in a slot, as the audit trail tells of it.
type stay struct {
	Node   string
	From   time.Time
	To     time.Time // zero: it is still out
	End    string    // how it ended: the event's kind
	Reason string    // why it went
	Hold   *api.Hold // of one that is still out
}

// begins and ends are the kinds of events that open and close a stay.
var (
	begins = map[string]bool{"hold.granted": true, "hold.adopted": true, "hold.confirmed": true}
	ends   = map[string]bool{"hold.released": true, "hold.freed": true, "hold.expired": true}
)

// staysOf reads events in the order of revisions, and the holds there are now.
// A stay whose beginning is not told any more is left out; one without an end and
// without a hold has its end in an event that has not come yet.
func staysOf(events []api.Event, holds []api.Hold) []stay {
	var out []stay
	open := map[string]int{} // index in out by node
	for i := range events {
		e := &events[i]
		at, isOpen := open[e.Node]
		switch {
		case begins[e.Kind] && !isOpen:
			open[e.Node] = len(out)
			out = append(out, stay{Node: e.Node, From: e.At, Reason: e.Detail})
		case ends[e.Kind] && isOpen:
			out[at].To, out[at].End = e.At, e.Kind
			delete(open, e.Node)
		}
	}
	for i := range holds {
		h := &holds[i]
		at, isOpen := open[h.Node]
		if !isOpen {
			out = append(out, stay{Node: h.Node, From: h.Since, Reason: h.Reason})
			at = len(out) - 1
		}
		out[at].Hold = h
		delete(open, h.Node)
	}
	out = slices.DeleteFunc(out, func(s stay) bool { return s.Hold == nil && s.To.IsZero() })
	slices.SortStableFunc(out, func(a, b stay) int { return cmp.Or(a.From.Compare(b.From), cmp.Compare(a.Node, b.Node)) })
	return out
}

// took is how long it lasted, until now for one that is still out.
func (s stay) took(now time.Time) time.Duration {
	if s.To.IsZero() {
		return now.Sub(s.From)
	}
	return s.To.Sub(s.From)
}

// Look is how it ended, or what matters most about it now.
func (s stay) Look() look {
	switch {
	case s.Hold != nil:
		return newBoat(*s.Hold, time.Time{}).Look
	case s.End == "hold.freed":
		return look{"is-warn", "releasing", "Freed by name"}
	case s.End == "hold.expired":
		return look{"is-warn", "waiting", "Not confirmed in time"}
	}
	return look{"is-ok", "ok", "Came back"}
}

// Took is how long it lasted, as text; for one that is still out, a tag that ticks.
func (s stay) Took() string { return ageText(s.took(s.To)) }

// lanes deals stays out to lanes, in each one after another: the lowest lane that
// is free takes the next. A slot has no number of its own; with all that is known
// of the past, each stay keeps its lane while time goes on.
func lanes(stays []stay) [][]stay {
	var out [][]stay
	var free []time.Time // when each lane is; zero: its last stay goes on
	for _, s := range stays {
		i := slices.IndexFunc(free, func(t time.Time) bool { return !t.IsZero() && !t.After(s.From) })
		if i < 0 {
			out, free = append(out, nil), append(free, time.Time{})
			i = len(out) - 1
		}
		out[i] = append(out[i], s)
		free[i] = s.To
	}
	return out
}

// usual is the median of the stays whose nodes came back, 0 for none.
func usual(stays []stay) time.Duration {
	var took []time.Duration
	for _, s := range stays {
		if s.End == "hold.released" {
			took = append(took, s.To.Sub(s.From))
		}
	}
	if len(took) == 0 {
		return 0
	}
	slices.Sort(took)
	return took[len(took)/2]
}
