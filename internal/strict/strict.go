// Package strict says what in a file of YAML or JSON does not fit into the type
// that it is read into, in the file's words: where, by line, column and path, what
// is wrong, and what would be accepted. The decoder says so in Go's words and
// without the path, and makes 1 of 1.5.
package strict

import (
	"encoding"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"

	"github.com/lockkeeper/lockkeeper/internal/near"
)

// Form says how a type is written in a file.
type Form struct {
	Tag string // that names the fields: json or yaml
	// Hide: values may be secrets, and are not repeated.
	Hide bool
	// Leaf says, of a type whose values are of its own form, what is wanted where a
	// node is none, "" where it is one. Other types that read themselves are left to
	// the decoder.
	Leaf map[reflect.Type]func(ast.Node) string
}

// Check reports the first thing below a node that does not fit into t, as
// "LINE:COLUMN: PATH: what"; path is that of the node.
func (f *Form) Check(t reflect.Type, node ast.Node, path string) error {
	bad := func(at ast.Node, path, format string, args ...any) error {
		pos := at.GetToken().Position
		if path != "" {
			path += ": "
		}
		return fmt.Errorf("%d:%d: %s%s", pos.Line, pos.Column, path, fmt.Sprintf(format, args...))
	}
	switch n := node.(type) {
	case *ast.AnchorNode:
		return f.Check(t, n.Value, path)
	case *ast.TagNode:
		return f.Check(t, n.Value, path)
	case *ast.AliasNode, *ast.NullNode, nil:
		return nil // what an alias means was looked at where it is
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if leaf := f.Leaf[t]; leaf != nil {
		if wanted := leaf(node); wanted != "" {
			return bad(node, path, "%s", wanted)
		}
		return nil
	}
	if readsItself(t) {
		return nil
	}
	if want := f.wanted(t, node); want != "" {
		return bad(node, path, "%s does not belong here: want %s", f.kindOf(node), want)
	}
	if list, ok := node.(*ast.SequenceNode); ok {
		for i, item := range list.Values {
			if err := f.Check(t.Elem(), item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, pair := range Pairs(node) {
		if _, merged := pair.Key.(*ast.MergeKeyNode); merged {
			continue // looked at where it is, as an alias
		}
		name := pair.Key.GetToken().Value
		below := strings.TrimPrefix(path+"."+name, ".")
		if t.Kind() == reflect.Map {
			if err := f.Check(t.Elem(), pair.Value, below); err != nil {
				return err
			}
			continue
		}
		field, ok := f.fields(t)[name]
		if !ok {
			return bad(pair.Key, below, "%s", Unknown("field", name, f.Members(t)))
		}
		if err := f.Check(field, pair.Value, below); err != nil {
			return err
		}
	}
	return nil
}

// Unknown says that there is no such thing, which there are, and which may have
// been meant.
func Unknown(what, name string, accepted []string) string {
	if len(accepted) == 1 {
		return "unknown " + what + "; want " + accepted[0]
	}
	text := "unknown " + what + "; want one of " + strings.Join(accepted, ", ")
	if meant := near.To(name, accepted); len(meant) > 0 {
		text += "; did you mean " + strings.Join(meant, " or ") + "?"
	}
	return text
}

var (
	ofNode  = reflect.TypeFor[yaml.NodeUnmarshaler]()
	ofBytes = reflect.TypeFor[yaml.BytesUnmarshaler]()
	ofText  = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func readsItself(t reflect.Type) bool {
	p := reflect.PointerTo(t)
	return p.Implements(ofNode) || p.Implements(ofBytes) || p.Implements(ofText)
}

// wanted is what a value of the type would be, where the node is none.
func (f *Form) wanted(t reflect.Type, node ast.Node) string {
	_, isMap := node.(*ast.MappingNode)
	_, isPair := node.(*ast.MappingValueNode)
	_, isList := node.(*ast.SequenceNode)
	_, isInt := node.(*ast.IntegerNode)
	_, isFloat := node.(*ast.FloatNode)
	_, isBool := node.(*ast.BoolNode)
	_, isScalar := node.(ast.ScalarNode)
	ok, want := isScalar, "a text"
	switch t.Kind() {
	case reflect.Struct:
		ok, want = isMap || isPair, "names with values: "+strings.Join(f.Members(t), ", ")
	case reflect.Map:
		ok, want = isMap || isPair, "names with values"
	case reflect.Slice:
		ok, want = isList, "a list"
	case reflect.Bool:
		ok, want = isBool, "true or false"
	case reflect.Int, reflect.Int64:
		ok, want = isInt, "a whole number"
	case reflect.Float64:
		ok, want = isInt || isFloat, "a number"
	}
	if ok {
		return ""
	}
	return want
}

// kindOf is a value as an error names it.
func (f *Form) kindOf(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a map"
	case *ast.SequenceNode:
		return "a list"
	case *ast.IntegerNode, *ast.FloatNode:
		if f.Hide {
			return "a number"
		}
	}
	if f.Hide {
		return "a text"
	}
	return fmt.Sprintf("%q", Scalar(node))
}

// Members are the names of a type's fields, in order.
func (f *Form) Members(t reflect.Type) []string {
	var list []string
	for field := range t.Fields() {
		if name, _, _ := strings.Cut(field.Tag.Get(f.Tag), ","); name != "" && name != "-" {
			list = append(list, name)
		}
	}
	return list
}

func (f *Form) fields(t reflect.Type) map[string]reflect.Type {
	types := map[string]reflect.Type{}
	for field := range t.Fields() {
		name, _, _ := strings.Cut(field.Tag.Get(f.Tag), ",")
		types[name] = field.Type
	}
	for _, none := range []string{"", "-"} {
		delete(types, none)
	}
	return types
}

// Time is the leaf for time.Time.
func Time(node ast.Node) string {
	text := Scalar(node)
	if _, err := time.Parse(time.RFC3339, text); err != nil {
		return fmt.Sprintf("time %q: want one with its offset, such as 2026-12-24T18:00:00Z or 2026-12-24T18:00:00+01:00", text)
	}
	return ""
}

// Duration is the leaf for time.Duration: a bare number would be read as
// nanoseconds, which nobody means.
func Duration(node ast.Node) string {
	text := Scalar(node)
	if _, err := time.ParseDuration(text); err != nil {
		return "want a duration with its unit, such as 30s, 10m or 1h30m"
	}
	return ""
}

// Scalar is a value as it was written, without quotes.
func Scalar(node ast.Node) string {
	if n, ok := node.(ast.ScalarNode); ok {
		return fmt.Sprint(n.GetValue())
	}
	return node.String()
}

// Pairs are the names of a map with their values; none of anything else.
func Pairs(node ast.Node) []*ast.MappingValueNode {
	switch n := node.(type) {
	case *ast.AnchorNode:
		return Pairs(n.Value)
	case *ast.MappingNode:
		return slices.Clone(n.Values)
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	return nil
}
