package rollout

import (
	"fmt"
	"regexp"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

var digest = regexp.MustCompile(`^[0-9a-f]{64}$`)

// Bounds of a rollout's spec.
const (
	maxName     = 200  // bytes
	maxReason   = 2000 // bytes
	maxWaves    = 100
	maxGates    = 20 // at one place
	maxNotices  = 10 // receivers for one occasion
	maxDuration = 365 * 24 * time.Hour
)

// complaints collects every field of a spec that is not acceptable.
type complaints struct {
	fields []api.FieldError
}

func (c *complaints) wrong(path, format string, args ...any) {
	c.fields = append(c.fields, api.FieldError{Path: path, Detail: fmt.Sprintf(format, args...)})
}

// Validate reports every field of a rollout's spec that is not acceptable,
// without looking at the fleet. What a gate asks is validated by whoever asks it.
func Validate(spec api.RolloutSpec) *api.Error {
	c := &complaints{}
	if !digest.MatchString(spec.Bundle) {
		c.wrong("bundle", "want the SHA-256 digest of a bundle, 64 hexadecimal digits in lower case, not %q", spec.Bundle)
	}
	c.nodes(spec)
	c.waves(spec)
	c.stops(spec)
	c.text("name", spec.Name, maxName)
	c.text("reason", spec.Reason, maxReason)
	return invalid(c.fields)
}

func (c *complaints) nodes(spec api.RolloutSpec) {
	byQuery := spec.Group != "" || spec.Selector != ""
	switch {
	case byQuery && len(spec.Nodes) > 0:
		c.wrong("nodes", "give either nodes, or a group and/or a selector, not both")
	case !byQuery && len(spec.Nodes) == 0:
		c.wrong("group", "say which nodes: give a group and/or a selector, or a list of nodes")
	}
	if spec.Group != "" {
		if err := semaphore.ValidGroup(spec.Group); err != nil {
			c.wrong("group", "%v", err)
		}
	}
	if _, err := NewSelector(spec.Selector); err != nil {
		c.wrong("selector", "%v", err)
	}
	seen := map[string]int{}
	for i, id := range spec.Nodes {
		if first, twice := seen[id]; twice {
			c.wrong(fmt.Sprintf("nodes[%d]", i), "%q is there already, as nodes[%d]", id, first)
		} else if err := semaphore.ValidNode(id); err != nil {
			c.wrong(fmt.Sprintf("nodes[%d]", i), "%v", err)
		}
		seen[id] = i
	}
	c.oneOf("joining", spec.Joining, api.JoiningExclude, api.JoiningInclude)
	if spec.Joining == api.JoiningInclude && len(spec.Nodes) > 0 {
		c.wrong("joining", "a list of nodes has none that join: give a group or a selector, or leave joining out")
	}
	c.oneOf("conflict", spec.Conflict, api.ConflictRefuse, api.ConflictQueue, api.ConflictSupersede)
}

// stops are what halts it and who is told.
func (c *complaints) stops(spec api.RolloutSpec) {
	if err := validBudget(spec.MaxFailures); err != nil {
		c.wrong("max_failures", "%v", err)
	}
	c.duration("min_healthy_time", spec.MinHealthyTime)
	c.duration("healthy_deadline", spec.HealthyDeadline)
	c.duration("progress_deadline", spec.ProgressDeadline)
	healthy, deadline := Duration(spec.MinHealthyTime), Duration(spec.HealthyDeadline)
	if deadline > 0 && deadline <= healthy {
		c.wrong("healthy_deadline", "%s is not longer than min_healthy_time, %s: no node could pass", spec.HealthyDeadline, spec.MinHealthyTime)
	}
	c.oneOf("auto_rollback", spec.AutoRollback, api.RollbackNone, api.RollbackFailedWave, api.RollbackAll)
	_, problems := Windows(spec.Windows)
	c.fields = append(c.fields, problems...)
	c.receivers("on_halt", spec.OnHalt)
	c.receivers("on_done", spec.OnDone)
}

func (c *complaints) receivers(path string, list []api.NotifySpec) {
	if len(list) > maxNotices {
		c.wrong(path, "%d receivers: at most %d", len(list), maxNotices)
	}
	for i, n := range list {
		at := fmt.Sprintf("%s[%d]", path, i)
		if (n.Webhook == "") == (n.URL == "") {
			c.wrong(at, "want either webhook, a name in the coordinator's configuration, or url")
		}
		c.oneOf(at+".format", n.Format, "json", "slack", "teams")
	}
}

func (c *complaints) text(path, text string, most int) {
	if len(text) > most {
		c.wrong(path, "%d bytes: at most %d", len(text), most)
	}
}

func (c *complaints) label(path, name string) {
	if name == "" {
		return
	}
	if err := semaphore.ValidLabel(name); err != nil {
		c.wrong(path, "%v", err)
	}
}

func (c *complaints) oneOf(path, value string, accepted ...string) {
	if value == "" {
		return
	}
	for _, a := range accepted {
		if value == a {
			return
		}
	}
	c.wrong(path, "%q: want one of %s", value, listed(accepted))
}

func (c *complaints) duration(path, text string) {
	if text == "" {
		return
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		c.wrong(path, "%q: want a duration such as 90s, 10m or 2h30m", text)
	case d <= 0 || d > maxDuration:
		c.wrong(path, "%s: want more than 0 and at most %s; leave it out for none", text, maxDuration)
	}
}

// Duration is a duration of a valid spec, 0 for none.
func Duration(text string) time.Duration {
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0
	}
	return d
}

// Windows reads the windows of a rollout, as those of a group are read.
func Windows(list []api.WindowSpec) ([]semaphore.Window, []api.FieldError) {
	c := &complaints{}
	var out []semaphore.Window
	for i, w := range list {
		path := fmt.Sprintf("windows[%d].", i)
		if w.Duration == "" {
			c.wrong(path+"duration", "is missing: want how long the window lasts, such as 4h")
		}
		c.duration(path+"duration", w.Duration)
		c.duration(path+"cutoff", w.Cutoff)
		out = append(out, semaphore.Window{
			Name: w.Name, Weekdays: w.Weekdays, Start: w.Start, Cron: w.Cron, TimeZone: w.TimeZone,
			Duration: semaphore.Duration(Duration(w.Duration)), Cutoff: semaphore.Duration(Duration(w.Cutoff)),
		})
	}
	if len(c.fields) == 0 {
		for _, p := range semaphore.ValidateSpec(semaphore.Spec{Slots: semaphore.Slots{N: 1}, Windows: out}) {
			c.wrong(p.Path, "%s", p.Detail)
		}
	}
	return out, c.fields
}

// maxFields bounds the list of an error, so that 10,000 wrong ids read well.
const maxFields = 20

func invalid(fields []api.FieldError) *api.Error {
	if len(fields) == 0 {
		return nil
	}
	e := api.Errorf(api.Invalid, "%s: %s", fields[0].Path, fields[0].Detail)
	if n := len(fields); n > 1 {
		e.Detail = fmt.Sprintf("%s (and %d more)", e.Detail, n-1)
	}
	e.Fields = fields[:min(len(fields), maxFields)]
	return e
}
