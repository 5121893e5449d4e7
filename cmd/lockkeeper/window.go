package main

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// windowForm is how a window is written on the command line.
const windowForm = `"[DAYS] START DURATION [ZONE] [cutoff=DURATION] [name=NAME]" such as "mon-fri 22:00 4h Europe/Berlin cutoff=30m", or "cron MINUTE HOUR DAY MONTH WEEKDAY DURATION …"`

var startForm = regexp.MustCompile(`^\d{1,2}:\d\d$`)

// parseWindow reads one --window. Whether its values can be is checked with the
// whole spec.
func parseWindow(text string) (api.WindowSpec, error) {
	bad := func(why string) (api.WindowSpec, error) {
		return api.WindowSpec{}, usagef("--window %q: %s: want %s", text, why, windowForm)
	}
	var w api.WindowSpec
	words, name, named := strings.Cut(text, "name=")
	if named {
		if w.Name = strings.TrimSpace(name); w.Name == "" {
			return bad("the name is empty")
		}
	}
	fields := strings.Fields(words)
	switch {
	case len(fields) > 0 && fields[0] == "cron":
		if len(fields) < 6 {
			return bad("cron takes five fields")
		}
		w.Cron, fields = strings.Join(fields[1:6], " "), fields[6:]
	default:
		if len(fields) > 0 && !startForm.MatchString(fields[0]) {
			if fields[0] != "daily" {
				w.Weekdays = strings.Split(fields[0], ",")
			}
			fields = fields[1:]
		}
		if len(fields) == 0 || !startForm.MatchString(fields[0]) {
			return bad("no start")
		}
		w.Start, fields = fields[0], fields[1:]
		if len(w.Start) == len("9:00") {
			w.Start = "0" + w.Start
		}
	}
	if len(fields) == 0 {
		return bad("no duration")
	}
	w.Duration, fields = fields[0], fields[1:]
	for _, f := range fields {
		cutoff, isCutoff := strings.CutPrefix(f, "cutoff=")
		switch {
		case isCutoff && w.Cutoff == "":
			w.Cutoff = cutoff
		case isCutoff || w.TimeZone != "":
			return bad(fmt.Sprintf("%q is one too many", f))
		default:
			w.TimeZone = f
		}
	}
	for _, d := range [][2]string{{"duration", w.Duration}, {"cutoff", w.Cutoff}} {
		if _, err := time.ParseDuration(d[1]); err != nil && d[1] != "" {
			return bad(fmt.Sprintf("the %s %q is no duration such as 4h or 1h30m", d[0], d[1]))
		}
	}
	return w, nil
}

// windowText is a window as parseWindow reads it.
func windowText(w api.WindowSpec) string {
	var words []string
	switch {
	case w.Cron != "":
		words = append(words, "cron", w.Cron)
	case len(w.Weekdays) > 0:
		words = append(words, strings.Join(w.Weekdays, ","), w.Start)
	default:
		words = append(words, "daily", w.Start)
	}
	words = append(words, shortDuration(w.Duration))
	if w.TimeZone != "" {
		words = append(words, w.TimeZone)
	}
	if w.Cutoff != "" {
		words = append(words, "cutoff="+shortDuration(w.Cutoff))
	}
	if w.Name != "" {
		words = append(words, "name="+w.Name)
	}
	return strings.Join(words, " ")
}

func blackoutText(b api.BlackoutSpec) string {
	text := fmt.Sprintf("%s %s to %s", b.Name, b.Start.UTC().Format(time.RFC3339), b.End.UTC().Format(time.RFC3339))
	if b.Reason != "" {
		text += " (" + b.Reason + ")"
	}
	return text
}

// specProblems checks what a clock decides by the coordinator's own rules, so
// that a mistake is found before anything is sent. What cannot even be read
// has been found before.
func specProblems(spec api.GroupSpec) []semaphore.FieldProblem {
	duration := func(text string) semaphore.Duration {
		d, _ := time.ParseDuration(text)
		return semaphore.Duration(d)
	}
	rules := semaphore.Spec{Slots: semaphore.Slots{N: 1}, GrantInterval: duration(spec.GrantInterval)}
	for _, w := range spec.Windows {
		rules.Windows = append(rules.Windows, semaphore.Window{
			Name: w.Name, Weekdays: w.Weekdays, Start: w.Start, Cron: w.Cron, TimeZone: w.TimeZone,
			Duration: duration(w.Duration), Cutoff: duration(w.Cutoff),
		})
	}
	for _, b := range spec.Blackouts {
		rules.Blackouts = append(rules.Blackouts, semaphore.Blackout{Name: b.Name, Start: b.Start, End: b.End, Reason: b.Reason})
	}
	return semaphore.ValidateSpec(rules)
}

// parseWindows reads every --window, and says which of them is wrong.
func parseWindows(texts []string) ([]api.WindowSpec, error) {
	var list []api.WindowSpec
	for _, text := range texts {
		w, err := parseWindow(text)
		if err != nil {
			return nil, err
		}
		if found := specProblems(api.GroupSpec{Windows: []api.WindowSpec{w}}); len(found) > 0 {
			return nil, usagef("--window %q: %s: %s", text, strings.TrimPrefix(found[0].Path, "windows[0]."), found[0].Detail)
		}
		if slices.ContainsFunc(list, func(o api.WindowSpec) bool { return windowText(o) == windowText(w) }) {
			return nil, usagef("--window %q is given twice", text)
		}
		list = append(list, w)
	}
	return list, nil
}
