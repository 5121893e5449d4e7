package main

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
)

// parseMoment reads a time: RFC 3339, with its offset, or a date and time of
// day by the clock of a zone. flag names it in errors.
func parseMoment(flag, text, zone string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t.UTC(), nil
	}
	wall, err := time.Parse("2006-01-02 15:04", text)
	if err != nil {
		return time.Time{}, usagef(`%s %q: want a time such as 2026-12-24T18:00:00Z, or "2026-12-24 18:00" with --time-zone`, flag, text)
	}
	if zone == "" {
		return time.Time{}, usagef("%s %q: want --time-zone, such as Europe/Berlin or UTC, for a time without its offset", flag, text)
	}
	place, err := time.LoadLocation(zone)
	if err != nil || zone == "Local" {
		return time.Time{}, usagef(`--time-zone %q is no time zone: want an IANA name such as "Europe/Berlin", or "UTC"`, zone)
	}
	moments := shown(wall, place)
	switch len(moments) {
	case 1:
		return moments[0].UTC(), nil
	case 0:
		return time.Time{}, usagef("%s %q: the clock of %s leaves that time out; want another", flag, text, zone)
	}
	return time.Time{}, usagef("%s %q: the clock of %s shows that time twice: want %s or %s", flag, text, zone,
		moments[0].Format(time.RFC3339), moments[1].Format(time.RFC3339))
}

// shown are the moments at which the zone's clock shows wall, which is in UTC:
// two when it is put back over that time, none when it is put forward.
func shown(wall time.Time, zone *time.Location) []time.Time {
	var list []time.Time
	for _, near := range []time.Duration{-24 * time.Hour, 24 * time.Hour} {
		_, offset := wall.Add(near).In(zone).Zone()
		t := wall.Add(-time.Duration(offset) * time.Second).In(zone)
		if _, is := t.Zone(); is == offset && (len(list) == 0 || !list[0].Equal(t)) {
			list = append(list, t)
		}
	}
	return list
}

// clockIn tells a time by the clock of a zone, UTC for an empty or unknown one.
func clockIn(t time.Time, zone string) string {
	place, err := time.LoadLocation(zone)
	if err != nil {
		place = time.UTC
	}
	return t.In(place).Format("Mon 2 Jan 2006 15:04 MST")
}

// momentText is a time for people, by the clock of a zone.
func (a *app) momentText(t time.Time, zone string) string {
	wait := t.Sub(a.now())
	if wait <= 0 {
		return clockIn(t, zone)
	}
	return fmt.Sprintf("%s (in %s)", clockIn(t, zone), cli.Span(wait))
}
