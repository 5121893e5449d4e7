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
	return problems
}
