package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func (a *app) applyCommand() *cobra.Command {
	var file string
	var dryRun bool
	c := &cobra.Command{
		Use:   "apply -f FILE",
		Short: "Bring groups to what a file declares",
		Long: `Bring groups to what a file declares.

What the file does not say of a group is its default; groups that it does not
name are left alone. The whole file is read before anything is changed.

  groups:
    web:
      slots: 2            # or a percentage of the members: 5%
      limits:
        - by: zone
          max: 1
      count_unreachable: true
      timeouts:
        hold: 30m
        fleetlock_hold: 1h

"lockkeeper group export" writes such a file.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return usagef("want -f FILE, or -f - for the standard input")
			}
			specs, err := a.readGroups(file)
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			result := []api.Group{}
			for _, name := range sortedKeys(specs) {
				g, old, err := putGroup(cmd.Context(), c, name, "", dryRun, func(*api.GroupSpec) (api.GroupSpec, error) {
					return specs[name], nil
				})
				if err != nil {
					return fmt.Errorf("group %s: %w", name, err)
				}
				a.say("%s", changeLine(name, old, g.Spec, dryRun))
				result = append(result, g)
			}
			return a.print(result, func() error { return nil })
		},
	}
	c.Flags().StringVarP(&file, "file", "f", "", "YAML file, - for the standard input")
	c.Flags().BoolVar(&dryRun, "dry-run", false, "say what would change, and change nothing")
	cli.NoEnv(c, "file")
	return c
}

func (a *app) readGroups(file string) (map[string]api.GroupSpec, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(a.in)
		file = "standard input"
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, usageError{err}
	}
	specs, err := parseGroups(text)
	if err != nil {
		return nil, usagef("%s:%w", file, err)
	}
	return specs, nil
}

// groupsFile is the file's form. The values that a text can spoil carry their
// own check, so that the error has their place.
type groupsFile struct {
	Groups map[string]groupSpec `yaml:"groups"`
}

type groupSpec struct {
	Slots            slots      `yaml:"slots"`
	Limits           []limit    `yaml:"limits,omitempty"`
	CountUnreachable bool       `yaml:"count_unreachable,omitempty"`
	Timeouts         *groupTime `yaml:"timeouts,omitempty"`
}

type limit struct {
	By  string `yaml:"by"`
	Max slots  `yaml:"max"`
}

type groupTime struct {
	Hold          timeout `yaml:"hold,omitempty"`
	FleetLockHold timeout `yaml:"fleetlock_hold,omitempty"`
}

type (
	slots   string
	timeout string
)

// UnmarshalYAML checks the value where its line and column are known.
func (s *slots) UnmarshalYAML(node ast.Node) error {
	text := scalar(node)
	if _, err := semaphore.ParseSlots(text); err != nil {
		return at(node, err.Error())
	}
	*s = slots(text)
	return nil
}

// UnmarshalYAML checks the value where its line and column are known.
func (t *timeout) UnmarshalYAML(node ast.Node) error {
	if err := checkTimeout("duration", scalar(node)); err != nil {
		return at(node, err.Error())
	}
	*t = timeout(scalar(node))
	return nil
}

func scalar(node ast.Node) string {
	if n, ok := node.(ast.ScalarNode); ok {
		return fmt.Sprint(n.GetValue())
	}
	return node.String()
}

func at(node ast.Node, text string) error {
	return &yaml.SyntaxError{Message: text, Token: node.GetToken()}
}

// parseGroups reads the file strictly. Its errors begin with "LINE:COLUMN: ".
func parseGroups(text []byte) (map[string]api.GroupSpec, error) {
	var f groupsFile
	err := yaml.UnmarshalWithOptions(text, &f, yaml.Strict())
	var positioned yaml.Error
	if errors.As(err, &positioned) {
		pos := positioned.GetToken().Position
		return nil, fmt.Errorf("%d:%d: %s", pos.Line, pos.Column, plainYAML(positioned))
	}
	if err != nil {
		return nil, fmt.Errorf("1:1: %w", err)
	}
	if len(f.Groups) == 0 {
		return nil, errors.New(`1:1: no groups: want "groups:" with a name and "slots:" for each`)
	}
	places, err := groupPlaces(text)
	if err != nil {
		return nil, fmt.Errorf("1:1: %w", err)
	}
	specs := map[string]api.GroupSpec{}
	for _, name := range sortedKeys(f.Groups) {
		g, line := f.Groups[name], places[name]
		if err := semaphore.ValidGroup(name); err != nil {
			return nil, fmt.Errorf("%s%w", line, err)
		}
		if g.Slots == "" {
			return nil, fmt.Errorf("%sgroup %q: want slots, a number such as 2 or a percentage such as 5%%", line, name)
		}
		spec := api.GroupSpec{Slots: api.Slots(g.Slots), CountUnreachable: g.CountUnreachable}
		for i, l := range g.Limits {
			if l.By == "" || l.Max == "" {
				return nil, fmt.Errorf("%sgroup %q: limits[%d]: want both by and max", line, name, i)
			}
			spec.Limits = append(spec.Limits, api.Limit{By: l.By, Max: api.Slots(l.Max)})
		}
		if g.Timeouts != nil {
			spec.Timeouts = api.GroupTimeouts{Hold: string(g.Timeouts.Hold), FleetLockHold: string(g.Timeouts.FleetLockHold)}
		}
		specs[name] = spec
	}
	return specs, nil
}

// groupPlaces finds where each group begins, as "LINE:COLUMN: ".
func groupPlaces(text []byte) (map[string]string, error) {
	file, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, err
	}
	places := map[string]string{}
	for _, doc := range file.Docs {
		for _, top := range pairs(doc.Body) {
			if top.Key.GetToken().Value != "groups" {
				continue
			}
			for _, group := range pairs(top.Value) {
				key := group.Key.GetToken()
				places[key.Value] = fmt.Sprintf("%d:%d: ", key.Position.Line, key.Position.Column)
			}
		}
	}
	return places, nil
}

func pairs(node ast.Node) []*ast.MappingValueNode {
	switch n := node.(type) {
	case *ast.AnchorNode:
		return pairs(n.Value)
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}

// plainYAML takes Go's types out of what the decoder says.
func plainYAML(e yaml.Error) string {
	var wrong *yaml.TypeError
	if !errors.As(e, &wrong) {
		return e.GetMessage()
	}
	want := "a text"
	switch wrong.DstType.Kind() {
	case reflect.Bool:
		want = "true or false"
	case reflect.Slice:
		want = "a list"
	case reflect.Map, reflect.Struct:
		want = "names with values"
	}
	return fmt.Sprintf("%q does not belong here: want %s", wrong.Token.Value, want)
}
