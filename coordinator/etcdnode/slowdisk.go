package etcdnode

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Each change waits for the leader's disk. A disk that hangs costs the leader its
// office, since it says nothing meanwhile; one that is only slow does not, and
// everybody waits for it. So a leader whose disk is slow for a while has another
// member lead.
const (
	// slowSync is how long a write to the disk takes on average on one that is
	// slow. It takes some milliseconds on any that is well.
	slowSync = 500 * time.Millisecond
	// slowEvery is how often the average is taken, and slowLooks how often in a
	// row it is that of a slow disk.
	slowEvery = 5 * time.Second
	slowLooks = 3
	// slowMoves lies between two moves of the leadership for that reason: where all
	// disks are slow, moving helps nobody.
	slowMoves = 10 * time.Minute
)

// syncs are the writes to the log that were waited for in this process, and how
// long in all.
func syncs() (n uint64, took time.Duration) {
	list, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		return 0, 0
	}
	for _, f := range list {
		if f.GetName() == "etcd_disk_wal_fsync_duration_seconds" && len(f.GetMetric()) > 0 {
			h := f.GetMetric()[0].GetHistogram()
			return h.GetSampleCount(), time.Duration(h.GetSampleSum() * float64(time.Second))
		}
	}
	return 0, 0
}

// slowness judges a disk by its averages.
type slowness struct {
	n     uint64
	took  time.Duration
	looks int
}

// look takes in how many writes there were and how long they took in all. It
// returns the average while the disk is slow, else 0. In a time without a write
// nothing is learned.
func (s *slowness) look(n uint64, took time.Duration) time.Duration {
	writes, took, before := n-s.n, took-s.took, s.took
	s.n, s.took = n, before+took
	if writes == 0 {
		return 0
	}
	mean := took / time.Duration(writes)
	if mean < slowSync {
		s.looks = 0
		return 0
	}
	if s.looks++; s.looks < slowLooks {
		return 0
	}
	return mean
}

// monitorDisk has another member lead while this one's disk is slow.
func (n *Node) monitorDisk(ctx context.Context) {
	t := time.NewTicker(slowEvery)
	defer t.Stop()
	var s slowness
	s.look(syncs())
	var said bool
	var moved time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		mean := s.look(syncs())
		if mean == 0 {
			if s.looks == 0 {
				n.slow.Store(0)
				if said {
					n.cfg.Logger.Info("the disk is fast enough again")
				}
				said = false
			}
			continue
		}
		n.slow.Store(int64(mean))
		if !said {
			n.cfg.Logger.Warn("the disk is slow: each change waits for it while this member leads", "folder", n.cfg.DataDir, "write_takes", mean.Round(time.Millisecond))
		}
		said = true
		if to := n.another(); to != "" && time.Since(moved) >= slowMoves {
			if err := n.MoveLeader(ctx, to); err != nil {
				n.cfg.Logger.Warn("the disk is slow, and no other member leads instead yet", "member", to, "error", err)
				continue
			}
			moved = time.Now()
			n.cfg.Logger.Warn("the disk is slow: another member leads instead", "member", to)
		}
	}
}

// another is a member that can lead in place of this one, empty when this one
// does not lead, or nobody else can.
func (n *Node) another() string {
	s, err := n.server()
	if err != nil || s.Lead() != uint64(n.id) {
		return ""
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, m := range s.Cluster().Members() {
		if err, looked := n.reached[m.ID.String()]; looked && err == nil && !m.IsLearner {
			return m.ID.String()
		}
	}
	return ""
}

// DiskSlow is how long a write to the disk takes on average while that is too
// long, else 0.
func (n *Node) DiskSlow() time.Duration { return time.Duration(n.slow.Load()) }
