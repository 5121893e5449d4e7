package etcdstore

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// leases of a store's waiters: one at a time, for all of them. When the
// process is gone, its waiters' places end with it. Guarded by the Store's mu.
type leases struct {
	current clientv3.LeaseID
	own     map[clientv3.LeaseID]bool // the current one and those before

	granting chan struct{} // held by the one who asks etcd for a lease
}

func (l *leases) owns(id int64) bool { return l.own[clientv3.LeaseID(id)] }

// batch is how many keys one transaction writes at most.
const batch = 256

// lease is the lease for waiters; the first call grants it.
func (s *Store) lease(ctx context.Context) (clientv3.LeaseID, error) {
	if id := s.currentLease(); id != 0 {
		return id, nil
	}
	// One at a time: a thousand waiters that come at once need one lease.
	if err := s.take(ctx, s.leases.granting); err != nil {
		return 0, err
	}
	defer func() { <-s.leases.granting }()
	if id := s.currentLease(); id != 0 {
		return id, nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	resp, err := s.cfg.Client.Grant(ctx, int64(s.cfg.LeaseTTL/time.Second))
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leases.current = resp.ID
	s.leases.own[resp.ID] = true
	s.spawnLocked(func() { s.monitorLease(resp.ID) })
	return resp.ID, nil
}

func (s *Store) currentLease() clientv3.LeaseID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.leases.current
}

// loseLease: the lease is gone from etcd, and the next waiter needs a new one.
func (s *Store) loseLease(id clientv3.LeaseID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leases.current == id {
		s.leases.current = 0
	}
}

// monitorLease keeps the lease alive. When it is lost, because this process
// stood still or nobody led for long, places that are still there move to a
// new one.
func (s *Store) monitorLease(id clientv3.LeaseID) {
	if alive, err := s.cfg.Client.KeepAlive(s.ctx, id); err == nil {
		for range alive {
			continue
		}
	}
	if s.ctx.Err() != nil {
		return
	}
	s.log.Warn("the lease of the waiters was lost, moving them to a new one")
	s.loseLease(id)
	for !s.movePlaces() {
		if sleep.For(s.ctx, time.Second) != nil {
			return
		}
	}
}

// moved is one waiter's key on its way to another lease.
type moved struct {
	g      *group
	node   string
	p      place
	waiter semaphore.Waiter
}

func (s *Store) movePlaces() bool {
	var list []moved
	s.mu.RLock()
	for _, g := range s.groups {
		for node := range g.waiters {
			if p, queued := g.places[node]; queued && s.leases.owns(p.lease) {
				w, _ := g.st.Waiter(node)
				list = append(list, moved{g, node, p, w})
			}
		}
	}
	s.mu.RUnlock()
	for len(list) > 0 {
		if s.ready(s.ctx) != nil {
			return false
		}
		id, err := s.lease(s.ctx)
		if err != nil {
			return false
		}
		// Each key costs one transaction inside another: etcd counts both.
		n := min(batch, s.cfg.MaxTxnOps-1, len(list))
		if err := s.moveBatch(id, list[:n]); err != nil {
			s.log.Warn("waiters could not be moved to a new lease", "error", err)
			return false
		}
		list = list[n:]
	}
	return true
}

// moveBatch puts the keys that are still as known. One that is gone already
// is missed by its client, who takes a new place.
func (s *Store) moveBatch(id clientv3.LeaseID, list []moved) error {
	ctx, cancel := context.WithTimeout(s.ctx, attemptTimeout)
	defer cancel()
	var ops []clientv3.Op
	var failed error
	for _, m := range list {
		value, err := semaphore.EncodeWaiter(m.waiter)
		failed = errors.Join(failed, err)
		key := s.keys.node(m.g.name, queueKeys, m.node)
		ops = append(ops, clientv3.OpTxn(
			[]clientv3.Cmp{unchanged(key, m.p.rev)},
			[]clientv3.Op{clientv3.OpPut(key, string(value), clientv3.WithLease(id))}, nil))
	}
	if failed != nil {
		return failed
	}
	_, err := s.cfg.Client.Txn(ctx).Then(ops...).Commit()
	return err
}
