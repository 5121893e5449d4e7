package etcdstore

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Token is a credential at rest: what the API shows, and the secret's hash.
type Token struct {
	V    int    `json:"v"`
	Hash string `json:"sha256"`
	api.Token
}

// CreateToken stores a token, its event and its idempotency key (if any) in
// one transaction. It reports false, and the token of the first request, when
// the key was used before for the same body; ErrOtherRequest for another body.
func (d *DB) CreateToken(ctx context.Context, t Token, req Request, e semaphore.Event) (Token, bool, error) {
	t.V = schema
	value, err := json.Marshal(t)
	if err != nil {
		return Token{}, false, err
	}
	key := d.prefix + "tokens/" + t.ID
	req.ID = t.ID
	ifs := []clientv3.Cmp{absent(key)}
	then := []clientv3.Op{clientv3.OpPut(key, string(value))}
	if req.Key != "" {
		if id, found, err := d.FindRequest(ctx, req); err != nil || found {
			if err != nil {
				return Token{}, false, err
			}
			old, err := d.readToken(ctx, id)
			return old, false, err
		}
		put, cmp, err := d.requestOps(req)
		if err != nil {
			return Token{}, false, err
		}
		ifs, then = append(ifs, cmp), append(then, put)
	}
	done, err := d.withEvent(ctx, e, ifs, then)
	if err != nil {
		return Token{}, false, err
	}
	if !done {
		return Token{}, false, ErrExists
	}
	d.setToken(t)
	return t, true, nil
}

// DeleteToken takes a token back. ErrNotFound when there is none.
func (d *DB) DeleteToken(ctx context.Context, id string, e semaphore.Event) error {
	key := d.prefix + "tokens/" + id
	present := clientv3.Compare(clientv3.CreateRevision(key), ">", 0)
	done, err := d.withEvent(ctx, e, []clientv3.Cmp{present}, []clientv3.Op{clientv3.OpDelete(key)})
	if err != nil {
		return err
	}
	d.dropTokens(func(known string) bool { return known == id })
	if !done {
		return ErrNotFound
	}
	return nil
}

func (d *DB) readToken(ctx context.Context, id string) (Token, error) {
	resp, err := d.get(ctx, d.prefix+"tokens/"+id)
	if err != nil {
		return Token{}, err
	}
	if len(resp.Kvs) == 0 {
		return Token{}, ErrNotFound
	}
	var t Token
	err = json.Unmarshal(resp.Kvs[0].Value, &t)
	return t, err
}

// FindToken is the token of a secret, as last seen by the watch; it answers
// without quorum too. Whether the token has expired is the caller's to judge.
// The context ends when the token is taken back, on whichever coordinator, or
// expires: requests that last must not outlive it.
func (d *DB) FindToken(secret string) (Token, context.Context, bool) {
	d.mu.RLock()
	t, found := d.tokens[auth.TokenID(auth.Hash(secret))]
	d.mu.RUnlock()
	if !found || !auth.Matches(secret, t.Hash) {
		return Token{}, nil, false
	}
	return t.Token, t.life, true
}

// liveToken is a token that is known, and its life.
type liveToken struct {
	Token
	life context.Context
	end  context.CancelFunc
}

// Tokens lists the tokens, oldest first.
func (d *DB) Tokens() []Token {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]Token, 0, len(d.tokens))
	for _, t := range d.tokens {
		list = append(list, t.Token)
	}
	slices.SortFunc(list, func(a, b Token) int {
		if c := a.CreatedAt.Compare(b.CreatedAt); c != 0 {
			return c
		}
		return strings.Compare(a.ID, b.ID)
	})
	return list
}

func (d *DB) setToken(t Token) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if old, known := d.tokens[t.ID]; known {
		if old.Hash == t.Hash && old.ExpiresAt.Equal(t.ExpiresAt) {
			old.Token = t
			d.tokens[t.ID] = old
			return
		}
		old.end()
	}
	live := liveToken{Token: t}
	if t.ExpiresAt.IsZero() {
		live.life, live.end = context.WithCancel(context.Background())
	} else {
		live.life, live.end = context.WithTimeout(context.Background(), t.ExpiresAt.Sub(d.cfg.Now()))
	}
	d.tokens[t.ID] = live
}

// dropTokens forgets the tokens that are not wanted any more, and ends what is
// under way with them.
func (d *DB) dropTokens(gone func(id string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, t := range d.tokens {
		if gone(id) {
			t.end()
			delete(d.tokens, id)
		}
	}
}

func (d *DB) tokenTable() table {
	apply := func(kvs []kv) {
		for _, k := range kvs {
			if k.deleted {
				d.dropTokens(func(id string) bool { return id == k.key })
				continue
			}
			var t Token
			if err := json.Unmarshal(k.value, &t); err != nil || t.ID != k.key {
				d.cfg.Logger.Error("unreadable value", "key", "tokens/"+k.key, "error", err)
				continue
			}
			d.setToken(t)
		}
	}
	return table{
		prefix: d.prefix + "tokens/",
		reload: func(kvs []kv, _ int64) {
			stored := map[string]bool{}
			for _, k := range kvs {
				stored[k.key] = true
			}
			d.dropTokens(func(id string) bool { return !stored[id] })
			apply(kvs)
		},
		apply: apply,
	}
}
