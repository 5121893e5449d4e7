package service

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// calls is every method that a door calls, with the role that it needs. The
// calls may fail for other reasons; only who may make them is looked at.
func (b *bench) calls() map[string]struct {
	role api.Role
	call func(ctx context.Context) error
} {
	type c = struct {
		role api.Role
		call func(ctx context.Context) error
	}
	one := func(_ any, err error) error { return err }
	const id = "web-1"
	return map[string]c{
		"Status":            {api.RoleViewer, func(ctx context.Context) error { return one(b.Status(ctx)) }},
		"Cluster":           {api.RoleViewer, func(ctx context.Context) error { return one(b.Cluster(ctx)) }},
		"Explain":           {api.RoleViewer, func(ctx context.Context) error { return one(b.Explain(ctx, "")) }},
		"Groups":            {api.RoleViewer, func(ctx context.Context) error { return one(b.Groups(ctx)) }},
		"Group":             {api.RoleViewer, func(ctx context.Context) error { return one(b.Group(ctx, "default")) }},
		"PutGroup":          {api.RoleOperator, func(ctx context.Context) error { return one(b.PutGroup(ctx, "g", api.GroupSpec{}, "")) }},
		"DeleteGroup":       {api.RoleOperator, func(ctx context.Context) error { return b.DeleteGroup(ctx, "nope", "") }},
		"Freeze":            {api.RoleOperator, func(ctx context.Context) error { return one(b.Freeze(ctx, "", api.FreezeRequest{})) }},
		"Unfreeze":          {api.RoleOperator, func(ctx context.Context) error { return b.Unfreeze(ctx, "", "x") }},
		"UnfreezeAccepting": {api.RoleOperator, func(ctx context.Context) error { return b.UnfreezeAccepting(ctx, "x", 0) }},
		"Snapshot":          {api.RoleAdmin, func(ctx context.Context) error { return one(b.Snapshot(ctx)) }},
		"Snapshots":         {api.RoleOperator, func(ctx context.Context) error { return one(b.Snapshots(ctx)) }},
		"Nodes":             {api.RoleViewer, func(ctx context.Context) error { return one(b.Nodes(ctx, api.NodeQuery{})) }},
		"PatchNode":         {api.RoleOperator, func(ctx context.Context) error { return one(b.PatchNode(ctx, id, api.NodePatch{}, "")) }},
		"DeleteNode":        {api.RoleOperator, func(ctx context.Context) error { return b.DeleteNode(ctx, "nope") }},
		"SetPriority":       {api.RoleOperator, func(ctx context.Context) error { return b.SetPriority(ctx, "default", id, api.PriorityRequest{}) }},
		"Holds":             {api.RoleViewer, func(ctx context.Context) error { return one(b.Holds(ctx, "")) }},
		"Revoke":            {api.RoleOperator, func(ctx context.Context) error { return one(b.Revoke(ctx, "default", id, api.RevokeRequest{})) }},
		"ForceRelease": {api.RoleOperator, func(ctx context.Context) error {
			return b.ForceRelease(ctx, "default", id, api.ReleaseRequest{})
		}},
		"CreateBundle": {api.RoleDeployer, func(ctx context.Context) error {
			_, _, err := b.CreateBundle(ctx, bytes.NewReader(nil), "")
			return err
		}},
		"Bench":   {api.RoleAdmin, func(ctx context.Context) error { return one(b.Bench(ctx, api.BenchRequest{})) }},
		"Bundles": {api.RoleViewer, func(ctx context.Context) error { return one(b.Bundles(ctx)) }},
		"LinkBundle": {api.RoleDeployer, func(ctx context.Context) error {
			_, _, err := b.LinkBundle(ctx, "x", api.BundleLink{})
			return err
		}},
		"SignBundle":    {api.RoleDeployer, func(ctx context.Context) error { return one(b.SignBundle(ctx, "x", api.BundleSignature{})) }},
		"DeleteBundle":  {api.RoleDeployer, func(ctx context.Context) error { return b.DeleteBundle(ctx, "x") }},
		"CreateRollout": {api.RoleDeployer, func(ctx context.Context) error { _, _, err := b.CreateRollout(ctx, api.RolloutSpec{}, ""); return err }},
		"Plan":          {api.RoleViewer, func(ctx context.Context) error { return one(b.Plan(ctx, api.RolloutSpec{})) }},
		"Rollouts":      {api.RoleViewer, func(ctx context.Context) error { return one(b.Rollouts(ctx)) }},
		"Rollout":       {api.RoleViewer, func(ctx context.Context) error { return one(b.Rollout(ctx, "x")) }},
		"NodeAction":    {api.RoleDeployer, func(ctx context.Context) error { return one(b.NodeAction(ctx, "x", "retry", api.NodeActionRequest{})) }},
		"RolloutAction": {api.RoleDeployer, func(ctx context.Context) error {
			return one(b.RolloutAction(ctx, "x", "pause", api.RolloutActionRequest{}))
		}},
		"CreateToken": {api.RoleAdmin, func(ctx context.Context) error { return one(b.CreateToken(ctx, api.TokenRequest{})) }},
		"Tokens":      {api.RoleAdmin, func(ctx context.Context) error { return one(b.Tokens(ctx)) }},
		"DeleteToken": {api.RoleAdmin, func(ctx context.Context) error { return b.DeleteToken(ctx, "x") }},
		"Events":      {api.RoleViewer, func(ctx context.Context) error { return one(b.Events(ctx, api.EventQuery{})) }},
		"WatchEvents": {api.RoleViewer, func(ctx context.Context) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			return one(b.WatchEvents(ctx, 0))
		}},
	}
}

func kindOf(err error) api.Kind {
	var e *api.Error
	if errors.As(err, &e) {
		return e.Kind
	}
	return ""
}

func TestEveryMethod_AsksForItsRoleAndNoMore(t *testing.T) {
	b := start(t)
	roles := []api.Role{api.RoleNode, api.RoleViewer, api.RoleDeployer, api.RoleOperator, api.RoleAdmin}
	for name, c := range b.calls() {
		mustRefuse(t, c.call(t.Context()), api.Unauthenticated)
		for _, role := range roles {
			p := auth.Principal{Name: "ann", Role: role, Node: "web-1"}
			got := kindOf(c.call(auth.With(t.Context(), p))) == api.Forbidden
			if want := !p.Allows(c.role); got != want {
				t.Errorf("%s as %s: forbidden is %v, want %v", name, role, got, want)
			}
		}
	}
}

func TestANode_ReachesItselfAndNoOther(t *testing.T) {
	b := start(t)
	b.hello("web-1", "default")
	b.hello("web-2", "default")
	one := func(_ any, err error) error { return err }
	calls := map[string]func(ctx context.Context, id string) error{
		"Poll": func(ctx context.Context, id string) error { return one(b.Poll(ctx, id, poll("default"))) },
		"Acquire": func(ctx context.Context, id string) error {
			return one(b.Acquire(ctx, "default", id, api.AcquireRequest{Instance: "i1", Request: "q"}, 0))
		},
		"Confirm": func(ctx context.Context, id string) error {
			return one(b.Confirm(ctx, "default", id, api.ConfirmRequest{Fence: 1, Instance: "i1", BootID: "b1"}))
		},
		"Release":     func(ctx context.Context, id string) error { return b.Release(ctx, "default", id, 1, "i1") },
		"LeaveQueue":  func(ctx context.Context, id string) error { return b.LeaveQueue(ctx, "default", id) },
		"Node":        func(ctx context.Context, id string) error { return one(b.Node(ctx, id)) },
		"ExplainNode": func(ctx context.Context, id string) error { return one(b.ExplainNode(ctx, id)) },
		"FleetLockAcquire": func(ctx context.Context, id string) error {
			return one(b.FleetLockAcquire(ctx, "default", id, "10.0.0.1:1", 0))
		},
		"FleetLockRelease": func(ctx context.Context, id string) error { return b.FleetLockRelease(ctx, "default", id) },
	}
	for name, call := range calls {
		if err := call(b.as("web-1"), "web-1"); kindOf(err) == api.Forbidden {
			t.Errorf("%s of itself: %v", name, err)
		}
		mustRefuse(t, call(b.as("web-2"), "web-1"), api.Forbidden)
		mustRefuse(t, call(t.Context(), "web-1"), api.Unauthenticated)
	}
	if _, _, err := b.OpenBundle(b.as("web-1"), "x"); kindOf(err) == api.Forbidden {
		t.Error("a node must be able to fetch bundles")
	}
	for who, ctx := range map[string]context.Context{"a node": b.as("web-1"), "a viewer": b.ctx(api.RoleViewer)} {
		if _, err := b.Bundle(ctx, "x"); kindOf(err) == api.Forbidden {
			t.Errorf("%s must be able to see where a bundle lies", who)
		}
	}
	if _, err := b.Bundle(t.Context(), "x"); kindOf(err) != api.Unauthenticated {
		t.Errorf("a bundle's description for nobody: %v", err)
	}
	if _, _, err := b.OpenBundle(t.Context(), "x"); kindOf(err) != api.Unauthenticated {
		t.Errorf("a bundle for nobody: %v", err)
	}
}

func TestAuthenticate_KnowsATokenUntilItEndsOrIsDeleted(t *testing.T) {
	b := start(t)
	made, err := b.CreateToken(b.admin(), api.TokenRequest{Role: api.RoleNode, Node: "web-1", TTL: "1h"})
	if err != nil || made.Secret == "" {
		t.Fatal(made, err)
	}
	p, err := b.Authenticate(t.Context(), made.Secret)
	if err != nil || p.Role != api.RoleNode || !p.AllowsNode("web-1") || p.AllowsNode("web-2") || p.Local {
		t.Fatalf("%+v %v", p, err)
	}
	for _, secret := range []string{"", "hello", auth.NewSecret()} {
		_, err := b.Authenticate(t.Context(), secret)
		mustRefuse(t, err, api.Unauthenticated)
	}
	b.clock.pass(time.Hour)
	_, err = b.Authenticate(t.Context(), made.Secret)
	mustRefuse(t, err, api.Unauthenticated)

	lasting, err := b.CreateToken(b.admin(), api.TokenRequest{Role: api.RoleViewer})
	if err != nil {
		t.Fatal(err)
	}
	if err := b.DeleteToken(b.admin(), lasting.ID); err != nil {
		t.Fatal(err)
	}
	_, err = b.Authenticate(t.Context(), lasting.Secret)
	mustRefuse(t, err, api.Unauthenticated)
	mustRefuse(t, b.DeleteToken(b.admin(), lasting.ID), api.NotFound)
}

func TestCreateToken_NamesTheWrongField(t *testing.T) {
	b := start(t)
	for path, req := range map[string]api.TokenRequest{
		"role": {Role: "root"},
		"node": {Role: api.RoleNode},
		"ttl":  {Role: api.RoleViewer, TTL: "soon"},
	} {
		_, err := b.CreateToken(b.admin(), req)
		field(t, err, path)
	}
	_, err := b.CreateToken(b.admin(), api.TokenRequest{Role: api.RoleViewer, Node: "web-1"})
	field(t, err, "node")
}

func TestCreateToken_ShowsTheSecretOnceForAKey(t *testing.T) {
	b := start(t)
	req := api.TokenRequest{Role: api.RoleViewer, IdempotencyKey: "k"}
	first, err := b.CreateToken(b.admin(), req)
	if err != nil || first.Secret == "" {
		t.Fatal(err)
	}
	again, err := b.CreateToken(b.admin(), req)
	if err != nil || again.Secret != "" || again.ID != first.ID || first.Note != "" || !strings.Contains(again.Note, "Idempotency-Key") {
		t.Errorf("%+v %v", again, err)
	}
	if text, err := json.Marshal(again); err != nil || strings.Contains(string(text), `"secret"`) {
		t.Errorf("%s %v", text, err)
	}
	req.Role = api.RoleAdmin
	_, err = b.CreateToken(b.admin(), req)
	mustRefuse(t, err, api.Conflict)
	if list, err := b.Tokens(b.admin()); err != nil || len(list) != 1 {
		t.Errorf("%v %v", list, err)
	}
}
