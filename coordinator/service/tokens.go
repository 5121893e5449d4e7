package service

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// CreateToken makes a credential. Its secret is shown now and never again; the
// same request under the same key is answered without it.
func (s *Service) CreateToken(ctx context.Context, req api.TokenRequest) (api.TokenCreated, error) {
	p, err := need(ctx, api.RoleAdmin)
	if err != nil {
		return api.TokenCreated{}, err
	}
	var v invalid
	ttl := checkToken(&v, req)
	if err := v.err(); err != nil {
		return api.TokenCreated{}, err
	}
	secret := auth.NewSecret()
	now := s.now().UTC()
	t := etcdstore.Token{Hash: auth.Hash(secret), Token: api.Token{
		ID: auth.TokenID(auth.Hash(secret)), Role: req.Role, Node: req.Node, Description: req.Description,
		By: p.Name, CreatedAt: now,
	}}
	if ttl > 0 {
		t.ExpiresAt = now.Add(ttl)
	}
	detail := fmt.Sprintf("token %s, role %s", t.ID, t.Role)
	request := etcdstore.Request{Key: req.IdempotencyKey, Digest: bodyDigest(req)}
	e := semaphore.Event{Kind: "token.created", Actor: p.Name, Node: req.Node, Detail: detail}
	stored, created, err := s.db.CreateToken(ctx, t, request, e.Changed(nil, t.Token)) // not the secret, nor its hash
	if err != nil {
		return api.TokenCreated{}, s.problem(ctx, err)
	}
	out := api.TokenCreated{Token: stored.Token}
	if created {
		out.Secret = secret
	} else {
		out.Note = "this token was made before, by a request with the same Idempotency-Key: its secret was shown then, and is not kept. If it was lost, delete this token and make another"
	}
	return out, nil
}

func checkToken(v *invalid, req api.TokenRequest) time.Duration {
	switch {
	case !auth.ValidRole(req.Role):
		v.add("role", fmt.Sprintf("%q: want one of node, viewer, deployer, operator, admin", req.Role))
	case req.Role == api.RoleNode && req.Node == "":
		v.add("node", "a token of the role node is bound to one node: name it")
	case req.Role == api.RoleNode:
		v.check("node", semaphore.ValidNode(req.Node))
	case req.Node != "":
		v.add("node", fmt.Sprintf("only a token of the role node is bound to a node, this one has the role %s", req.Role))
	}
	boundText(v, "description", req.Description, 256)
	boundText(v, "Idempotency-Key", req.IdempotencyKey, 256)
	if req.TTL == "" {
		return 0
	}
	ttl, err := time.ParseDuration(req.TTL)
	if err != nil || ttl < time.Minute {
		v.add("ttl", fmt.Sprintf("%q: want a duration of at least 1m such as 720h, or nothing for a token that does not end", req.TTL))
	}
	return ttl
}

func bodyDigest(body any) string {
	text, err := json.Marshal(body)
	if err != nil {
		return ""
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])
}

// Tokens lists the credentials, without their secrets.
func (s *Service) Tokens(ctx context.Context) ([]api.Token, error) {
	if _, err := need(ctx, api.RoleAdmin); err != nil {
		return nil, err
	}
	list := []api.Token{}
	for _, t := range s.db.Tokens() {
		list = append(list, t.Token)
	}
	return list, nil
}

// DeleteToken takes a credential back.
func (s *Service) DeleteToken(ctx context.Context, id string) error {
	p, err := need(ctx, api.RoleAdmin)
	if err != nil {
		return err
	}
	e := semaphore.Event{Kind: "token.deleted", Actor: p.Name, Detail: "token " + id}
	for _, t := range s.db.Tokens() {
		if t.ID == id {
			e = e.Changed(t.Token, nil)
		}
	}
	err = s.db.DeleteToken(ctx, id, e)
	if errors.Is(err, etcdstore.ErrNotFound) {
		return api.Errorf(api.NotFound, "there is no token %q", id)
	}
	return s.problem(ctx, err)
}
