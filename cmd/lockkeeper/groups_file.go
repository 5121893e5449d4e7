package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/strict"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// groupsFile is the file's form. The values that a text can spoil carry their
// own check, so that the error has their place.
type groupsFile struct {
	Groups map[string]groupSpec `yaml:"groups"`
}

type groupSpec struct {
	Slots            slots      `yaml:"slots"`
	Limits           []limit    `yaml:"limits,omitempty"`
	CountUnreachable bool       `yaml:"count_unreachable,omitempty"`
	Windows          []window   `yaml:"windows,omitempty"`
	Blackouts        []blackout `yaml:"blackouts,omitempty"`
	GrantInterval    duration   `yaml:"grant_interval,omitempty"`
	Timeouts         *groupTime `yaml:"timeouts,omitempty"`
}

type limit struct {
	By  string `yaml:"by"`
	Max slots  `yaml:"max"`
}

type window struct {
	Name     string   `yaml:"name,omitempty"`
	Weekdays []string `yaml:"weekdays,omitempty,flow"`
	Start    string   `yaml:"start,omitempty"`
	Cron     string   `yaml:"cron,omitempty"`
	Duration duration `yaml:"duration"`
	Cutoff   duration `yaml:"cutoff,omitempty"`
	TimeZone string   `yaml:"time_zone,omitempty"`
}

type blackout struct {
	Name   string `yaml:"name"`
	Start  moment `yaml:"start"`
	End    moment `yaml:"end"`
	Reason string `yaml:"reason,omitempty"`
}

type groupTime struct {
	Hold          duration `yaml:"hold,omitempty"`
	FleetLockHold duration `yaml:"fleetlock_hold,omitempty"`
}

type (
	slots    string
	duration string
	moment   string
)

// UnmarshalYAML checks the value where its line and column are known.
func (s *slots) UnmarshalYAML(node ast.Node) error {
	text := strict.Scalar(node)
	if _, err := semaphore.ParseSlots(text); err != nil {
		return at(node, err.Error())
	}
	*s = slots(text)
	return nil
}

// UnmarshalYAML checks the value where its line and column are known.
func (t *duration) UnmarshalYAML(node ast.Node) error {
	if err := checkTimeout("duration", strict.Scalar(node)); err != nil {
		return at(node, err.Error())
	}
	*t = duration(strict.Scalar(node))
	return nil
}

// UnmarshalYAML checks the value where its line and column are known.
func (m *moment) UnmarshalYAML(node ast.Node) error {
	text := strict.Scalar(node)
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return at(node, fmt.Sprintf("time %q: want one with its offset, such as 2026-12-24T18:00:00Z or 2026-12-24T18:00:00+01:00", text))
	}
	*m = moment(text)
	return nil
}

func (m moment) time() time.Time {
	t, _ := time.Parse(time.RFC3339, string(m)) // checked when it was read
	return t.UTC()
}

func at(node ast.Node, text string) error {
	return &yaml.SyntaxError{Message: text, Token: node.GetToken()}
}

// spec is what the file declares, as the API has it.
func (g groupSpec) spec() api.GroupSpec {
	spec := api.GroupSpec{Slots: api.Slots(g.Slots), CountUnreachable: g.CountUnreachable, GrantInterval: string(g.GrantInterval)}
	for _, l := range g.Limits {
		spec.Limits = append(spec.Limits, api.Limit{By: l.By, Max: api.Slots(l.Max)})
	}
	for _, w := range g.Windows {
		spec.Windows = append(spec.Windows, api.WindowSpec{
			Name: w.Name, Weekdays: w.Weekdays, Start: w.Start, Cron: w.Cron, TimeZone: w.TimeZone,
			Duration: string(w.Duration), Cutoff: string(w.Cutoff),
		})
	}
	for _, b := range g.Blackouts {
		spec.Blackouts = append(spec.Blackouts, api.BlackoutSpec{Name: b.Name, Start: b.Start.time(), End: b.End.time(), Reason: b.Reason})
	}
	if g.Timeouts != nil {
		spec.Timeouts = api.GroupTimeouts{Hold: string(g.Timeouts.Hold), FleetLockHold: string(g.Timeouts.FleetLockHold)}
	}
	return spec
}

// groupSpecOf is the file's form of a spec.
func groupSpecOf(spec api.GroupSpec) groupSpec {
	g := groupSpec{Slots: slots(spec.Slots), CountUnreachable: spec.CountUnreachable, GrantInterval: duration(shortDuration(spec.GrantInterval))}
	for _, l := range spec.Limits {
		g.Limits = append(g.Limits, limit{By: l.By, Max: slots(l.Max)})
	}
	for _, w := range spec.Windows {
		g.Windows = append(g.Windows, window{
			Name: w.Name, Weekdays: slices.Clone(w.Weekdays), Start: w.Start, Cron: w.Cron, TimeZone: w.TimeZone,
			Duration: duration(shortDuration(w.Duration)), Cutoff: duration(shortDuration(w.Cutoff)),
		})
	}
	for _, b := range spec.Blackouts {
		g.Blackouts = append(g.Blackouts, blackout{
			Name: b.Name, Start: moment(b.Start.Format(time.RFC3339)), End: moment(b.End.Format(time.RFC3339)), Reason: b.Reason,
		})
	}
	if spec.Timeouts != (api.GroupTimeouts{}) {
		g.Timeouts = &groupTime{Hold: duration(shortDuration(spec.Timeouts.Hold)), FleetLockHold: duration(shortDuration(spec.Timeouts.FleetLockHold))}
	}
	return g
}
