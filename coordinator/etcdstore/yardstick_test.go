package etcdstore

import (
	"errors"
	"strings"
	"testing"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestMeasurePuts_CountsThemAndLeavesNoKeyBehind(t *testing.T) {
	c, prefix := client(t)
	d := New(Config{Client: c, Prefix: prefix})
	m, err := d.MeasurePuts(t.Context(), 4, time.Second, 0)
	if err != nil {
		t.Fatal(err)
	}
	if m.Count < 4 || m.Rate <= 0 || m.P50 < 1 || m.P99 < m.P50 || m.P999 < m.P99 || m.Max < m.P999 || m.Seconds < 1 {
		t.Errorf("measured %+v", m)
	}
	if h, err := hdr.Decode([]byte(m.Histogram)); err != nil || h.TotalCount() != m.Count {
		t.Errorf("the histogram: %v", err)
	}
	left, err := c.Get(t.Context(), strings.TrimSuffix(prefix, "/"), clientv3.WithPrefix(), clientv3.WithKeysOnly())
	if err != nil {
		t.Fatal(err)
	}
	if left.Count != 0 {
		t.Errorf("%d keys are left, such as %s", left.Count, left.Kvs[0].Key)
	}
}

func TestMeasurePuts_RestsBetweenTwo(t *testing.T) {
	c, prefix := client(t)
	d := New(Config{Client: c, Prefix: prefix})
	m, err := d.MeasurePuts(t.Context(), 2, time.Second, 100*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if m.Count < 2 || m.Count > 2*10 {
		t.Errorf("%d puts by two callers that rest for a tenth of the time after each", m.Count)
	}
}

func TestMeasurePuts_OneAtATimeAndNeverWithTheLastOfTheDisk(t *testing.T) {
	c, prefix := client(t)
	d := New(Config{Client: c, Prefix: prefix})
	d.measuring.Lock()
	if _, err := d.MeasurePuts(t.Context(), 1, time.Second, 0); !errors.Is(err, ErrMeasuring) {
		t.Errorf("a second one: %v", err)
	}
	d.measuring.Unlock()
	d.cfg.Floor = func() error { return semaphore.ErrDiskLow }
	if _, err := d.MeasurePuts(t.Context(), 1, time.Second, 0); !errors.Is(err, semaphore.ErrDiskLow) {
		t.Errorf("low on disk: %v", err)
	}
	d.cfg.Floor, d.cfg.HasLeader = func() error { return nil }, func() bool { return false }
	if _, err := d.MeasurePuts(t.Context(), 1, time.Second, 0); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("without a leader: %v", err)
	}
}
