package httpapi

import (
	"context"
	"io"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Backend is the service as this package uses it. Every error is an *api.Error;
// who asks is in the context.
type Backend interface {
	Status(ctx context.Context) (api.Status, error)
	Cluster(ctx context.Context) (api.Cluster, error)
	Explain(ctx context.Context, group string) (api.Explanation, error)

	Groups(ctx context.Context) ([]api.Group, error)
	Group(ctx context.Context, name string) (api.Group, error)
	PutGroup(ctx context.Context, name string, spec api.GroupSpec, ifMatch string) (api.Group, error)
	DeleteGroup(ctx context.Context, name, ifMatch string) error
	Freeze(ctx context.Context, group string, req api.FreezeRequest) (api.Freeze, error)
	Unfreeze(ctx context.Context, group, id string) error
	UnfreezeAccepting(ctx context.Context, id string, unheard int) error

	Nodes(ctx context.Context, q api.NodeQuery) (api.NodeList, error)
	Node(ctx context.Context, id string) (api.Node, error)
	ExplainNode(ctx context.Context, id string) (api.Verdict, error)
	PatchNode(ctx context.Context, id string, p api.NodePatch, ifMatch string) (api.Node, error)
	DeleteNode(ctx context.Context, id string) error
	NodeAction(ctx context.Context, id, action string, req api.NodeActionRequest) (api.Node, error)
	Poll(ctx context.Context, id string, req api.PollRequest) (api.PollResponse, error)

	Acquire(ctx context.Context, group, node string, req api.AcquireRequest, wait time.Duration) (*api.AcquireResponse, error)
	Confirm(ctx context.Context, group, node string, req api.ConfirmRequest) (api.Hold, error)
	Release(ctx context.Context, group, node string, fence int64, instance string) error
	LeaveQueue(ctx context.Context, group, node string) error
	SetPriority(ctx context.Context, group, node string, req api.PriorityRequest) error
	Holds(ctx context.Context, group string) ([]api.Hold, error)
	Revoke(ctx context.Context, group, node string, req api.RevokeRequest) (api.Hold, error)
	ForceRelease(ctx context.Context, group, node string, req api.ReleaseRequest) error

	CreateBundle(ctx context.Context, body io.Reader, digest string) (api.Bundle, bool, error)
	Bundles(ctx context.Context) ([]api.Bundle, error)
	Bundle(ctx context.Context, digest string) (api.Bundle, error)
	OpenBundle(ctx context.Context, digest string) (io.ReadCloser, int64, error)
	DeleteBundle(ctx context.Context, digest string) error
	LinkBundle(ctx context.Context, digest string, link api.BundleLink) (api.Bundle, bool, error)
	SignBundle(ctx context.Context, digest string, req api.BundleSignature) (api.Bundle, error)

	CreateRollout(ctx context.Context, spec api.RolloutSpec, idempotencyKey string) (api.Rollout, bool, error)
	Plan(ctx context.Context, spec api.RolloutSpec) (api.Plan, error)
	Rollouts(ctx context.Context) ([]api.Rollout, error)
	Rollout(ctx context.Context, id string) (api.Rollout, error)
	RolloutAction(ctx context.Context, id, action string, req api.RolloutActionRequest) (api.Rollout, error)

	CreateToken(ctx context.Context, req api.TokenRequest) (api.TokenCreated, error)
	Tokens(ctx context.Context) ([]api.Token, error)
	DeleteToken(ctx context.Context, id string) error

	Events(ctx context.Context, q api.EventQuery) (api.EventList, error)
	WatchEvents(ctx context.Context, after int64) (<-chan api.Event, error)

	Snapshot(ctx context.Context) (io.ReadCloser, error)
	Snapshots(ctx context.Context) (api.SnapshotList, error)

	CreateJoinToken(ctx context.Context, req api.JoinTokenRequest) (api.JoinToken, error)
	JoinBegin(ctx context.Context, req api.JoinBeginRequest) (api.JoinAuthority, error)
	Join(ctx context.Context, req api.JoinRequest) (api.Joined, error)
	PromoteMember(ctx context.Context, member string) (api.MemberChange, error)
	RemoveMember(ctx context.Context, member string) (api.MemberChange, error)
	MoveLeader(ctx context.Context, req api.LeaderRequest) (api.MemberChange, error)
	Authority(ctx context.Context) (api.AuthorityStatus, error)
	RotateAuthority(ctx context.Context, req api.AuthorityRequest) (api.AuthorityStatus, error)

	Bench(ctx context.Context, req api.BenchRequest) (api.Measured, error)
}
