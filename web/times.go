package web

import (
	"fmt"
	"html/template"
	"time"
)

// minutes writes an estimate.
func minutes(seconds int) string { return ageText(time.Duration(seconds) * time.Second) }

// ageText is the age that lockkeeper.js writes too: 4:27, then 1 h 16 m, then 3 d 4 h.
func ageText(d time.Duration) string {
	s := int(max(d, 0).Seconds())
	switch {
	case s < 3600:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d m", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
}

// ageTag is an age that ticks in the browser. Without now, in a fragment of
// the stream, it names the time instead: a passing second must not change a
// fragment, and the browser writes the age.
func ageTag(now, t time.Time) template.HTML { return timeTag(now, t, "") }

// lateTag is how much time a hold took beyond its deadline; the style sheet says so.
func lateTag(now, t time.Time) template.HTML { return timeTag(now, t, ` class="late"`) }

func timeTag(now, t time.Time, attribute string) template.HTML {
	if t.IsZero() {
		return "–"
	}
	text := t.UTC().Format("15:04:05")
	if !now.IsZero() {
		text = ageText(now.Sub(t))
	}
	// Every part is made here: fixed words, digits and a formatted time.
	return template.HTML(fmt.Sprintf(`<time%s datetime="%s" title="%s" data-age>%s</time>`, attribute,
		t.UTC().Format(time.RFC3339), t.UTC().Format("2006-01-02 15:04:05 UTC"), text))
}

// clockTag is a time of day that was, with its date unless that is today's.
func clockTag(day, t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	t = t.UTC()
	form := "15:04:05"
	switch {
	case t.Year() != day.Year():
		form = "2 Jan 2006 15:04:05"
	case t.YearDay() != day.YearDay():
		form = "2 Jan 15:04:05"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.Format(time.RFC3339), t.Format("2006-01-02 15:04:05 UTC"), t.Format(form)))
}

// whenTag is a date and time.
func whenTag(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.UTC().Format(time.RFC3339), t.UTC().Format("2 Jan 2006 15:04:05 UTC")))
}

// stampTag is a date and time of day of a column that says that they are UTC: they
// go below each other where there is little room.
func stampTag(t time.Time) template.HTML {
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s"><span>%s</span> <span>%s</span></time>`, t.Format(time.RFC3339), t.Format("2 Jan 2006"), t.Format("15:04:05")))
}

// zonedTag is a date and time of day by the clock of a zone, UTC if empty.
func zonedTag(t time.Time, zone string) template.HTML {
	if t.IsZero() {
		return "–"
	}
	place, err := time.LoadLocation(zone)
	if err != nil {
		place = time.UTC
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.UTC().Format(time.RFC3339),
		t.UTC().Format("2006-01-02 15:04:05 UTC"), template.HTMLEscapeString(t.In(place).Format("Mon 2 Jan 15:04 MST"))))
}

// turnTag is when somebody probably goes, to the minute.
func turnTag(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.UTC().Format("2006-01-02T15:04Z"), t.UTC().Format("15:04")))
}

// soonTag is a time near today in as few words as it needs: 15:04, Mon 15:04, or
// 2 Jan 15:04, UTC.
func soonTag(day, t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	form := "2 Jan 15:04"
	switch until := t.UTC().Sub(day); {
	case until >= 0 && until < 24*time.Hour:
		form = "15:04"
	case until >= 0 && until < 6*24*time.Hour:
		form = "Mon 15:04"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.UTC().Format(time.RFC3339),
		t.UTC().Format("Mon 2 Jan 2006 15:04:05 UTC"), t.UTC().Format(form)))
}
