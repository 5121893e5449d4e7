package semaphore

import (
	"fmt"
	"time"
)

// shut says what keeps every member from starting now: a blackout, no open
// window, the last grant, or a clock that these cannot be judged by.
func shut(s *State, now time.Time) []Blocker {
	if !s.Spec.Timed() {
		return nil
	}
	if s.ClockOff != "" {
		return []Blocker{{Kind: WindowShut, Detail: "this coordinator cannot judge windows: " + s.ClockOff}}
	}
	var found []Blocker
	if b := blackedOut(s.Spec.Blackouts, now); b != nil {
		found = append(found, *b)
	}
	if b := OutsideWindows(s.Spec.Windows, now); b != nil {
		found = append(found, *b)
	}
	if next := s.Head.LastGrant.Add(time.Duration(s.Spec.GrantInterval)); s.Spec.GrantInterval > 0 && now.Before(next) {
		found = append(found, Blocker{
			Kind:   TooSoon,
			Detail: fmt.Sprintf("the last grant was at %s, and %s lie between two", stamp(s.Head.LastGrant), time.Duration(s.Spec.GrantInterval)),
			Until:  next,
		})
	}
	return found
}

// ShutUntil reports whether the group lets none of its members start now, by a
// window, a blackout, the grant interval or a clock that these cannot be judged
// by, and when the last of them ends: the zero time when nobody can say.
// Nothing is granted before, unless the spec changes.
func (s *State) ShutUntil(now time.Time) (until time.Time, isShut bool) {
	for _, b := range shut(s, now) {
		if b.Until.IsZero() {
			return time.Time{}, true
		}
		isShut = true
		if b.Until.After(until) {
			until = b.Until
		}
	}
	return until, isShut
}

// Timed reports whether a clock has a say in who may go: it declares windows,
// blackouts or a grant interval.
func (s *Spec) Timed() bool {
	return len(s.Windows) > 0 || len(s.Blackouts) > 0 || s.GrantInterval > 0
}

// blackedOut names the blackout in force that ends last.
func blackedOut(list []Blackout, now time.Time) *Blocker {
	var last *Blackout
	for i := range list {
		b := &list[i]
		if !now.Before(b.Start) && now.Before(b.End) && (last == nil || b.End.After(last.End)) {
			last = b
		}
	}
	if last == nil {
		return nil
	}
	detail := fmt.Sprintf("blackout %q lasts until %s", last.Name, stamp(last.End))
	if last.Reason != "" {
		detail += ": " + last.Reason
	}
	return &Blocker{Kind: BlackedOut, Detail: detail, Until: last.End}
}

// OutsideWindows says that none of the windows is open, or that those which
// are close too soon.
func OutsideWindows(list []Window, now time.Time) *Blocker {
	if len(list) == 0 {
		return nil
	}
	var closing *Window
	var closes time.Time
	for i := range list {
		w := &list[i]
		span, open := w.At(now)
		switch {
		case !open:
		case now.Before(span.End.Add(-time.Duration(w.Cutoff))):
			return nil
		case span.End.After(closes):
			closing, closes = w, span.End
		}
	}
	next, opens, found := nextOpening(list, now)
	b := Blocker{Kind: WindowShut, Detail: "no window is open, and none opens again"}
	if found {
		b.Until = opens
		b.Detail = fmt.Sprintf("no window is open; the next%s opens at %s", next.called(), next.clock(opens))
	}
	if closing != nil {
		b.Detail = fmt.Sprintf("the window%s closes at %s, and nothing starts in its last %s", closing.called(), closing.clock(closes), time.Duration(closing.Cutoff))
		if found {
			b.Detail += fmt.Sprintf("; the next opens at %s", next.clock(opens))
		}
	}
	return &b
}

// nextOpening is the first of the windows to open after now.
func nextOpening(list []Window, now time.Time) (*Window, time.Time, bool) {
	var first *Window
	var at time.Time
	for i := range list {
		if span, found := list[i].Next(now); found && (first == nil || span.Start.Before(at)) {
			first, at = &list[i], span.Start
		}
	}
	return first, at, first != nil
}

// called is " NAME" of a window that has one.
func (w *Window) called() string {
	if w.Name == "" {
		return ""
	}
	return fmt.Sprintf(" (%s)", w.Name)
}

// clock tells a time by the window's own clock.
func (w *Window) clock(t time.Time) string {
	if zone, err := location(w.TimeZone); err == nil {
		t = t.In(zone)
	}
	return t.Format("Mon 2 Jan 15:04 MST")
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }
