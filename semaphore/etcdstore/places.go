package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// keepPlace makes sure that the node has a place in the queue which this store
// keeps. A place that another coordinator kept is taken over with its ticket.
func (s *Store) keepPlace(ctx context.Context, g *group, op semaphore.Acquire) (*waiter, error) {
	come, room := s.come(g, op.Node)
	if !room {
		return nil, errTooMany
	}
	defer come()
	key := s.keys.node(g.name, queueKeys, op.Node)
	for {
		if err := s.ready(ctx); err != nil {
			return nil, err
		}
		own, w, p, queued, mine := s.placeOf(g, op)
		if mine {
			return own, nil
		}
		if err := s.cfg.Floor(); err != nil {
			return nil, err
		}
		lease, err := s.lease(ctx)
		if err != nil {
			if err := s.rest(ctx, classify(err)); err != nil {
				return nil, err
			}
			continue
		}
		value, err := semaphore.EncodeWaiter(w)
		if err != nil {
			return nil, err
		}
		err = s.swapPlace(ctx, g, op.Node, p, queued, clientv3.OpPut(key, string(value), clientv3.WithLease(lease)), value, lease)
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			s.loseLease(lease)
			continue
		}
		if err == nil {
			return own, nil
		}
		if err := s.rest(ctx, err); err != nil {
			return nil, err
		}
	}
}

// come reports whether there is room for one more, who is counted from now on;
// the function says that it has come, or not.
func (s *Store) come(g *group, node string) (come func(), room bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, queued := g.places[node]; queued {
		return func() {}, true
	}
	if !g.coming[node] && g.st.Waiting()+len(g.coming) >= s.cfg.MaxWaiters {
		return nil, false
	}
	g.coming[node] = true // until it is in the queue
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(g.coming, node)
	}, true
}

// placeOf is the waiter as its key should say, and what the key is known to
// be. mine: nothing is to be written.
func (s *Store) placeOf(g *group, op semaphore.Acquire) (own *waiter, w semaphore.Waiter, p place, queued, mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p, queued = g.places[op.Node]
	own = g.waiters[op.Node]
	if own == nil {
		own = &waiter{node: op.Node}
		g.waiters[op.Node] = own
	}
	own.via = op.Via
	own.stopTimer()
	if !queued {
		now := s.cfg.Now()
		w = semaphore.Waiter{V: semaphore.BaseSchema, Node: op.Node, Since: now.UTC(), Grants: g.st.Head.Grants, Ahead: g.st.Ahead(now)}
	} else {
		w, _ = g.st.Waiter(op.Node)
		if !s.leases.owns(p.lease) {
			// How often it asked the coordinator that it comes from is not known
			// here: at least once since it has its place.
			own.assumed = s.cfg.Now().Sub(w.Since)
		}
		mine = s.leases.owns(p.lease) && w.Via == op.Via && w.Instance == op.Instance
	}
	w.Via, w.Instance, w.Reason = op.Via, op.Instance, op.Reason
	return own, w, p, queued, mine
}

// swapPlace runs one operation on the key of a waiter, if the key is as known,
// and takes over what became of it. errLost: it was not as known.
func (s *Store) swapPlace(ctx context.Context, g *group, node string, p place, queued bool, op clientv3.Op, value []byte, lease clientv3.LeaseID) error {
	key := s.keys.node(g.name, queueKeys, node)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	rev := int64(0)
	if queued {
		rev = p.rev
	}
	resp, err := s.cfg.Client.Txn(ctx).If(unchanged(key, rev)).Then(op).Else(clientv3.OpGet(key)).Commit()
	if err != nil {
		if errors.Is(err, rpctypes.ErrLeaseNotFound) {
			return err
		}
		return classify(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at := resp.Header.Revision
	switch {
	case !resp.Succeeded:
		if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
			s.putWaiter(g, node, kvs[0])
		} else if s.removeWaiter(g, node, at) {
			g.lostPlace(node)
		}
		return errLost
	case op.IsDelete():
		if s.removeWaiter(g, node, at) {
			g.lostPlace(node)
		}
	default:
		ticket := at
		if w, waits := g.st.Waiter(node); queued && waits {
			ticket = w.CreateRevision
		}
		s.putWaiter(g, node, &mvccpb.KeyValue{
			Key: []byte(key), Value: value, CreateRevision: ticket, ModRevision: at, Lease: int64(lease),
		})
	}
	s.wakeLocked()
	return nil
}

// deletePlace deletes the key of a waiter, unless it changed meanwhile.
func (s *Store) deletePlace(g *group, node string, p place) {
	key := s.keys.node(g.name, queueKeys, node)
	for {
		if s.ready(s.ctx) == nil {
			err := s.swapPlace(s.ctx, g, node, p, true, clientv3.OpDelete(key), nil, 0)
			if err == nil || errors.Is(err, errLost) {
				return
			}
		}
		if sleep.For(s.ctx, time.Second) != nil {
			return
		}
	}
}

// Leave implements semaphore.Store. A call that is parked for the node is
// answered with its refusal.
func (s *Store) Leave(ctx context.Context, name, node string) error {
	if semaphore.ValidGroup(name) != nil {
		return nil
	}
	g := s.enter(name)
	defer s.exit(g)
	// Said first: the watch may bring the deletion before its answer comes, and
	// a call that it wakes must not take a new place.
	w := s.leaving(g, node, true)
	rev, err := s.deleteWaiter(ctx, g, node)
	if err != nil {
		if w != nil {
			s.leaving(g, node, false)
		}
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeWaiter(g, node, rev)
	if w != nil {
		w.stopTimer()
		if g.waiters[node] == w {
			delete(g.waiters, node)
		}
		for _, c := range w.calls {
			c.tell(&result{final: true, answer: leftQueue(rev)})
		}
	}
	g.wake()
	s.wakeLocked()
	return nil
}

func (s *Store) leaving(g *group, node string, left bool) *waiter {
	s.mu.Lock()
	defer s.mu.Unlock()
	w := g.waiters[node]
	if w != nil {
		w.left = left
	}
	return w
}

// deleteWaiter deletes the key of a waiter, whatever it says.
func (s *Store) deleteWaiter(ctx context.Context, g *group, node string) (int64, error) {
	key := s.keys.node(g.name, queueKeys, node)
	for {
		if err := s.ready(ctx); err != nil {
			return 0, err
		}
		attempt, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
		resp, err := s.cfg.Client.Delete(attempt, key)
		cancel()
		if err == nil {
			return resp.Header.Revision, nil
		}
		if err := s.rest(ctx, classify(err)); err != nil {
			return 0, err
		}
	}
}

func leftQueue(rev int64) semaphore.Answer {
	return semaphore.Answer{Kind: semaphore.Queued, Detail: "the node left the queue", Revision: rev, At: time.Now()}
}

// SetPriority implements semaphore.Store.
func (s *Store) SetPriority(ctx context.Context, name, node string, priority int, by string) error {
	if semaphore.ValidGroup(name) != nil {
		return semaphore.ErrNoWaiter
	}
	g := s.enter(name)
	defer s.exit(g)
	if err := s.take(ctx, g.turn); err != nil {
		return err
	}
	defer s.yield(g)
	for {
		if err := s.ready(ctx); err != nil {
			return err
		}
		err := s.setPriority(ctx, g, node, priority, by)
		if !errors.Is(err, errLost) && !errors.As(err, new(unknown)) {
			return err
		}
		if err := s.rest(ctx, err); err != nil {
			return err
		}
		if errors.As(err, new(unknown)) {
			if _, _, err := s.resolve(g, nil); err != nil && !errors.As(err, new(unknown)) {
				return err
			}
		}
	}
}

// setPriority is one attempt. The event makes it a change of the group.
func (s *Store) setPriority(ctx context.Context, g *group, node string, priority int, by string) error {
	if err := s.refreshPlace(ctx, g, node); err != nil {
		return err
	}
	s.mu.Lock()
	st := s.stateLocked(g)
	p, queued := g.places[node]
	s.mu.Unlock()
	switch {
	case st.NewerSchema != "":
		return fmt.Errorf("%s: %w", st.NewerSchema, semaphore.ErrNewerSchema)
	case !queued || !st.Exists():
		return semaphore.ErrNoWaiter
	}
	w, _ := st.Waiter(node)
	if w.Priority == priority {
		return nil
	}
	was := w.Priority
	w.Priority = priority
	d := semaphore.Decision{Head: st.Head}
	d.Head.V = max(d.Head.V, semaphore.BaseSchema)
	d.Head.EventSeq++
	d.Events = []semaphore.Event{{
		V: semaphore.BaseSchema, Scope: "group/" + g.name, Seq: d.Head.EventSeq, At: s.cfg.Now(),
		Kind: "queue.priority", Actor: by, Group: g.name, Node: node,
		Held: st.Held(), Slots: st.SlotCount(), Detail: fmt.Sprintf("priority %d to %d", was, priority),
	}}
	d.Events[0] = d.Events[0].Changed(was, priority)
	now := &attempt{base: st, next: st}
	now.add(nil, d)
	key := s.keys.node(g.name, queueKeys, node)
	writes := s.newWrites(g, now)
	value, err := semaphore.EncodeWaiter(w)
	if err = errors.Join(err, writes.err); err != nil {
		return err
	}
	writes.cmps = append(writes.cmps, unchanged(key, p.rev))
	writes.change(key, clientv3.OpPut(key, string(value), clientv3.WithIgnoreLease()))
	_, rev, err := s.exchange(g, writes, now, nil)
	if err != nil {
		return err
	}
	s.commit(g, now, rev, true)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.putWaiter(g, node, &mvccpb.KeyValue{
		Key: []byte(key), Value: value, CreateRevision: w.CreateRevision, ModRevision: rev, Lease: p.lease,
	})
	g.wake()
	return nil
}

// refreshPlace reads the key of a waiter.
func (s *Store) refreshPlace(ctx context.Context, g *group, node string) error {
	key := s.keys.node(g.name, queueKeys, node)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	resp, err := s.cfg.Client.Get(ctx, key)
	if err != nil {
		return classify(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(resp.Kvs) > 0 {
		s.putWaiter(g, node, resp.Kvs[0])
	} else if s.removeWaiter(g, node, resp.Header.Revision) {
		g.lostPlace(node)
	}
	return nil
}
