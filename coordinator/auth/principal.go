// Package auth says who asks, what that one may do, and how a credential is
// made and recognised. It decides nothing about a request: the service does.
package auth

import (
	"context"
	"fmt"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Principal is the one who makes a request. The zero value may do nothing.
type Principal struct {
	Name  string   // shown in the audit trail
	Role  api.Role // what it may do
	Node  string   // for the role node: the one id that it is bound to
	Token string   // id of the credential, empty without one
	Local bool     // asked over loopback or a unix socket, without a credential
	// Life ends when the credential is taken back or expires; nil without one.
	Life context.Context //nolint:containedctx // it is the credential's, not the request's
}

// Ended is closed when the credential is taken back or expires.
func (p Principal) Ended() <-chan struct{} {
	if p.Life == nil {
		return nil
	}
	return p.Life.Done()
}

// Local is who asks over loopback without a credential: whoever may open a
// connection there has the machine.
func Local() Principal { return Principal{Name: "local", Role: api.RoleAdmin, Local: true} }

type key struct{}

// With returns a context in which From finds p.
func With(ctx context.Context, p Principal) context.Context {
	return context.WithValue(ctx, key{}, p)
}

// From is the principal of the request, the zero value when there is none.
func From(ctx context.Context) Principal {
	p, _ := ctx.Value(key{}).(Principal)
	return p
}

// rank orders the roles that include each other. The role node is apart: it
// reaches its own node only, so it has no rank.
func rank(r api.Role) int {
	switch r {
	case api.RoleViewer:
		return 1
	case api.RoleDeployer:
		return 2
	case api.RoleOperator:
		return 3
	case api.RoleAdmin:
		return 4
	}
	return 0
}

// ValidRole reports whether r is one of the roles that a token is made for. The
// role join is apart: its tokens are made by an operation of their own.
func ValidRole(r api.Role) bool { return r == api.RoleNode || rank(r) > 0 }

// Known reports whether somebody was recognised at all.
func (p Principal) Known() bool { return p.Role == api.RoleJoin || ValidRole(p.Role) }

// Allows reports whether p's role includes the given one. The role node
// includes nothing but itself, and only admin includes it.
func (p Principal) Allows(role api.Role) bool {
	if role == api.RoleNode {
		return p.Role == api.RoleNode || p.Role == api.RoleAdmin
	}
	return rank(role) > 0 && rank(p.Role) >= rank(role)
}

// RoleText is p's role in words, with the node that it is bound to.
func (p Principal) RoleText() string {
	if p.Role == api.RoleNode {
		return fmt.Sprintf("node, bound to %q", p.Node)
	}
	return string(p.Role)
}

// AllowsNode reports whether p may act as the node: its own token may, and
// admin, which is what agents on loopback are.
func (p Principal) AllowsNode(id string) bool {
	return p.Role == api.RoleAdmin || p.Role == api.RoleNode && id != "" && p.Node == id
}
