package httpapi

import (
	"context"
	"net/http"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// NodePath is the path of one node.
type NodePath struct {
	Node string `path:"node" doc:"The node's id, percent-encoded"`
}

func tagNode(n api.Node, err error) (*tagged[api.Node], error) {
	return &tagged[api.Node]{Status: http.StatusOK, ETag: etag(n.Revision), Body: n}, err
}

func (s *service) nodes() {
	type query struct {
		Text     string `query:"text" doc:"Part of the id"`
		Group    string `query:"group" doc:"One group"`
		State    string `query:"state" doc:"One state, such as failed"`
		Selector string `query:"selector" doc:"Labels, such as zone=a,role=web"`
		Bundle   string `query:"bundle" doc:"Digest of the bundle in place, or the head of it"`
		Drifted  bool   `query:"drifted" doc:"Only those that do not have what a rollout brought them to"`
		Sort     string `query:"sort" enum:"id,state" doc:"By id (default), or by state, most urgent first"`
		After    string `query:"after" doc:"The next of the page before"`
		Limit    int    `query:"limit" minimum:"1" maximum:"1000" doc:"Nodes on a page; default 100"`
	}
	on(s, get("/nodes", "List nodes"), func(ctx context.Context, in *query) (*body[api.NodeList], error) {
		list, err := s.Nodes(ctx, api.NodeQuery(*in))
		list.Nodes = some(list.Nodes)
		return answer(list, err)
	})
	on(s, get("/nodes/{node}", "Get a node"), func(ctx context.Context, in *NodePath) (*tagged[api.Node], error) {
		return tagNode(s.Node(ctx, in.Node))
	})
	on(s, get("/nodes/{node}/explain", "Explain a node"), func(ctx context.Context, in *NodePath) (*body[api.Verdict], error) {
		return answer(s.ExplainNode(ctx, in.Node))
	})
	type patchNode struct {
		NodePath
		IfMatch string `header:"If-Match" doc:"A revision"`
		Body    api.NodePatch
	}
	on(s, patch("/nodes/{node}", "Change a node"), func(ctx context.Context, in *patchNode) (*tagged[api.Node], error) {
		match, err := ifMatch(in.IfMatch)
		if err != nil {
			return nil, err
		}
		return tagNode(s.PatchNode(ctx, in.Node, in.Body, match))
	})
	on(s, del("/nodes/{node}", "Forget a node"), func(ctx context.Context, in *NodePath) (*none, error) {
		return nil, s.DeleteNode(ctx, in.Node)
	})
	type act struct {
		NodePath
		Body *api.NodeActionRequest
	}
	for action, title := range map[string]string{"retry": "Try a failed node again", "rollback": "Take a node back from its bundle"} {
		on(s, post("/nodes/{node}/"+action, title), func(ctx context.Context, in *act) (*tagged[api.Node], error) {
			var req api.NodeActionRequest
			if in.Body != nil {
				req = *in.Body
			}
			return tagNode(s.NodeAction(ctx, in.Node, action, req))
		})
	}
	type poll struct {
		NodePath
		Body api.PollRequest
	}
	op := post("/nodes/{node}/poll", "Report and learn what is wanted")
	// An agent may be one minor version ahead and report what is not known here.
	op.SkipValidateBody = true
	on(s, op, func(ctx context.Context, in *poll) (*body[api.PollResponse], error) {
		return answer(s.Poll(ctx, in.Node, in.Body))
	})
}
