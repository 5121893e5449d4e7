package client

import (
	"context"
	"net/http"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// CreateJoinToken makes a token with which one coordinator may join the cluster.
func (c *Client) CreateJoinToken(ctx context.Context, req api.JoinTokenRequest) (api.JoinToken, error) {
	return send[api.JoinToken](ctx, c, http.MethodPost, req, "cluster", "join-tokens")
}

// JoinBegin is the first question of a new coordinator, with its join token.
func (c *Client) JoinBegin(ctx context.Context, req api.JoinBeginRequest) (api.JoinAuthority, error) {
	return send[api.JoinAuthority](ctx, c, http.MethodPost, req, "cluster", "join", "begin")
}

// Join asks to be taken in, with a join token.
func (c *Client) Join(ctx context.Context, req api.JoinRequest) (api.Joined, error) {
	return send[api.Joined](ctx, c, http.MethodPost, req, "cluster", "join")
}

// PromoteMember gives a new member its vote.
func (c *Client) PromoteMember(ctx context.Context, member string) (api.MemberChange, error) {
	return send[api.MemberChange](ctx, c, http.MethodPost, nil, "cluster", "members", member, "promote")
}

// RemoveMember takes a member out of the cluster for good.
func (c *Client) RemoveMember(ctx context.Context, member string) (api.MemberChange, error) {
	return send[api.MemberChange](ctx, c, http.MethodDelete, nil, "cluster", "members", member)
}

// MoveLeader makes another member lead.
func (c *Client) MoveLeader(ctx context.Context, req api.LeaderRequest) (api.MemberChange, error) {
	return send[api.MemberChange](ctx, c, http.MethodPost, req, "cluster", "leader")
}

// Authority is how far the members' own authority has been replaced.
func (c *Client) Authority(ctx context.Context) (api.AuthorityStatus, error) {
	return send[api.AuthorityStatus](ctx, c, http.MethodGet, nil, "cluster", "authority")
}

// RotateAuthority takes a step of that.
func (c *Client) RotateAuthority(ctx context.Context, req api.AuthorityRequest) (api.AuthorityStatus, error) {
	return send[api.AuthorityStatus](ctx, c, http.MethodPost, req, "cluster", "authority")
}

// send asks with a body, if there is one, and reads an object.
func send[T any](ctx context.Context, c *Client, method string, in any, path ...string) (T, error) {
	var out T
	_, err := c.do(ctx, call{method: method, path: path, in: in, out: &out})
	return out, err
}
