package agent

import (
	"encoding/json"
	"errors"
	"os"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzJournal: a journal is refused, or reads the same once it was written.
// More: `go test -fuzz FuzzJournal ./agent`.
func FuzzJournal(f *testing.F) {
	dir := f.TempDir()
	if err := (folder{dir}).saveState(State{Phase: "waiting", Group: "web"}); err != nil {
		f.Fatal(err)
	}
	whole, err := os.ReadFile(folder{dir}.path("journal.json"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole, false)
	f.Add(whole[:len(whole)/2], false)
	f.Add([]byte(`{"v":2}`), false)
	f.Add([]byte(`{"phase":"applying","group":"web","fence":3}`), true)
	f.Add([]byte(`null`), true)
	f.Fuzz(func(t *testing.T, text []byte, sealed bool) {
		if sealed { // as the content of a journal that is whole
			if !json.Valid(text) {
				return
			}
			body, err := json.Marshal(json.RawMessage(text))
			if err != nil {
				return
			}
			if text, err = json.Marshal(envelope{V: journalVersion, Sum: digest(body), S: body}); err != nil {
				t.Fatal(err)
			}
		}
		at := folder{t.TempDir()}
		if err := os.WriteFile(at.path("journal.json"), text, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := at.loadState()
		if err != nil {
			if !errors.Is(err, ErrDamaged) && !errors.Is(err, ErrNewer) {
				t.Fatal(err)
			}
			return
		}
		if err := at.saveState(s); err != nil {
			t.Fatalf("%s was read and cannot be written: %v", text, err)
		}
		again, err := at.loadState()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(s, again); diff != "" {
			t.Fatalf("read and written (-before +after):\n%s", diff)
		}
	})
}
