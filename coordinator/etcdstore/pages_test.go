package etcdstore

import (
	"fmt"
	"sync"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Whoever pages through the trail to its end has each event once and in order,
// while three others write.
func TestEvents_PagesToTheEndHaveEachOnceWhileOthersWrite(t *testing.T) {
	d, _ := open(t)
	const writers, each = 3, 40
	var done sync.WaitGroup
	for w := range writers {
		done.Go(func() {
			for i := range each {
				if err := d.Append(t.Context(), semaphore.Event{Kind: "x", Detail: fmt.Sprintf("%d/%d", w, i)}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	written := make(chan struct{})
	go func() { done.Wait(); close(written) }()
	seen := map[string]int{}
	var after, seq int64
	for ended := false; ; {
		list, err := d.Events(t.Context(), api.EventQuery{After: after, Limit: 7})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range list.Events {
			seen[e.Detail]++
			if e.Seq != seq+1 {
				t.Fatalf("sequence %d after %d", e.Seq, seq)
			}
			seq = e.Seq
		}
		if list.Next > after {
			after = list.Next
			continue
		}
		if ended {
			if len(seen) == writers*each {
				break
			}
			continue // the watch has not brought all yet; the test's own time bounds it
		}
		select {
		case <-written:
			ended = true
		default:
		}
	}
	for detail, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", detail, n)
		}
	}
}
