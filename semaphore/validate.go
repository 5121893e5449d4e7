package semaphore

import (
	"fmt"
	"time"
)

// Bounds of a spec.
const (
	MaxLimits    = 16
	MaxLabelName = 128 // bytes
	MaxTimeout   = 30 * 24 * time.Hour
	MaxWindows   = 32
	MaxBlackouts = 100
	MaxName      = 128  // bytes, of a window or blackout
	MaxReason    = 1000 // bytes
	MaxInterval  = 7 * 24 * time.Hour
)

// FieldProblem is one wrong field: its path ("limits[0].by"), and why.
type FieldProblem struct{ Path, Detail string }

// ValidateSpec lists what is wrong with a spec, nothing when it can be used.
func ValidateSpec(spec Spec) []FieldProblem {
	var problems []FieldProblem
	add := func(path, format string, args ...any) {
		problems = append(problems, FieldProblem{path, fmt.Sprintf(format, args...)})
	}
	if err := spec.Slots.Validate(); err != nil {
		add("slots", "%v", err)
	}
	if len(spec.Limits) > MaxLimits {
		add("limits", "%d limits: at most %d", len(spec.Limits), MaxLimits)
	}
	seen := map[string]int{}
	for i, l := range spec.Limits {
		by := fmt.Sprintf("limits[%d].by", i)
		switch first, twice := seen[l.By]; {
		case l.By == "":
			add(by, "must name a label, such as zone")
		case len(l.By) > MaxLabelName:
			add(by, "a label name of %d bytes: at most %d", len(l.By), MaxLabelName)
		case twice:
			add(by, "label %q is limited already by limits[%d]", l.By, first)
		default:
			seen[l.By] = i
		}
		if err := l.Max.Validate(); err != nil {
			add(fmt.Sprintf("limits[%d].max", i), "%v", err)
		}
	}
	timeout := func(path string, d Duration) {
		if d < 0 || time.Duration(d) > MaxTimeout {
			add(path, "%s: want 0s (the default) to %s", time.Duration(d), MaxTimeout)
		}
	}
	timeout("timeouts.hold", spec.Timeouts.Hold)
	timeout("timeouts.fleetlock_hold", spec.Timeouts.FleetLockHold)
	if d := time.Duration(spec.GrantInterval); d < 0 || d > MaxInterval {
		add("grant_interval", "%s: want 0s (none) to %s", d, MaxInterval)
	}
	problems = append(problems, validateWindows(spec.Windows)...)
	return append(problems, validateBlackouts(spec.Blackouts)...)
}

func validateWindows(list []Window) []FieldProblem {
	if len(list) > MaxWindows {
		return []FieldProblem{{"windows", fmt.Sprintf("%d windows: at most %d", len(list), MaxWindows)}}
	}
	var problems []FieldProblem
	for i, w := range list {
		if p := validateWindow(&w); p != nil {
			problems = append(problems, FieldProblem{fmt.Sprintf("windows[%d].%s", i, p.Path), p.Detail})
		}
	}
	return problems
}

func validateWindow(w *Window) *FieldProblem {
	if _, problem := w.read(); problem != nil {
		return problem
	}
	lasts, cutoff := time.Duration(w.Duration), time.Duration(w.Cutoff)
	switch {
	case len(w.Name) > MaxName:
		return &FieldProblem{"name", fmt.Sprintf("%d bytes: at most %d", len(w.Name), MaxName)}
	case lasts < MinWindow || lasts > MaxWindow || lasts%time.Minute != 0:
		return &FieldProblem{"duration", fmt.Sprintf("%s: want whole minutes, %s to %s", lasts, MinWindow, MaxWindow)}
	case cutoff < 0:
		return &FieldProblem{"cutoff", fmt.Sprintf("%s: must not be below 0", cutoff)}
	case cutoff >= lasts:
		return &FieldProblem{"cutoff", fmt.Sprintf("%s of a window of %s: nothing could ever start", cutoff, lasts)}
	}
	// Any time will do to look from: what never comes in so many years never does.
	if _, opens := w.Next(time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)); !opens {
		return &FieldProblem{"cron", fmt.Sprintf("%q: no such day ever comes, so the window would never open", w.Cron)}
	}
	return nil
}

func validateBlackouts(list []Blackout) []FieldProblem {
	if len(list) > MaxBlackouts {
		return []FieldProblem{{"blackouts", fmt.Sprintf("%d blackouts: at most %d", len(list), MaxBlackouts)}}
	}
	var problems []FieldProblem
	seen := map[string]int{}
	for i, b := range list {
		add := func(field, format string, args ...any) {
			problems = append(problems, FieldProblem{fmt.Sprintf("blackouts[%d].%s", i, field), fmt.Sprintf(format, args...)})
		}
		switch first, twice := seen[b.Name]; {
		case b.Name == "":
			add("name", "must not be empty")
		case len(b.Name) > MaxName:
			add("name", "%d bytes: at most %d", len(b.Name), MaxName)
		case twice:
			add("name", "%q is the name of blackouts[%d] already", b.Name, first)
		default:
			seen[b.Name] = i
		}
		if len(b.Reason) > MaxReason {
			add("reason", "%d bytes: at most %d", len(b.Reason), MaxReason)
		}
		switch {
		case b.Start.IsZero():
			add("start", "is missing: want a time such as 2026-11-26T00:00:00Z")
		case b.End.IsZero():
			add("end", "is missing: want a time such as 2026-11-28T00:00:00Z")
		case !b.End.After(b.Start):
			add("end", "%s is not after the start, %s", stamp(b.End), stamp(b.Start))
		}
	}
	return problems
}
