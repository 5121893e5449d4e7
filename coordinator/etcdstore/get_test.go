package etcdstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// deafKV leaves so many reads of bundles without an answer.
type deafKV struct {
	clientv3.KV
	left atomic.Int32
}

func (k *deafKV) Get(ctx context.Context, key string, opts ...clientv3.OpOption) (*clientv3.GetResponse, error) {
	if strings.Contains(key, "-bundles/") && k.left.Add(-1) >= 0 {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return k.KV.Get(ctx, key, opts...)
}

// A read that a busy store left without an answer is sent again; of a store that
// never answers it is said in the end that it has no quorum.
func TestRead_IsSentAgainWhenAStoreLeftItWithoutAnAnswer(t *testing.T) {
	for left, want := range map[int32]error{0: nil, readTries - 1: nil, readTries: semaphore.ErrNoQuorum} {
		real, prefix := client(t)
		t.Run(fmt.Sprint(left, " without an answer"), func(t *testing.T) {
			t.Parallel()
			kv := &deafKV{KV: real.KV}
			c := clientv3.NewCtxClient(t.Context())
			c.KV, c.Watcher, c.Lease = kv, real.Watcher, real.Lease
			d := openAt(t, Config{Client: c, Prefix: prefix})
			kv.left.Store(left)
			if _, err := d.Bundle(t.Context(), "a digest"); !errors.Is(err, cmp.Or(want, ErrNotFound)) {
				t.Errorf("the read ends with %v, want %v", err, cmp.Or(want, ErrNotFound))
			}
			if kv.left.Load() > 0 {
				t.Errorf("%d reads too few were sent", kv.left.Load())
			}
		})
	}
}
