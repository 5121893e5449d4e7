package etcdnode

import (
	"context"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// watchedKV notes the revisions that go by, and has the leader looked after at
// once when a request fails.
type watchedKV struct {
	clientv3.KV
	e *External
}

func (w watchedKV) note(h *etcdserverpb.ResponseHeader, err error) {
	if err == nil {
		w.e.saw(h.GetRevision())
		return
	}
	if passing(err) {
		select {
		case w.e.suspect <- struct{}{}:
		default:
		}
	}
}

func (w watchedKV) Put(ctx context.Context, key, val string, opts ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	resp, err := w.KV.Put(ctx, key, val, opts...)
	w.note((*etcdserverpb.PutResponse)(resp).GetHeader(), err)
	return resp, err
}

func (w watchedKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	resp, err := w.KV.Get(ctx, key, opts...)
	w.note((*etcdserverpb.RangeResponse)(resp).GetHeader(), err)
	return resp, err
}

func (w watchedKV) Delete(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.DeleteResponse, error) {
	resp, err := w.KV.Delete(ctx, key, opts...)
	w.note((*etcdserverpb.DeleteRangeResponse)(resp).GetHeader(), err)
	return resp, err
}

func (w watchedKV) Txn(ctx context.Context) clientv3.Txn {
	return &watchedTxn{Txn: w.KV.Txn(ctx), kv: w}
}

type watchedTxn struct {
	clientv3.Txn
	kv watchedKV
}

func (t *watchedTxn) If(cs ...clientv3.Cmp) clientv3.Txn {
	t.Txn = t.Txn.If(cs...)
	return t
}

func (t *watchedTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Then(ops...)
	return t
}

func (t *watchedTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.Txn = t.Txn.Else(ops...)
	return t
}

func (t *watchedTxn) Commit() (*clientv3.TxnResponse, error) {
	resp, err := t.Txn.Commit()
	t.kv.note((*etcdserverpb.TxnResponse)(resp).GetHeader(), err)
	return resp, err
}

// leaderWatcher ends watches on a member that lost its leader: such a member
// brings no news, and another one may.
type leaderWatcher struct{ clientv3.Watcher }

func (w leaderWatcher) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	return w.Watcher.Watch(clientv3.WithRequireLeader(ctx), key, opts...)
}
