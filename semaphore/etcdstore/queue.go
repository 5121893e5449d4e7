package etcdstore

import (
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// putWaiter takes over one key of the queue.
func (s *Store) putWaiter(g *group, node string, kv *mvccpb.KeyValue) bool {
	old, was := g.places[node]
	if kv.ModRevision <= max(old.rev, g.gone[node]) {
		return false
	}
	delete(g.gone, node)
	w, err := semaphore.DecodeWaiter(kv.Value)
	if err != nil {
		s.log.Warn("a place in the queue cannot be read whole", "key", string(kv.Key), "error", err)
	}
	w.Node, w.CreateRevision = node, kv.CreateRevision
	g.places[node] = place{rev: kv.ModRevision, lease: kv.Lease}
	s.mark(g, &w)
	if !was {
		g.insert(w, s)
		return true
	}
	g.ownQueue()
	g.queue[g.index(node)] = w
	semaphore.SortQueue(g.queue, s.cfg.Now())
	return true
}

// insert puts a waiter in order. Most come last: that costs no copy.
func (g *group) insert(w semaphore.Waiter, s *Store) {
	now := s.cfg.Now()
	last := len(g.queue) - 1
	if last < 0 || g.queue[last].Rank(now) >= w.Rank(now) && g.queue[last].CreateRevision < w.CreateRevision {
		g.queue = append(g.queue, w)
		return
	}
	g.ownQueue()
	g.queue = append(g.queue, w)
	semaphore.SortQueue(g.queue, now)
}

// removeWaiter takes over the deletion of one key of the queue.
func (s *Store) removeWaiter(g *group, node string, rev int64) bool {
	p, was := g.places[node]
	if rev <= max(p.rev, g.gone[node]) {
		return false
	}
	if rev > s.rev {
		g.gone[node] = rev // older news of it may still come by watch
	}
	if !was {
		return false
	}
	delete(g.places, node)
	g.ownQueue()
	i := g.index(node)
	g.queue = slices.Delete(g.queue, i, i+1)
	return true
}

func (g *group) index(node string) int {
	return slices.IndexFunc(g.queue, func(w semaphore.Waiter) bool { return w.Node == node })
}

// ahead counts those who stand before one that comes now.
func (g *group) ahead(now time.Time) int {
	n := len(g.queue)
	for n > 0 && g.queue[n-1].Rank(now) < 0 {
		n--
	}
	return n
}

// mark says of a waiter whether its client is here, and what its parked
// request would put into a hold.
func (s *Store) mark(g *group, w *semaphore.Waiter) {
	w.Present, w.Request, w.BootID, w.Peer = false, "", "", ""
	own := g.waiters[w.Node]
	if own != nil && len(own.calls) > 0 {
		op := own.calls[len(own.calls)-1].op
		w.Present, w.Request, w.BootID, w.Peer = true, op.Request, op.BootID, op.Peer
		w.Via, w.Instance, w.Reason = op.Via, op.Instance, op.Reason
	}
	w.Elsewhere = !w.Present && !s.leases.owns(g.places[w.Node].lease)
}

// remark marks the waiter of a node again after its client came or went.
func (s *Store) remark(g *group, node string) {
	i := g.index(node)
	if i < 0 {
		return
	}
	w := g.queue[i]
	s.mark(g, &w)
	g.ownQueue()
	g.queue[i] = w
}
