package service

import (
	"context"
	"crypto/rand"
	"fmt"
	"slices"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// nodeActions on a node.
var nodeActions = []string{"retry", "rollback"}

// wantedFor is what a node should come to now: what a rollout wants, else what a
// person ordered. Nil is nothing.
func (s *Service) wantedFor(id string) *api.Wanted {
	if w := s.roll.WantedFor(id); w != nil {
		return w
	}
	if rec, known := s.fleet.Record(id); known && rec.Order != nil {
		o := rec.Order
		return &api.Wanted{Bundle: o.Bundle, Name: o.Name, Undo: true, Order: o.ID}
	}
	return nil
}

// NodeAction is retry, which tries a node again that failed in its newest
// rollout, or rollback, which takes a node back from its bundle to what that
// replaced. Either waits for a slot like any other.
func (s *Service) NodeAction(ctx context.Context, id, action string, req api.NodeActionRequest) (api.Node, error) {
	p, err := need(ctx, api.RoleDeployer)
	if err != nil {
		return api.Node{}, err
	}
	var v invalid
	if !slices.Contains(nodeActions, action) {
		v.add("action", fmt.Sprintf("%q: want one of %v", action, nodeActions))
	}
	boundText(&v, "reason", req.Reason, maxReason)
	if err := v.err(); err != nil {
		return api.Node{}, err
	}
	n, err := s.findNode(id)
	if err != nil {
		return api.Node{}, err
	}
	defer s.wrote()
	if action == "retry" {
		if _, err := s.roll.RetryNode(ctx, id, p.Name, req.Reason); err != nil {
			return api.Node{}, s.problem(ctx, err)
		}
		return s.findNode(id)
	}
	return s.rollBack(ctx, n, p.Name, req.Reason)
}

func (s *Service) rollBack(ctx context.Context, n api.Node, by, reason string) (api.Node, error) {
	id := n.ID
	if w := s.roll.WantedFor(id); w != nil {
		return api.Node{}, api.Errorf(api.Conflict, "node %s: rollout %s wants it to have bundle %s; abort that first", id, w.Rollout, w.Bundle)
	}
	o := api.Order{ID: "or-" + rand.Text(), By: by, At: s.now().UTC(), Reason: reason}
	if b, err := s.db.Bundle(ctx, n.Report.Bundle); err == nil {
		o.Name = b.Name
	}
	detail := "to what its bundle replaced"
	if reason != "" {
		detail += ": " + reason
	}
	e := semaphore.Event{Kind: "node.rollback", Actor: by, Node: id, Detail: detail}
	_, _, err := s.fleet.Order(ctx, id, o, e, func(r api.Report) error {
		switch {
		case r.Phase != api.PhaseIdle:
			return api.Errorf(api.Conflict, "node %s is %s: it can be rolled back when it is idle with a bundle in place", id, r.Phase)
		case r.Bundle == "":
			return api.Errorf(api.Conflict, "node %s: no bundle is in place that could be undone", id)
		}
		return nil
	})
	if err != nil {
		return api.Node{}, s.problem(ctx, err)
	}
	s.polls.wake(id)
	return s.findNode(id)
}
