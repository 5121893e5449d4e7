package etcdstore

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
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

// retryPause lies between two tries to read a table.
const retryPause = 200 * time.Millisecond

// follow keeps a table current until ctx ends. It reads from this member's own
// copy, which also answers without quorum, and the watch brings what follows.
// A watch that ends (compaction, restore) begins anew with a read.
func (d *DB) follow(ctx context.Context, t table) {
	for ctx.Err() == nil {
		opts := append([]clientv3.OpOption{clientv3.WithPrefix(), clientv3.WithSerializable()}, t.opts...)
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
		kvs := make([]kv, len(resp.Kvs))
		for i, k := range resp.Kvs {
			kvs[i] = kv{key: string(k.Key)[len(t.prefix):], value: k.Value, revision: k.ModRevision}
		}
		t.reload(kvs, resp.Header.Revision)
		d.watch(ctx, t, resp.Header.Revision+1)
	}
}

// watch applies changes from a revision on until the watch ends.
func (d *DB) watch(ctx context.Context, t table, from int64) {
	w, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range d.client.Watch(w, t.prefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
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
	}
	pause(ctx)
}

func pause(ctx context.Context) {
	t := time.NewTimer(retryPause)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
