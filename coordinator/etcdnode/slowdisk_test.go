package etcdnode

import (
	"testing"
	"time"
)

// Slow is a disk whose average is that of a slow one for a while: one that hung
// once, or had nothing to write, is not, and one that has become fast is not any
// more.
func TestSlowness_IsThatOfManyWritesInARow(t *testing.T) {
	var s slowness
	var n uint64
	var took time.Duration
	for i, c := range []struct {
		writes uint64
		each   time.Duration
		want   time.Duration
	}{
		{1000, 2 * time.Millisecond, 0},
		{1, 4 * time.Second, 0}, // hung once
		{1000, 2 * time.Millisecond, 0},
		{7, 700 * time.Millisecond, 0},
		{7, 700 * time.Millisecond, 0},
		{0, 0, 0}, // nothing is known of that time
		{7, 700 * time.Millisecond, 700 * time.Millisecond},
		{5, time.Second, time.Second},
		{100, 3 * time.Millisecond, 0},
		{7, 700 * time.Millisecond, 0},
	} {
		n, took = n+c.writes, took+time.Duration(c.writes)*c.each
		if got := s.look(n, took); got != c.want {
			t.Errorf("look %d: %s, want %s", i, got, c.want)
		}
	}
}

// What is measured is what etcd waited for.
func TestSlowness_IsMeasuredWhereTheLogIsWritten(t *testing.T) {
	node := startNode(t, config(t.TempDir()))
	n, took := syncs()
	put(t, node, "a", "b")
	if after, tookAfter := syncs(); after <= n || tookAfter <= took {
		t.Errorf("after a write: %d in %s, before it %d in %s", after, tookAfter, n, took)
	}
}
