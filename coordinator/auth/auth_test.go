package auth

import (
	"context"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestPrincipal_TheZeroValueMayDoNothing(t *testing.T) {
	p := From(context.Background())
	for _, r := range []api.Role{api.RoleNode, api.RoleViewer, api.RoleDeployer, api.RoleOperator, api.RoleAdmin, ""} {
		if p.Allows(r) {
			t.Errorf("the zero principal is allowed %q", r)
		}
	}
	if p.AllowsNode("") || p.AllowsNode("web-1") || p.Known() {
		t.Error("the zero principal may act for a node or is known")
	}
}

func TestPrincipal_EachRoleIncludesThoseBelowAndNoneAbove(t *testing.T) {
	order := []api.Role{api.RoleViewer, api.RoleDeployer, api.RoleOperator, api.RoleAdmin}
	for i, have := range order {
		for j, want := range order {
			if got := (Principal{Role: have}).Allows(want); got != (i >= j) {
				t.Errorf("%s allows %s: %v", have, want, got)
			}
		}
	}
}

func TestPrincipal_ANodeReachesOnlyItself(t *testing.T) {
	p := Principal{Role: api.RoleNode, Node: "web-1"}
	if !p.AllowsNode("web-1") || p.AllowsNode("web-2") || p.AllowsNode("") {
		t.Error("a node's principal must be allowed its own id and no other")
	}
	if p.Allows(api.RoleViewer) {
		t.Error("a node's principal may not read the fleet")
	}
	if (Principal{Role: api.RoleOperator}).AllowsNode("web-1") {
		t.Error("an operator must not pass for a node's agent")
	}
	if !From(With(context.Background(), Local())).AllowsNode("web-1") {
		t.Error("an agent on loopback must be allowed")
	}
}

func TestSecret_IsRecognisedByItsHashOnly(t *testing.T) {
	a, b := NewSecret(), NewSecret()
	if a == b || !LooksLikeSecret(a) {
		t.Fatalf("secrets %q and %q", a, b)
	}
	if !Matches(a, Hash(a)) || Matches(b, Hash(a)) || Matches("", Hash(a)) {
		t.Error("a secret must match its own hash and no other")
	}
	if len(TokenID(Hash(a))) != 16 || TokenID("") != "" {
		t.Error("a token's id is the beginning of its hash")
	}
	for _, s := range []string{"", "lk_", "lk_short", a[3:], a + "x!"} {
		if LooksLikeSecret(s) {
			t.Errorf("%q looks like a secret", s)
		}
	}
}
