package etcdnode

import (
	"context"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// guardedKV refuses every use once the server has ended. Without it a read of
// a stopped server panics, and one of a server that said its last words hangs
// whatever its context.
type guardedKV struct {
	clientv3.KV
	over *atomic.Bool
}

func (g guardedKV) Put(ctx context.Context, key, val string, opts ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	if g.over.Load() {
		return nil, ErrStopped
	}
	return g.KV.Put(ctx, key, val, opts...)
}

func (g guardedKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if g.over.Load() {
		return nil, ErrStopped
	}
	return g.KV.Get(ctx, key, opts...)
}

func (g guardedKV) GetStream(ctx context.Context, key string, opts ...clientv3.OpOption) (clientv3.GetStreamChan, error) {
	if g.over.Load() {
		return nil, ErrStopped
	}
	return g.KV.GetStream(ctx, key, opts...)
}

func (g guardedKV) Delete(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.DeleteResponse, error) {
	if g.over.Load() {
		return nil, ErrStopped
	}
	return g.KV.Delete(ctx, key, opts...)
}

func (g guardedKV) Compact(ctx context.Context, rev int64, opts ...clientv3.CompactOption) (*clientv3.CompactResponse, error) {
	if g.over.Load() {
		return nil, ErrStopped
	}
	return g.KV.Compact(ctx, rev, opts...)
}

func (g guardedKV) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	if g.over.Load() {
		return clientv3.OpResponse{}, ErrStopped
	}
	return g.KV.Do(ctx, op)
}

func (g guardedKV) Txn(ctx context.Context) clientv3.Txn {
	return &guardedTxn{inner: g.KV.Txn(ctx), over: g.over}
}

type guardedTxn struct {
	inner clientv3.Txn
	over  *atomic.Bool
}

func (t *guardedTxn) If(cs ...clientv3.Cmp) clientv3.Txn {
	t.inner = t.inner.If(cs...)
	return t
}

func (t *guardedTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.inner = t.inner.Then(ops...)
	return t
}

func (t *guardedTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.inner = t.inner.Else(ops...)
	return t
}

func (t *guardedTxn) Commit() (*clientv3.TxnResponse, error) {
	if t.over.Load() {
		return nil, ErrStopped
	}
	return t.inner.Commit()
}
