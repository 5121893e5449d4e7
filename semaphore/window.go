package semaphore

import (
	"fmt"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
)

// Window is a span that comes back: at Start on each of the Weekdays, or at
// each time that Cron names. It is told by the wall clock of TimeZone: it opens
// when that clock first shows the start and closes when it first shows the end,
// the start and Duration later. So a window from 22:00 for 8 h ends at 06:00 on
// every day, also in a night that has an hour more or less. One that falls
// whole into a missing hour lasts its Duration from the end of that hour.
type Window struct {
	Name     string   `json:"name,omitempty"`
	Weekdays []string `json:"weekdays,omitempty"` // "sat", "mon-fri"; none is every day
	Start    string   `json:"start,omitempty"`    // "22:00"
	Cron     string   `json:"cron,omitempty"`     // "0 22 * * mon-fri", instead of Weekdays and Start
	Duration Duration `json:"duration"`           // whole minutes, 1 min to 7 d
	Cutoff   Duration `json:"cutoff,omitzero"`    // nothing starts in so much of its end
	TimeZone string   `json:"time_zone,omitempty"`
}

// Blackout is a named span in which nothing starts, Start included and End not.
type Blackout struct {
	Name   string    `json:"name"`
	Start  time.Time `json:"start"`
	End    time.Time `json:"end"`
	Reason string    `json:"reason,omitempty"`
}

// Bounds of a window.
const (
	MinWindow = time.Minute
	MaxWindow = 7 * 24 * time.Hour
	// horizon is how many days ahead an opening is looked for: in 28 years each
	// date falls on each weekday, and 8 more bridge a century without leap day.
	horizon = 36 * 366
)

// Span is a piece of time, Start included and End not.
type Span struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// At is the opening that contains t, the last to start if there are several. A
// window that is not valid is never open.
func (w *Window) At(t time.Time) (Span, bool) {
	s, err := w.schedule()
	if err != nil {
		return Span{}, false
	}
	y, m, d := t.In(s.zone).Date()
	// Two days of slack for clocks that change, and for what was moved by it.
	for day := 1; day >= -int(s.lasts/(24*time.Hour))-2; day-- {
		date := time.Date(y, m, d+day, 0, 0, 0, 0, time.UTC)
		if !s.days(date) {
			continue
		}
		started := sort.Search(len(s.times), func(i int) bool { return s.opening(date, s.times[i]).Start.After(t) })
		for _, minute := range slices.Backward(s.times[:started]) {
			if span := s.opening(date, minute); t.Before(span.End) {
				return span, true
			}
		}
	}
	return Span{}, false
}

// Next is the first opening that starts after t.
func (w *Window) Next(t time.Time) (Span, bool) {
	s, err := w.schedule()
	if err != nil {
		return Span{}, false
	}
	y, m, d := t.In(s.zone).Date()
	for day := range horizon {
		date := time.Date(y, m, d+day, 0, 0, 0, 0, time.UTC)
		if !s.days(date) {
			continue
		}
		for _, minute := range s.times {
			if span := s.opening(date, minute); span.Start.After(t) {
				return span, true
			}
		}
	}
	return Span{}, false
}

// schedule is a window that was read: when it opens, by the wall clock.
type schedule struct {
	zone  *time.Location
	lasts time.Duration
	days  func(date time.Time) bool
	times []int // minutes after midnight, ascending
}

// opening is the one that starts on a date, at a minute of it. The date is a
// midnight UTC that stands for the day, whatever its length in the zone.
func (s *schedule) opening(date time.Time, minute int) Span {
	wall := date.Add(time.Duration(minute) * time.Minute)
	span := Span{firstShown(wall, s.zone), firstShown(wall.Add(s.lasts), s.zone)}
	if !span.End.After(span.Start) {
		span.End = span.Start.Add(s.lasts)
	}
	return span
}

// firstShown is the first moment at which the zone's wall clock shows wall (a
// time in UTC that stands for what the clock shows) or, where that is left out,
// more.
func firstShown(wall time.Time, zone *time.Location) time.Time {
	y, mo, d := wall.Date()
	guess := time.Date(y, mo, d, wall.Hour(), wall.Minute(), 0, 0, zone)
	var first time.Time
	// The offsets in force around that moment: clocks change by less than a
	// day, and not twice in two.
	for _, near := range []time.Time{guess.Add(-24 * time.Hour), guess, guess.Add(24 * time.Hour)} {
		_, offset := near.Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if _, o := t.Zone(); o == offset && (first.IsZero() || t.Before(first)) {
			first = t
		}
	}
	if !first.IsZero() {
		return first
	}
	_, before := guess.Add(-24 * time.Hour).Zone()
	change, _ := wall.Add(-time.Duration(before) * time.Second).In(zone).ZoneBounds()
	return change
}

// schedule reads the window. The error says what is wrong, and what would be
// accepted.
func (w *Window) schedule() (*schedule, error) {
	s, problem := w.read()
	if problem != nil {
		return nil, fmt.Errorf("%s: %s", problem.Path, problem.Detail)
	}
	return s, nil
}

// read is schedule with the field that is wrong.
func (w *Window) read() (*schedule, *FieldProblem) {
	s := &schedule{lasts: time.Duration(w.Duration)}
	var err error
	if s.zone, err = location(w.TimeZone); err != nil {
		return nil, &FieldProblem{"time_zone", err.Error()}
	}
	if w.Cron != "" {
		if w.Start != "" || len(w.Weekdays) > 0 {
			return nil, &FieldProblem{"cron", "either cron, or start with weekdays"}
		}
		c, err := parseCron(w.Cron)
		if err != nil {
			return nil, &FieldProblem{"cron", err.Error()}
		}
		s.days, s.times = c.onDate, c.minutes()
		return s, nil
	}
	if w.Start == "" {
		return nil, &FieldProblem{"start", `is missing: want a time such as "22:00", or cron`}
	}
	at, err := time.Parse("15:04", w.Start)
	if err != nil || len(w.Start) != 5 {
		return nil, &FieldProblem{"start", fmt.Sprintf(`%q: want a time from "00:00" to "23:59"`, w.Start)}
	}
	days, err := parseWeekdays(w.Weekdays)
	if err != nil {
		return nil, &FieldProblem{"weekdays", err.Error()}
	}
	s.days = func(date time.Time) bool { return days&(1<<date.Weekday()) != 0 }
	s.times = []int{at.Hour()*60 + at.Minute()}
	return s, nil
}

var weekdays = []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}

// parseWeekdays reads "sat", "saturday" and "mon-fri" into a bit for each day;
// a range may go over the end of the week.
func parseWeekdays(list []string) (uint64, error) {
	if len(list) == 0 {
		return 1<<7 - 1, nil
	}
	var days uint64
	for _, text := range list {
		from, to, isRange := strings.Cut(text, "-")
		first, ok := weekday(from)
		last := first
		if ok && isRange {
			last, ok = weekday(to)
		}
		if !ok {
			return 0, fmt.Errorf(`%q: want a day such as "sat", or days such as "mon-fri"`, text)
		}
		for day := first; ; day = (day + 1) % 7 {
			days |= 1 << day
			if day == last {
				break
			}
		}
	}
	return days, nil
}

func weekday(text string) (int, bool) {
	text = strings.ToLower(strings.TrimSpace(text))
	for i, short := range weekdays {
		if text == short || text == strings.ToLower(time.Weekday(i).String()) {
			return i, true
		}
	}
	return 0, false
}

var locations sync.Map // string to *time.Location: reading one opens a file

// location is the time zone of an IANA name; empty is UTC.
func location(name string) (*time.Location, error) {
	if zone, known := locations.Load(name); known {
		return zone.(*time.Location), nil
	}
	// A file's name can be written in any number of ways, and each would be kept.
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" || name != "" && path.Clean(name) != name {
		return nil, fmt.Errorf(`%q is no time zone: want an IANA name such as "Europe/Berlin", or "UTC"`, name)
	}
	locations.Store(name, zone)
	return zone, nil
}
