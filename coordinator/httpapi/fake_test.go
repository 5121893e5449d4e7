package httpapi

import (
	"context"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// fake is a backend that remembers what it was asked, and answers with err or
// with values that name what was asked.
type fake struct {
	mu     sync.Mutex
	calls  []string
	err    error
	events chan api.Event
	opened func() (io.ReadCloser, int64, error)
	block  func(context.Context) // called by what may wait
}

func (f *fake) saw(method string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, method+fmt.Sprintf("%+v", args))
	return f.err
}

func (f *fake) last() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.calls) == 0 {
		return ""
	}
	return f.calls[len(f.calls)-1]
}

func (f *fake) wait(ctx context.Context) {
	if f.block != nil {
		f.block(ctx)
	}
}

func (f *fake) Status(context.Context) (api.Status, error) {
	return api.Status{Sentence: "all is well"}, f.saw("Status")
}
func (f *fake) Cluster(context.Context) (api.Cluster, error) {
	return api.Cluster{ID: "c-1"}, f.saw("Cluster")
}
func (f *fake) Explain(_ context.Context, group string) (api.Explanation, error) {
	return api.Explanation{Summary: group}, f.saw("Explain", group)
}
func (f *fake) Groups(context.Context) ([]api.Group, error) {
	return []api.Group{{Name: "default"}}, f.saw("Groups")
}
func (f *fake) Group(_ context.Context, name string) (api.Group, error) {
	return api.Group{Name: name, Revision: 17}, f.saw("Group", name)
}
func (f *fake) PutGroup(_ context.Context, name string, spec api.GroupSpec, match string) (api.Group, error) {
	return api.Group{Name: name, Spec: spec, Revision: 18, Created: match == "*" || name == "new"}, f.saw("PutGroup", name, spec, match)
}
func (f *fake) DeleteGroup(_ context.Context, name, match string) error {
	return f.saw("DeleteGroup", name, match)
}
func (f *fake) Freeze(_ context.Context, group string, req api.FreezeRequest) (api.Freeze, error) {
	return api.Freeze{ID: "f1", Group: group, Reason: req.Reason}, f.saw("Freeze", group, req)
}
func (f *fake) Unfreeze(_ context.Context, group, id string) error {
	return f.saw("Unfreeze", group, id)
}
func (f *fake) Nodes(_ context.Context, q api.NodeQuery) (api.NodeList, error) {
	return api.NodeList{Nodes: []api.Node{{ID: "a"}}, Total: 1}, f.saw("Nodes", q)
}
func (f *fake) Node(_ context.Context, id string) (api.Node, error) {
	return api.Node{ID: id, Revision: 3}, f.saw("Node", id)
}
func (f *fake) ExplainNode(_ context.Context, id string) (api.Verdict, error) {
	return api.Verdict{Node: id}, f.saw("ExplainNode", id)
}
func (f *fake) PatchNode(_ context.Context, id string, p api.NodePatch, match string) (api.Node, error) {
	return api.Node{ID: id, Declared: p.Labels}, f.saw("PatchNode", id, p, match)
}
func (f *fake) DeleteNode(_ context.Context, id string) error { return f.saw("DeleteNode", id) }
func (f *fake) Poll(ctx context.Context, id string, req api.PollRequest) (api.PollResponse, error) {
	err := f.saw("Poll", id, req.Instance, req.Report.Phase, req.WaitS)
	f.wait(ctx)
	return api.PollResponse{Tag: "t"}, err
}
func (f *fake) Acquire(ctx context.Context, group, node string, req api.AcquireRequest, wait time.Duration) (*api.AcquireResponse, error) {
	err := f.saw("Acquire", group, node, req, wait)
	f.wait(ctx)
	return &api.AcquireResponse{Hold: api.Hold{Group: group, Node: node, Fence: 7}}, err
}
func (f *fake) Confirm(_ context.Context, group, node string, req api.ConfirmRequest) (api.Hold, error) {
	return api.Hold{Group: group, Node: node, Fence: req.Fence}, f.saw("Confirm", group, node, req)
}
func (f *fake) Release(_ context.Context, group, node string, fence int64, instance string) error {
	return f.saw("Release", group, node, fence, instance)
}
func (f *fake) LeaveQueue(_ context.Context, group, node string) error {
	return f.saw("LeaveQueue", group, node)
}
func (f *fake) SetPriority(_ context.Context, group, node string, req api.PriorityRequest) error {
	return f.saw("SetPriority", group, node, req)
}
func (f *fake) Holds(_ context.Context, group string) ([]api.Hold, error) {
	return []api.Hold{{Group: group}}, f.saw("Holds", group)
}
func (f *fake) Revoke(_ context.Context, group, node string, req api.RevokeRequest) (api.Hold, error) {
	return api.Hold{Group: group, Node: node, State: "revoked"}, f.saw("Revoke", group, node, req)
}
func (f *fake) ForceRelease(_ context.Context, group, node string, req api.ReleaseRequest) error {
	return f.saw("ForceRelease", group, node, req)
}
func (f *fake) CreateBundle(_ context.Context, body io.Reader, digest string) (api.Bundle, bool, error) {
	b, _ := io.ReadAll(body)
	return api.Bundle{Digest: digest, Size: int64(len(b))}, string(b) != "again", f.saw("CreateBundle", len(b), digest)
}
func (f *fake) Bundles(context.Context) ([]api.Bundle, error) { return nil, f.saw("Bundles") }
func (f *fake) Bundle(_ context.Context, digest string) (api.Bundle, error) {
	return api.Bundle{Digest: digest}, f.saw("Bundle", digest)
}
func (f *fake) OpenBundle(_ context.Context, digest string) (io.ReadCloser, int64, error) {
	if err := f.saw("OpenBundle", digest); err != nil {
		return nil, 0, err
	}
	if f.opened != nil {
		return f.opened()
	}
	return io.NopCloser(strings.NewReader("hello")), 5, nil
}
func (f *fake) DeleteBundle(_ context.Context, digest string) error {
	return f.saw("DeleteBundle", digest)
}
func (f *fake) LinkBundle(_ context.Context, digest string, link api.BundleLink) (api.Bundle, bool, error) {
	return api.Bundle{Digest: digest, URL: link.URL}, link.Size != 6, f.saw("LinkBundle", digest, link)
}
func (f *fake) SignBundle(_ context.Context, digest string, req api.BundleSignature) (api.Bundle, error) {
	return api.Bundle{Digest: digest, SignedBy: []string{"SHA256:k"}}, f.saw("SignBundle", digest, req)
}
func (f *fake) CreateRollout(_ context.Context, spec api.RolloutSpec, key string) (api.Rollout, bool, error) {
	return api.Rollout{ID: "r1", Spec: spec}, key != "again", f.saw("CreateRollout", spec, key)
}
func (f *fake) Plan(_ context.Context, spec api.RolloutSpec) (api.Plan, error) {
	return api.Plan{Total: 4}, f.saw("Plan", spec)
}
func (f *fake) Rollouts(context.Context) ([]api.Rollout, error) { return nil, f.saw("Rollouts") }
func (f *fake) Rollout(_ context.Context, id string) (api.Rollout, error) {
	return api.Rollout{ID: id}, f.saw("Rollout", id)
}
func (f *fake) NodeAction(_ context.Context, id, action string, req api.NodeActionRequest) (api.Node, error) {
	return api.Node{ID: id}, f.saw("NodeAction", id, action, req)
}
func (f *fake) RolloutAction(_ context.Context, id, action string, req api.RolloutActionRequest) (api.Rollout, error) {
	return api.Rollout{ID: id}, f.saw("RolloutAction", id, action, req)
}
func (f *fake) CreateToken(_ context.Context, req api.TokenRequest) (api.TokenCreated, error) {
	return api.TokenCreated{Token: api.Token{ID: "t1", Role: req.Role}, Secret: "lk_x"}, f.saw("CreateToken", req)
}
func (f *fake) Tokens(context.Context) ([]api.Token, error)    { return nil, f.saw("Tokens") }
func (f *fake) DeleteToken(_ context.Context, id string) error { return f.saw("DeleteToken", id) }
func (f *fake) Events(_ context.Context, q api.EventQuery) (api.EventList, error) {
	return api.EventList{Events: []api.Event{{Revision: 5}}, Next: 5}, f.saw("Events", q)
}
func (f *fake) WatchEvents(_ context.Context, after int64) (<-chan api.Event, error) {
	return f.events, f.saw("WatchEvents", after)
}
func (f *fake) UnfreezeAccepting(_ context.Context, id string, unheard int) error {
	return f.saw("UnfreezeAccepting", id, unheard)
}
func (f *fake) Snapshots(context.Context) (api.SnapshotList, error) {
	return api.SnapshotList{Keep: 3, Snapshots: []api.Snapshot{{Name: "a"}}}, f.saw("Snapshots")
}
func (f *fake) Snapshot(context.Context) (io.ReadCloser, error) {
	if err := f.saw("Snapshot"); err != nil {
		return nil, err
	}
	if f.opened != nil {
		r, _, err := f.opened()
		return r, err
	}
	return io.NopCloser(strings.NewReader("hello")), nil
}
func (f *fake) CreateJoinToken(_ context.Context, req api.JoinTokenRequest) (api.JoinToken, error) {
	return api.JoinToken{ID: "t1", Token: "secret"}, f.saw("CreateJoinToken", req)
}
func (f *fake) JoinBegin(_ context.Context, req api.JoinBeginRequest) (api.JoinAuthority, error) {
	return api.JoinAuthority{CAKey: "key"}, f.saw("JoinBegin", req)
}
func (f *fake) Join(_ context.Context, req api.JoinRequest) (api.Joined, error) {
	return api.Joined{MemberID: "1f"}, f.saw("Join", req)
}
func (f *fake) PromoteMember(_ context.Context, member string) (api.MemberChange, error) {
	return api.MemberChange{Done: "promoted"}, f.saw("PromoteMember", member)
}
func (f *fake) RemoveMember(_ context.Context, member string) (api.MemberChange, error) {
	return api.MemberChange{Done: "removed"}, f.saw("RemoveMember", member)
}
func (f *fake) MoveLeader(_ context.Context, req api.LeaderRequest) (api.MemberChange, error) {
	return api.MemberChange{Done: "moved"}, f.saw("MoveLeader", req)
}
func (f *fake) Authority(context.Context) (api.AuthorityStatus, error) {
	return api.AuthorityStatus{Stage: api.AuthorityTrust}, f.saw("Authority")
}
func (f *fake) RotateAuthority(_ context.Context, req api.AuthorityRequest) (api.AuthorityStatus, error) {
	return api.AuthorityStatus{Stage: api.AuthorityShow}, f.saw("RotateAuthority", req)
}
func (f *fake) Bench(_ context.Context, req api.BenchRequest) (api.Measured, error) {
	return api.Measured{Count: 7}, f.saw("Bench", req)
}
