package web

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// beyond names the parts of a rollout's spec for which the form has no room: what
// it would start is not the same in them.
func (f *rolloutForm) beyond(spec api.RolloutSpec) []string {
	typed := api.RolloutSpec{
		Name: spec.Name, Bundle: spec.Bundle, Group: spec.Group, Selector: spec.Selector, Nodes: spec.Nodes, NeedsReboot: spec.NeedsReboot,
		MaxFailures: spec.MaxFailures, ProgressDeadline: spec.ProgressDeadline, AutoRollback: spec.AutoRollback, Conflict: spec.Conflict,
	}
	var unread []api.FieldError
	for _, row := range f.Waves {
		if row.UpTo != "" {
			typed.Waves = append(typed.Waves, row.spec("", &unread))
		}
	}
	spec.Start, spec.Reason = time.Time{}, ""
	was, is := parts(spec), parts(typed)
	for name := range is {
		if reflect.DeepEqual(was[name], is[name]) {
			delete(was, name)
		}
	}
	return slices.Sorted(maps.Keys(was))
}

// parts is a spec by the names of its fields.
func parts(spec api.RolloutSpec) map[string]any {
	m := map[string]any{}
	if b, err := json.Marshal(spec); err == nil {
		_ = json.Unmarshal(b, &m) // what Marshal wrote
	}
	return m
}
