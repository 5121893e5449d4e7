package main

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// fits reports what in a file of YAML or JSON does not fit into a wire type: an
// unknown name, or a value of another kind. The decoder would say so without the
// path, and would make 1 of 1.5.
func fits(t reflect.Type, node ast.Node, path string) error {
	bad := func(at ast.Node, path, format string, args ...any) error {
		pos := at.GetToken().Position
		if path != "" {
			path += ": "
		}
		return fmt.Errorf("%d:%d: %s%s", pos.Line, pos.Column, path, fmt.Sprintf(format, args...))
	}
	switch n := node.(type) {
	case *ast.AnchorNode:
		return fits(t, n.Value, path)
	case *ast.AliasNode, *ast.NullNode, nil:
		return nil // what an alias means was looked at where it is
	}
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case t == reflect.TypeFor[time.Time]():
		text := scalar(node)
		if _, err := time.Parse(time.RFC3339, text); err != nil {
			return bad(node, path, "time %q: want one with its offset, such as 2026-12-24T18:00:00Z or 2026-12-24T18:00:00+01:00", text)
		}
		return nil
	case t == reflect.TypeFor[api.Slots]():
		if _, ok := node.(ast.ScalarNode); !ok {
			return bad(node, path, "want a number such as 2, or a percentage such as 5%%")
		}
		return nil
	}
	_, isMap := node.(*ast.MappingNode)
	_, isPair := node.(*ast.MappingValueNode)
	list, isList := node.(*ast.SequenceNode)
	_, isInt := node.(*ast.IntegerNode)
	_, isFloat := node.(*ast.FloatNode)
	_, isBool := node.(*ast.BoolNode)
	_, isScalar := node.(ast.ScalarNode)
	ok, want := isScalar, "a text"
	switch t.Kind() {
	case reflect.Struct:
		ok, want = isMap || isPair, "names with values: "+strings.Join(members(t), ", ")
	case reflect.Slice:
		ok, want = isList, "a list"
	case reflect.Bool:
		ok, want = isBool, "true or false"
	case reflect.Int, reflect.Int64:
		ok, want = isInt, "a whole number"
	case reflect.Float64:
		ok, want = isInt || isFloat, "a number"
	}
	if !ok {
		return bad(node, path, "%s does not belong here: want %s", kindOf(node), want)
	}
	if isList {
		for i, item := range list.Values {
			if err := fits(t.Elem(), item, fmt.Sprintf("%s[%d]", path, i)); err != nil {
				return err
			}
		}
		return nil
	}
	for _, pair := range pairs(node) {
		if _, merged := pair.Key.(*ast.MergeKeyNode); merged {
			continue // looked at where it is, as an alias
		}
		name := pair.Key.GetToken().Value
		below := strings.TrimPrefix(path+"."+name, ".")
		i := slices.Index(members(t), name)
		if i < 0 {
			return bad(pair.Key, below, "unknown field; want one of %s", strings.Join(members(t), ", "))
		}
		if err := fits(t.Field(i).Type, pair.Value, below); err != nil {
			return err
		}
	}
	return nil
}

// kindOf is a value as an error names it.
func kindOf(node ast.Node) string {
	switch node.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a map"
	case *ast.SequenceNode:
		return "a list"
	}
	return fmt.Sprintf("%q", scalar(node))
}

// members are the names of a wire type's fields, in order.
func members(t reflect.Type) []string {
	var list []string
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		list = append(list, name)
	}
	return list
}
