package httpapi

import (
	"context"
	"net/http"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// RolloutPath is the path of one rollout.
type RolloutPath struct {
	ID string `path:"id" doc:"The rollout's id"`
}

func tagRollout(r api.Rollout, err error, created bool) (*tagged[api.Rollout], error) {
	out := &tagged[api.Rollout]{Status: http.StatusOK, ETag: etag(r.Revision), Body: r}
	if created {
		out.Status = http.StatusCreated
	}
	return out, err
}

func (s *service) rollouts() {
	on(s, get("/rollouts", "List rollouts"), func(ctx context.Context, _ *noInput) (*body[api.RolloutList], error) {
		rollouts, err := s.Rollouts(ctx)
		return answer(api.RolloutList{Rollouts: some(rollouts)}, err)
	})
	on(s, get("/rollouts/{id}", "Get a rollout"), func(ctx context.Context, in *RolloutPath) (*tagged[api.Rollout], error) {
		r, err := s.Rollout(ctx, in.ID)
		return tagRollout(r, err, false)
	})
	type create struct {
		Key  string `header:"Idempotency-Key" maxLength:"255" doc:"The same key with the same body starts it once"`
		Body api.RolloutSpec
	}
	on(s, post("/rollouts", "Start a rollout"), func(ctx context.Context, in *create) (*tagged[api.Rollout], error) {
		r, created, err := s.CreateRollout(ctx, in.Body, in.Key)
		return tagRollout(r, err, created)
	})
	type plan struct{ Body api.RolloutSpec }
	on(s, post("/plans", "Preview a rollout"), func(ctx context.Context, in *plan) (*body[api.Plan], error) {
		return answer(s.Plan(ctx, in.Body))
	})
	type act struct {
		RolloutPath
		Action string `path:"action" enum:"pause,resume,halt,abort,retry,approve,skip"`
		Body   *api.RolloutActionRequest
	}
	on(s, post("/rollouts/{id}/{action}", "Act on a rollout"), func(ctx context.Context, in *act) (*tagged[api.Rollout], error) {
		var req api.RolloutActionRequest
		if in.Body != nil {
			req = *in.Body
		}
		r, err := s.RolloutAction(ctx, in.ID, in.Action, req)
		return tagRollout(r, err, false)
	})
}

func (s *service) tokens() {
	type create struct {
		Key  string `header:"Idempotency-Key" maxLength:"255" doc:"The same key with the same body makes one token; its secret is shown once"`
		Body api.TokenRequest
	}
	op := post("/tokens", "Create a token")
	op.DefaultStatus = http.StatusCreated
	on(s, op, func(ctx context.Context, in *create) (*tokenAnswer, error) {
		in.Body.IdempotencyKey = in.Key
		t, err := s.CreateToken(ctx, in.Body)
		out := &tokenAnswer{Status: http.StatusCreated, Body: t}
		if t.Secret == "" {
			out.Status = http.StatusOK // made by the same request before, and shown then
		}
		return out, err
	})
	on(s, get("/tokens", "List tokens"), func(ctx context.Context, _ *noInput) (*body[api.TokenList], error) {
		tokens, err := s.Tokens(ctx)
		return answer(api.TokenList{Tokens: some(tokens)}, err)
	})
	type token struct {
		ID string `path:"id" doc:"The token's id"`
	}
	on(s, del("/tokens/{id}", "Delete a token"), func(ctx context.Context, in *token) (*none, error) {
		return nil, s.DeleteToken(ctx, in.ID)
	})
}

type tokenAnswer struct {
	Status int
	Body   api.TokenCreated
}
