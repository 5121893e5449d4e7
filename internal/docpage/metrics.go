package docpage

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

var (
	helpLine   = regexp.MustCompile(`^# HELP (\S+) (.*)$`)
	typeLine   = regexp.MustCompile(`^# TYPE (\S+) (\S+)$`)
	sampleLine = regexp.MustCompile(`^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? \S+$`)
	labelName  = regexp.MustCompile(`([a-zA-Z_][a-zA-Z0-9_]*)="(?:[^"\\]|\\.)*"`)
	ofFamily   = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// Family is one metric as a program exposes it.
type Family struct {
	Name, Help, Type string
	Labels           []string // of its samples, in their order, without le
}

// Families reads metrics in Prometheus' text format, by name.
func Families(exposition string) []Family {
	byName := map[string]*Family{}
	of := func(name string) *Family {
		if byName[name] == nil {
			byName[name] = &Family{Name: name}
		}
		return byName[name]
	}
	for line := range strings.Lines(exposition) {
		line = strings.TrimSuffix(line, "\n")
		if m := helpLine.FindStringSubmatch(line); m != nil {
			of(m[1]).Help = strings.NewReplacer(`\\`, `\`, `\n`, " ").Replace(m[2])
		} else if m := typeLine.FindStringSubmatch(line); m != nil {
			of(m[1]).Type = m[2]
		} else if m := sampleLine.FindStringSubmatch(line); m != nil {
			name := m[1]
			if base := ofFamily.ReplaceAllString(name, ""); byName[base] != nil && byName[base].Type == "histogram" {
				name = base
			}
			f := of(name)
			for _, l := range labelName.FindAllStringSubmatch(m[2], -1) {
				if l[1] != "le" && !slices.Contains(f.Labels, l[1]) {
					f.Labels = append(f.Labels, l[1])
				}
			}
		}
	}
	list := make([]Family, 0, len(byName))
	for _, f := range byName {
		list = append(list, *f)
	}
	slices.SortFunc(list, func(a, b Family) int { return cmp.Compare(a.Name, b.Name) })
	return list
}

// Unit that a name ends with, as Prometheus wants it to.
func (f *Family) Unit() string {
	name := strings.TrimSuffix(f.Name, "_total")
	for suffix, unit := range map[string]string{"_timestamp_seconds": "Unix seconds", "_seconds": "seconds", "_bytes": "bytes"} {
		if strings.HasSuffix(name, suffix) && (suffix != "_seconds" || !strings.HasSuffix(name, "_timestamp_seconds")) {
			return unit
		}
	}
	return "–"
}

// Table of the families, for a page.
func Table(list []Family) string {
	var b strings.Builder
	b.WriteString("| name | type | unit | labels | meaning |\n|---|---|---|---|---|\n")
	for _, f := range list {
		labels := strings.Join(f.Labels, ", ")
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s |\n", f.Name, f.Type, f.Unit(), cmp.Or(labels, "–"), strings.ReplaceAll(f.Help, "|", `\|`))
	}
	return b.String()
}
