package rollout

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// FuzzStoredRollout: whatever a broken hand, or another version, has written under
// a rollout's keys is told, shown and decided on, or left alone; nothing panics.
func FuzzStoredRollout(f *testing.F) {
	const nodes = `{"v":1,"nodes":[{"node":"n1","group":"web"},{"node":"n2","group":"web","wave":1}]}`
	const result = `{"v":1,"node":"n1","state":"updated","attempt":1,"at":"2026-11-24T12:00:00Z"}`
	f.Add([]byte(`{"v":1,"id":"r","spec":{"bundle":"b","waves":[{"name":"one","count":1,"soak":"1h"},{"name":"rest"}]},"state":"running"}`), []byte(nodes), []byte(result))
	f.Add([]byte(`{"v":1,"id":"r","spec":{"bundle":"b"},"state":"halted","wave":-1,"waves":[{"started_at":"2026-11-24T11:00:00Z"},{}]}`), []byte(nodes), []byte(result))
	f.Add([]byte(`{"v":2,"id":"r","spec":{"bundle":"b"},"state":"paused","wave":-1,"waves":[{"started_at":"2026-11-24T11:00:00Z"}]}`), []byte(`{"v":2,"nodes":[{"node":"n1","wave":-3}]}`), []byte(result))
	f.Add([]byte(`{"v":1,"id":"r","spec":{"bundle":"b","max_failures":"-9%","gates":[{}],"waves":[{"count":-4,"percent":"x"}]},"state":"soaking","wave":7,"waves":[{"started_at":"2026-11-24T12:00:00Z"}],"failures":-9223372036854775808}`), []byte(nodes), []byte(`{"v":1,"node":"n1","state":"failed","attempt":-1,"failure":9223372036854775807}`))
	f.Add([]byte(`{"v":1,"id":"r","spec":{"bundle":"b","waves":[{"name":"one"}]},"state":"running","waves":[{"started_at":"2026-11-24T11:00:00Z"}]}`), []byte(`{"v":1,"nodes":[{"node":"n1","wave":-3},{"node":"n2","wave":99}]}`), []byte(`{"v":1,"node":"n2","state":"failed","failure":1}`))
	f.Add([]byte(`{"v":1,"id":"r","spec":{"bundle":"b","order":"x"},"state":"waiting_for_approval","undo":"all","gates":{"x":{}}}`), []byte(nodes), []byte(result))
	f.Fuzz(func(t *testing.T, head, selection, result []byte) {
		if len(head) > 2048 || len(selection) > 2048 {
			return
		}
		st := State{Results: map[string]Result{}}
		var errs [2]error
		st.Head, errs[0] = DecodeHead(head)
		var sel Selection
		sel, errs[1] = DecodeSelection(selection)
		st.Nodes = sel.Nodes
		for _, err := range errs {
			if err != nil {
				st.Newer = "a key"
			}
		}
		if r, err := DecodeResult(result); err == nil {
			st.Results[r.Node] = r
		}
		views := []NodeView{{Node: "n1", Group: "web"}, {Node: "n2", Group: "web", Known: true, Report: api.Report{Phase: api.PhaseIdle, Healthy: true}}}
		d := Decide(st.Head.Spec, st, views, noon)
		present(st, d)
		for i := range views {
			Wanted(&st, views[i], noon)
		}
		if st.Newer != "" {
			return // it is shown, and that is all
		}
		for _, action := range Actions {
			ask := Ask{Action: action, By: "ann", Role: api.RoleAdmin}
			_, _ = Apply(st, ask.bound(&st), noon)
		}
		_, _ = RetryNode(st, "n1", "ann", "", noon)
		undoing(&st, d.Nodes)
	})
}
