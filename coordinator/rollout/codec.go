package rollout

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Stored values are JSON objects that a person can read. Encode writes one with
// the `v` that all coordinators read now (writes), or the one that it was read
// with if that is higher, and with the members of it that this version does not
// know. DecodeX reads one. Of a value with a `v` above semaphore.SchemaVersion it
// returns an error that wraps semaphore.ErrNewerSchema, and beside it what it
// could read, which is to be shown and nothing else.

// Encode writes the head.
func (h Head) Encode(writes int) ([]byte, error) {
	h.V = max(h.V, writes)
	return encode(h, h.Extra)
}

// Encode writes the selection. The bundles that nodes had are written once
// each: there are few, and many nodes.
func (s Selection) Encode(writes int) ([]byte, error) {
	at := map[string]int{}
	s.V = max(s.V, writes)
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
func (r Result) Encode(writes int) ([]byte, error) {
	r.V = max(r.V, writes)
	return encode(r, r.Extra)
}

// Encode writes the notice.
func (n Notice) Encode(writes int) ([]byte, error) {
	n.V = max(n.V, writes)
	return encode(n, n.Extra)
}

// Encode writes what a node was brought to.
func (s Settled) Encode(writes int) ([]byte, error) {
	s.V = max(s.V, writes)
	return encode(s, s.Extra)
}

// DecodeHead reads a head.
func DecodeHead(b []byte) (h Head, err error) {
	h.Extra, err = decode(b, &h, "head")
	return h, noWaveBelow(&h.Wave, err, "head")
}

// DecodeSelection reads a selection.
func DecodeSelection(b []byte) (s Selection, err error) {
	s.Extra, err = decode(b, &s, "selection")
	for i := range s.Nodes {
		n := &s.Nodes[i]
		if n.Had > 0 && n.Had <= len(s.Bundles) {
			n.Before = s.Bundles[n.Had-1]
		}
		err = noWaveBelow(&n.Wave, err, "selection")
	}
	return s, err
}

// noWaveBelow finds a value damaged whose wave is below the first, and makes it the
// first: also of what only can be shown it is taken for an index.
func noWaveBelow(wave *int, err error, what string) error {
	if *wave >= 0 {
		return err
	}
	if err == nil {
		err = fmt.Errorf("%s of a rollout: wave %d: want an index, from 0", what, *wave)
	}
	*wave = 0
	return err
}

// DecodeResult reads a result.
func DecodeResult(b []byte) (r Result, err error) {
	r.Extra, err = decode(b, &r, "result")
	return r, err
}

// DecodeNotice reads a notice.
func DecodeNotice(b []byte) (n Notice, err error) {
	n.Extra, err = decode(b, &n, "notice")
	return n, err
}

// DecodeSettled reads what a node was brought to.
func DecodeSettled(b []byte) (s Settled, err error) {
	s.Extra, err = decode(b, &s, "settled")
	return s, err
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

func decode(b []byte, value any, what string) (semaphore.Extra, error) {
	damaged := func(err error) error { return fmt.Errorf("%s of a rollout: %w", what, err) }
	var extra semaphore.Extra
	if err := json.Unmarshal(b, &extra); err != nil {
		return nil, damaged(err)
	}
	if extra == nil {
		return nil, damaged(errors.New("want a JSON object, not null"))
	}
	// v is read apart, because a newer value may not fit the fields.
	var v int
	if text, ok := extra["v"]; ok {
		if err := json.Unmarshal(text, &v); err != nil {
			return nil, damaged(fmt.Errorf("v: %w", err))
		}
	}
	misfit := json.Unmarshal(b, value)
	t := reflect.TypeOf(value).Elem()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		delete(extra, name)
	}
	if len(extra) == 0 {
		extra = nil
	}
	switch {
	case v > semaphore.SchemaVersion:
		return extra, fmt.Errorf("%s of a rollout: %w: its v is %d, this program knows up to %d", what, semaphore.ErrNewerSchema, v, semaphore.SchemaVersion)
	case misfit != nil:
		return nil, damaged(misfit)
	}
	return extra, nil
}
