package service

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

// CreateRollout starts a rollout. It reports false when the same request
// started it before.
func (s *Service) CreateRollout(ctx context.Context, spec api.RolloutSpec, idempotencyKey string) (api.Rollout, bool, error) {
	p, err := need(ctx, api.RoleDeployer)
	if err != nil {
		return api.Rollout{}, false, err
	}
	var v invalid
	boundText(&v, "Idempotency-Key", idempotencyKey, 256)
	if err := s.checkRollout(ctx, &v, spec, p); err != nil {
		return api.Rollout{}, false, err
	}
	defer s.wrote()
	r, created, err := s.roll.Create(ctx, spec, p.Name, idempotencyKey)
	return r, created, s.problem(ctx, err)
}

// Plan previews a rollout.
func (s *Service) Plan(ctx context.Context, spec api.RolloutSpec) (api.Plan, error) {
	p, err := need(ctx, api.RoleViewer)
	if err != nil {
		return api.Plan{}, err
	}
	var v invalid
	if err := s.checkRollout(ctx, &v, spec, p); err != nil {
		return api.Plan{}, err
	}
	plan, err := s.roll.Plan(spec)
	return plan, s.problem(ctx, err)
}

// checkRollout names what cannot be in a rollout that somebody wants.
func (s *Service) checkRollout(ctx context.Context, v *invalid, spec api.RolloutSpec, by auth.Principal) error {
	if err := v.err(); err != nil {
		return err
	}
	if err := rollout.Validate(spec); err != nil {
		return err
	}
	if spec.Group != "" {
		if st, found := s.store.View(spec.Group); !found || !st.Exists() {
			return s.unknownGroup(spec.Group)
		}
	}
	if _, err := s.db.Bundle(ctx, spec.Bundle); err != nil {
		if errors.Is(err, etcdstore.ErrNotFound) {
			return &api.Error{
				Kind: api.Invalid, Detail: fmt.Sprintf("bundle: there is no bundle %s here: upload it first", spec.Bundle),
				Fields: []api.FieldError{{Path: "bundle", Detail: "is not stored here"}},
			}
		}
		return s.problem(ctx, err)
	}
	if err := s.checkWebhooks(spec); err != nil {
		return err
	}
	return s.checkGates(ctx, spec, by.Allows(api.RoleDeployer))
}

// Rollouts lists the rollouts, newest first, without their nodes.
func (s *Service) Rollouts(ctx context.Context) ([]api.Rollout, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return nil, err
	}
	return append([]api.Rollout{}, s.roll.List()...), nil
}

// Rollout is one rollout with its nodes.
func (s *Service) Rollout(ctx context.Context, id string) (api.Rollout, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return api.Rollout{}, err
	}
	r, found := s.roll.Get(id)
	if !found {
		return api.Rollout{}, api.Errorf(api.NotFound, "there is no rollout %q", id)
	}
	return r, nil
}

// RolloutAction is one of rollout.Actions. What an approval needs more than the
// role deployer, its gate says.
func (s *Service) RolloutAction(ctx context.Context, id, action string, req api.RolloutActionRequest) (api.Rollout, error) {
	p, err := need(ctx, api.RoleDeployer)
	if err != nil {
		return api.Rollout{}, err
	}
	var v invalid
	if !slices.Contains(rollout.Actions, action) {
		v.add("action", fmt.Sprintf("%q: want one of %v", action, rollout.Actions))
	}
	boundText(&v, "reason", req.Reason, maxReason)
	boundText(&v, "gate", req.Gate, 256)
	if action != rollout.ActApprove && action != rollout.ActSkip && (req.Wave != 0 || req.Gate != "") {
		v.add("wave", fmt.Sprintf("%s is of the whole rollout: leave out wave and gate", action))
	}
	if !req.StoppedAt.IsZero() && action != rollout.ActResume {
		v.add("stopped_at", action+" lifts no pause or halt: leave it out")
	}
	if err := v.err(); err != nil {
		return api.Rollout{}, err
	}
	defer s.wrote()
	r, err := s.roll.Act(ctx, id, rollout.Ask{
		Action: action, By: p.Name, Role: p.Role, Reason: req.Reason, Wave: req.Wave, Gate: req.Gate, StoppedAt: req.StoppedAt,
	})
	return r, s.problem(ctx, err)
}

// ownNode is the node that the one who asks is bound to.
func ownNode(ctx context.Context) string { return auth.From(ctx).Node }
