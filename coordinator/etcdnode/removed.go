package etcdnode

import (
	"fmt"
	"time"
)

// wasRemoved reports whether the server stopped because the cluster goes on
// without this member: it has read so itself, or the others have told it.
func (n *Node) wasRemoved() bool {
	return n.etcd.Server.IsIDRemoved(uint64(n.id)) || n.said.removed.Load()
}

// removed ends the node for good, and has the next start say why.
func (n *Node) removed() {
	if n.over.Swap(true) {
		return
	}
	n.left.Store(true)
	m, err := readMarker(n.cfg.DataDir)
	if err == nil && !n.joining { // a join is begun anew in the same folder
		m.Removed = time.Now().UTC().Truncate(time.Second)
		err = m.write(n.cfg.DataDir)
	}
	if err != nil { // then the next start finds out anew
		n.cfg.Logger.Warn("the data folder cannot be marked as that of a member that was removed", "error", err)
		m = &marker{Removed: time.Now()}
	}
	n.cfg.Logger.Error("this member was removed from its cluster")
	n.fatal <- fmt.Errorf("%w: %s", ErrRemoved, m.afterRemoval())
	n.wake()
}
