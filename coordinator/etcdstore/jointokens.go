package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// UseJoinToken binds a join token to the member that uses it first, with the
// event that tells of it, and returns the token as it is then. The same member
// may use it again. ErrUsed for any other, ErrNotFound when it was taken back.
func (d *DB) UseJoinToken(ctx context.Context, id, member string, e semaphore.Event) (api.Token, error) {
	key := d.prefix + "tokens/" + id
	for range attempts {
		resp, err := d.get(ctx, key)
		if err != nil {
			return api.Token{}, err
		}
		if len(resp.Kvs) == 0 {
			return api.Token{}, ErrNotFound
		}
		var t Token
		if err := json.Unmarshal(resp.Kvs[0].Value, &t); err != nil {
			return api.Token{}, fmt.Errorf("the token %s: %w", id, err)
		}
		switch t.UsedBy {
		case member:
			return t.Token, nil
		case "":
		default:
			return t.Token, fmt.Errorf("%w: %s", ErrUsed, t.UsedBy)
		}
		t.UsedBy = member
		value, err := json.Marshal(t)
		if err != nil {
			return api.Token{}, err
		}
		done, err := d.withEvent(ctx, e, []clientv3.Cmp{at(key, resp.Kvs[0].ModRevision)}, []clientv3.Op{clientv3.OpPut(key, string(value))})
		if err != nil {
			return api.Token{}, err
		}
		if done {
			return t.Token, nil
		}
	}
	return api.Token{}, fmt.Errorf("%w: others kept changing the token", semaphore.ErrNoQuorum)
}
