package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// requestKept is how long an idempotency key is remembered.
const requestKept = 24 * time.Hour

// Request is an idempotency key: what was made under it, and a digest of the
// body it was asked with. An empty Key is no request.
type Request struct {
	Key    string    `json:"-"`
	V      int       `json:"v"`
	ID     string    `json:"id"`
	Digest string    `json:"digest"`
	At     time.Time `json:"at"`
}

func (d *DB) requestKey(key string) string { return d.prefix + "requests/" + semaphore.EscapeID(key) }

// FindRequest is the id of what was made under the key; false when the key is
// new, ErrOtherRequest when it was used with another body.
func (d *DB) FindRequest(ctx context.Context, r Request) (string, bool, error) {
	resp, err := d.get(ctx, d.requestKey(r.Key))
	if err != nil || len(resp.Kvs) == 0 {
		return "", false, err
	}
	var old Request
	if err := json.Unmarshal(resp.Kvs[0].Value, &old); err != nil {
		return "", false, fmt.Errorf("idempotency key %q: %w", r.Key, err)
	}
	if old.Digest != r.Digest {
		return "", false, ErrOtherRequest
	}
	return old.ID, true, nil
}

// requestOps are what the creating transaction puts and compares.
func (d *DB) requestOps(r Request) (clientv3.Op, clientv3.Cmp, error) {
	r.V, r.At = schema, d.cfg.Now().UTC()
	value, err := json.Marshal(r)
	key := d.requestKey(r.Key)
	return clientv3.OpPut(key, string(value)), absent(key), err
}
