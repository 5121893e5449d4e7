package client

import (
	"context"
	"crypto/rand"
	"net/http"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// CreateRollout starts a rollout; created is false when the same request had
// started it before. Without a key one is made, so that asking several
// coordinators starts it once.
func (c *Client) CreateRollout(ctx context.Context, spec api.RolloutSpec, idempotencyKey string) (rollout api.Rollout, created bool, err error) {
	if idempotencyKey == "" {
		idempotencyKey = rand.Text()
	}
	status, err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"rollouts"}, in: spec, out: &rollout,
		header: map[string]string{"Idempotency-Key": idempotencyKey},
	})
	return rollout, status == http.StatusCreated, err
}

// Plan previews what CreateRollout would do.
func (c *Client) Plan(ctx context.Context, spec api.RolloutSpec) (api.Plan, error) {
	var out api.Plan
	_, err := c.do(ctx, call{method: http.MethodPost, path: []string{"plans"}, in: spec, out: &out})
	return out, err
}

// Rollouts lists the rollouts, newest first, without their nodes.
func (c *Client) Rollouts(ctx context.Context) ([]api.Rollout, error) {
	list, err := get[api.RolloutList](ctx, c, nil, "rollouts")
	return list.Rollouts, err
}

// Rollout is one rollout with its nodes.
func (c *Client) Rollout(ctx context.Context, id string) (api.Rollout, error) {
	return get[api.Rollout](ctx, c, nil, "rollouts", id)
}

// RolloutAction is pause, resume, halt, abort, retry, approve or skip. An approve
// or skip that names no wave means where the rollout stands when it arrives, and a
// resume that names no pause or halt whatever stopped it then, so that it is not sent again
// when its outcome is unknown.
func (c *Client) RolloutAction(ctx context.Context, id, action string, req api.RolloutActionRequest) (api.Rollout, error) {
	var out api.Rollout
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"rollouts", id, action}, in: req, out: &out,
		once: (action == "approve" || action == "skip") && req.Wave == 0 || action == "resume" && req.StoppedAt.IsZero(),
	})
	return out, err
}

// CreateToken makes a credential and shows its secret, once. It is not sent
// again when its outcome is unknown: look at Tokens then.
func (c *Client) CreateToken(ctx context.Context, req api.TokenRequest) (api.TokenCreated, error) {
	var out api.TokenCreated
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"tokens"}, in: req, out: &out, once: true,
		header: map[string]string{"Idempotency-Key": req.IdempotencyKey},
	})
	return out, err
}

// Tokens lists the credentials without their secrets.
func (c *Client) Tokens(ctx context.Context) ([]api.Token, error) {
	list, err := get[api.TokenList](ctx, c, nil, "tokens")
	return list.Tokens, err
}

// DeleteToken makes a credential worthless.
func (c *Client) DeleteToken(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: []string{"tokens", id}})
	return err
}
