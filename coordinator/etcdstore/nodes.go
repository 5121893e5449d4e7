package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

var _ fleet.Store = (*DB)(nil)

func (d *DB) nodeKey(id string) string { return d.prefix + "nodes/" + semaphore.EscapeID(id) }

// PutNode is fleet.Store's. A node that is new needs more room on the disk than
// one that reports again: by its reports rollouts halt and slots are judged.
func (d *DB) PutNode(ctx context.Context, r fleet.Record) (int64, error) {
	floor := d.cfg.WriteFloor
	if r.Revision == 0 {
		floor = d.cfg.Floor
	}
	if err := floor(); err != nil {
		return 0, err
	}
	r.V = schema
	value, err := json.Marshal(r)
	if err != nil {
		return 0, err
	}
	key := d.nodeKey(r.ID)
	txn, lost, err := d.insist(ctx, []clientv3.Cmp{at(key, r.Revision)}, []clientv3.Op{clientv3.OpPut(key, string(value))}, []clientv3.Op{clientv3.OpGet(key)})
	if err != nil {
		return 0, err
	}
	if txn.Succeeded {
		return txn.Header.Revision, nil
	}
	found := txn.Responses[0].GetResponseRange().Kvs
	if lost && len(found) > 0 && string(found[0].Value) == string(value) {
		return found[0].ModRevision, nil // by an earlier try
	}
	return 0, fleet.ErrChanged
}

// OrderNode is fleet.Store's. An order begins something, as a rollout does.
func (d *DB) OrderNode(ctx context.Context, r fleet.Record, e semaphore.Event) error {
	if err := d.cfg.Floor(); err != nil {
		return err
	}
	r.V = schema
	value, err := json.Marshal(r)
	if err != nil {
		return err
	}
	key := d.nodeKey(r.ID)
	done, err := d.withEvent(ctx, e, []clientv3.Cmp{at(key, r.Revision)}, []clientv3.Op{clientv3.OpPut(key, string(value))})
	if err == nil && !done {
		return fleet.ErrChanged
	}
	return err
}

// GetNode is fleet.Store's.
func (d *DB) GetNode(ctx context.Context, id string) (fleet.Record, bool, error) {
	resp, err := d.get(ctx, d.nodeKey(id))
	if err != nil || len(resp.Kvs) == 0 {
		return fleet.Record{}, false, err
	}
	r, err := decodeNode(resp.Kvs[0].Value, resp.Kvs[0].ModRevision)
	return r, err == nil, err
}

// DeleteNode is fleet.Store's.
func (d *DB) DeleteNode(ctx context.Context, id string) error {
	_, _, err := d.insist(ctx, nil, []clientv3.Op{clientv3.OpDelete(d.nodeKey(id))}, nil)
	return err
}

// FollowNodes is fleet.Store's.
func (d *DB) FollowNodes(ctx context.Context) <-chan []fleet.Change {
	return stream(ctx, d, d.prefix+"nodes/", d.nodeChanges, fleet.Change{Reset: true}, fleet.Change{Synced: true})
}

func (d *DB) nodeChanges(kvs []kv) []fleet.Change {
	list := make([]fleet.Change, 0, len(kvs)+2)
	for _, k := range kvs {
		id, err := semaphore.UnescapeID(k.key)
		if err != nil {
			continue
		}
		if k.deleted {
			list = append(list, fleet.Change{ID: id, Deleted: true})
			continue
		}
		r, err := decodeNode(k.value, k.revision)
		if err != nil {
			d.cfg.Logger.Error("unreadable value", "key", "nodes/"+k.key, "error", err)
			continue
		}
		list = append(list, fleet.Change{ID: id, Record: r})
	}
	return list
}

func decodeNode(value []byte, revision int64) (fleet.Record, error) {
	var r fleet.Record
	if err := json.Unmarshal(value, &r); err != nil {
		return r, fmt.Errorf("a node's record: %w", err)
	}
	r.Revision = revision
	return r, nil
}
