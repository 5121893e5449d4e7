package etcdstore

import (
	"context"
	"encoding/json"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Bounds of the audit trail.
const (
	eventsPerScope = 50_000
	eventsInAll    = 200_000
)

// Prune deletes what is past its bound: the oldest events of each scope,
// idempotency keys after a day, and tokens that have expired. To be called
// every few minutes, by any coordinator.
func (d *DB) Prune(ctx context.Context) error {
	if err := d.pruneEvents(ctx, eventsPerScope, eventsInAll); err != nil {
		return err
	}
	now := d.cfg.Now()
	expired, err := d.pick(ctx, d.prefix+"requests/", func(value []byte) bool {
		var r Request
		return json.Unmarshal(value, &r) == nil && now.Sub(r.At) > requestKept
	})
	if err != nil {
		return err
	}
	tokens, err := d.pick(ctx, d.prefix+"tokens/", func(value []byte) bool {
		var t Token
		return json.Unmarshal(value, &t) == nil && !t.ExpiresAt.IsZero() && t.ExpiresAt.Before(now)
	})
	if err != nil {
		return err
	}
	return d.deleteKeys(ctx, append(expired, tokens...))
}

// pruneEvents keeps the newest of each scope and, over all, the newest.
func (d *DB) pruneEvents(ctx context.Context, perScope, inAll int) error {
	prefix := d.prefix + "events/"
	count, err := d.get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || count.Count <= int64(min(perScope, inAll)) {
		return err
	}
	resp, err := d.get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(),
		clientv3.WithSort(clientv3.SortByCreateRevision, clientv3.SortDescend))
	if err != nil {
		return err
	}
	seen := map[string]int{}
	kept := 0
	var old []string
	for _, k := range resp.Kvs { // newest first
		key := string(k.Key)
		scope := key[:strings.LastIndexByte(key, '/')]
		if seen[scope] >= perScope || kept >= inAll {
			old = append(old, key)
			continue
		}
		seen[scope]++
		kept++
	}
	return d.deleteKeys(ctx, old)
}

func (d *DB) pick(ctx context.Context, prefix string, which func(value []byte) bool) ([]string, error) {
	resp, err := d.get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, k := range resp.Kvs {
		if which(k.Value) {
			keys = append(keys, string(k.Key))
		}
	}
	return keys, nil
}

func (d *DB) deleteKeys(ctx context.Context, keys []string) error {
	for len(keys) > 0 {
		n := min(len(keys), batchOps)
		ops := make([]clientv3.Op, n)
		for i, key := range keys[:n] {
			ops[i] = clientv3.OpDelete(key)
		}
		if _, err := d.commit(ctx, nil, ops, nil); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}
