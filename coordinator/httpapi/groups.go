package httpapi

import (
	"context"
	"net/http"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// GroupPath is the path of one group. It is exported, as the other paths are,
// because huma looks into embedded structs only then.
type GroupPath struct {
	Group string `path:"group" doc:"The group's name"`
}

// tagGroup gives a group its entity tag.
func tagGroup(g api.Group, err error) (*tagged[api.Group], error) {
	out := &tagged[api.Group]{Status: http.StatusOK, ETag: etag(g.Revision), Body: g}
	if g.Created {
		out.Status = http.StatusCreated
	}
	return out, err
}

func (s *service) groups() {
	on(s, get("/groups", "List groups"), func(ctx context.Context, _ *noInput) (*body[api.GroupList], error) {
		groups, err := s.Groups(ctx)
		return answer(api.GroupList{Groups: some(groups)}, err)
	})
	on(s, get("/groups/{group}", "Get a group"), func(ctx context.Context, in *GroupPath) (*tagged[api.Group], error) {
		g, err := s.Group(ctx, in.Group)
		return tagGroup(g, err)
	})
	type putGroup struct {
		GroupPath
		IfMatch string `header:"If-Match" doc:"A revision, or * to create only"`
		Body    api.GroupSpec
	}
	on(s, put("/groups/{group}", "Declare a group"), func(ctx context.Context, in *putGroup) (*tagged[api.Group], error) {
		match, err := ifMatch(in.IfMatch)
		if err != nil {
			return nil, err
		}
		g, err := s.PutGroup(ctx, in.Group, in.Body, match)
		return tagGroup(g, err)
	})
	type deleteGroup struct {
		GroupPath
		IfMatch string `header:"If-Match" doc:"A revision"`
	}
	on(s, del("/groups/{group}", "Delete a group"), func(ctx context.Context, in *deleteGroup) (*none, error) {
		match, err := ifMatch(in.IfMatch)
		if err != nil {
			return nil, err
		}
		return nil, s.DeleteGroup(ctx, in.Group, match)
	})
	s.freezes()
}

func (s *service) freezes() {
	type freeze struct{ Body api.FreezeRequest }
	on(s, put("/freeze", "Freeze the fleet"), func(ctx context.Context, in *freeze) (*body[api.Freeze], error) {
		return answer(s.Freeze(ctx, "", in.Body))
	})
	type lift struct {
		ID            string `query:"id" required:"true" doc:"The freeze to lift"`
		AcceptUnheard int    `query:"accept_unheard" minimum:"0" doc:"After a restore: how many nodes that were not heard since are accepted"`
	}
	on(s, del("/freeze", "Lift the freeze of the fleet"), func(ctx context.Context, in *lift) (*none, error) {
		if in.AcceptUnheard > 0 {
			return nil, s.UnfreezeAccepting(ctx, in.ID, in.AcceptUnheard)
		}
		return nil, s.Unfreeze(ctx, "", in.ID)
	})
	type freezeGroup struct {
		GroupPath
		Body api.FreezeRequest
	}
	on(s, put("/groups/{group}/freeze", "Freeze a group"), func(ctx context.Context, in *freezeGroup) (*body[api.Freeze], error) {
		return answer(s.Freeze(ctx, in.Group, in.Body))
	})
	type liftGroup struct {
		GroupPath
		ID string `query:"id" required:"true" doc:"The freeze to lift"`
	}
	on(s, del("/groups/{group}/freeze", "Lift the freeze of a group"), func(ctx context.Context, in *liftGroup) (*none, error) {
		return nil, s.Unfreeze(ctx, in.Group, in.ID)
	})
}

// some makes an empty list of none, so that JSON shows [] and not null.
func some[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
