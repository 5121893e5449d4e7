package main

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/parser"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// rolloutFile is a file that was read: the rollout that it describes, and where
// it says what.
type rolloutFile struct {
	name   string
	spec   api.RolloutSpec
	places places // of a group without a name
}

// says reports whether the file has a member of that path.
func (f *rolloutFile) says(path string) bool { return f.places[""][path] != nil }

// placed puts the place in the file before what a coordinator found wrong.
func (f *rolloutFile) placed(err error) error {
	var e *api.Error
	if f == nil || !errors.As(err, &e) || e.Kind != api.Invalid || len(e.Fields) == 0 {
		return err
	}
	return fmt.Errorf("%s:%s%w", f.name, f.places.of("", fieldPath(e.Fields[0])), err)
}

// readRollout reads a file of YAML or JSON strictly, "-" for the standard input.
func (a *app) readRollout(name string) (*rolloutFile, error) {
	text, name, err := a.readFile(name)
	if err != nil {
		return nil, err
	}
	f, err := parseRollout(text)
	if err != nil {
		return nil, usagef("%s:%w", name, err)
	}
	f.name = name
	return f, nil
}

// parseRollout reads a rollout strictly. Its errors begin with "LINE:COLUMN: ",
// and name the path.
func parseRollout(text []byte) (*rolloutFile, error) {
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	tree, err := parser.ParseBytes(text, 0)
	if err != nil {
		return nil, positioned(err)
	}
	if len(tree.Docs) != 1 {
		return nil, fmt.Errorf("1:1: %d documents: want one, a rollout", len(tree.Docs))
	}
	f := &rolloutFile{places: places{"": {"": {Line: 1, Column: 1}}}}
	notePlaces(f.places[""], "", tree.Docs[0].Body)
	if len(f.places[""]) == 1 {
		return nil, errors.New(`1:1: no rollout: want "bundle:", the nodes such as "group:", and what else "lockkeeper rollout start --help" shows`)
	}
	if err := wire.Check(reflect.TypeFor[api.RolloutSpec](), tree.Docs[0].Body, ""); err != nil {
		return nil, err
	}
	// Through the members of the JSON, which the decoder takes where there are
	// none of YAML.
	if err := yaml.UnmarshalWithOptions(text, &f.spec, yaml.Strict()); err != nil {
		return nil, positioned(err)
	}
	f.spec.Start = f.spec.Start.UTC()
	return f, nil
}

// positioned is an error of the decoder with its place.
func positioned(err error) error {
	var e yaml.Error
	if !errors.As(err, &e) || e.GetToken() == nil {
		return fmt.Errorf("1:1: %w", err)
	}
	pos := e.GetToken().Position
	message := e.GetMessage()
	if strings.Contains(message, "'\t' that cannot start") {
		message = "a tab: YAML is indented with spaces"
	}
	return fmt.Errorf("%d:%d: %s", pos.Line, pos.Column, message)
}
