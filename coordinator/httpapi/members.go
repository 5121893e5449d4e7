package httpapi

import (
	"context"
	"net/http"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// members registers what changes the coordinators of a cluster.
func (s *service) members() {
	type token struct{ Body api.JoinTokenRequest }
	op := post("/cluster/join-tokens", "Create a join token")
	op.DefaultStatus = http.StatusCreated
	on(s, op, func(ctx context.Context, in *token) (*body[api.JoinToken], error) {
		return answer(s.CreateJoinToken(ctx, in.Body))
	})
	type begin struct{ Body api.JoinBeginRequest }
	op = post("/cluster/join/begin", "Begin to join")
	op.Description = "For a coordinator with a join token: hands over the cluster's authority, and binds the token to the name. `lockkeeperd serve --join` does it."
	on(s, op, func(ctx context.Context, in *begin) (*body[api.JoinAuthority], error) {
		return answer(s.JoinBegin(ctx, in.Body))
	})
	type join struct{ Body api.JoinRequest }
	op = post("/cluster/join", "Join the cluster")
	op.Description = "For a coordinator with a join token, listening on its peer URL: takes it in without a vote. With the same name it may be asked again."
	on(s, op, func(ctx context.Context, in *join) (*body[api.Joined], error) {
		return answer(s.Join(ctx, in.Body))
	})
	type member struct {
		Member string `path:"member" doc:"Name or id of the member"`
	}
	on(s, post("/cluster/members/{member}/promote", "Promote a member"), func(ctx context.Context, in *member) (*body[api.MemberChange], error) {
		return answer(s.PromoteMember(ctx, in.Member))
	})
	on(s, del("/cluster/members/{member}", "Remove a member"), func(ctx context.Context, in *member) (*body[api.MemberChange], error) {
		return answer(s.RemoveMember(ctx, in.Member))
	})
	type leader struct{ Body api.LeaderRequest }
	on(s, post("/cluster/leader", "Move the leader"), func(ctx context.Context, in *leader) (*body[api.MemberChange], error) {
		return answer(s.MoveLeader(ctx, in.Body))
	})
	on(s, get("/cluster/authority", "Show how the members' authority is replaced"), func(ctx context.Context, _ *struct{}) (*body[api.AuthorityStatus], error) {
		return answer(s.Authority(ctx))
	})
	type step struct{ Body api.AuthorityRequest }
	op = post("/cluster/authority", "Replace the members' authority")
	op.Description = "One step of it: begin, next, abort. It is refused while a member has not taken the step before."
	on(s, op, func(ctx context.Context, in *step) (*body[api.AuthorityStatus], error) {
		return answer(s.RotateAuthority(ctx, in.Body))
	})
}
