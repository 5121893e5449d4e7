package web_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// stage is a Backend whose state a test sets. It authorises and refuses as
// little as a page needs to be seen in each state.
type stage struct {
	began     time.Time
	mu        sync.Mutex
	status    api.Status
	rollouts  map[string]api.Rollout
	bundles   []api.Bundle
	nodes     []api.Node
	bodies    map[string][]byte // of bundles, by digest
	snapshots api.SnapshotList
	tokens    []api.Token
	events    []api.Event
	refuse    *api.Error // of the next write
	calls     []string   // writes, in order
	renders   int        // calls of Status
	changed   chan struct{}
}

func newStage() *stage {
	return &stage{began: time.Now(), rollouts: map[string]api.Rollout{}, changed: make(chan struct{}),
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
	var match []api.Node
	for _, n := range b.nodes {
		if (q.Group == "" || n.Group == q.Group) && (q.State == "" || n.State == api.NodeState(q.State)) && strings.Contains(n.ID, q.Text) && (!q.Drifted || n.Drift != nil) && strings.HasPrefix(n.Report.Bundle, q.Bundle) {
			match = append(match, n)
		}
	}
	key := func(n api.Node) string {
		if q.Sort == "state" {
			return string(n.State) + "/" + n.ID
		}
		return n.ID
	}
	if q.Sort == "state" {
		slices.SortStableFunc(match, func(a, b api.Node) int {
			return slices.Index(api.NodeStates, a.State) - slices.Index(api.NodeStates, b.State)
		})
	}
	list := api.NodeList{Total: len(match)}
	from := 0
	if q.After != "" {
		from = 1 + slices.IndexFunc(match, func(n api.Node) bool { return key(n) == q.After })
	}
	list.Nodes = match[from:min(len(match), from+q.Limit)]
	if from+q.Limit < len(match) {
		list.Next = key(list.Nodes[q.Limit-1])
	}
	return list, nil
}

func (b *stage) AllNodes(context.Context) ([]api.Node, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.nodes), nil
}

func (b *stage) PutGroup(_ context.Context, name string, spec api.GroupSpec, ifMatch string) (api.Group, error) {
	if err := b.write(fmt.Sprintf("group %s slots=%s limits=%v hold=%s interval=%s windows=%d blackouts=%d if=%s", name, spec.Slots, spec.Limits, spec.Timeouts.Hold, spec.GrantInterval, len(spec.Windows), len(spec.Blackouts), ifMatch)); err != nil {
		return api.Group{}, err
	}
	b.set(func(b *stage) {
		i := slices.IndexFunc(b.status.Groups, func(g api.Group) bool { return g.Name == name })
		if i < 0 {
			b.status.Groups = append(b.status.Groups, api.Group{Name: name, Spec: spec})
			return
		}
		b.status.Groups = slices.Clone(b.status.Groups)
		b.status.Groups[i].Spec = spec
	})
	return api.Group{}, nil
}

func (b *stage) SetPriority(_ context.Context, group, node string, req api.PriorityRequest) error {
	return b.write(fmt.Sprintf("priority %s %s %d", group, node, req.Priority))
}

func (b *stage) PatchNode(_ context.Context, id string, patch api.NodePatch, _ string) (api.Node, error) {
	return api.Node{}, b.write(fmt.Sprintf("patch %s clear=%v", id, patch.ClearDuplicate))
}

func (b *stage) DeleteNode(_ context.Context, id string) error { return b.write("forget " + id) }

func (b *stage) Bundle(_ context.Context, digest string) (api.Bundle, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, have := range b.bundles {
		if have.Digest == digest {
			return have, nil
		}
	}
	return api.Bundle{}, api.Errorf(api.NotFound, "there is no bundle %s", digest)
}

func (b *stage) OpenBundle(_ context.Context, digest string) (io.ReadCloser, int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	body, ok := b.bodies[digest]
	if !ok {
		return nil, 0, api.Errorf(api.NotFound, "there is no bundle %s", digest)
	}
	return io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
}

func (b *stage) Snapshots(context.Context) (api.SnapshotList, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.snapshots, nil
}

func (b *stage) Tokens(context.Context) ([]api.Token, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.tokens, nil
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
		Estimate: b.turn(id), EstimateBasis: "each hold lasts as long as the last 20 did"}, nil
}

// turn is when a node probably goes: later the further back it stands.
func (b *stage) turn(id string) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, g := range b.status.Groups {
		for i, w := range g.Queue {
			if w.Node == id {
				return b.began.Add(time.Duration(2+3*i) * time.Minute)
			}
		}
	}
	return time.Date(2026, 11, 24, 18, 30, 0, 0, time.UTC)
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
	call := fmt.Sprintf("%s %s %q", action, id, req.Reason)
	if req.Wave > 0 {
		call += fmt.Sprintf(" wave=%d", req.Wave)
	}
	if req.Gate != "" {
		call += " gate=" + req.Gate
	}
	return api.Rollout{}, b.write(call)
}

func (b *stage) Events(_ context.Context, q api.EventQuery) (api.EventList, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []api.Event
	for _, e := range b.events {
		if (q.Group == "" || e.Group == q.Group) && (q.Node == "" || e.Node == q.Node) && (q.Kind == "" || strings.HasPrefix(e.Kind, q.Kind)) &&
			(q.Before == 0 || e.Revision < q.Before) && (q.Text == "" || strings.Contains(e.Node, q.Text)) {
			out = append(out, e)
		}
	}
	return api.EventList{Events: out[max(0, len(out)-q.Limit):]}, nil
}

func (b *stage) Changed() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.changed
}
