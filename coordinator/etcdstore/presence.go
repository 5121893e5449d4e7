package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

var _ fleet.PresenceStore = (*DB)(nil)

func (d *DB) presencePrefix(kind fleet.Kind) string {
	return d.prefix + "presence/" + string(kind) + "/"
}

// Owner is fleet.PresenceStore's: this coordinator's id.
func (d *DB) Owner() string { return d.cfg.Self.ID }

// PutSightings is fleet.PresenceStore's. It knows no disk floor: it writes little,
// and without it the slot of a host that is heard here only could be freed by name
// elsewhere, as one of a host that is silent.
func (d *DB) PutSightings(ctx context.Context, kind fleet.Kind, list []fleet.Sighting) (int64, error) {
	values := make([]string, len(list))
	for i, s := range list {
		value, err := json.Marshal(s)
		if err != nil {
			return 0, err
		}
		values[i] = string(value)
	}
	resp, err := d.leased(ctx, func(id clientv3.LeaseID) []clientv3.Op {
		ops := make([]clientv3.Op, len(list))
		for i, s := range list {
			ops[i] = clientv3.OpPut(d.presencePrefix(kind)+semaphore.EscapeID(s.ID), values[i], clientv3.WithLease(id))
		}
		return ops
	})
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// DropSighting is fleet.PresenceStore's.
func (d *DB) DropSighting(ctx context.Context, kind fleet.Kind, id string) error {
	_, _, err := d.insist(ctx, nil, []clientv3.Op{clientv3.OpDelete(d.presencePrefix(kind) + semaphore.EscapeID(id))}, nil)
	return err
}

// GetSighting is fleet.PresenceStore's.
func (d *DB) GetSighting(ctx context.Context, kind fleet.Kind, id string) (fleet.Sighting, error) {
	resp, err := d.get(ctx, d.presencePrefix(kind)+semaphore.EscapeID(id))
	if err != nil || len(resp.Kvs) == 0 {
		return fleet.Sighting{}, err
	}
	s := fleet.Sighting{ID: id, Revision: resp.Kvs[0].ModRevision}
	if err := json.Unmarshal(resp.Kvs[0].Value, &s); err != nil {
		return fleet.Sighting{}, fmt.Errorf("the sighting of node %q: %w", id, err)
	}
	return s, nil
}

// FollowSightings is fleet.PresenceStore's.
func (d *DB) FollowSightings(ctx context.Context, kind fleet.Kind) <-chan []fleet.SightingChange {
	return stream(ctx, d, d.presencePrefix(kind), d.sightings, fleet.SightingChange{Reset: true}, fleet.SightingChange{Synced: true})
}

func (d *DB) sightings(kvs []kv) []fleet.SightingChange {
	list := make([]fleet.SightingChange, 0, len(kvs)+2)
	for _, k := range kvs {
		id, err := semaphore.UnescapeID(k.key)
		if err != nil {
			continue
		}
		if k.deleted {
			list = append(list, fleet.SightingChange{ID: id, Deleted: true})
			continue
		}
		s := fleet.Sighting{ID: id, Revision: k.revision}
		if err := json.Unmarshal(k.value, &s); err != nil {
			d.cfg.Logger.Error("unreadable value", "key", "presence/…/"+k.key, "error", err)
			continue
		}
		list = append(list, fleet.SightingChange{ID: id, Sighting: s})
	}
	return list
}
