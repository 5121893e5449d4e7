package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// lateKV leaves the next changes of some keys without an answer.
type lateKV struct {
	clientv3.KV
	of       string // part of a key that is changed
	left     atomic.Int32
	made     bool   // what has no answer is carried out all the same
	meantime func() // once the first was sent; nil: nothing
}

type lateTxn struct {
	clientv3.Txn
	kv   *lateKV
	ctx  context.Context
	then []clientv3.Op
}

func (k *lateKV) Txn(ctx context.Context) clientv3.Txn {
	return &lateTxn{Txn: k.KV.Txn(ctx), kv: k, ctx: ctx}
}

func (t *lateTxn) If(ifs ...clientv3.Cmp) clientv3.Txn  { t.Txn = t.Txn.If(ifs...); return t }
func (t *lateTxn) Else(ops ...clientv3.Op) clientv3.Txn { t.Txn = t.Txn.Else(ops...); return t }
func (t *lateTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.then, t.Txn = ops, t.Txn.Then(ops...)
	return t
}

func (t *lateTxn) Commit() (*clientv3.TxnResponse, error) {
	meant := slices.ContainsFunc(t.then, func(op clientv3.Op) bool { return strings.Contains(string(op.KeyBytes()), t.kv.of) })
	if !meant || t.kv.left.Add(-1) < 0 {
		return t.Txn.Commit()
	}
	if t.kv.made {
		if _, err := t.Txn.Commit(); err != nil {
			return nil, err
		}
	}
	if f := t.kv.meantime; f != nil {
		t.kv.meantime = nil
		f()
	}
	<-t.ctx.Done()
	return nil, t.ctx.Err()
}

// late is a DB whose next changes of some keys are left without an answer.
func late(t *testing.T, of string, n int32, made bool) (*DB, *lateKV) {
	t.Helper()
	real, prefix := client(t)
	kv := &lateKV{KV: real.KV, of: of, made: made}
	c := clientv3.NewCtxClient(t.Context())
	c.KV, c.Watcher, c.Lease = kv, real.Watcher, real.Lease
	d := openAt(t, Config{Client: c, Prefix: prefix})
	kv.left.Store(n)
	return d, kv
}

// A person's change that a busy store answers too late is made once, and said to be
// made, whether the late one was carried out or not.
func TestChange_WithoutAnAnswerIsMadeOnceAndSaidToBe(t *testing.T) {
	known := func(d *DB) fleet.Record {
		r, found, err := d.GetNode(t.Context(), "web-1")
		if err != nil || !found {
			t.Errorf("the node: %v, error %v", found, err)
		}
		return r
	}
	for what, c := range map[string]struct {
		of   string // part of the key that it changes
		do   func(d *DB) error
		kind string // of the event that it leaves, "" for none
		done func(d *DB) bool
	}{
		"a token": {of: "tokens/", kind: "token.created", do: func(d *DB) error {
			tok, _ := token(api.RoleViewer)
			_, created, err := d.CreateToken(t.Context(), tok, Request{}, semaphore.Event{Kind: "token.created"})
			if err == nil && !created {
				err = errors.New("it is said to be there already")
			}
			return err
		}, done: func(d *DB) bool { return len(d.Tokens()) == 1 }},
		"an order": {of: "events/", kind: "node.rollback", do: func(d *DB) error {
			r := known(d)
			r.Order = &api.Order{ID: "or-1"}
			return d.OrderNode(t.Context(), r, semaphore.Event{Kind: "node.rollback"})
		}, done: func(d *DB) bool { return known(d).Order != nil }},
		"a report": {of: "nodes/", do: func(d *DB) error {
			r := known(d)
			r.Group = "web"
			revision, err := d.PutNode(t.Context(), r)
			if is := known(d); err == nil && revision != is.Revision {
				err = fmt.Errorf("its revision is said to be %d, and is %d", revision, is.Revision)
			}
			return err
		}, done: func(d *DB) bool { return known(d).Group == "web" }},
		"a node that is forgotten": {of: "nodes/", do: func(d *DB) error { return d.DeleteNode(t.Context(), "web-1") }, done: func(d *DB) bool {
			_, found, err := d.GetNode(t.Context(), "web-1")
			return err == nil && !found
		}},
	} {
		for _, made := range []bool{true, false} {
			d, kv := late(t, c.of, 0, made)
			t.Run(fmt.Sprintf("%s, carried out: %v", what, made), func(t *testing.T) {
				t.Parallel()
				if _, err := d.PutNode(t.Context(), fleet.Record{ID: "web-1"}); err != nil {
					t.Fatal(err)
				}
				kv.left.Store(1)
				if err := c.do(d); err != nil {
					t.Fatal(err)
				}
				if !c.done(d) || kv.left.Load() >= 0 {
					t.Error("it was not made, or not sent again")
				}
				if list, err := d.read(t.Context(), 0, 0); err != nil || c.kind != "" && (len(list) != 1 || list[0].Kind != c.kind) {
					t.Errorf("the trail says %+v, error %v", list, err)
				}
			})
		}
	}
}

// Of a store that never answers it is said in the end that nobody knows.
func TestChange_OfAStoreThatNeverAnswersIsNotSaidToBeMade(t *testing.T) {
	d, _ := late(t, "events/", writeTries, true)
	t.Parallel()
	if err := d.Append(t.Context(), semaphore.Event{Kind: "snapshot.taken"}); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("it ends with %v, want %v", err, semaphore.ErrNoQuorum)
	}
}

// An event of somebody else in the place that a lost one was to have is not taken for it.
func TestChange_WhoseEventsPlaceWasTakenMeanwhileIsMadeBehindIt(t *testing.T) {
	d, kv := late(t, "events/", 0, false)
	t.Parallel()
	other := New(Config{Client: d.client, Prefix: d.prefix}) // a coordinator, of which this one knows nothing
	kv.meantime = func() {
		if err := other.Append(t.Context(), semaphore.Event{Kind: "snapshot.taken"}); err != nil {
			t.Error(err)
		}
	}
	kv.left.Store(1)
	tok, _ := token(api.RoleViewer)
	if _, created, err := d.CreateToken(t.Context(), tok, Request{}, semaphore.Event{Kind: "token.created"}); err != nil || !created {
		t.Fatalf("made: %v, error %v", created, err)
	}
	list, err := d.read(t.Context(), 0, 0)
	if err != nil || len(list) != 2 || list[0].Kind != "snapshot.taken" || list[1].Kind != "token.created" {
		t.Errorf("the trail says %+v, error %v", list, err)
	}
}
