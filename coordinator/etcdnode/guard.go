package etcdnode

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// guardedKV refuses every use once the server has ended. Without it a read of
// a stopped server panics, and one of a server that said its last words hangs
// whatever its context.
//
// It gives up a transaction when another member has become leader: a proposal
// that was lost with the old one is never answered. What became of it is as
// little known as after a deadline.
type guardedKV struct {
	clientv3.KV
	over *atomic.Bool
	term *terms // nil: there is one member only
}

// errNewLeader: the transaction may have been lost with the leader of before.
var errNewLeader = errors.New("another member has become leader meanwhile")

// terms hands out a context that ends when the next leader is known.
type terms struct {
	mu   sync.Mutex
	now  context.Context
	next context.CancelCauseFunc
	lead uint64 // the last that was known, 0 for none
}

func newTerms(lead uint64) *terms {
	t := &terms{lead: lead}
	t.now, t.next = context.WithCancelCause(context.Background())
	return t
}

// see takes the leader of now in.
func (t *terms) see(lead uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if lead == 0 || lead == t.lead {
		return
	}
	if t.lead != 0 {
		t.next(errNewLeader)
		t.now, t.next = context.WithCancelCause(context.Background())
	}
	t.lead = lead
}

// bound is a context that ends with the term as well. The caller stops it.
func (t *terms) bound(ctx context.Context) (context.Context, func()) {
	if t == nil {
		return ctx, func() {}
	}
	t.mu.Lock()
	term := t.now
	t.mu.Unlock()
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(term, func() { cancel(errNewLeader) })
	return ctx, func() {
		stop()
		cancel(nil)
	}
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
	ctx, done := g.term.bound(ctx)
	return &guardedTxn{inner: g.KV.Txn(ctx), over: g.over, done: done}
}

type guardedTxn struct {
	inner clientv3.Txn
	over  *atomic.Bool
	done  func()
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
	defer t.done()
	if t.over.Load() {
		return nil, ErrStopped
	}
	return t.inner.Commit()
}
