package etcdstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Identity tells this cluster from every other one, and from itself before a
// restore.
type Identity struct {
	V           int       `json:"v"`
	ID          string    `json:"id"`
	Incarnation int64     `json:"incarnation"`
	CreatedAt   time.Time `json:"created_at"`
	// FenceFloor is below every fence to be given, 0 in a cluster that was never
	// restored.
	FenceFloor int64 `json:"fence_floor,omitempty"`
	// RestoredAt and RestoredFreeze, the id of the freeze that was set then, are
	// of the last restore.
	RestoredAt     time.Time `json:"restored_at,omitzero"`
	RestoredFreeze string    `json:"restored_freeze,omitempty"`

	// Revision at which it was written: what is older was before the restore.
	Revision int64 `json:"-"`
}

// Foreign is another cluster whose agent called here.
type Foreign struct {
	V       int       `json:"v"`
	Cluster string    `json:"cluster"`
	By      string    `json:"by"`             // who called
	Node    string    `json:"node,omitempty"` // that the caller's token is bound to
	At      time.Time `json:"at"`             // first
	Froze   bool      `json:"froze,omitempty"`
}

// foreignKept bounds the list of other clusters, beside those for which this one
// froze itself: of these each node's token brings one.
const foreignKept = 100

// Identity is the cluster's identity as last seen; its ID is empty before the
// cluster was bootstrapped.
func (d *DB) Identity() Identity {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.identity
}

// Bootstrap gives the cluster its identity, once, whoever else does so at the
// same moment: it returns the one in place if there is one, and whether it was
// made now. A store that holds anything else without an identity is refused
// (ErrNotEmpty).
func (d *DB) Bootstrap(ctx context.Context) (Identity, bool, error) {
	now := d.cfg.Now().UTC()
	random := make([]byte, 8)
	rand.Read(random)
	value, err := json.Marshal(Identity{V: schema, ID: hex.EncodeToString(random), Incarnation: now.Unix(), CreatedAt: now})
	if err != nil {
		return Identity{}, false, err
	}
	key := d.prefix + "cluster/identity"
	nothing := clientv3.Compare(clientv3.CreateRevision(d.prefix).WithPrefix(), "=", 0)
	txn, err := d.commit(ctx, []clientv3.Cmp{nothing}, []clientv3.Op{clientv3.OpPut(key, string(value))},
		[]clientv3.Op{clientv3.OpGet(key), clientv3.OpGet(d.prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(1))})
	if err != nil {
		return Identity{}, false, err
	}
	made := txn.Header.Revision
	if !txn.Succeeded {
		found := txn.Responses[0].GetResponseRange().Kvs
		if len(found) == 0 {
			rest := txn.Responses[1].GetResponseRange()
			return Identity{}, false, fmt.Errorf("%w: %d keys under %s, such as %s; use another prefix or an empty etcd", ErrNotEmpty, rest.Count, d.prefix, rest.Kvs[0].Key)
		}
		value, made = found[0].Value, found[0].ModRevision
	}
	id, err := d.adoptIdentity(value, made)
	if err == nil && id.ID == "" {
		err = fmt.Errorf("%w: %s is no identity of a cluster", ErrNotEmpty, key)
	}
	return id, txn.Succeeded, err
}

// ReadIdentity is the cluster's identity as it is in the store now; its ID is
// empty when there is none.
func (d *DB) ReadIdentity(ctx context.Context) (Identity, error) {
	resp, err := d.get(ctx, d.prefix+"cluster/identity")
	if err != nil || len(resp.Kvs) == 0 {
		return Identity{}, err
	}
	return d.adoptIdentity(resp.Kvs[0].Value, resp.Kvs[0].ModRevision)
}

// adoptIdentity takes over an identity as it was written at a revision. One of
// an earlier incarnation is old news.
func (d *DB) adoptIdentity(value []byte, revision int64) (Identity, error) {
	id := Identity{Revision: revision}
	if err := json.Unmarshal(value, &id); err != nil {
		return id, fmt.Errorf("the cluster's identity: %w", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if id.Incarnation >= d.identity.Incarnation {
		d.identity = id
	}
	return d.identity, nil
}

// AddForeign lists another cluster, together with the event that tells of it. It
// reports false when that one is listed already (or the list is full), and changes
// nothing then.
func (d *DB) AddForeign(ctx context.Context, f Foreign) (bool, error) {
	d.mu.RLock()
	_, listed := d.foreign[f.Cluster]
	full := len(d.foreign) >= foreignKept && !(f.Froze && f.Node != "")
	d.mu.RUnlock()
	if listed || full {
		return false, nil
	}
	f.V, f.At = schema, d.cfg.Now().UTC()
	value, err := json.Marshal(f)
	if err != nil {
		return false, err
	}
	key := d.prefix + "cluster/foreign/" + semaphore.EscapeID(f.Cluster)
	detail := fmt.Sprintf("%s, an agent of cluster %s, called and was refused", f.By, f.Cluster)
	if f.Froze {
		detail += "; this cluster is new and froze itself"
	}
	e := semaphore.Event{Kind: "node.wrong_cluster", Actor: f.By, Node: f.Node, Detail: detail}
	done, err := d.withEvent(ctx, e, []clientv3.Cmp{absent(key)}, []clientv3.Op{clientv3.OpPut(key, string(value))})
	if err != nil || !done {
		return false, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.foreign[f.Cluster] = f
	return true, nil
}

// Foreign lists the other clusters whose agents called here, oldest first.
func (d *DB) Foreign() []Foreign {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]Foreign, 0, len(d.foreign))
	for _, f := range d.foreign {
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b Foreign) int { return a.At.Compare(b.At) })
	return list
}

func (d *DB) clusterTable() table {
	apply := func(kvs []kv) {
		for _, k := range kvs {
			rest, foreign := strings.CutPrefix(k.key, "foreign/")
			switch {
			case k.key == "identity" && !k.deleted:
				if _, err := d.adoptIdentity(k.value, k.revision); err != nil {
					d.cfg.Logger.Error("unreadable value", "key", k.key, "error", err)
				}
			case k.key == schemaKey && !k.deleted:
				d.adoptSchema(k)
			case k.key == authorityKey:
				d.setRotation(k)
			case foreign:
				d.setForeign(rest, k)
			}
		}
		d.bumpCluster()
	}
	return table{
		prefix: d.prefix + "cluster/",
		reload: func(kvs []kv, _ int64) {
			d.mu.Lock()
			clear(d.foreign)
			d.rotation = Rotation{}
			d.mu.Unlock()
			apply(kvs)
		},
		apply: apply,
	}
}

func (d *DB) setForeign(escaped string, k kv) {
	id, err := semaphore.UnescapeID(escaped)
	if err != nil {
		return
	}
	take(d, d.foreign, id, k)
}
