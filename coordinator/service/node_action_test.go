package service

import (
	"errors"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestRollback_StandsUntilTheNodeHasAnsweredIt(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	b.report("a", 2, func(r *api.Report) { r.Bundle = "abc" })
	n, err := b.NodeAction(b.admin(), "a", "rollback", api.NodeActionRequest{Reason: "slow"})
	if err != nil || n.Order == nil || n.Order.Bundle != "abc" || n.Order.Reason != "slow" || n.Wanted == nil || !n.Wanted.Undo || n.Wanted.Order != n.Order.ID {
		t.Fatalf("%+v, %v", n, err)
	}
	again, err := b.NodeAction(b.admin(), "a", "rollback", api.NodeActionRequest{})
	if err != nil || again.Order.ID != n.Order.ID {
		t.Errorf("asked again: %+v, %v", again.Order, err)
	}
	b.eventually("the audit trail has it once", func() bool {
		events, err := b.Events(b.admin(), api.EventQuery{Limit: 100})
		told := 0
		for _, e := range events.Events {
			if e.Kind == "node.rollback" && e.Node == "a" && e.Actor != "" {
				told++
			}
		}
		return err == nil && told == 1
	})
	b.report("a", 3, func(r *api.Report) { r.Bundle, r.Phase = "abc", api.PhaseDraining })
	if n, _ = b.Node(b.admin(), "a"); n.Wanted == nil {
		t.Error("the order was forgotten in the middle of it")
	}
	b.report("a", 4, func(r *api.Report) { r.Answered = n.Order.ID })
	if n, _ = b.Node(b.admin(), "a"); n.Order != nil || n.Wanted != nil {
		t.Errorf("answered, and %+v", n)
	}
}

func TestRollback_IsRefusedWhereItCannotBeCarriedOut(t *testing.T) {
	b := start(t)
	for _, id := range []string{"none", "busy", "failed", "wanted"} {
		b.hello(id, "default")
	}
	b.report("busy", 2, func(r *api.Report) { r.Bundle, r.Phase = "abc", api.PhaseApplying })
	b.report("failed", 2, func(r *api.Report) { r.Bundle, r.Phase = "abc", api.PhaseFailed })
	b.report("wanted", 2, func(r *api.Report) { r.Bundle = "abc" })
	b.rollouts.want("wanted", &api.Wanted{Rollout: "r1", Bundle: "def"})
	for id, kind := range map[string]api.Kind{"none": api.Conflict, "busy": api.Conflict, "failed": api.Conflict, "wanted": api.Conflict, "nobody": api.NotFound} {
		_, err := b.NodeAction(b.admin(), id, "rollback", api.NodeActionRequest{})
		var refused *api.Error
		if !errors.As(err, &refused) || refused.Kind != kind {
			t.Errorf("%s: %v", id, err)
		}
	}
	if _, err := b.NodeAction(b.admin(), "none", "explode", api.NodeActionRequest{}); err == nil {
		t.Error("an unknown action was accepted")
	}
}
