package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// authorityKey is the key, below cluster/, of how the members' authority is
// replaced.
const authorityKey = "authority"

// Rotation is how far the replacement of the members' authority is to go: each
// member takes the step by itself, and says when it has.
type Rotation struct {
	V      int       `json:"v"`
	Stage  string    `json:"stage"`
	From   string    `json:"from"`             // fingerprint
	To     string    `json:"to"`               // fingerprint
	Sealed []byte    `json:"sealed,omitempty"` // the next authority, for those that have the one of before
	By     string    `json:"by"`
	At     time.Time `json:"at"`

	revision int64
}

// Rotation is the last one as seen by the watch, its Stage empty when there was
// none.
func (d *DB) Rotation() Rotation {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.rotation
}

// ReadRotation is Rotation by a read made after the call.
func (d *DB) ReadRotation(ctx context.Context) (Rotation, error) {
	resp, err := d.get(ctx, d.prefix+"cluster/"+authorityKey)
	if err != nil || len(resp.Kvs) == 0 {
		return Rotation{}, err
	}
	return decodeRotation(kv{value: resp.Kvs[0].Value, revision: resp.Kvs[0].ModRevision})
}

// PutRotation writes the next stage, with its event, unless another came between;
// then it reports false.
func (d *DB) PutRotation(ctx context.Context, was, next Rotation, e semaphore.Event) (bool, error) {
	next.V, next.At = schema, d.cfg.Now().UTC()
	value, err := json.Marshal(next)
	if err != nil {
		return false, err
	}
	key := d.prefix + "cluster/" + authorityKey
	return d.withEvent(ctx, e, []clientv3.Cmp{at(key, was.revision)}, []clientv3.Op{clientv3.OpPut(key, string(value))})
}

func (d *DB) setRotation(k kv) {
	r, err := decodeRotation(k)
	if err != nil {
		d.cfg.Logger.Error("unreadable value", "key", "cluster/"+k.key, "error", err)
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rotation = r
}

func decodeRotation(k kv) (Rotation, error) {
	if k.deleted {
		return Rotation{}, nil
	}
	r := Rotation{revision: k.revision}
	if err := json.Unmarshal(k.value, &r); err != nil {
		return Rotation{}, fmt.Errorf("how the members' authority is replaced: %w", err)
	}
	return r, nil
}
