package etcdstore

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestPrune_TheScopesWithTheMostEventsGiveUpTheirOldest(t *testing.T) {
	d, _ := open(t)
	for scope, n := range map[string]int64{"a/busy": 9, "b/busy": 7, "c/quiet": 2, "d/quiet": 1} {
		for seq := range n {
			putEvents(t, d, seq+1, scope)
		}
	}
	if err := d.pruneEvents(t.Context(), 8, 11); err != nil {
		t.Fatal(err)
	}
	stored, err := d.read(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	left := map[string][]int64{}
	for _, e := range stored {
		left[e.Scope] = append(left[e.Scope], e.Seq)
	}
	if got := fmt.Sprint(left); got != "map[a/busy:[6 7 8 9] b/busy:[4 5 6 7] c/quiet:[1 2] d/quiet:[1]]" {
		t.Errorf("left: %v", got)
	}
}

func TestPrune_NoScopeForgetsItsLastSequence(t *testing.T) {
	d, _ := open(t)
	for range 3 {
		if err := d.Append(t.Context(), semaphore.Event{Kind: "x"}); err != nil {
			t.Fatal(err)
		}
	}
	putEvents(t, d, 1, "other")
	if err := d.pruneEvents(t.Context(), 1, 1); err != nil {
		t.Fatal(err)
	}
	if last, err := d.lastEvent(t.Context()); err != nil || last != 3 {
		t.Errorf("the last event is %d, %v; want 3", last, err)
	}
}

// Under load millions of events come between two calls of Prune.
func TestTrail_IsCutWithoutWaitingForPrune(t *testing.T) {
	const eventsPerScope, more = 500, 2 * eventsBetween
	c, etcdPrefix := client(t)
	d := openAt(t, Config{Client: c, Prefix: etcdPrefix, Trail: Trail{MaxEvents: shareOfScope * eventsPerScope}})
	prefix := d.prefix + "events/group/busy/"
	value := fmt.Sprintf(`{"v":1,"at":%q}`, time.Now().Format(time.RFC3339))
	seq := 0
	for seq < eventsPerScope+more {
		var puts []clientv3.Op
		for range 100 {
			seq++
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%s%016d", prefix, seq), value))
		}
		eventually(t, d, "they are written", func() bool {
			_, err := d.commit(t.Context(), nil, puts, nil)
			return err == nil
		})
	}
	eventually(t, d, "the oldest events are gone", func() bool {
		resp, err := d.get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		return resp.Count <= int64(eventsPerScope+eventsBetween)
	})
	resp, err := d.get(t.Context(), fmt.Sprintf("%s%016d", prefix, seq), clientv3.WithCountOnly())
	if err != nil || resp.Count != 1 {
		t.Errorf("the newest event is gone: %v", err)
	}
}

// Each scope is cut at the same moment, and the fleet's last event stays: it tells
// the next sequence.
func TestPrune_EventsOfBeforeTheAgeGo(t *testing.T) {
	d, _ := open(t)
	now := d.cfg.Now().UTC()
	put := func(scope string, ages ...time.Duration) {
		t.Helper()
		for i, age := range ages {
			value := fmt.Sprintf(`{"v":1,"scope":%q,"seq":%d,"at":%q,"kind":"x"}`, scope, i+1, now.Add(-age).Format(time.RFC3339Nano))
			key := fmt.Sprintf("%sevents/%s/%016d", d.prefix, scope, i+1)
			if _, err := d.commit(t.Context(), nil, []clientv3.Op{clientv3.OpPut(key, value)}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	const day = 24 * time.Hour
	put("group/web", 5*day, 4*day, 3*day, day, time.Hour)
	put("rollout/old", 9*day, 8*day)
	put("rollout/new", time.Hour)
	put(FleetScope, 9*day, 8*day)
	d.cfg.Trail.MaxAge = 2 * day
	for range 2 { // the second time there is nothing to do
		if err := d.pruneTrail(t.Context()); err != nil {
			t.Fatal(err)
		}
		stored, err := d.read(t.Context(), 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		left := map[string][]int64{}
		for _, e := range stored {
			left[e.Scope] = append(left[e.Scope], e.Seq)
		}
		if got := fmt.Sprint(left); got != "map[fleet:[2] group/web:[4 5] rollout/new:[1]]" {
			t.Errorf("left: %v", got)
		}
	}
	if n, err := d.CountEvents(t.Context()); err != nil || n != 4 {
		t.Errorf("%d events are counted, %v", n, err)
	}
}

// One that is cut off on the way has deleted the oldest and left no hole, and the
// next goes on.
func TestPrune_CutOffOnTheWayLeavesATrailWithoutAHole(t *testing.T) {
	d, _ := open(t)
	const n = 4 * eventsAtOnce
	for from := 1; from <= n; from += 500 {
		var puts []clientv3.Op
		for seq := from; seq < from+500; seq++ {
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%sevents/group/web/%016d", d.prefix, seq), fmt.Sprintf(`{"v":1,"scope":"group/web","at":%q}`, d.cfg.Now().Format(time.RFC3339))))
		}
		eventually(t, d, "they are written", func() bool {
			_, err := d.commit(t.Context(), nil, puts, nil)
			return err == nil
		})
	}
	keys := func() (first string, count int64) {
		resp, err := d.get(t.Context(), d.prefix+"events/group/web/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil {
			t.Fatal(err)
		}
		for i, k := range resp.Kvs {
			if want := fmt.Sprintf("%016d", n-len(resp.Kvs)+i+1); !strings.HasSuffix(string(k.Key), want) {
				t.Fatalf("there is a hole before %s", k.Key)
			}
		}
		return string(resp.Kvs[0].Key), resp.Count
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.pruneEvents(ctx, 10, 10) }()
	for {
		if _, count := keys(); count < n {
			break // it has begun
		}
	}
	cancel()
	if err := <-done; err != nil && ctx.Err() == nil {
		t.Fatal(err)
	}
	keys()
	eventually(t, d, "the next goes on", func() bool { return d.pruneEvents(t.Context(), 10, 10) == nil })
	if _, count := keys(); count != 10 {
		t.Errorf("%d are left, want 10", count)
	}
}
