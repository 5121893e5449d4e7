package httpapi

import (
	"context"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// HoldPath is the path of the hold, or the place in the queue, of one node.
type HoldPath struct {
	Group string `path:"group" doc:"The group's name"`
	Node  string `path:"node" doc:"The node's id, percent-encoded"`
}

func (s *service) holds() {
	type byGroup struct {
		Group string `query:"group" doc:"One group; empty: all"`
	}
	on(s, get("/holds", "List holds"), func(ctx context.Context, in *byGroup) (*body[api.HoldList], error) {
		holds, err := s.Holds(ctx, in.Group)
		return answer(api.HoldList{Holds: some(holds)}, err)
	})
	on(s, get("/groups/{group}/holds", "List holds of a group"), func(ctx context.Context, in *GroupPath) (*body[api.HoldList], error) {
		holds, err := s.Holds(ctx, in.Group)
		return answer(api.HoldList{Holds: some(holds)}, err)
	})
	type acquire struct {
		HoldPath
		Wait string `query:"wait" doc:"How long to wait in the queue, such as 30s; at most 25m"`
		Body api.AcquireRequest
	}
	on(s, put("/groups/{group}/holds/{node}", "Acquire a slot"), func(ctx context.Context, in *acquire) (*body[api.AcquireResponse], error) {
		wait, err := waiting(in.Wait)
		if err != nil {
			return nil, err
		}
		out, err := s.Acquire(ctx, in.Group, in.Node, in.Body, wait)
		if err != nil {
			return nil, err
		}
		return answer(*out, nil)
	})
	type confirm struct {
		HoldPath
		Body api.ConfirmRequest
	}
	on(s, post("/groups/{group}/holds/{node}/confirm", "Confirm a hold"), func(ctx context.Context, in *confirm) (*body[api.Hold], error) {
		return answer(s.Confirm(ctx, in.Group, in.Node, in.Body))
	})
	type release struct {
		HoldPath
		Fence    int64  `query:"fence" required:"true" doc:"The hold's fence"`
		Instance string `query:"instance" doc:"The holder's instance"`
	}
	on(s, del("/groups/{group}/holds/{node}", "Release a hold"), func(ctx context.Context, in *release) (*none, error) {
		return nil, s.Release(ctx, in.Group, in.Node, in.Fence, in.Instance)
	})
	type revoke struct {
		HoldPath
		Body api.RevokeRequest
	}
	on(s, post("/groups/{group}/holds/{node}/revoke", "Revoke a hold"), func(ctx context.Context, in *revoke) (*body[api.Hold], error) {
		return answer(s.Revoke(ctx, in.Group, in.Node, in.Body))
	})
	type force struct {
		HoldPath
		Body api.ReleaseRequest
	}
	on(s, post("/groups/{group}/holds/{node}/release", "Release a hold of a host that is down"), func(ctx context.Context, in *force) (*none, error) {
		return nil, s.ForceRelease(ctx, in.Group, in.Node, in.Body)
	})
	on(s, del("/groups/{group}/queue/{node}", "Leave the queue"), func(ctx context.Context, in *HoldPath) (*none, error) {
		return nil, s.LeaveQueue(ctx, in.Group, in.Node)
	})
	type priority struct {
		HoldPath
		Body api.PriorityRequest
	}
	on(s, patch("/groups/{group}/queue/{node}", "Set a priority"), func(ctx context.Context, in *priority) (*none, error) {
		return nil, s.SetPriority(ctx, in.Group, in.Node, in.Body)
	})
}
