package service

import (
	"context"
	"fmt"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// Authenticate finds who a secret belongs to.
func (s *Service) Authenticate(_ context.Context, secret string) (auth.Principal, error) {
	t, life, found := s.db.FindToken(secret)
	switch {
	case !found && !auth.LooksLikeSecret(secret):
		return auth.Principal{}, api.Errorf(api.Unauthenticated, "that is no token: one begins with %s and is shown once, when it is made", auth.SecretPrefix)
	case !found:
		return auth.Principal{}, api.Errorf(api.Unauthenticated, "the token is not known here: it was deleted, or is of another cluster")
	case !t.ExpiresAt.IsZero() && !s.now().Before(t.ExpiresAt):
		return auth.Principal{}, api.Errorf(api.Unauthenticated, "the token %s expired at %s", t.ID, t.ExpiresAt.UTC().Format("2006-01-02 15:04 UTC"))
	}
	name := "token " + t.ID
	if t.Role == api.RoleNode {
		name = t.Node
	} else if t.Description != "" {
		name = fmt.Sprintf("%s (token %s)", t.Description, t.ID) // a description may claim anything
	}
	return auth.Principal{Name: name, Role: t.Role, Node: t.Node, Token: t.ID, Life: life}, nil
}

// whileValid is for a request that lasts: its context ends with the credential
// that the request came with, and its cause is then the refusal.
func whileValid(ctx context.Context) (context.Context, context.CancelFunc) {
	life := auth.From(ctx).Life
	if life == nil {
		return ctx, func() {}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(life, func() { cancel(errEnded()) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
}

func errEnded() *api.Error {
	return api.Errorf(api.Unauthenticated, "the token was taken back, or has expired, while the request waited")
}

// need lets a principal pass whose role includes the given one.
func need(ctx context.Context, role api.Role) (auth.Principal, error) {
	p := auth.From(ctx)
	if p.Allows(role) {
		return p, nil
	}
	return p, refused(p, fmt.Sprintf("this needs the role %s", role))
}

// needNode lets the node itself pass.
func needNode(ctx context.Context, id string) (auth.Principal, error) {
	p := auth.From(ctx)
	if p.AllowsNode(id) {
		return p, nil
	}
	return p, refused(p, fmt.Sprintf("only node %q itself may do this: it needs a token of the role node, bound to that id", id))
}

// needEither lets the node itself pass, and everybody with the role.
func needEither(ctx context.Context, role api.Role, id string) (auth.Principal, error) {
	p := auth.From(ctx)
	if p.Allows(role) || p.AllowsNode(id) {
		return p, nil
	}
	return p, refused(p, fmt.Sprintf("this needs the role %s, or a token bound to node %q", role, id))
}

func refused(p auth.Principal, needs string) error {
	if !p.Known() {
		return api.Errorf(api.Unauthenticated, "%s: send a token as \"Authorization: Bearer …\"", needs)
	}
	return api.Errorf(api.Forbidden, "%s; the token has the role %s", needs, p.RoleText())
}
