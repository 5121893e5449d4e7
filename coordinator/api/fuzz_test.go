package api_test

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// wire knows how to read and write each body of the API.
var wire = map[string]func(text []byte) (again []byte, read bool, err error){}

func register[T any](name string) {
	wire[name] = func(text []byte) ([]byte, bool, error) {
		var v T
		if json.Unmarshal(text, &v) != nil {
			return nil, false, nil
		}
		b, err := json.Marshal(v)
		return b, true, err
	}
}

func init() {
	register[api.Problem]("Problem")
	register[api.Group]("Group")
	register[api.GroupSpec]("GroupSpec")
	register[api.Hold]("Hold")
	register[api.Freeze]("Freeze")
	register[api.FreezeRequest]("FreezeRequest")
	register[api.Explanation]("Explanation")
	register[api.Report]("Report")
	register[api.NodeList]("NodeList")
	register[api.NodePatch]("NodePatch")
	register[api.PollRequest]("PollRequest")
	register[api.PollResponse]("PollResponse")
	register[api.AcquireRequest]("AcquireRequest")
	register[api.AcquireResponse]("AcquireResponse")
	register[api.ConfirmRequest]("ConfirmRequest")
	register[api.RevokeRequest]("RevokeRequest")
	register[api.ReleaseRequest]("ReleaseRequest")
	register[api.PriorityRequest]("PriorityRequest")
	register[api.RolloutSpec]("RolloutSpec")
	register[api.Rollout]("Rollout")
	register[api.RolloutActionRequest]("RolloutActionRequest")
	register[api.Plan]("Plan")
	register[api.Bundle]("Bundle")
	register[api.BundleLink]("BundleLink")
	register[api.BundleSignature]("BundleSignature")
	register[api.Status]("Status")
	register[api.Cluster]("Cluster")
	register[api.EventList]("EventList")
	register[api.TokenRequest]("TokenRequest")
	register[api.TokenCreated]("TokenCreated")
}

// FuzzBody: a body is refused, or is written so that it reads the same. More:
// `go test -fuzz FuzzBody ./coordinator/api`.
func FuzzBody(f *testing.F) {
	names := []string{}
	for name := range wire {
		names = append(names, name)
	}
	slices.Sort(names)
	for i := range names {
		f.Add(uint(i), []byte(`{}`))
		f.Add(uint(i), []byte(`{"slots":"5%","limits":[{"by":"zone","max":1}],"name":"a","at":"2026-11-24T12:00:00Z","labels":{"a":"b"},"fence":3,"hold":{"fence":1}}`))
		f.Add(uint(i), []byte(`{"slots":007}`))
		f.Add(uint(i), []byte(`{"slots":"007","limits":[{"by":"zone","max":"1e5"}],"spec":{"slots":"00"}}`))
	}
	f.Fuzz(func(t *testing.T, which uint, text []byte) {
		name := names[which%uint(len(names))]
		again, read, err := wire[name](text)
		if !read {
			return
		}
		if err != nil {
			t.Fatalf("%s: %s was read and cannot be written: %v", name, text, err)
		}
		third, read, err := wire[name](again)
		if !read || err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%s: %s was written as %s, and then as %s: %v", name, text, again, third, err)
		}
	})
}
