package semaphore

import (
	"cmp"
	"iter"
	"slices"
	"time"
)

// Froze are the times in which the whole fleet was frozen, as far as a hold that
// is still there was out in them.
type Froze struct {
	V     int    `json:"v"`
	Spans []Span `json:"spans"`
	Extra Extra  `json:"-"`
}

// maxFroze bounds the freezes that are remembered. Beyond, the two oldest count
// as one, with the time between them.
const maxFroze = 32

// KeepFroze adds a freeze that is lifted now to those that are remembered, and
// forgets what no hold of these was out in.
func KeepFroze(old []Span, f Freeze, now time.Time, holds iter.Seq2[string, *Hold]) []Span {
	var first time.Time
	for _, h := range holds {
		if first.IsZero() || h.Since.Before(first) {
			first = h.Since
		}
	}
	kept := append(slices.Clone(old), Span{f.At, now})
	kept = slices.DeleteFunc(kept, func(s Span) bool { return first.IsZero() || !s.End.After(first) || !s.End.After(s.Start) })
	if len(kept) > maxFroze {
		kept[1].Start = kept[0].Start
		kept = kept[1:]
	}
	if len(kept) == 0 {
		return nil
	}
	return kept
}

// Why deadlines stand still.
const (
	StillFrozen   = "frozen"    // the group or the fleet is
	StillNoQuorum = "no_quorum" // there is none, or one is back since a moment
)

// Deadlines judges the deadlines of a group's holds as of one moment: they stand
// still while the group or the fleet is frozen, and without a quorum.
type Deadlines struct {
	// Still says why they stand still now, empty while they do not.
	Still string

	now   time.Time
	spans []Span // in which they stood still, in order, none touching another
}

// Deadlines is how the deadlines of the group's holds stand.
func (s *State) Deadlines(now time.Time) Deadlines {
	d := Deadlines{now: now}
	if s.Outages != nil {
		d.spans = append(d.spans, s.Outages()...)
	}
	for _, o := range d.spans {
		if !o.End.Before(now) {
			d.Still = StillNoQuorum
		}
	}
	d.spans = append(append(d.spans, s.Froze...), s.Head.Froze...)
	for _, f := range []*Freeze{s.Freeze, s.Head.Freeze} {
		if f != nil {
			d.Still = StillFrozen
			d.spans = append(d.spans, Span{f.At, now})
		}
	}
	d.spans = Union(d.spans)
	return d
}

// Union is the spans in order, those that touch as one, without those that have
// no length. It reuses the memory of the slice.
func Union(spans []Span) []Span {
	spans = slices.DeleteFunc(spans, func(s Span) bool { return !s.End.After(s.Start) })
	slices.SortFunc(spans, func(a, b Span) int { return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End)) })
	out := spans[:0]
	for _, s := range spans {
		if n := len(out); n > 0 && !s.Start.After(out[n-1].End) {
			if s.End.After(out[n-1].End) {
				out[n-1].End = s.End
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// Of is when the hold's deadline passed or, if nothing stops it from now on, will
// pass; zero for one without.
func (d Deadlines) Of(h Hold) time.Time {
	if h.Deadline.IsZero() {
		return time.Time{}
	}
	due := h.Deadline
	for _, s := range d.spans {
		if !s.End.After(h.Since) {
			continue
		}
		from := s.Start
		if from.Before(h.Since) {
			from = h.Since
		}
		if from.After(due) {
			break
		}
		due = due.Add(s.End.Sub(from))
	}
	return due
}

// Overdue reports whether the hold is past its deadline. It frees nothing.
func (d Deadlines) Overdue(h Hold) bool {
	due := d.Of(h)
	return !due.IsZero() && d.now.After(due)
}
