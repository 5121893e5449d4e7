package web_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// stage is a Backend whose state a test sets. It authorises and refuses as
// little as a page needs to be seen in each state.
type stage struct {
	mu       sync.Mutex
	status   api.Status
	rollouts map[string]api.Rollout
	bundles  []api.Bundle
	nodes    []api.Node
	events   []api.Event
	refuse   *api.Error // of the next write
	calls    []string   // writes, in order
	renders  int        // calls of Status
	changed  chan struct{}
}

func newStage() *stage {
	return &stage{rollouts: map[string]api.Rollout{}, changed: make(chan struct{}),
		status: api.Status{OK: true, Sentence: "All is well", Version: "test",
			Cluster: api.Cluster{ID: "c1", Quorum: true, Served: "coord-1", Members: []api.Member{{ID: "1", Name: "coord-1", Role: "leader", Self: true, Version: "test"}}}}}
}

// set changes the state as a watch would, and tells those who wait.
func (b *stage) set(change func(*stage)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change(b)
	b.status.Revision++
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *stage) write(call string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, call)
	if err := b.refuse; err != nil {
		b.refuse = nil
		return err
	}
	return nil
}

func (b *stage) wrote() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

func (b *stage) Authenticate(_ context.Context, secret string) (auth.Principal, error) {
	switch secret {
	case "lk_good":
		return auth.Principal{Name: "ann", Role: api.RoleOperator}, nil
	case "lk_node":
		return auth.Principal{Name: "web-1", Role: api.RoleNode, Node: "web-1"}, nil
	}
	return auth.Principal{}, api.Errorf(api.Unauthenticated, "no such token")
}

func (b *stage) Status(context.Context) (api.Status, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.renders++
	st := b.status
	st.AsOf = time.Now()
	st.Groups = slices.Clone(b.status.Groups)
	return st, nil
}

func (b *stage) Explain(_ context.Context, group string) (api.Explanation, error) {
	return api.Explanation{Summary: "why", Groups: []api.GroupExplanation{{Group: group, Summary: "All slots are held",
		Blockers: []api.Blocker{{Kind: api.Full, Detail: "all slots of the group are held"}}}}}, nil
}

func (b *stage) Group(_ context.Context, name string) (api.Group, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.status.Groups {
		if g.Name == name {
			return g, nil
		}
	}
	return api.Group{}, api.Errorf(api.UnknownGroup, "there is no group %q", name)
}

func (b *stage) Freeze(_ context.Context, group string, req api.FreezeRequest) (api.Freeze, error) {
	if err := b.write(fmt.Sprintf("freeze %q %q", group, req.Reason)); err != nil {
		return api.Freeze{}, err
	}
	f := api.Freeze{ID: "f1", Group: group, By: "local", At: time.Now(), Reason: req.Reason, Stop: req.Stop}
	b.set(func(b *stage) { b.status.Frozen = &f })
	return f, nil
}

func (b *stage) Unfreeze(_ context.Context, group, id string) error {
	if err := b.write(fmt.Sprintf("unfreeze %q %q", group, id)); err != nil {
		return err
	}
	b.set(func(b *stage) { b.status.Frozen = nil })
	return nil
}

func (b *stage) Nodes(_ context.Context, q api.NodeQuery) (api.NodeList, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if q.Selector == "=" {
		return api.NodeList{}, api.Errorf(api.Invalid, `selector "=": want label=value, such as zone=a`)
	}
	list := api.NodeList{Total: len(b.nodes)}
	for _, n := range b.nodes {
		if n.ID > q.After && len(list.Nodes) < q.Limit {
			list.Nodes = append(list.Nodes, n)
			list.Next = n.ID
		}
	}
	if len(list.Nodes) == 0 || list.Next == b.nodes[len(b.nodes)-1].ID {
		list.Next = ""
	}
	return list, nil
}

func (b *stage) Node(_ context.Context, id string) (api.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range b.nodes {
		if n.ID == id {
			return n, nil
		}
	}
	return api.Node{}, api.Errorf(api.NotFound, "there is no node %q", id)
}

func (b *stage) ExplainNode(_ context.Context, id string) (api.Verdict, error) {
	return api.Verdict{Node: id, Summary: "It waits for a free slot.", Place: 3, Waiting: 30,
		Blockers: []api.Blocker{{Kind: api.Full, Detail: "all 6 slots of web are held"}, {Kind: api.Queue, Detail: "2 nodes are ahead"}},
		Estimate: time.Date(2026, 11, 24, 18, 30, 0, 0, time.UTC), EstimateBasis: "each hold lasts as long as the last 20 did"}, nil
}

func (b *stage) hold(group, node string, change func(g *api.Group, i int)) {
	b.set(func(b *stage) {
		for gi := range b.status.Groups {
			g := &b.status.Groups[gi]
			i := slices.IndexFunc(g.Holds, func(h api.Hold) bool { return h.Node == node })
			if g.Name == group && i >= 0 {
				g.Holds = slices.Clone(g.Holds)
				change(g, i)
				g.Status.Held = len(g.Holds)
			}
		}
	})
}

func (b *stage) Revoke(_ context.Context, group, node string, req api.RevokeRequest) (api.Hold, error) {
	if err := b.write(fmt.Sprintf("revoke %s %s fence=%d name=%q reason=%q", group, node, req.Fence, req.Name, req.Reason)); err != nil {
		return api.Hold{}, err
	}
	if req.Name != node {
		return api.Hold{}, api.Errorf(api.Invalid, "name %q: type the node's id, %q", req.Name, node)
	}
	b.hold(group, node, func(g *api.Group, i int) {
		g.Holds[i].State, g.Holds[i].Revoked = "revoked", &api.Mark{By: "local", At: time.Now(), Reason: req.Reason}
	})
	return api.Hold{}, nil
}

func (b *stage) ForceRelease(_ context.Context, group, node string, req api.ReleaseRequest) error {
	if err := b.write(fmt.Sprintf("release %s %s fence=%d name=%q down=%v", group, node, req.Fence, req.Name, req.HostIsDown)); err != nil {
		return err
	}
	if !req.HostIsDown {
		return api.Errorf(api.Invalid, "host_is_down must be true: look at the host first")
	}
	b.hold(group, node, func(g *api.Group, i int) { g.Holds = slices.Delete(g.Holds, i, i+1) })
	return nil
}

func (b *stage) Bundles(context.Context) ([]api.Bundle, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.bundles, nil
}

func (b *stage) CreateRollout(_ context.Context, spec api.RolloutSpec, key string) (api.Rollout, bool, error) {
	if _, err := semaphore.ParseSlots(string(spec.MaxFailures)); err != nil {
		return api.Rollout{}, false, &api.Error{Kind: api.Invalid, Detail: err.Error(), Fields: []api.FieldError{{Path: "max_failures", Detail: err.Error()}}}
	}
	if err := b.write(fmt.Sprintf("rollout %s %s %s key=%t", spec.Bundle, spec.Group, spec.MaxFailures, key != "")); err != nil {
		return api.Rollout{}, false, err
	}
	r := api.Rollout{ID: "ro-1", Spec: spec, State: api.RolloutRunning, By: "local", CreatedAt: time.Now()}
	b.set(func(b *stage) { b.rollouts[r.ID] = r })
	return r, true, nil
}

func (b *stage) Plan(_ context.Context, spec api.RolloutSpec) (api.Plan, error) {
	if spec.Bundle == "" {
		return api.Plan{}, api.Errorf(api.Invalid, "bundle: must be a digest")
	}
	return api.Plan{Total: 12, Already: 2, Summary: "10 of 12 nodes would change, 2 at once.",
		Groups: []api.PlanGroup{{Group: "web", Nodes: 12, Slots: 2, Blockers: []api.Blocker{{Kind: api.Full, Detail: "both slots of web are held"}}}}}, nil
}

func (b *stage) Rollouts(context.Context) ([]api.Rollout, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []api.Rollout
	for _, id := range slices.Sorted(maps.Keys(b.rollouts)) {
		out = append(out, b.rollouts[id])
	}
	return out, nil
}

func (b *stage) Rollout(_ context.Context, id string) (api.Rollout, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, ok := b.rollouts[id]
	if !ok {
		return r, api.Errorf(api.NotFound, "there is no rollout %q", id)
	}
	return r, nil
}

func (b *stage) NodeAction(_ context.Context, id, action string, req api.NodeActionRequest) (api.Node, error) {
	return api.Node{}, b.write(fmt.Sprintf("node %s %s %q", action, id, req.Reason))
}

func (b *stage) RolloutAction(_ context.Context, id, action string, req api.RolloutActionRequest) (api.Rollout, error) {
	return api.Rollout{}, b.write(fmt.Sprintf("%s %s %q", action, id, req.Reason))
}

func (b *stage) Events(_ context.Context, q api.EventQuery) (api.EventList, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return api.EventList{Events: slices.Clone(b.events)}, nil
}

func (b *stage) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}
