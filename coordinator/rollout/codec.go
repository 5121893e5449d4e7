package rollout

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Encode writes a stored value together with the members of it that this
// version does not know.
func (h Head) Encode() ([]byte, error) { return encode(h, h.Extra) }

// Encode writes the selection. The bundles that nodes had are written once
// each: there are few, and many nodes.
func (s Selection) Encode() ([]byte, error) {
	at := map[string]int{}
	s.Nodes, s.Bundles = slices.Clone(s.Nodes), nil
	for i := range s.Nodes {
		n := &s.Nodes[i]
		n.Had = 0
		if n.Before == "" {
			continue
		}
		if at[n.Before] == 0 {
			s.Bundles = append(s.Bundles, n.Before)
			at[n.Before] = len(s.Bundles)
		}
		n.Had = at[n.Before]
	}
	return encode(s, s.Extra)
}

// Encode writes the result.
func (r Result) Encode() ([]byte, error) { return encode(r, r.Extra) }

// DecodeHead reads a head. newer reports a `v` above SchemaVersion.
func DecodeHead(b []byte) (h Head, newer bool, err error) {
	h.Extra, err = decode(b, &h)
	return h, h.V > SchemaVersion, err
}

// DecodeSelection reads a selection.
func DecodeSelection(b []byte) (s Selection, newer bool, err error) {
	s.Extra, err = decode(b, &s)
	for i := range s.Nodes {
		if n := &s.Nodes[i]; n.Had > 0 && n.Had <= len(s.Bundles) {
			n.Before = s.Bundles[n.Had-1]
		}
	}
	return s, s.V > SchemaVersion, err
}

// DecodeResult reads a result.
func DecodeResult(b []byte) (r Result, newer bool, err error) {
	r.Extra, err = decode(b, &r)
	return r, r.V > SchemaVersion, err
}

func encode(v any, extra semaphore.Extra) ([]byte, error) {
	b, err := json.Marshal(v)
	if err != nil || len(extra) == 0 {
		return b, err
	}
	members := map[string]json.RawMessage{}
	if err := json.Unmarshal(b, &members); err != nil {
		return nil, err
	}
	for name, value := range extra {
		if _, known := members[name]; !known {
			members[name] = value
		}
	}
	return json.Marshal(members)
}

func decode(b []byte, v any) (semaphore.Extra, error) {
	if err := json.Unmarshal(b, v); err != nil {
		return nil, fmt.Errorf("a stored rollout value does not read as JSON: %w", err)
	}
	var extra semaphore.Extra
	if err := json.Unmarshal(b, &extra); err != nil {
		return nil, err
	}
	t := reflect.TypeOf(v).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		delete(extra, name)
	}
	if len(extra) == 0 {
		return nil, nil
	}
	return extra, nil
}
