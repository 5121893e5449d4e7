package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/strict"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// declared is a file that was read: what it says of each group, and where.
type declared struct {
	file   string
	specs  map[string]api.GroupSpec
	places places
}

func (a *app) readGroups(file string) (declared, error) {
	text, file, err := a.readFile(file)
	if err != nil {
		return declared{}, err
	}
	d, err := parseGroups(text)
	if err != nil {
		return declared{}, usagef("%s:%w", file, err)
	}
	d.file = file
	return d, nil
}

// readFile reads a file, "-" for the standard input, and says how to name it.
func (a *app) readFile(name string) (text []byte, shown string, err error) {
	if name == "-" {
		text, err = io.ReadAll(a.in)
		name = "standard input"
	} else {
		text, err = os.ReadFile(name)
	}
	if err != nil {
		return nil, name, usageError{err}
	}
	return text, name, nil
}

// place is where the file says what a coordinator found wrong, as
// "FILE:LINE:COLUMN: "; empty for an error that is about no field.
func (d declared) place(group string, err error) string {
	var e *api.Error
	if !errors.As(err, &e) || e.Kind != api.Invalid || len(e.Fields) == 0 {
		return ""
	}
	return d.file + ":" + d.places.of(group, fieldPath(e.Fields[0]))
}

// parseGroups reads the file strictly. Its errors begin with "LINE:COLUMN: ".
func parseGroups(text []byte) (declared, error) {
	// An editor's byte order mark is no part of the first name.
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return declared{}, positioned(err)
	}
	// The decoder would read the first and leave out the others.
	if n := len(tree.Docs); n > 1 {
		return declared{}, fmt.Errorf("%d:1: %d documents, the second of which begins here: want one", tree.Docs[1].Start.Position.Line, n)
	}
	if err := groupsFit(tree); err != nil {
		return declared{}, err
	}
	var f groupsFile
	err = yaml.UnmarshalWithOptions(text, &f, yaml.Strict())
	var positioned yaml.Error
	if errors.As(err, &positioned) {
		pos := positioned.GetToken().Position
		return declared{}, fmt.Errorf("%d:%d: %s", pos.Line, pos.Column, plainYAML(positioned))
	}
	if err != nil {
		return declared{}, fmt.Errorf("1:1: %w", err)
	}
	if len(f.Groups) == 0 {
		return declared{}, errors.New(`1:1: no groups: want "groups:" with a name and "slots:" for each`)
	}
	d := declared{specs: map[string]api.GroupSpec{}}
	d.places = placesOf(tree)
	for _, name := range sortedKeys(f.Groups) {
		g := f.Groups[name]
		wrong := func(path, format string, args ...any) error {
			return fmt.Errorf("%sgroup %q: %w", d.places.of(name, path), name, fmt.Errorf(format, args...))
		}
		if err := semaphore.ValidGroup(name); err != nil {
			return declared{}, fmt.Errorf("%s%w", d.places.of(name, ""), err)
		}
		if g.Slots == "" {
			return declared{}, wrong("", "want slots, a number such as 2 or a percentage such as 5%%")
		}
		for i, l := range g.Limits {
			if path := fmt.Sprintf("limits[%d]", i); l.By == "" || l.Max == "" {
				return declared{}, wrong(path, "%s: want both by and max", path)
			}
		}
		for i, w := range g.Windows {
			if path := fmt.Sprintf("windows[%d]", i); w.Duration == "" {
				return declared{}, wrong(path, "%s: want a duration, such as 4h", path)
			}
		}
		spec := g.spec()
		if found := specProblems(spec); len(found) > 0 {
			return declared{}, wrong(found[0].Path, "%s: %s", found[0].Path, found[0].Detail)
		}
		d.specs[name] = spec
	}
	return d, nil
}

// wire is how the types of the API are written in a file.
var wire = strict.Form{Tag: "json", Leaf: map[reflect.Type]func(ast.Node) string{
	reflect.TypeFor[time.Time](): strict.Time,
	reflect.TypeFor[api.Slots](): func(node ast.Node) string {
		if _, ok := node.(ast.ScalarNode); !ok {
			return "want a number such as 2, or a percentage such as 5%"
		}
		return ""
	},
}}

// groupsFit reports the first name in the file that is none, and the first value
// of a wrong kind.
func groupsFit(tree *ast.File) error {
	for _, doc := range tree.Docs {
		for _, top := range strict.Pairs(doc.Body) {
			if key := top.Key.GetToken(); key.Value != "groups" {
				return fmt.Errorf("%d:%d: %s: %s", key.Position.Line, key.Position.Column, key.Value, strict.Unknown("field", key.Value, []string{"groups"}))
			}
			for _, group := range strict.Pairs(top.Value) {
				if err := wire.Check(reflect.TypeFor[api.GroupSpec](), group.Value, "groups."+group.Key.GetToken().Value); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// places are the positions of the values in a file of groups, by the paths that
// errors name: "windows[0].start" of a group.
type places map[string]map[string]*token.Position

// of is the position of a path or, where the file leaves that out, of what it
// would be in, as "LINE:COLUMN: ".
func (p places) of(group, path string) string {
	for {
		if pos := p[group][path]; pos != nil {
			return fmt.Sprintf("%d:%d: ", pos.Line, pos.Column)
		}
		if path == "" {
			return "1:1: "
		}
		path = path[:max(0, strings.LastIndexAny(path, ".["))]
	}
}

func placesOf(file *ast.File) places {
	found := places{}
	for _, doc := range file.Docs {
		for _, top := range strict.Pairs(doc.Body) {
			if top.Key.GetToken().Value != "groups" {
				continue
			}
			for _, group := range strict.Pairs(top.Value) {
				key := group.Key.GetToken()
				in := map[string]*token.Position{"": key.Position}
				notePlaces(in, "", group.Value)
				found[key.Value] = in
			}
		}
	}
	return found
}

// notePlaces notes where each value below a node is; of a list's item and of a
// map, that is where it begins.
func notePlaces(in map[string]*token.Position, path string, node ast.Node) {
	for _, pair := range strict.Pairs(node) {
		below := pair.Key.GetToken().Value
		if path != "" {
			below = path + "." + below
		}
		in[below] = pair.Key.GetToken().Position
		if _, ok := pair.Value.(ast.ScalarNode); ok {
			in[below] = pair.Value.GetToken().Position
		}
		notePlaces(in, below, pair.Value)
	}
	if list, ok := node.(*ast.SequenceNode); ok {
		for i, item := range list.Values {
			below := fmt.Sprintf("%s[%d]", path, i)
			in[below] = item.GetToken().Position
			if first := strict.Pairs(item); len(first) > 0 {
				in[below] = first[0].Key.GetToken().Position
			}
			notePlaces(in, below, item)
		}
	}
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
