package etcdstore

import (
	"context"
	"encoding/json"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/internal/sleep"
)

// kv is one key as read or watched.
type kv struct {
	key      string // without the table's prefix
	value    []byte
	revision int64
	deleted  bool
}

// table is a prefix that is followed: read once, then watched.
type table struct {
	prefix string
	reload func(kvs []kv, revision int64) // everything there is
	apply  func(kvs []kv)                 // what changed, in order
	opts   []clientv3.OpOption            // of the read
}

// take keeps the JSON value of a key that changed in a map of d. What does not
// read is left as it was.
func take[V any](d *DB, into map[string]V, name string, k kv) {
	var v V
	if !k.deleted && json.Unmarshal(k.value, &v) != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if k.deleted {
		delete(into, name)
		return
	}
	into[name] = v
}

// retryPause lies between two tries to read a table.
const retryPause = 200 * time.Millisecond

// follow keeps a table current until ctx ends: a read, and the watch brings
// what follows. Without quorum it reads a member's own copy. A watch that ends
// (compaction, a member without leader) begins anew with a read, but never on a
// member that is behind what was seen.
func (d *DB) follow(ctx context.Context, t table) {
	var seen int64
	for ctx.Err() == nil {
		opts := append([]clientv3.OpOption{clientv3.WithPrefix()}, t.opts...)
		if !d.cfg.HasLeader() {
			opts = append(opts, clientv3.WithSerializable())
		}
		c, cancel := context.WithTimeout(ctx, 30*time.Second)
		resp, err := d.client.Get(c, t.prefix, opts...)
		cancel()
		if err != nil {
			if ctx.Err() == nil {
				d.cfg.Logger.Warn("reading a table failed, trying again", "prefix", t.prefix, "error", err)
			}
			pause(ctx)
			continue
		}
		if resp.Header.Revision < seen {
			pause(ctx)
			continue
		}
		kvs := make([]kv, len(resp.Kvs))
		for i, k := range resp.Kvs {
			kvs[i] = kv{key: string(k.Key)[len(t.prefix):], value: k.Value, revision: k.ModRevision}
		}
		t.reload(kvs, resp.Header.Revision)
		seen = d.watch(ctx, t, resp.Header.Revision)
	}
}

// watch applies changes behind a revision until the watch ends, and returns the
// revision that it has reached.
func (d *DB) watch(ctx context.Context, t table, seen int64) int64 {
	w, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range d.client.Watch(w, t.prefix, clientv3.WithPrefix(), clientv3.WithRev(seen+1)) {
		if err := resp.Err(); err != nil {
			if ctx.Err() == nil {
				d.cfg.Logger.Info("a watch ended, reading the table again", "prefix", t.prefix, "error", err)
			}
			break
		}
		kvs := make([]kv, len(resp.Events))
		for i, e := range resp.Events {
			kvs[i] = kv{
				key: string(e.Kv.Key)[len(t.prefix):], value: e.Kv.Value,
				revision: e.Kv.ModRevision, deleted: e.Type == clientv3.EventTypeDelete,
			}
		}
		if len(kvs) > 0 {
			t.apply(kvs)
		}
		seen = max(seen, resp.Header.Revision)
	}
	pause(ctx)
	return seen
}

func pause(ctx context.Context) { _ = sleep.For(ctx, retryPause) }
