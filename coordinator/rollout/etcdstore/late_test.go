package etcdstore

import (
	"context"
	"errors"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	etcderrors "go.etcd.io/etcd/server/v3/etcdserver/errors"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// lateKV answers a transaction as an embedded etcd does that has too much else to do.
type lateKV struct{ clientv3.KV }

func (lateKV) Txn(ctx context.Context) clientv3.Txn { return lateTxn{ctx} }

type lateTxn struct{ ctx context.Context }

func (t lateTxn) If(...clientv3.Cmp) clientv3.Txn  { return t }
func (t lateTxn) Then(...clientv3.Op) clientv3.Txn { return t }
func (t lateTxn) Else(...clientv3.Op) clientv3.Txn { return t }
func (t lateTxn) Commit() (*clientv3.TxnResponse, error) {
	<-t.ctx.Done()
	return nil, etcderrors.ErrTimeout
}

// The engine asks again what became of a change, if it is told that its answer is late.
func TestStore_SaysOfAWriteThatItsAnswerIsLate(t *testing.T) {
	t.Parallel()
	c := clientv3.NewCtxClient(t.Context())
	c.KV = lateKV{}
	_, err := New(Config{Client: c, Prefix: "/late/"}).commit(t.Context(), nil, nil)
	for _, want := range []error{semaphore.ErrNoQuorum, context.DeadlineExceeded, etcderrors.ErrTimeout} {
		if !errors.Is(err, want) {
			t.Errorf("the write ends with %v, want %v in it", err, want)
		}
	}
}
