package coordinator

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/snapshotfile"
)

const (
	// snapshotStamp is the time in a snapshot's name, in UTC.
	snapshotStamp = "20060102T150405Z"
	// snapshotRetry is the longest pause after a snapshot that failed.
	snapshotRetry = 5 * time.Minute
	// snapshotWithin bounds the taking of one.
	snapshotWithin = 15 * time.Minute
)

// snapshotSource streams a snapshot of the store.
type snapshotSource interface {
	Snapshot(ctx context.Context) (io.ReadCloser, error)
}

// snapshots takes snapshots on a schedule into a folder, and deletes the oldest
// of its own: those of this coordinator and this cluster. What another cluster
// left there may be all that is left of it.
type snapshots struct {
	cfg     SnapshotsConfig
	source  snapshotSource
	cluster func() string // id; names may differ by it, so it must be known
	host    string
	log     *slog.Logger
	now     func() time.Time

	size     prometheus.Gauge
	success  prometheus.Gauge
	failures prometheus.Counter

	mu      sync.Mutex
	failure string // of the last try
}

func newSnapshots(cfg SnapshotsConfig, source snapshotSource, host string, cluster func() string, reg prometheus.Registerer, log *slog.Logger) *snapshots {
	s := &snapshots{
		cfg: cfg, source: source, cluster: cluster, host: fileName(host), log: log, now: time.Now,
		size: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lockkeeper_snapshot_size_bytes", Help: "Size of the last scheduled snapshot; 0 before the first.",
		}),
		success: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lockkeeper_snapshot_last_success_timestamp_seconds",
			Help: "When the last scheduled snapshot was taken and found whole; 0 before the first. This and what else is about snapshots appears where snapshots.dir is set.",
		}),
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lockkeeper_snapshot_failures_total", Help: "Scheduled snapshots that failed; each is tried again.",
		}),
	}
	if cfg.Dir != "" {
		interval := prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lockkeeper_snapshot_interval_seconds", Help: "How often a snapshot is taken.",
		})
		interval.Set(cfg.Every.Seconds())
		reg.MustRegister(interval, s.size, s.success, s.failures)
	}
	return s
}

// fileName makes a host's name one that sorts and globs well.
func fileName(host string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '_'
	}, host)
}

// monitor takes a snapshot whenever the newest is too old, until ctx ends.
func (s *snapshots) monitor(ctx context.Context) {
	if own, err := s.own(); err == nil && len(own) > 0 {
		s.success.Set(float64(own[0].At.Unix()))
		s.size.Set(float64(own[0].Size))
	}
	for {
		wait := s.due()
		if wait <= 0 {
			wait = min(s.cfg.Every, snapshotRetry)
			if err := s.take(ctx); err == nil {
				wait = s.cfg.Every
			} else if ctx.Err() == nil {
				s.failures.Inc()
				s.log.Error("the scheduled snapshot failed; trying again", "folder", s.cfg.Dir, "in", wait, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}

// due is how long the newest snapshot will do. One of the future does not count:
// the clock was set back.
func (s *snapshots) due() time.Duration {
	own, err := s.own()
	if err != nil || len(own) == 0 {
		return 0
	}
	now := s.now()
	for _, o := range own {
		if !o.At.After(now) {
			return s.cfg.Every - now.Sub(o.At)
		}
	}
	return 0
}

// take takes one, checks it, and deletes what is too many.
func (s *snapshots) take(ctx context.Context) (err error) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.failure = ""
		if err != nil {
			s.failure = err.Error()
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, snapshotWithin)
	defer cancel()
	if err := os.MkdirAll(s.cfg.Dir, 0o700); err != nil {
		return err
	}
	if err := snapshotfile.RemoveParts(s.cfg.Dir, 2*snapshotWithin); err != nil {
		return err
	}
	r, err := s.source.Snapshot(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	at := s.now().UTC()
	name := fmt.Sprintf("%s%s%s", s.prefix(), at.Format(snapshotStamp), s.suffix())
	info, err := snapshotfile.Write(filepath.Join(s.cfg.Dir, name), r)
	if err != nil {
		return err
	}
	s.success.Set(float64(at.Unix()))
	s.size.Set(float64(info.Size))
	s.log.Info("snapshot taken", "file", info.Path, "bytes", info.Size)
	return s.prune()
}

func (s *snapshots) prefix() string { return "lockkeeper-" + s.cluster() + "-" }
func (s *snapshots) suffix() string { return "-" + s.host + snapshotfile.Suffix }

// own lists this coordinator's snapshots of this cluster, newest first.
func (s *snapshots) own() ([]api.Snapshot, error) {
	entries, err := os.ReadDir(s.cfg.Dir)
	if err != nil {
		return nil, err
	}
	var list []api.Snapshot
	for _, e := range entries {
		rest, ours := strings.CutPrefix(e.Name(), s.prefix())
		stamp, here := strings.CutSuffix(rest, s.suffix())
		at, err := time.Parse(snapshotStamp, stamp)
		if !ours || !here || err != nil {
			continue
		}
		st, err := e.Info()
		if err != nil {
			continue // deleted meanwhile
		}
		list = append(list, api.Snapshot{Name: e.Name(), Size: st.Size(), At: at})
	}
	slices.SortFunc(list, func(a, b api.Snapshot) int { return b.At.Compare(a.At) })
	return list, nil
}

func (s *snapshots) prune() error {
	own, err := s.own()
	if err != nil {
		return err
	}
	for _, old := range own[min(s.cfg.Keep, len(own)):] {
		if err := os.Remove(filepath.Join(s.cfg.Dir, old.Name)); err != nil {
			return fmt.Errorf("an old snapshot cannot be deleted: %w", err)
		}
	}
	return nil
}

// Snapshot streams one, for whoever asks.
func (s *snapshots) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	return s.source.Snapshot(ctx)
}

// Snapshots lists what is kept. A folder that cannot be read is a failure as that
// of the last try is.
func (s *snapshots) Snapshots() api.SnapshotList {
	out := api.SnapshotList{Snapshots: []api.Snapshot{}}
	if s.cfg.Dir == "" {
		return out
	}
	s.mu.Lock()
	out.Failure = s.failure
	s.mu.Unlock()
	out.Scheduled, out.Dir, out.Every, out.Keep = true, s.cfg.Dir, s.cfg.Every.String(), s.cfg.Keep
	own, err := s.own()
	if err != nil && !os.IsNotExist(err) && out.Failure == "" {
		out.Failure = err.Error()
	}
	out.Snapshots = append(out.Snapshots, own...)
	return out
}

// snapshots are those of this coordinator's store.
func (c *Coordinator) snapshots(db *etcdstore.DB) *snapshots {
	cluster := func() string { return db.Identity().ID }
	return newSnapshots(c.cfg.Snapshots, c.node, c.self().Name, cluster, c.registry, c.log)
}

// keepSnapshots takes them on their schedule until Stop.
func (c *Coordinator) keepSnapshots(s *snapshots) {
	if c.cfg.Snapshots.Dir == "" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.monitor(ctx)
	}()
	c.stopFunc(func() { cancel(); <-done })
}
