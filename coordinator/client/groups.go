package client

import (
	"context"
	"net/http"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Groups lists every group.
func (c *Client) Groups(ctx context.Context) ([]api.Group, error) {
	list, err := get[api.GroupList](ctx, c, nil, "groups")
	return list.Groups, err
}

// Group is one group with its holds and its queue.
func (c *Client) Group(ctx context.Context, name string) (api.Group, error) {
	return get[api.Group](ctx, c, nil, "groups", name)
}

// PutGroup declares a group. ifMatch "*" only creates it, a revision only
// changes that one, and "" does either. Created in the answer says which it was.
func (c *Client) PutGroup(ctx context.Context, name string, spec api.GroupSpec, ifMatch string) (api.Group, error) {
	var out api.Group
	status, err := c.do(ctx, call{method: http.MethodPut, path: []string{"groups", name}, header: matching(ifMatch), in: spec, out: &out})
	out.Created = status == http.StatusCreated
	return out, err
}

// DeleteGroup deletes a group that has no holds.
func (c *Client) DeleteGroup(ctx context.Context, name, ifMatch string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: []string{"groups", name}, header: matching(ifMatch)})
	return err
}

// Freeze stops a group or, for "", the fleet. With a freeze in place it
// returns that one.
func (c *Client) Freeze(ctx context.Context, group string, req api.FreezeRequest) (api.Freeze, error) {
	var out api.Freeze
	_, err := c.do(ctx, call{method: http.MethodPut, path: freezePath(group), in: req, out: &out})
	return out, err
}

// Unfreeze lifts the freeze of that id, of a group or, for "", of the fleet.
func (c *Client) Unfreeze(ctx context.Context, group, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: freezePath(group), query: values("id", id)})
	return err
}

func freezePath(group string) []string {
	if group == "" {
		return []string{"freeze"}
	}
	return []string{"groups", group, "freeze"}
}
