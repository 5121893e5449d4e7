package semaphore_test

import (
	"encoding/json"
	"errors"
	"reflect"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// codec reads and writes one kind of value, whatever its type.
type codec struct {
	decode func([]byte) (any, error)
	encode func(any) ([]byte, error)
}

func codecOf[T any](decode func([]byte) (T, error), encode func(T) ([]byte, error)) codec {
	return codec{
		decode: func(b []byte) (any, error) { return decode(b) },
		encode: func(v any) ([]byte, error) { return encode(v.(T)) },
	}
}

var codecs = map[string]codec{
	"head":   codecOf(semaphore.DecodeHead, semaphore.EncodeHead),
	"spec":   codecOf(semaphore.DecodeSpec, semaphore.EncodeSpec),
	"hold":   codecOf(semaphore.DecodeHold, semaphore.EncodeHold),
	"member": codecOf(semaphore.DecodeMember, semaphore.EncodeMember),
	"waiter": codecOf(semaphore.DecodeWaiter, semaphore.EncodeWaiter),
	"freeze": codecOf(semaphore.DecodeFreeze, semaphore.EncodeFreeze),
	"event":  codecOf(semaphore.DecodeEvent, semaphore.EncodeEvent),
}

var stored = map[string]string{
	"head":   `{"v":1,"next_fence":7,"event_seq":3,"freeze":{"v":1,"id":"f","by":"me","at":"2026-11-24T12:00:00Z","reason":"r","nested":[1]},"new":{"a":1}}`,
	"spec":   `{"v":1,"slots":"5%","limits":[{"by":"zone","max":1}],"timeouts":{"hold":"10m0s"},"new":null}`,
	"hold":   `{"v":1,"node":"a","state":"granted","via":"agent","fence":3,"since":"2026-11-24T12:00:00Z","new":"x"}`,
	"member": `{"v":1,"node":"a","registered":{"zone":"z"},"new":2}`,
	"waiter": `{"v":1,"node":"a","via":"fleetlock","priority":-1,"since":"2026-11-24T12:00:00Z","new":[]}`,
	"freeze": `{"v":1,"id":"f","by":"me","at":"2026-11-24T12:00:00Z","reason":"r","new":1.5}`,
}

func TestCodec_KeepsUnknownMembers(t *testing.T) {
	for kind, text := range stored {
		t.Run(kind, func(t *testing.T) {
			value, err := codecs[kind].decode([]byte(text))
			if err != nil {
				t.Fatal(err)
			}
			again, err := codecs[kind].encode(value)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(object(t, []byte(text)), object(t, again)); diff != "" {
				t.Errorf("read and written (-before +after):\n%s", diff)
			}
		})
	}
}

func object(t *testing.T, b []byte) (v map[string]any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%s: %v", b, err)
	}
	return v
}

func TestCodec_ReportsANewerSchemaAndStillReadsIt(t *testing.T) {
	for kind := range codecs {
		text := `{"v":2,"node":"a","next_fence":5,"fence":5,"new":1}`
		if value, err := codecs[kind].decode([]byte(text)); !errors.Is(err, semaphore.ErrNewerSchema) {
			t.Errorf("%s: %v", kind, err)
		} else if v := reflect.ValueOf(value).FieldByName("V").Int(); v != 2 {
			t.Errorf("%s: v is %d", kind, v)
		}
	}
	h, err := semaphore.DecodeHead([]byte(`{"v":2,"next_fence":5,"new":1}`))
	if !errors.Is(err, semaphore.ErrNewerSchema) || h.Next != 5 || string(h.Extra["new"]) != "1" {
		t.Errorf("head %+v, %v", h, err)
	}
	if _, err := semaphore.DecodeHead([]byte(`{"v":1,"next_fence":5,"freeze":{"v":9}}`)); !errors.Is(err, semaphore.ErrNewerSchema) {
		t.Errorf("a newer freeze in the head: %v", err)
	}
}

// A head that is newer and does not fit must not be rewritten with fence 1.
func TestCodec_ANewerHeadThatDoesNotFitAllowsNoRelease(t *testing.T) {
	h, err := semaphore.DecodeHead([]byte(`{"v":2,"next_fence":"five"}`))
	if !errors.Is(err, semaphore.ErrNewerSchema) || h.Next != 0 || h.V != 2 {
		t.Fatalf("head %+v, %v", h, err)
	}
	b := newBench(t)
	hold := b.take(agent("a"))
	b.Head, b.State.NewerSchema = h, "groups/g/semaphore"
	b.refused(releaseOf(hold), semaphore.NewerSchema)
}

func TestCodec_RefusesWhatIsNoValue(t *testing.T) {
	for kind, c := range codecs {
		for _, text := range []string{``, `null`, `7`, `[]`, `"x"`, `{"v":"1"}`, `{"v":1} {}`} {
			if value, err := c.decode([]byte(text)); err == nil || errors.Is(err, semaphore.ErrNewerSchema) {
				t.Errorf("%s: %q was read as %+v, %v", kind, text, value, err)
			}
		}
	}
}

func TestCodec_WaiterIsStoredWithoutWhatItsCoordinatorAloneKnows(t *testing.T) {
	b, err := semaphore.EncodeWaiter(semaphore.Waiter{V: 1, Node: "a", Via: semaphore.ViaAgent, Since: now, CreateRevision: 9, Present: true, Elsewhere: true, Request: "r", BootID: "b", Peer: "p"})
	if want := `{"v":1,"node":"a","via":"agent","since":"2026-11-24T12:00:00Z"}`; err != nil || string(b) != want {
		t.Errorf("got %s, %v; want %s", b, err, want)
	}
}

// What can be read can be written, and then stays as it is.
func FuzzDecode(f *testing.F) {
	for _, text := range stored {
		f.Add([]byte(text))
	}
	for _, text := range []string{`{"v":2,"new":1}`, `{"V":1,"v":1}`, `{"v":1,"\u017flots":2,"slots":"5%"}`, `{"v":1,"new":"<&>"}`, `{"v":1,"extra":{"v":1}}`, `null`, `{"v":1,"freeze":null}`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		for kind, c := range codecs {
			value, err := c.decode(b)
			if err != nil {
				continue
			}
			once, err := c.encode(value)
			if err != nil {
				t.Fatalf("%s: %+v was read and cannot be written: %v", kind, value, err)
			}
			again, err := c.decode(once)
			if err != nil {
				t.Fatalf("%s: %s was written and cannot be read: %v", kind, once, err)
			}
			twice, err := c.encode(again)
			if err != nil || string(twice) != string(once) {
				t.Fatalf("%s: written as %s, then as %s (%v)", kind, once, twice, err)
			}
		}
	})
}
