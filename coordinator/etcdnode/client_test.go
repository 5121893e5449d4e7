package etcdnode

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Everything in a coordinator watches through one client: that much of it begins
// and ends at once must stop none of it.
func TestClient_ManyWatchesBeginAndEndAtOnce(t *testing.T) {
	n := startNode(t, Config{DataDir: t.TempDir(), Name: "test"})
	c := n.Client()
	lasting := c.Watch(t.Context(), "/lasting")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for range 5 {
			ctx, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			for i := range 200 {
				ch := c.Watch(ctx, fmt.Sprintf("/k%d", i), clientv3.WithPrefix())
				all.Go(func() {
					for range ch {
						continue
					}
				})
			}
			cancel()
			all.Wait()
		}
	}()
	select {
	case <-ended:
	case <-time.After(time.Minute):
		t.Fatal("a watch that was given up does not end")
	}
	if _, err := c.Put(t.Context(), "/lasting", "1"); err != nil {
		t.Fatal(err)
	}
	select {
	case resp, ok := <-lasting:
		if !ok || len(resp.Events) != 1 {
			t.Errorf("the watch that lasts says %+v, open %v", resp, ok)
		}
	case <-time.After(time.Minute):
		t.Fatal("the watch that lasts says nothing any more")
	}
}
