package etcdstore

import (
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// putWaiter takes over one key of the queue.
func (s *Store) putWaiter(g *group, node string, kv *mvccpb.KeyValue) bool {
	old := g.places[node]
	if kv.ModRevision <= max(old.rev, g.gone[node]) {
		return false
	}
	delete(g.gone, node)
	delete(g.coming, node)
	w, err := semaphore.DecodeWaiter(kv.Value)
	if err != nil {
		s.log.Warn("a place in the queue cannot be read whole", "key", string(kv.Key), "error", err)
	}
	w.Node, w.CreateRevision = node, kv.CreateRevision
	g.places[node] = place{rev: kv.ModRevision, lease: kv.Lease}
	s.mark(g, &w)
	g.st.SetWaiter(w, g.sortedAt)
	g.dueFrom = min(g.dueFrom, dueOf(&w, g.overtaken[node]))
	return true
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
	g.st.DropWaiter(node)
	s.forgetReservation(g, node)
	return true
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
	w.Reserved = g.reserved != nil && g.reserved.node == w.Node
	w.Elsewhere = !w.Present && !s.leases.owns(g.places[w.Node].lease)
}

// remark marks the waiter of a node again after its client came or went.
func (s *Store) remark(g *group, node string) {
	if w, queued := g.st.Waiter(node); queued {
		s.mark(g, &w)
		g.st.SetWaiter(w, g.sortedAt)
	}
}
