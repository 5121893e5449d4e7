package etcdstore_test

import (
	"context"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// faulty is a client whose transactions that write can be spoilt, and whose
// watch can be cut or stopped.
type faulty struct {
	clientv3.KV
	clientv3.Watcher
	// always spoils every transaction that writes and that next does not.
	always func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error)
	mu     sync.Mutex
	spoil  []func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error)
	cuts   []context.CancelFunc
	wide   int  // how many of them are of all groups
	deaf   bool // watches opened from now on bring nothing
}

func newFaulty(c *clientv3.Client) (*clientv3.Client, *faulty) {
	f := &faulty{KV: c.KV, Watcher: c.Watcher}
	return &clientv3.Client{Cluster: c.Cluster, KV: f, Lease: c.Lease, Watcher: f, Auth: c.Auth, Maintenance: c.Maintenance}, f
}

// next spoils the next transactions that write, one each.
func (f *faulty) next(spoil ...func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.spoil = append(f.spoil, spoil...)
}

// lostReply commits, and nobody hears of it.
func lostReply(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
	if _, err := commit(); err != nil {
		return nil, err
	}
	return nil, context.DeadlineExceeded
}

// lostRequest never arrives.
func lostRequest(func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
	return nil, context.DeadlineExceeded
}

// appliedWithoutSpace is what etcd does when a write reaches the quota.
func appliedWithoutSpace(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
	if _, err := commit(); err != nil {
		return nil, err
	}
	return nil, rpctypes.ErrNoSpace
}

func withoutSpace(func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
	return nil, rpctypes.ErrNoSpace
}

// late arrives when deliver is called, long after it was thought lost.
func late(deliver *func() (*clientv3.TxnResponse, error)) func(func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
	return func(commit func() (*clientv3.TxnResponse, error)) (*clientv3.TxnResponse, error) {
		*deliver = commit
		return nil, context.DeadlineExceeded
	}
}

func (f *faulty) Txn(ctx context.Context) clientv3.Txn {
	// A late transaction outlives the context of its caller.
	return &faultyTxn{Txn: f.KV.Txn(context.WithoutCancel(ctx)), f: f}
}

type faultyTxn struct {
	clientv3.Txn
	f      *faulty
	writes bool
}

func (t *faultyTxn) If(cs ...clientv3.Cmp) clientv3.Txn {
	t.Txn = t.Txn.If(cs...)
	return t
}

func (t *faultyTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	for _, op := range ops {
		t.writes = t.writes || op.IsPut() || op.IsDelete()
	}
	t.Txn = t.Txn.Then(ops...)
	return t
}

func (t *faultyTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Else(ops...)
	return t
}

func (t *faultyTxn) Commit() (*clientv3.TxnResponse, error) {
	t.f.mu.Lock()
	if !t.writes || len(t.f.spoil) == 0 {
		t.f.mu.Unlock()
		if t.writes && t.f.always != nil {
			return t.f.always(t.Txn.Commit)
		}
		return t.Txn.Commit()
	}
	spoil := t.f.spoil[0]
	t.f.spoil = t.f.spoil[1:]
	t.f.mu.Unlock()
	return spoil(t.Txn.Commit)
}

func (f *faulty) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	f.mu.Lock()
	defer f.mu.Unlock()
	ctx, cut := context.WithCancel(ctx)
	f.cuts = append(f.cuts, cut)
	if clientv3.OpGet(key, opts...).RangeBytes() != nil {
		f.wide++
	}
	if f.deaf {
		silence := make(chan clientv3.WatchResponse)
		context.AfterFunc(ctx, func() { close(silence) })
		return silence
	}
	return f.Watcher.Watch(ctx, key, opts...)
}

// cut ends the watches that are open.
func (f *faulty) cut(deafAfter bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.deaf = deafAfter
	for _, cut := range f.cuts {
		cut()
	}
	f.cuts, f.wide = nil, 0
}

// open is how many watches of all groups are open: what they bring was read anew
// before they were.
func (f *faulty) open() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wide
}
