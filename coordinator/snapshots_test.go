package coordinator

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/coordinator/snapshotfile"
)

// kept are snapshots of a real store, with their metrics.
type kept struct {
	*snapshots
	registry *prometheus.Registry
}

// figure is the value of a metric.
func (k *kept) figure(t *testing.T, name string) float64 {
	t.Helper()
	families, err := k.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			m := f.GetMetric()[0]
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

func keeper(t *testing.T, cfg SnapshotsConfig) *kept {
	t.Helper()
	n, err := etcdnode.Start(t.Context(), etcdnode.Config{DataDir: t.TempDir(), Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := n.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	reg := prometheus.NewRegistry()
	return &kept{newSnapshots(cfg, n, "lock-1.example.com", func() string { return "c0ffee" }, reg, slog.New(slog.DiscardHandler)), reg}
}

// watch keeps the schedule until the test ends, or says so.
func (s *snapshots) watch(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.monitor(ctx)
	}()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return stop
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func TestSnapshots_AreTakenOnTimeWholeAndTheOldestGo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made")
	s := keeper(t, SnapshotsConfig{Dir: dir, Every: time.Second, Keep: 2})
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	// All that may be left of another cluster, and what is of another coordinator.
	strangers := []string{"lockkeeper-dead-20260101T000000Z-lock_1.example.com.snapshot", "lockkeeper-c0ffee-20260101T000000Z-lock_2.example.com.snapshot", "notes"}
	for _, name := range strangers {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	stop := s.watch(t)
	first := ""
	eventually(t, "the first snapshot is gone again", func() bool {
		list := s.Snapshots()
		if list.Failure != "" {
			t.Fatalf("%+v", list)
		}
		if first == "" && len(list.Snapshots) > 0 {
			first = list.Snapshots[0].Name
		}
		_, err := os.Stat(filepath.Join(dir, first))
		return first != "" && os.IsNotExist(err)
	})
	stop() // the next is there for a moment before the oldest goes
	list := s.Snapshots()
	if len(list.Snapshots) != 2 || !list.Scheduled || list.Keep != 2 || list.Every != "1s" {
		t.Fatalf("%+v; want the last 2", list)
	}
	if _, err := snapshotfile.Verify(filepath.Join(dir, list.Snapshots[0].Name)); err != nil {
		t.Error(err)
	}
	for _, name := range strangers {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Errorf("deleted what is somebody else's: %v", err)
		}
	}
	taken, size := s.figure(t, "lockkeeper_snapshot_last_success_timestamp_seconds"), s.figure(t, "lockkeeper_snapshot_size_bytes")
	if age := time.Since(time.Unix(int64(taken), 0)); age > time.Minute || size == 0 {
		t.Errorf("metrics: age %s, size %v", age, size)
	}
}

func TestSnapshots_ARestartKeepsTheSchedule(t *testing.T) {
	s := keeper(t, SnapshotsConfig{Dir: t.TempDir(), Every: time.Hour, Keep: 2})
	if due := s.due(); due > 0 {
		t.Errorf("without one, the next is in %s", due)
	}
	if err := s.take(t.Context()); err != nil {
		t.Fatal(err)
	}
	if due := s.due(); due < 59*time.Minute {
		t.Errorf("just after one, the next is in %s", due)
	}
	s.now = func() time.Time { return time.Now().Add(61 * time.Minute) }
	if due := s.due(); due > 0 {
		t.Errorf("an hour later, the next is in %s", due)
	}
	s.now = func() time.Time { return time.Now().Add(-24 * time.Hour) }
	if due := s.due(); due > 0 {
		t.Errorf("with a clock that was set back, the next is in %s", due)
	}
}

func TestSnapshots_AFailureIsCountedAndSaidAndTriedAgain(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "gone")
	if err := os.WriteFile(dir, []byte("a file"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := keeper(t, SnapshotsConfig{Dir: dir, Every: time.Second, Keep: 2})
	if list := s.Snapshots(); !list.Scheduled || !strings.Contains(list.Failure, dir) {
		t.Errorf("before the first try the list says %+v", list)
	}
	s.watch(t)
	eventually(t, "two failures are counted", func() bool { return s.figure(t, "lockkeeper_snapshot_failures_total") >= 2 })
	if list := s.Snapshots(); !strings.Contains(list.Failure, dir) || list.Dir != dir {
		t.Errorf("the list says %+v: want the failure and the folder", list)
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it goes well again", func() bool {
		list := s.Snapshots()
		return len(list.Snapshots) > 0 && list.Failure == ""
	})
}

func TestSnapshotsConfig_NamesWhatCannotBe(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"too often":          {func(c *Config) { c.Snapshots.Every = time.Millisecond }, "snapshots.every: 1ms: want 1s to 168h"},
		"none kept":          {func(c *Config) { c.Snapshots.Keep = -1 }, "snapshots.keep: -1: want 1 to"},
		"in the data folder": {func(c *Config) { c.Snapshots.Dir = filepath.Join(c.DataDir, "snapshots") }, "lies in the data folder"},
		"of an existing etcd": {func(c *Config) {
			c.Snapshots.Dir, c.Etcd.Endpoints = "/backup", []string{"http://127.0.0.1:2379"}
		}, "etcdctl snapshot save"},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := DefaultConfig()
			c.change(&cfg)
			if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("err is %v, want %q", err, c.want)
			}
		})
	}
}
