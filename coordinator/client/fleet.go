package client

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// get reads one object.
func get[T any](ctx context.Context, c *Client, query url.Values, path ...string) (T, error) {
	var out T
	_, err := c.do(ctx, call{method: http.MethodGet, path: path, query: query, out: &out})
	return out, err
}

// Healthz reports whether a coordinator's process runs.
func (c *Client) Healthz(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"healthz"}, root: true})
	return err
}

// Readyz reports whether a coordinator has quorum and has loaded its state.
func (c *Client) Readyz(ctx context.Context) error {
	_, err := c.do(ctx, call{method: http.MethodGet, path: []string{"readyz"}, root: true})
	return err
}

// Status is the fleet at a glance.
func (c *Client) Status(ctx context.Context) (api.Status, error) {
	return get[api.Status](ctx, c, nil, "status")
}

// Cluster is the coordinators and their store.
func (c *Client) Cluster(ctx context.Context) (api.Cluster, error) {
	return get[api.Cluster](ctx, c, nil, "cluster")
}

// Explain says why nothing moves, in one group or, for "", in all.
func (c *Client) Explain(ctx context.Context, group string) (api.Explanation, error) {
	return get[api.Explanation](ctx, c, values("group", group), "explain")
}

// Nodes is one page of the nodes that match.
func (c *Client) Nodes(ctx context.Context, q api.NodeQuery) (api.NodeList, error) {
	drifted := ""
	if q.Drifted {
		drifted = "true"
	}
	return get[api.NodeList](ctx, c, values(
		"text", q.Text, "group", q.Group, "state", q.State, "selector", q.Selector,
		"bundle", q.Bundle, "drifted", drifted, "sort", q.Sort, "after", q.After, "limit", number(int64(q.Limit))), "nodes")
}

// Node is one node as the coordinator knows it.
func (c *Client) Node(ctx context.Context, id string) (api.Node, error) {
	return get[api.Node](ctx, c, nil, "nodes", id)
}

// ExplainNode says why a node may or may not go now.
func (c *Client) ExplainNode(ctx context.Context, id string) (api.Verdict, error) {
	return get[api.Verdict](ctx, c, nil, "nodes", id, "explain")
}

// PatchNode changes what an operator declares of a node.
func (c *Client) PatchNode(ctx context.Context, id string, p api.NodePatch, ifMatch string) (api.Node, error) {
	var out api.Node
	_, err := c.do(ctx, call{method: http.MethodPatch, path: []string{"nodes", id}, header: matching(ifMatch), in: p, out: &out})
	return out, err
}

// DeleteNode forgets a node; one that holds a slot is in_use.
func (c *Client) DeleteNode(ctx context.Context, id string) error {
	_, err := c.do(ctx, call{method: http.MethodDelete, path: []string{"nodes", id}})
	return err
}

// NodeAction is retry or rollback. Asked again it changes nothing more: a
// rollback that stands is kept, and a retry of what has not failed is a conflict.
func (c *Client) NodeAction(ctx context.Context, id, action string, req api.NodeActionRequest) (api.Node, error) {
	var out api.Node
	_, err := c.do(ctx, call{method: http.MethodPost, path: []string{"nodes", id, action}, in: req, out: &out})
	return out, err
}

// Poll tells what a node is and learns what is wanted of it. It waits for a
// change for as long as the request says.
func (c *Client) Poll(ctx context.Context, id string, req api.PollRequest) (api.PollResponse, error) {
	var out api.PollResponse
	_, err := c.do(ctx, call{
		method: http.MethodPost, path: []string{"nodes", id, "poll"}, in: req, out: &out,
		wait: time.Duration(max(0, req.WaitS)) * time.Second,
	})
	return out, err
}

// values makes a query of names and values and leaves empty values out.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

// number is empty for 0.
func number(n int64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatInt(n, 10)
}

// matching is the If-Match header for a revision: an entity tag, or "*".
func matching(ifMatch string) map[string]string {
	if ifMatch != "" && ifMatch != "*" {
		ifMatch = strconv.Quote(ifMatch)
	}
	return map[string]string{"If-Match": ifMatch}
}
