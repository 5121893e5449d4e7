package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// schemaKey is the key, below cluster/, of what is written in this cluster.
const schemaKey = "schema"

// Schema is the `v` that every coordinator of the cluster reads: none writes a
// higher one. It only grows.
type Schema struct {
	V      int       `json:"v"`
	Schema int       `json:"schema"`
	Since  time.Time `json:"since"`

	revision int64
}

// Schema is the highest `v` that may be written, and that what is new since may
// rest on: all coordinators of the cluster can read it.
func (d *DB) Schema() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return max(semaphore.BaseSchema, d.schema.Schema)
}

// GivesWay reports whether a coordinator is present that reads what is written in
// this cluster, while this one does not.
func (d *DB) GivesWay() bool {
	written := d.Schema()
	if written <= d.cfg.Self.MaxV {
		return false
	}
	d.mu.RLock()
	defer d.mu.RUnlock()
	for _, p := range d.peers {
		if p.MaxV >= written {
			return true
		}
	}
	return false
}

func (d *DB) adoptSchema(k kv) {
	s := Schema{revision: k.revision}
	if err := json.Unmarshal(k.value, &s); err != nil {
		d.cfg.Logger.Error("unreadable value", "key", "cluster/"+k.key, "error", err)
		return
	}
	d.mu.Lock()
	was := d.schema.Schema
	if s.revision > d.schema.revision {
		d.schema = s
	}
	d.mu.Unlock()
	if s.Schema > max(was, semaphore.SchemaVersion) {
		d.cfg.Logger.Error("the stored values of this cluster are of a later version: in groups that were changed since this coordinator grants nothing, and takes back only slots that were granted before; update it",
			"schema", s.Schema, "max_v", semaphore.SchemaVersion)
	}
}

// monitorSchema raises the schema when the last coordinator has been updated.
func (d *DB) monitorSchema() {
	t := time.NewTicker(announceEvery)
	defer t.Stop()
	for {
		changed := d.Changed()
		if to := d.agreedSchema(); to > d.Schema() {
			if err := d.raiseSchema(d.life, to); err != nil && d.life.Err() == nil {
				d.cfg.Logger.Debug("the schema could not be raised; trying again", "error", err)
			}
		}
		select {
		case <-d.life.Done():
			return
		case <-changed:
		case <-t.C:
		}
	}
}

// agreedSchema is the highest `v` that all coordinators read, 0 while not all
// are there. Of an embedded store each member has one: one that is down may come
// back as it was.
func (d *DB) agreedSchema() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if _, here := d.peers[d.cfg.Self.ID]; !here {
		return 0 // then the others are not known here either
	}
	lowest, members := semaphore.SchemaVersion, map[string]bool{}
	for _, p := range d.peers {
		lowest = min(lowest, p.MaxV)
		members[p.Member] = true
	}
	if d.cfg.Members != nil {
		for _, id := range d.cfg.Members() {
			if !members[id] {
				return 0
			}
		}
	}
	return lowest
}

func (d *DB) raiseSchema(ctx context.Context, to int) error {
	d.mu.RLock()
	was := d.schema
	d.mu.RUnlock()
	value, err := json.Marshal(Schema{V: schema, Schema: to, Since: d.cfg.Now().UTC()})
	if err != nil {
		return err
	}
	key := d.prefix + "cluster/" + schemaKey
	_, err = d.withEvent(ctx, semaphore.Event{
		Kind: "cluster.schema.raised", Actor: "coordinator",
		Detail: fmt.Sprintf("every coordinator reads schema %d now: it is written from here on, and a coordinator that reads less cannot join", to),
	}, []clientv3.Cmp{at(key, was.revision)}, []clientv3.Op{clientv3.OpPut(key, string(value))})
	return err
}
