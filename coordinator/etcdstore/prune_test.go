package etcdstore

import (
	"fmt"
	"testing"

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
	d, _ := open(t)
	const more = 2 * eventsBetween
	prefix := d.prefix + "events/group/busy/"
	seq := 0
	for seq < eventsPerScope+more {
		var puts []clientv3.Op
		for range 1000 {
			seq++
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%s%016d", prefix, seq), `{"v":1}`))
		}
		if _, err := d.commit(t.Context(), nil, puts, nil); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, d, "the oldest events are gone", func() bool {
		resp, err := d.get(t.Context(), prefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			t.Fatal(err)
		}
		return resp.Count <= eventsPerScope+eventsBetween
	})
	resp, err := d.get(t.Context(), fmt.Sprintf("%s%016d", prefix, seq), clientv3.WithCountOnly())
	if err != nil || resp.Count != 1 {
		t.Errorf("the newest event is gone: %v", err)
	}
}
