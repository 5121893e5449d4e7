package agent

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
)

var placeholder = regexp.MustCompile(`\{\{\s*([^{}]*?)\s*\}\}`)

// render replaces {{node}}, {{group}} and {{label.NAME}}. Anything else in
// double braces, and a label that this host does not have, is an error.
func (c *Config) render(path string, content []byte) ([]byte, error) {
	var bad []string
	out := placeholder.ReplaceAllFunc(content, func(m []byte) []byte {
		name := string(placeholder.FindSubmatch(m)[1])
		label, isLabel := strings.CutPrefix(name, "label.")
		switch value, has := c.Labels[label]; {
		case name == "node":
			return []byte(c.Node)
		case name == "group":
			return []byte(c.Group)
		case isLabel && has:
			return []byte(value)
		}
		bad = append(bad, string(bytes.TrimSpace(m)))
		return m
	})
	if len(bad) > 0 {
		slices.Sort(bad)
		return nil, refuse("render", "%s: no value for %s; accepted: {{node}}, {{group}}, {{label.NAME}} with a label of this host (%s)",
			path, strings.Join(slices.Compact(bad), ", "), strings.Join(c.labelNames(), ", "))
	}
	return out, nil
}

func (c *Config) labelNames() []string {
	var names []string
	for k := range c.Labels {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}

// env is what hooks and commands are told.
func (c *Config) env(s *State) []string {
	env := []string{
		"LOCKKEEPER_NODE=" + c.Node,
		"LOCKKEEPER_GROUP=" + c.Group,
		"LOCKKEEPER_ROOT=" + c.Host.Root(),
		"LOCKKEEPER_PHASE=" + string(s.Phase),
	}
	if s.Job != nil {
		env = append(env, "LOCKKEEPER_BUNDLE="+s.Job.Bundle, "LOCKKEEPER_BUNDLE_NAME="+s.Job.Name, "LOCKKEEPER_ROLLOUT="+s.Job.Rollout)
	}
	for _, name := range c.labelNames() {
		env = append(env, "LOCKKEEPER_LABEL_"+envName(name)+"="+c.Labels[name])
	}
	return slices.DeleteFunc(env, func(v string) bool { return strings.ContainsRune(v, 0) })
}

// envName makes a variable's name of a label's: zone-id is ZONE_ID.
func envName(label string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z':
			return r - 'a' + 'A'
		case r >= 'A' && r <= 'Z', r >= '0' && r <= '9':
			return r
		}
		return '_'
	}, label)
}
