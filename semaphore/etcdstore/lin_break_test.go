package etcdstore_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
	"github.com/lockkeeper/lockkeeper/semaphore/etcdstore"
)

// breakage is what a store's process does wrong on purpose. Whatever it is, the
// watch comes late, which a store must bear.
type breakage string

const (
	sound           breakage = ""
	headNotCompared breakage = "head-not-compared"
	freezeIgnored   breakage = "freeze-not-compared"
	readsFromMemory breakage = "reads-from-memory"
	confirmsMemory  breakage = "confirms-from-memory"
	releasesAny     breakage = "releases-any-fence"
	saysYesTooEarly breakage = "says-yes-without-a-commit"
	repeatsBlindly  breakage = "repeats-without-comparing"
	onlyLate        breakage = "its-watch-comes-late" // which is not wrong
	forgetsFences   breakage = "forgets-fences-of-a-deleted-group"
)

// How late the watch comes at most: of a broken store later, so that what it
// should have asked etcd for is old.
const (
	watchDelay       = 20 * time.Millisecond
	watchDelayBroken = 200 * time.Millisecond
)

func (b breakage) client(c *clientv3.Client) *clientv3.Client {
	delay := watchDelay
	if b != sound {
		delay = watchDelayBroken
	}
	return &clientv3.Client{
		Cluster: c.Cluster, KV: &brokenKV{KV: c.KV, how: b}, Lease: c.Lease,
		Watcher: lateWatcher{c.Watcher, delay}, Auth: c.Auth, Maintenance: c.Maintenance,
	}
}

type lateWatcher struct {
	clientv3.Watcher
	delay time.Duration
}

func (w lateWatcher) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	out := make(chan clientv3.WatchResponse)
	in := w.Watcher.Watch(ctx, key, opts...)
	go func() {
		defer close(out)
		for resp := range in {
			time.Sleep(rand.N(w.delay))
			select {
			case out <- resp:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

type brokenKV struct {
	clientv3.KV
	how  breakage
	seen atomic.Int64 // highest revision
}

func (k *brokenKV) Txn(ctx context.Context) clientv3.Txn { return &brokenTxn{k: k, ctx: ctx} }

type brokenTxn struct {
	k      *brokenKV
	ctx    context.Context
	cmps   []clientv3.Cmp
	ops    []clientv3.Op
	others []clientv3.Op
}

func (t *brokenTxn) If(cs ...clientv3.Cmp) clientv3.Txn { t.cmps = cs; return t }

func (t *brokenTxn) Then(ops ...clientv3.Op) clientv3.Txn { t.ops = ops; return t }

func (t *brokenTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.others = ops; return t }

// without leaves out the comparisons of keys with one of these ends.
func (t *brokenTxn) without(suffix string) {
	t.cmps = slices.DeleteFunc(slices.Clone(t.cmps), func(c clientv3.Cmp) bool {
		return strings.HasSuffix(string(c.KeyBytes()), suffix)
	})
}

func (t *brokenTxn) Commit() (*clientv3.TxnResponse, error) {
	writes := slices.ContainsFunc(t.ops, func(op clientv3.Op) bool { return op.IsPut() || op.IsDelete() })
	switch {
	case t.k.how == headNotCompared && writes:
		t.without("/semaphore")
	case t.k.how == freezeIgnored && writes:
		t.without("/freeze")
	case t.k.how == readsFromMemory && !writes && len(t.cmps) > 0:
		return t.yes(0), nil
	case t.k.how == saysYesTooEarly && writes && rand.IntN(10) == 0:
		return t.yes(1), nil
	}
	resp, err := t.commit()
	if err == nil && t.k.how == repeatsBlindly && writes && rand.IntN(10) == 0 {
		time.Sleep(rand.N(20 * time.Millisecond))
		t.cmps = nil
		return t.commit()
	}
	return resp, err
}

func (t *brokenTxn) commit() (*clientv3.TxnResponse, error) {
	resp, err := t.k.KV.Txn(t.ctx).If(t.cmps...).Then(t.ops...).Else(t.others...).Commit()
	if err == nil {
		for rev := resp.Header.Revision; ; {
			if seen := t.k.seen.Load(); seen >= rev || t.k.seen.CompareAndSwap(seen, rev) {
				break
			}
		}
	}
	return resp, err
}

// yes is an answer that etcd did not give.
func (t *brokenTxn) yes(later int64) *clientv3.TxnResponse {
	return &clientv3.TxnResponse{
		Header:    &etcdserverpb.ResponseHeader{Revision: t.k.seen.Add(later)},
		Succeeded: true,
	}
}

// answer answers instead of the store, if that is what is broken.
func (b breakage) answer(ctx context.Context, s *server, store *etcdstore.Store, r wireRequest, op any) (wireReply, bool, error) {
	switch op := op.(type) {
	case semaphore.Confirm:
		st, _ := store.View(r.Group)
		h, held := st.Holds[op.Node]
		if b == confirmsMemory && held && h.Fence == op.Fence && h.State != semaphore.Revoked {
			h.State = semaphore.Confirmed
			return wireReply{Answer: semaphore.Answer{Hold: &h}}, true, nil
		}
	case semaphore.Release:
		if b == releasesAny {
			st, err := store.Read(ctx, r.Group)
			if err != nil {
				return wireReply{}, true, err
			}
			if h, held := st.Hold(op.Node); held {
				op.Fence, op.Via, op.Instance = h.Fence, h.Via, h.Instance
			}
			a, err := store.Do(ctx, r.Group, op)
			return wireReply{Answer: a}, true, err
		}
	case semaphore.DeleteGroup:
		if b == forgetsFences {
			a, err := store.Do(ctx, r.Group, op)
			if err == nil && a.Kind == semaphore.OK {
				_, err = s.client.Delete(ctx, r.Prefix+"groups/"+r.Group+"/semaphore")
			}
			return wireReply{Answer: a}, true, err
		}
	}
	return wireReply{}, false, nil
}
