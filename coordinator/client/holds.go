package client

import (
	"context"
	"net/http"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func holdPath(group, node string, more ...string) []string {
	return append([]string{"groups", group, "holds", node}, more...)
}

// Holds lists the holds of a group or, for "", of the fleet.
func (c *Client) Holds(ctx context.Context, group string) ([]api.Hold, error) {
	path := []string{"holds"}
	if group != "" {
		path = []string{"groups", group, "holds"}
	}
	list, err := get[api.HoldList](ctx, c, nil, path...)
	return list.Holds, err
}

// Acquire takes a slot for the node, waiting in the queue for at most wait. A
// refusal is an *api.Error with its blockers and the place in the queue.
func (c *Client) Acquire(ctx context.Context, group, node string, req api.AcquireRequest, wait time.Duration) (api.AcquireResponse, error) {
	var out api.AcquireResponse
	query := values()
	if wait > 0 {
		query.Set("wait", wait.String())
	}
	_, err := c.do(ctx, call{method: http.MethodPut, path: holdPath(group, node), query: query, in: req, out: &out, wait: max(0, wait)})
	return out, err
}

// Confirm is the gate: it succeeds while the hold with that fence stands.
func (c *Client) Confirm(ctx context.Context, group, node string, req api.ConfirmRequest) (api.Hold, error) {
	var out api.Hold
	_, err := c.do(ctx, call{method: http.MethodPost, path: holdPath(group, node, "confirm"), in: req, out: &out})
	return out, err
}

// Release returns the hold with that fence. It also succeeds when the hold is
// gone already, or is another's.
func (c *Client) Release(ctx context.Context, group, node string, fence int64, instance string) error {
	_, err := c.do(ctx, call{
		method: http.MethodDelete, path: holdPath(group, node),
		query: values("fence", strconv.FormatInt(fence, 10), "instance", instance),
	})
	return err
}

// LeaveQueue gives up the node's place in the queue.
func (c *Client) LeaveQueue(ctx context.Context, group, node string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: []string{"groups", group, "queue", node}})
	return err
}

// SetPriority reorders a waiter.
func (c *Client) SetPriority(ctx context.Context, group, node string, req api.PriorityRequest) error {
	_, err := c.do(ctx, call{method: http.MethodPatch, path: []string{"groups", group, "queue", node}, in: req})
	return err
}

// Revoke marks a hold, the first step of freeing it by name.
func (c *Client) Revoke(ctx context.Context, group, node string, req api.RevokeRequest) (api.Hold, error) {
	var out api.Hold
	_, err := c.do(ctx, call{method: http.MethodPost, path: holdPath(group, node, "revoke"), in: req, out: &out})
	return out, err
}

// ForceRelease deletes a revoked hold of a host that is down, the second step.
func (c *Client) ForceRelease(ctx context.Context, group, node string, req api.ReleaseRequest) error {
	_, err := c.do(ctx, call{method: http.MethodPost, path: holdPath(group, node, "release"), in: req})
	return err
}
