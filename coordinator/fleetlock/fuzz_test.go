package fleetlock

import (
	"encoding/json"
	"testing"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// FuzzParams: a body is refused, or names one valid id and one valid group, the
// ones that any other reader of JSON finds in it. More: `go test -fuzz
// FuzzParams ./coordinator/fleetlock`.
func FuzzParams(f *testing.F) {
	for _, body := range []string{
		`{"client_params":{"id":"a","group":"default"}}`,
		`{"client_params":{"id":"a","group":"default","more":1},"x":[]}`,
		`{"client_params":{"id":"a","id":"b","group":"default"}}`,
		`{"client_params":{"ID":"a","group":"default"}}`,
		`{"client_params":{"id":"\ud800","group":"default"}}`,
		`{"client_params":{"id":"\ud83d\ude00\\u0041","group":"a.b-c"}}`,
		`{"client_params":{"id":"a","group":""}}`, `{"client_params":null}`, `[]`, ``, `{} {}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		p, err := parse(body)
		if err != nil {
			return
		}
		if semaphore.ValidNode(p.id) != nil || semaphore.ValidGroup(p.group) != nil {
			t.Fatalf("%s names %q in %q", body, p.id, p.group)
		}
		var other map[string]json.RawMessage
		var inner map[string]any
		if json.Unmarshal(body, &other) != nil || json.Unmarshal(other["client_params"], &inner) != nil ||
			inner["id"] != p.id || inner["group"] != p.group {
			t.Fatalf("%s names %q in %q, and elsewhere %v", body, p.id, p.group, inner)
		}
	})
}
