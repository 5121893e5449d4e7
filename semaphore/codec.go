package semaphore

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"strings"
	"sync"
)

// The stored values are JSON objects that a person can read. Members that this
// version does not know are kept in Extra and written again. EncodeX writes a
// value; DecodeX reads one. Of a value with a `v` above SchemaVersion DecodeX
// returns an error that wraps ErrNewerSchema, and beside it what it could read,
// with Extra, so that it can be shown, and a head rewritten for a release.

// The plain types have the fields without the methods, so that encoding/json
// does not call them again.
type (
	plainHead   Head
	plainSpec   Spec
	plainHold   Hold
	plainMember Member
	plainWaiter Waiter
	plainFreeze Freeze
	plainOut    MemberOut
	plainFroze  Froze
)

// MarshalJSON writes the value with the members in Extra.
func (h Head) MarshalJSON() ([]byte, error) { return encode(plainHead(h), h.Extra) }

// MarshalJSON writes the value with the members in Extra.
func (s Spec) MarshalJSON() ([]byte, error) { return encode(plainSpec(s), s.Extra) }

// MarshalJSON writes the value with the members in Extra.
func (h Hold) MarshalJSON() ([]byte, error) { return encode(plainHold(h), h.Extra) }

// MarshalJSON writes the value with the members in Extra.
func (m Member) MarshalJSON() ([]byte, error) { return encode(plainMember(m), m.Extra) }

// MarshalJSON writes the value with the members in Extra.
func (w Waiter) MarshalJSON() ([]byte, error) { return encode(plainWaiter(w), w.Extra) }

// MarshalJSON writes the value with the members in Extra.
func (f Freeze) MarshalJSON() ([]byte, error) { return encode(plainFreeze(f), f.Extra) }

// MarshalJSON writes the value with the members in Extra.
func (o MemberOut) MarshalJSON() ([]byte, error) { return encode(plainOut(o), o.Extra) }

// MarshalJSON writes the value with the members in Extra.
func (f Froze) MarshalJSON() ([]byte, error) { return encode(plainFroze(f), f.Extra) }

// UnmarshalJSON reads the value and keeps unknown members in Extra.
func (f *Froze) UnmarshalJSON(b []byte) (err error) {
	*f = Froze{}
	f.Extra, err = decode(b, (*plainFroze)(f))
	return err
}

// UnmarshalJSON reads the value and keeps unknown members in Extra.
func (o *MemberOut) UnmarshalJSON(b []byte) (err error) {
	*o = MemberOut{}
	o.Extra, err = decode(b, (*plainOut)(o))
	return err
}

// UnmarshalJSON reads the value and keeps unknown members in Extra.
func (h *Head) UnmarshalJSON(b []byte) (err error) {
	*h = Head{}
	h.Extra, err = decode(b, (*plainHead)(h))
	return err
}

// UnmarshalJSON reads the value and keeps unknown members in Extra.
func (s *Spec) UnmarshalJSON(b []byte) (err error) {
	*s = Spec{}
	s.Extra, err = decode(b, (*plainSpec)(s))
	return err
}

// UnmarshalJSON reads the value and keeps unknown members in Extra.
func (h *Hold) UnmarshalJSON(b []byte) (err error) {
	*h = Hold{}
	h.Extra, err = decode(b, (*plainHold)(h))
	return err
}

// UnmarshalJSON reads the value and keeps unknown members in Extra.
func (m *Member) UnmarshalJSON(b []byte) (err error) {
	*m = Member{}
	m.Extra, err = decode(b, (*plainMember)(m))
	return err
}

// UnmarshalJSON reads the value and keeps unknown members in Extra.
func (w *Waiter) UnmarshalJSON(b []byte) (err error) {
	*w = Waiter{}
	w.Extra, err = decode(b, (*plainWaiter)(w))
	return err
}

// UnmarshalJSON reads the value and keeps unknown members in Extra.
func (f *Freeze) UnmarshalJSON(b []byte) (err error) {
	*f = Freeze{}
	f.Extra, err = decode(b, (*plainFreeze)(f))
	return err
}

// EncodeHead writes a head.
func EncodeHead(h Head) ([]byte, error) { return h.MarshalJSON() }

// EncodeSpec writes a spec.
func EncodeSpec(s Spec) ([]byte, error) { return s.MarshalJSON() }

// EncodeHold writes a hold.
func EncodeHold(h Hold) ([]byte, error) { return h.MarshalJSON() }

// EncodeMember writes a member.
func EncodeMember(m Member) ([]byte, error) { return m.MarshalJSON() }

// EncodeWaiter writes a waiter, without what its coordinator alone knows.
func EncodeWaiter(w Waiter) ([]byte, error) { return w.MarshalJSON() }

// EncodeFreeze writes a freeze.
func EncodeFreeze(f Freeze) ([]byte, error) { return f.MarshalJSON() }

// EncodeMemberOut writes whose host is out.
func EncodeMemberOut(o MemberOut) ([]byte, error) { return o.MarshalJSON() }

// EncodeFroze writes when the fleet was frozen.
func EncodeFroze(f Froze) ([]byte, error) { return f.MarshalJSON() }

// EncodeEvent writes an event. Events are never rewritten and keep no Extra.
func EncodeEvent(e Event) ([]byte, error) { return json.Marshal(e) }

// DecodeHead reads a head; a newer freeze in it makes it newer too. Of a newer
// head that this program cannot read whole it returns the v alone: without a
// next fence nothing may be written, no release either.
func DecodeHead(b []byte) (Head, error) {
	h, err := read[Head](b, "head")
	if errors.Is(err, ErrNewerSchema) && json.Unmarshal(b, new(Head)) != nil {
		return Head{V: h.V}, err
	}
	if err == nil && h.Freeze != nil && h.Freeze.V > SchemaVersion {
		err = newer("freeze of the head", h.Freeze.V)
	}
	return h, err
}

// DecodeSpec reads a spec.
func DecodeSpec(b []byte) (Spec, error) { return read[Spec](b, "spec") }

// DecodeHold reads a hold.
func DecodeHold(b []byte) (Hold, error) { return read[Hold](b, "hold") }

// DecodeMember reads a member.
func DecodeMember(b []byte) (Member, error) { return read[Member](b, "member") }

// DecodeWaiter reads a waiter.
func DecodeWaiter(b []byte) (Waiter, error) { return read[Waiter](b, "waiter") }

// DecodeMemberOut reads whose host is out.
func DecodeMemberOut(b []byte) (MemberOut, error) { return read[MemberOut](b, "member-out") }

// DecodeFreeze reads a freeze.
func DecodeFreeze(b []byte) (Freeze, error) { return read[Freeze](b, "freeze") }

// DecodeFroze reads when the fleet was frozen.
func DecodeFroze(b []byte) (Froze, error) { return read[Froze](b, "froze") }

// DecodeEvent reads an event.
func DecodeEvent(b []byte) (Event, error) { return read[Event](b, "event") }

func newer(what string, v int) error {
	return fmt.Errorf("%s: %w: its v is %d, this program knows up to %d", what, ErrNewerSchema, v, SchemaVersion)
}

func read[T any](b []byte, what string) (T, error) {
	var value T
	err := json.Unmarshal(b, &value)
	// v is read apart, because a newer value may not fit the fields.
	var version struct {
		V int `json:"v"`
	}
	if json.Unmarshal(b, &version) == nil && version.V > SchemaVersion {
		return value, newer(what, version.V)
	}
	if err != nil {
		return value, fmt.Errorf("%s: %w", what, err)
	}
	if bytes.Equal(bytes.TrimSpace(b), []byte("null")) {
		return value, fmt.Errorf("%s: want a JSON object, not null", what)
	}
	return value, nil
}

// decode fills the plain value from an object and returns the other members.
func decode(b []byte, plain any) (Extra, error) {
	err := json.Unmarshal(b, plain)
	var wrong *json.UnmarshalTypeError
	if err != nil && !errors.As(err, &wrong) {
		return nil, err
	}
	var members Extra
	if err := json.Unmarshal(b, &members); err != nil {
		return nil, err
	}
	known := knownMembers(reflect.TypeOf(plain).Elem())
	// encoding/json matches names in any case, so that a name in another case
	// is known too.
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return known[foldName(name)] })
	if len(members) == 0 {
		members = nil
	}
	return members, err
}

// encode writes the plain value and adds the members in extra behind it, in
// the order of their names. A known name in extra is left out.
func encode(plain any, extra Extra) ([]byte, error) {
	b, err := json.Marshal(plain)
	if err != nil || len(extra) == 0 {
		return b, err
	}
	known := knownMembers(reflect.TypeOf(plain))
	others := maps.Clone(extra)
	maps.DeleteFunc(others, func(name string, _ json.RawMessage) bool { return known[foldName(name)] })
	if len(others) == 0 {
		return b, nil
	}
	rest, err := json.Marshal(others)
	if err != nil {
		return nil, err
	}
	// Every stored value has at least its v, so that neither part is empty.
	return append(append(b[:len(b)-1], ','), rest[1:]...), nil
}

var membersOf sync.Map // reflect.Type to map[string]bool

func knownMembers(t reflect.Type) map[string]bool {
	if known, ok := membersOf.Load(t); ok {
		return known.(map[string]bool)
	}
	known := map[string]bool{}
	for i := range t.NumField() {
		if name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ","); name != "-" {
			known[foldName(name)] = true
		}
	}
	membersOf.Store(t, known)
	return known
}

// foldName maps names that encoding/json takes for the same onto one.
func foldName(name string) string { return strings.ToLower(strings.ToUpper(name)) }
