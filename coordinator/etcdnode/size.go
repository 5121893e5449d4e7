package etcdnode

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"go.etcd.io/etcd/api/v3/version"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"
)

// Floors of free space and of the quota. Below the first nothing new begins;
// what returns slots or stops the fleet goes on down to the second. etcd
// itself ends the process when its disk is full.
const (
	GrantFloor    = 512 << 20 // bytes free
	GrantQuota    = 80        // percent used
	WriteFloor    = 128 << 20
	WriteQuota    = 95
	defragAbove   = 256 << 20 // bytes
	sizeInterval  = 10 * time.Second
	defragEach    = 6 // intervals
	roomReminders = 30 * time.Second
)

func diskFree(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, fmt.Errorf("free space of %s: %w", dir, err)
	}
	return int64(st.Bavail) * st.Bsize, nil
}

// waitForRoom blocks while there is too little space to start on: etcd would
// end the process at its first commit, and its supervisor would start it again
// and again.
func waitForRoom(ctx context.Context, dir string, free func(string) (int64, error), log *slog.Logger) error {
	var said time.Time
	for {
		n, err := free(dir)
		if err != nil {
			return err
		}
		if n >= WriteFloor {
			return nil
		}
		if time.Since(said) > roomReminders {
			said = time.Now()
			log.Error("the disk is too full to start on: make room, the start goes on by itself",
				"folder", dir, "free_bytes", n, "needed_bytes", int64(WriteFloor))
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("data folder %s: %d MB free, %d MB needed to start: %w", dir, n>>20, WriteFloor>>20, context.Cause(ctx))
		case <-time.After(startRetry):
		}
	}
}

// DiskFree is the number of bytes free for the data folder, 0 when unknown.
func (n *Node) DiskFree() int64 {
	free, err := diskFree(n.cfg.DataDir)
	if err != nil {
		return 0
	}
	return free
}

// roomSeenFor is for how long one look at the disk counts. Every decision about a
// slot asks, twice, and to ask the kernel takes a tenth of it; the floors lie
// further apart than a disk fills in that time.
const roomSeenFor = 50 * time.Millisecond

// room is the free space that was seen last.
type room struct {
	seen atomic.Pointer[seenRoom]
}

type seenRoom struct {
	at   time.Time
	free int64 // bytes
}

// now is the free space as of roomSeenFor ago at the earliest.
func (r *room) now(look func() int64) int64 {
	if seen := r.seen.Load(); seen != nil && time.Since(seen.at) < roomSeenFor {
		return seen.free
	}
	seen := &seenRoom{at: time.Now(), free: look()}
	r.seen.Store(seen)
	return seen.free
}

// Low reports whether free space or quota is below the floor for grants and
// all that begins something, and below the lower one for every write.
func (n *Node) Low() (grants, writes bool) {
	size, _, ok := n.sizes()
	if !ok {
		return true, true
	}
	return low(n.room.now(n.DiskFree), size, n.cfg.Quota)
}

func low(free, size, quota int64) (grants, writes bool) {
	grants = free < GrantFloor || size*100 >= quota*GrantQuota
	writes = free < WriteFloor || size*100 >= quota*WriteQuota
	return grants, writes
}

// sizes of the database, allocated and in use; not ok when the server ended.
func (n *Node) sizes() (size, inUse int64, ok bool) {
	n.use.RLock()
	defer n.use.RUnlock()
	if n.over.Load() {
		return 0, 0, false
	}
	b := n.etcd.Server.Backend()
	return b.Size(), b.SizeInUse(), true
}

// Info is the store in figures.
func (n *Node) Info() api.StoreInfo {
	info := api.StoreInfo{
		Quota:       n.cfg.Quota,
		DiskFree:    n.DiskFree(),
		EtcdVersion: version.Version,
		Embedded:    true,
	}
	info.DBSize, info.DBInUse, _ = n.sizes()
	info.Revision = n.Revision()
	return info
}

// Revision is that of the store, 0 when the server ended. It costs next to
// nothing, and is asked for with every answer.
func (n *Node) Revision() int64 {
	n.use.RLock()
	defer n.use.RUnlock()
	if n.over.Load() {
		return 0
	}
	return n.etcd.Server.KV().Rev()
}

// Members lists the cluster as this member knows it, also without quorum.
func (n *Node) Members() []api.Member {
	n.use.RLock()
	defer n.use.RUnlock()
	if n.over.Load() {
		return nil
	}
	server := n.etcd.Server
	leader := server.Leader()
	n.mu.Lock()
	reached := n.reached
	n.mu.Unlock()
	var list []api.Member
	for _, m := range server.Cluster().Members() {
		id := m.ID.String()
		out := api.Member{ID: id, Name: m.Name, Role: "follower", Self: m.ID == n.id, Started: m.IsStarted()}
		switch {
		case m.IsLearner:
			out.Role = "learner"
		case leader == 0:
			out.Role = "unknown"
		case m.ID == leader:
			out.Role = "leader"
		}
		if len(m.ClientURLs) > 0 {
			out.URL = m.ClientURLs[0]
		}
		if len(m.PeerURLs) > 0 && m.PeerURLs[0] != peerURL {
			out.PeerURL = m.PeerURLs[0]
		}
		if out.Self {
			out.Version = version.Version
			out.Reachable = true
		} else if err, looked := reached[id]; looked {
			out.Reachable = err == nil
			if err != nil {
				out.Unreachable = err.Error()
			}
		}
		list = append(list, out)
	}
	slices.SortFunc(list, func(a, b api.Member) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return list
}

// monitorSize gives space back: of the history when the database has grown, and
// now and then to the disk what was freed inside the file.
func (n *Node) monitorSize(ctx context.Context) {
	t := time.NewTicker(sizeInterval)
	defer t.Stop()
	var past history
	for look := 1; ; look++ {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		n.compact(ctx, &past)
		if look%defragEach == 0 {
			n.defragment()
		}
	}
}

// compact drops the history that nobody needs any more, if the database has
// grown. etcd's own compaction comes every 5 min and leaves 5 more: under load
// that is more than the quota.
func (n *Node) compact(ctx context.Context, past *history) {
	_, inUse, ok := n.sizes()
	if !ok {
		return
	}
	rev, due := past.look(n.Info().Revision, inUse)
	if !due {
		return
	}
	// Physical: it returns when the space is free.
	if _, err := n.client.Compact(ctx, rev, clientv3.WithCompactPhysical()); err != nil {
		if ctx.Err() == nil && !errors.Is(err, rpctypes.ErrCompacted) {
			n.cfg.Logger.Warn("old revisions could not be dropped", "error", err)
		}
		return
	}
	_, after, _ := n.sizes()
	past.least = after
	n.cfg.Logger.Debug("dropped old revisions", "up_to", rev, "bytes_before", inUse, "bytes_after", after)
}

// history is what was seen of the database's revisions and its size.
type history struct {
	revisions []int64 // one for each interval, the newest last
	least     int64   // bytes in use since the last compaction
}

// How much the database grows before its history is dropped, and how many
// intervals of it stay: whoever watches may be so far behind.
const (
	compactGrowth = 64 << 20 // bytes
	historyKept   = 3
)

// look notes revision and size, and says whether to compact, and up to where.
func (h *history) look(revision, inUse int64) (int64, bool) {
	h.revisions = append(h.revisions, revision)
	if len(h.revisions) > historyKept+1 {
		h.revisions = h.revisions[1:]
	}
	if h.least == 0 || inUse < h.least {
		h.least = inUse
	}
	return h.revisions[0], len(h.revisions) > historyKept && inUse-h.least >= compactGrowth
}

func (n *Node) defragment() {
	size, inUse, ok := n.sizes()
	if !ok || size < defragAbove || size < 2*inUse {
		return
	}
	if err := n.etcd.Server.Defragment(); err != nil {
		n.cfg.Logger.Warn("defragmentation failed", "error", err)
		return
	}
	after, _, _ := n.sizes()
	n.cfg.Logger.Info("defragmented", "bytes_before", size, "bytes_after", after)
}
