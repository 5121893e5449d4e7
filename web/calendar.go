package web

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// calendar draws when hosts may start in the next two weeks, by the clock of one
// zone: the group's own, UTC, or one that the viewer names.
type calendar struct {
	Zone  string
	Zones []choice
	Days  []calendarDay
	Hours []stripTick // marks at the left: Y and text
	Error string      // the zone was not understood
}

// choice is one of several views of the same page.
type choice struct {
	Word, URL string
	Current   bool
}

type calendarDay struct {
	Weekday, Day string
	Today        bool
	Later        bool // of the second week
	Open         []calendarSpan
	Shut         []calendarSpan // blackouts
	Now          string         // Y of now, today only
	Label        string
}

// calendarSpan is a part of a day, in the drawing's units.
type calendarSpan struct{ Y, Height string }

const (
	calendarDays   = 14
	calendarHeight = 84
	// calendarOpenings bounds the openings of one window that are looked at: one
	// that opens each minute is open all day.
	calendarOpenings = 2000
)

// newCalendar is nil for a group in which hosts may start at any time.
func newCalendar(g api.Group, zone string, now time.Time) *calendar {
	if len(g.Spec.Windows) == 0 && len(g.Spec.Blackouts) == 0 {
		return nil
	}
	own := "UTC"
	for _, w := range g.Spec.Windows {
		if w.TimeZone != "" {
			own = w.TimeZone
			break
		}
	}
	c := calendar{Zone: zone}
	if c.Zone == "" {
		c.Zone = own
	}
	place, err := time.LoadLocation(c.Zone)
	if err != nil || c.Zone == "Local" {
		c.Error = fmt.Sprintf("There is no time zone %q; this is by the clock of %s.", c.Zone, own)
		c.Zone = own
		if place, err = time.LoadLocation(own); err != nil {
			place = time.UTC
		}
	}
	for _, z := range []string{own, "UTC", c.Zone} {
		one := choice{z, "/groups/" + segment(g.Name) + "?zone=" + queryEscape(z) + "#calendar", z == c.Zone}
		if !slices.Contains(c.Zones, one) {
			c.Zones = append(c.Zones, one)
		}
	}
	for _, h := range []int{0, 6, 12, 18, 24} {
		c.Hours = append(c.Hours, stripTick{fmt.Sprint(max(10, h*calendarHeight/24)), fmt.Sprintf("%02d", h)})
	}
	local := now.Truncate(15 * time.Minute).In(place)
	first := time.Date(local.Year(), local.Month(), local.Day(), 0, 0, 0, 0, place)
	last := first.AddDate(0, 0, calendarDays)
	open := openings(g.Spec.Windows, first, last)
	for i := range calendarDays {
		from, to := first.AddDate(0, 0, i), first.AddDate(0, 0, i+1)
		c.Days = append(c.Days, newDay(from, to, local, i, open, g.Spec.Blackouts))
	}
	return &c
}

// newDay draws one day by the zone's clock; on a day that the clock changes, an
// hour of it is longer or shorter.
func newDay(from, to, now time.Time, i int, open []semaphore.Span, blackouts []api.BlackoutSpec) calendarDay {
	d := calendarDay{Weekday: from.Format("Mon"), Day: from.Format("2"), Later: i >= 7}
	y := func(t time.Time) float64 {
		return calendarHeight * float64(t.Sub(from)) / float64(to.Sub(from))
	}
	if !now.Before(from) && now.Before(to) {
		d.Today, d.Now = true, fmt.Sprintf("%.1f", y(now))
	}
	var said []string
	part := func(a, b time.Time, what string) (calendarSpan, bool) {
		if !a.Before(to) || !b.After(from) {
			return calendarSpan{}, false
		}
		first, last := "00:00", "24:00"
		if a.After(from) {
			first = a.In(from.Location()).Format("15:04")
		} else {
			a = from
		}
		if b.Before(to) {
			last = b.In(from.Location()).Format("15:04")
		} else {
			b = to
		}
		said = append(said, what+" "+first+" to "+last)
		return calendarSpan{fmt.Sprintf("%.1f", y(a)), fmt.Sprintf("%.1f", max(y(b)-y(a), 1))}, true
	}
	for _, o := range open {
		if s, in := part(o.Start, o.End, "open"); in {
			d.Open = append(d.Open, s)
		}
	}
	for _, b := range blackouts {
		if s, in := part(b.Start, b.End, "blackout "+b.Name); in {
			d.Shut = append(d.Shut, s)
		}
	}
	if len(said) == 0 {
		said = []string{"shut"}
	}
	d.Label = from.Format("Mon 2 Jan") + ": " + strings.Join(said, ", ")
	return d
}

// openings are the spans in which some window lets a host start, merged and in
// order. Without windows that is all of the time.
func openings(list []api.WindowSpec, first, last time.Time) []semaphore.Span {
	if len(list) == 0 {
		return []semaphore.Span{{Start: first, End: last}}
	}
	var all []semaphore.Span
	for _, spec := range list {
		w := windowOf(spec)
		cutoff := time.Duration(w.Cutoff)
		t := first.Add(-semaphore.MaxWindow)
		for range calendarOpenings {
			span, comes := w.Next(t)
			if !comes || !span.Start.Before(last) {
				break
			}
			t = span.Start
			if span.End = span.End.Add(-cutoff); span.End.After(first) {
				all = append(all, span)
			}
		}
	}
	return semaphore.Union(all)
}

// windowOf reads a window as the service wrote it. A duration that is not one
// makes a window that never opens.
func windowOf(spec api.WindowSpec) semaphore.Window {
	lasts, _ := time.ParseDuration(spec.Duration)
	cutoff, _ := time.ParseDuration(spec.Cutoff)
	return semaphore.Window{Name: spec.Name, Weekdays: spec.Weekdays, Start: spec.Start, Cron: spec.Cron, TimeZone: spec.TimeZone,
		Duration: semaphore.Duration(lasts), Cutoff: semaphore.Duration(cutoff)}
}
