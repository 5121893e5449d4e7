package semaphore_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// The fuzz targets run with their seeds in every test run, and look for more
// with `go test -fuzz FuzzStored -fuzztime 5m ./semaphore`.

// FuzzStored: whatever is under a key is read or refused; what was read is
// written so that it reads the same, with every member that is not known, and a
// newer `v` is always told.
func FuzzStored(f *testing.F) {
	for kind, text := range stored {
		f.Add(kind, []byte(text))
		f.Add(kind, []byte(strings.Replace(text, `"v":1`, `"v":2`, 1)))
		f.Add(kind, []byte(strings.Replace(text, `"v":1`, `"V":1,"Fence":"x"`, 1)))
	}
	f.Add("event", []byte(`{"v":1,"scope":"group/a","seq":3,"at":"2026-11-24T12:00:00+01:00","kind":"hold.granted","held":1,"slots":2}`))
	f.Add("spec", []byte(`{"v":1,"slots":1,"windows":[{"cron":"0 22 * * mon-fri","duration":"1h0m0s"}],"blackouts":[{"name":"x","start":"2026-11-24T12:00:00Z","end":"2026-11-25T12:00:00Z"}]}`))
	f.Add("head", []byte(`null`))
	f.Fuzz(func(t *testing.T, kind string, text []byte) {
		codec, known := codecs[kind]
		if !known {
			return
		}
		value, err := codec.decode(text)
		var version struct {
			V int `json:"v"`
		}
		if json.Unmarshal(text, &version) == nil && version.V > semaphore.SchemaVersion && !errors.Is(err, semaphore.ErrNewerSchema) {
			t.Fatalf("v is %d, and the error %v", version.V, err)
		}
		if err != nil {
			return
		}
		again, err := codec.encode(value)
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", text, err)
		}
		reread, err := codec.decode(again)
		if err != nil {
			t.Fatalf("%s was written as %s: %v", text, again, err)
		}
		if third, err := codec.encode(reread); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%s, then %s: %v", again, third, err)
		}
		if kind == "event" {
			return // never rewritten
		}
		before, after := rawMembers(t, text), rawMembers(t, again)
		for name := range before {
			if !isField(reflect.TypeOf(value), name) && !sameJSON(before[name], after[name]) {
				t.Fatalf("the member %q of %s became %s", name, text, after[name])
			}
		}
	})
}

func rawMembers(t *testing.T, text []byte) map[string]json.RawMessage {
	var m map[string]json.RawMessage
	if err := json.Unmarshal(text, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

// isField reports whether encoding/json takes a member for one of the fields.
func isField(of reflect.Type, name string) bool {
	for i := range of.NumField() {
		tag, _, _ := strings.Cut(of.Field(i).Tag.Get("json"), ",")
		if tag != "-" && strings.EqualFold(tag, name) {
			return true
		}
	}
	return false
}

func sameJSON(a, b json.RawMessage) bool {
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return false
	}
	var escaped bytes.Buffer
	json.HTMLEscape(&escaped, x.Bytes())
	return bytes.Equal(escaped.Bytes(), y.Bytes()) || bytes.Equal(x.Bytes(), y.Bytes())
}

// FuzzEscapeID: an id comes back from its escaped form, which fits into one
// segment of a path, and no two ids share one.
func FuzzEscapeID(f *testing.F) {
	for _, pair := range [][2]string{{"a", "b"}, {".", "%2E"}, {"..", "%2E%2E"}, {"a/b", "a%2Fb"}, {"ä", "\xe4"}, {"%", "%25"}, {"", "%"}, {"a%2", "a%zz"}} {
		f.Add(pair[0], pair[1])
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		escaped := semaphore.EscapeID(a)
		if back, err := semaphore.UnescapeID(escaped); err != nil || back != a {
			t.Fatalf("%q became %q and then %q, %v", a, escaped, back, err)
		}
		if strings.ContainsAny(escaped, "/?#") || escaped == "." || escaped == ".." {
			t.Fatalf("%q became %q", a, escaped)
		}
		if a != b && escaped == semaphore.EscapeID(b) {
			t.Fatalf("%q and %q share %q", a, b, escaped)
		}
		if id, err := semaphore.UnescapeID(b); err == nil && len(id) > len(b) {
			t.Fatalf("%q became %q", b, id)
		}
	})
}

// FuzzSlots: a text is refused, or reads the same once it was written, and is
// then within its bounds.
func FuzzSlots(f *testing.F) {
	for _, text := range []string{"2", "5%", "0", "0%", "100%", "101%", "-1", "100001", " 3 ", "+4", "1e3", "%", "9999999999999999999"} {
		f.Add(text, 10)
	}
	f.Fuzz(func(t *testing.T, text string, members int) {
		s, err := semaphore.ParseSlots(text)
		if err != nil {
			return
		}
		if again, err := semaphore.ParseSlots(s.String()); err != nil || again != s {
			t.Fatalf("%q is %+v, written %q, and then %+v, %v", text, s, s, again, err)
		}
		b, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		var again semaphore.Slots
		if err := json.Unmarshal(b, &again); err != nil || again != s {
			t.Fatalf("%q is %+v, in JSON %s, and then %+v, %v", text, s, b, again, err)
		}
		if members < 0 || members > 1_000_000 {
			return
		}
		n := s.Of(members)
		if n < 0 || s.Percent && n > max(1, members) || s.N > 0 && n == 0 {
			t.Fatalf("%q of %d members is %d", text, members, n)
		}
	})
}

// FuzzSpec: what is told to be right can be used: its windows can be asked for
// an opening at any time, and it reads the same once it was written.
func FuzzSpec(f *testing.F) {
	f.Add([]byte(`{"slots":"10%","limits":[{"by":"zone","max":1}],"timeouts":{"hold":"10m"}}`), int64(1_700_000_000))
	f.Add([]byte(`{"slots":1,"windows":[{"weekdays":["fri-mon"],"start":"23:30","duration":"2h","cutoff":"10m","time_zone":"Europe/Berlin"}]}`), int64(1_774_746_000))
	f.Add([]byte(`{"slots":1,"windows":[{"cron":"*/15 2 29 feb *","duration":"168h","time_zone":"America/St_Johns"}]}`), int64(0))
	f.Add([]byte(`{"slots":1,"blackouts":[{"name":"x","start":"2026-11-24T12:00:00Z","end":"2026-11-24T12:00:00Z"}]}`), int64(-1))
	f.Fuzz(func(t *testing.T, text []byte, seconds int64) {
		var spec semaphore.Spec
		if json.Unmarshal(text, &spec) != nil || len(semaphore.ValidateSpec(spec)) > 0 || len(text) > 4096 {
			return
		}
		b, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		var again semaphore.Spec
		if err := json.Unmarshal(b, &again); err != nil || len(semaphore.ValidateSpec(again)) > 0 {
			t.Fatalf("%s was written as %s: %v", text, b, err)
		}
		now := time.Unix(seconds%(1<<33), 0).UTC()
		for i := range spec.Windows {
			w := &spec.Windows[i]
			if open, in := w.At(now); in && (open.Start.After(now) || !open.End.After(now)) {
				t.Fatalf("%s: at %s it is open from %s to %s", text, now, open.Start, open.End)
			}
			if next, opens := w.Next(now); opens && !next.Start.After(now) {
				t.Fatalf("%s: after %s it opens at %s", text, now, next.Start)
			}
		}
	})
}
