package etcdstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Errors of MarkRestored.
var (
	// ErrNoCluster: the store has no identity of a cluster under the prefix.
	ErrNoCluster = errors.New("the store holds no cluster of Lockkeeper")
	// ErrInUse: coordinators serve from this store.
	ErrInUse = errors.New("coordinators use this store")
)

// ReasonRestored begins the reason of the freeze that a restore sets.
const ReasonRestored = "restored"

// restoredBy is who a restore says that it is.
const restoredBy = "restore"

// Restored is what MarkRestored did.
type Restored struct {
	Was, Is      Identity
	HighestFence int64 // that the restored data know to be next, or had as floor
	Groups       int
	Holds        int
	Places       int // in queues, which end
	Freeze       semaphore.Freeze
}

// restoredKey is the longest page of keys that are read in one request.
const restoredPage = 1000

// MarkRestored turns data that were put back into the store into a cluster that
// may be served again: the same id with a higher incarnation, fences above all
// that were given, and the fleet frozen. It must be done before any coordinator
// serves; one that is present is ErrInUse. What the coordinators of before said
// of themselves, and places in queues, are dropped.
func MarkRestored(ctx context.Context, client *clientv3.Client, prefix, source string, now time.Time) (Restored, error) {
	m := marking{DB: New(Config{Client: client, Prefix: prefix, Now: func() time.Time { return now }}), now: now.UTC()}
	defer m.cancel()
	if err := m.read(ctx); err != nil {
		return Restored{}, err
	}
	if err := m.count(ctx); err != nil {
		return Restored{}, err
	}
	if err := m.mark(ctx, source); err != nil {
		return Restored{}, err
	}
	return m.Restored, m.clear(ctx)
}

type marking struct {
	Restored
	*DB
	now       time.Time
	old       *semaphore.Freeze
	freezeRev int64
	places    []string
}

// read finds the cluster and the freeze that it had.
func (m *marking) read(ctx context.Context) error {
	txn, err := m.commit(ctx, nil, []clientv3.Op{
		clientv3.OpGet(m.prefix + "cluster/identity"), clientv3.OpGet(m.prefix + "freeze"),
	}, nil)
	if err != nil {
		return err
	}
	identity, freeze := txn.Responses[0].GetResponseRange().Kvs, txn.Responses[1].GetResponseRange().Kvs
	if len(identity) == 0 {
		return fmt.Errorf("%w: there is no %scluster/identity", ErrNoCluster, m.prefix)
	}
	if m.Was, err = m.adoptIdentity(identity[0].Value, identity[0].ModRevision); err != nil {
		return err
	}
	if m.Was.V > schema {
		return fmt.Errorf("%scluster/identity: %w", m.prefix, semaphore.ErrNewerSchema)
	}
	if len(freeze) > 0 {
		f, err := semaphore.DecodeFreeze(freeze[0].Value)
		if err != nil {
			return fmt.Errorf("%sfreeze: %w", m.prefix, err)
		}
		m.old, m.freezeRev = &f, freeze[0].ModRevision
	}
	return nil
}

// count finds the highest fence, and what is to be dropped.
func (m *marking) count(ctx context.Context) error {
	m.HighestFence = m.Was.FenceFloor
	groups := m.prefix + "groups/"
	return m.each(ctx, groups, func(key string, value []byte) error {
		parts := strings.Split(strings.TrimPrefix(key, groups), "/")
		switch {
		case len(parts) == 2 && parts[1] == "semaphore":
			// Also of a newer schema: whatever else it means, its fences count.
			var head struct {
				Next    int64 `json:"next_fence"`
				Deleted bool  `json:"deleted"`
			}
			if err := json.Unmarshal(value, &head); err != nil {
				return fmt.Errorf("%s: %w", key, err)
			}
			m.HighestFence = max(m.HighestFence, head.Next)
			if !head.Deleted {
				m.Groups++
			}
		case len(parts) == 3 && parts[1] == "holds":
			m.Holds++
		case len(parts) == 3 && parts[1] == "queue":
			m.places = append(m.places, key)
		}
		return nil
	})
}

// each reads the keys below a prefix, in pages.
func (m *marking) each(ctx context.Context, prefix string, f func(key string, value []byte) error) error {
	for from := prefix; ; {
		resp, err := m.get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(prefix)), clientv3.WithLimit(restoredPage))
		if err != nil {
			return err
		}
		for _, k := range resp.Kvs {
			if err := f(string(k.Key), k.Value); err != nil {
				return err
			}
		}
		if !resp.More {
			return nil
		}
		from = string(resp.Kvs[len(resp.Kvs)-1].Key) + "\x00"
	}
}

// mark is the one transaction after which the data are the new incarnation's.
func (m *marking) mark(ctx context.Context, source string) error {
	id := make([]byte, 6)
	rand.Read(id)
	m.Freeze = semaphore.Freeze{
		V: semaphore.BaseSchema, ID: hex.EncodeToString(id), By: restoredBy, At: m.now,
		Reason: ReasonRestored + " from " + source,
	}
	if m.old != nil {
		m.Freeze.Stop = m.old.Stop
		m.Freeze.Reason += fmt.Sprintf("; before that it was frozen by %s: %s", m.old.By, m.old.Reason)
	}
	m.Is = m.Was
	m.Is.V = schema
	m.Is.Incarnation = max(m.Was.Incarnation+1, m.now.Unix())
	m.Is.FenceFloor = semaphore.RestoredFloor(m.HighestFence, m.now)
	m.Is.RestoredAt, m.Is.RestoredFreeze = m.now, m.Freeze.ID
	freeze, err := semaphore.EncodeFreeze(m.Freeze)
	if err != nil {
		return err
	}
	identity, err := json.Marshal(m.Is)
	if err != nil {
		return err
	}
	coordinators := m.prefix + "coordinators/"
	nobody := clientv3.Compare(clientv3.CreateRevision(coordinators).WithPrefix(), "=", 0)
	done, err := m.withEvent(ctx, semaphore.Event{
		Kind: "cluster.restored", Actor: restoredBy,
		Detail: fmt.Sprintf("from %s: incarnation %d became %d, the next fences are above %d (the highest known was %d)",
			source, m.Was.Incarnation, m.Is.Incarnation, m.Is.FenceFloor, m.HighestFence),
	}, []clientv3.Cmp{
		at(m.prefix+"cluster/identity", m.Was.Revision), at(m.prefix+"freeze", m.freezeRev), nobody,
	}, []clientv3.Op{
		clientv3.OpPut(m.prefix+"cluster/identity", string(identity)), clientv3.OpPut(m.prefix+"freeze", string(freeze)),
		// What has become of the members' authority is in their folders.
		clientv3.OpDelete(m.prefix + "cluster/" + authorityKey),
	})
	if err == nil && !done {
		err = fmt.Errorf("%w under %s: stop them all, and wait 30 s until what they said of themselves has ended", ErrInUse, m.prefix)
	}
	return err
}

// clear drops what was true of the processes of before only. All of it is
// leased, and would end by itself.
func (m *marking) clear(ctx context.Context) error {
	ops := []clientv3.Op{
		clientv3.OpDelete(m.prefix+"presence/", clientv3.WithPrefix()),
		clientv3.OpDelete(m.prefix+"rollout-engine/", clientv3.WithPrefix()),
	}
	for _, key := range m.places {
		ops = append(ops, clientv3.OpDelete(key))
	}
	for len(ops) > 0 {
		n := min(len(ops), batchOps)
		if _, err := m.commit(ctx, nil, ops[:n], nil); err != nil {
			return err
		}
		ops = ops[n:]
	}
	m.Places = len(m.places)
	return nil
}

// DropCoordinators forgets which coordinators said to be present, in data that
// were put back by themselves: those processes cannot be there.
func DropCoordinators(ctx context.Context, client *clientv3.Client, prefix string) error {
	d := New(Config{Client: client, Prefix: prefix})
	defer d.cancel()
	_, err := d.commit(ctx, nil, []clientv3.Op{clientv3.OpDelete(d.prefix+"coordinators/", clientv3.WithPrefix())}, nil)
	return err
}
