package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// held says of which hold an agent was told.
type held struct {
	node, state string
	fence       int64
}

// acquireAll lets one agent for each node take a slot of its group and confirm
// it, all at once, until the coordinator is gone. It returns what was answered
// 200, and calls answered at each grant.
func acquireAll(t *testing.T, url string, nodes map[string]string, answered func()) []held {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var (
		mu    sync.Mutex
		known []held
		done  sync.WaitGroup
	)
	for node, group := range nodes {
		done.Go(func() {
			c, err := client.New(client.Config{Servers: []string{url}})
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_, err = c.Poll(ctx, node, api.PollRequest{Instance: node, BootID: "boot", Report: api.Report{Seq: 1, Group: group}})
			if err != nil {
				return
			}
			got, err := c.Acquire(ctx, group, node, api.AcquireRequest{Instance: node, Request: "first", BootID: "boot"}, 10*time.Second)
			if err != nil {
				return
			}
			answered()
			last := held{node, got.Hold.State, got.Hold.Fence}
			if hold, err := c.Confirm(ctx, group, node, api.ConfirmRequest{Fence: last.fence, Instance: node, BootID: "boot"}); err == nil {
				last.state = hold.State
			}
			mu.Lock()
			known = append(known, last)
			mu.Unlock()
		})
	}
	done.Wait()
	return known
}

// An answer of 200 rests on a commit, so nothing that an agent was told may be
// forgotten, wherever in its work the coordinator dies.
func TestKill9_NoAcknowledgedHoldIsLost(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	for g := range 4 {
		must(t, c.url, "group", "set", fmt.Sprintf("g%d", g), "--slots", "100")
	}
	for round := range 4 {
		nodes := map[string]string{}
		for i := range 32 {
			nodes[fmt.Sprintf("r%d-n%d", round, i)] = fmt.Sprintf("g%d", i%4)
		}
		after := 1 + rand.Int64N(24)
		var answers atomic.Int64
		enough := make(chan struct{})
		result := make(chan []held)
		go func() {
			result <- acquireAll(t, c.url, nodes, func() {
				if answers.Add(1) == after {
					close(enough)
				}
			})
		}()
		select {
		case <-enough:
		case <-time.After(patience):
			t.Fatalf("only %d of 32 agents have a slot", answers.Load())
		}
		c.kill()
		known := <-result
		c.start()
		began := time.Now()
		c.waitReady()
		t.Logf("round %d: killed when %d of 32 were answered, in the end %d; ready again after %s", round, after, len(known), time.Since(began))

		var list api.HoldList
		getJSON(t, c.url+"/api/v1/holds", &list)
		found := map[string]api.Hold{}
		for _, h := range list.Holds {
			found[h.Node] = h
		}
		for _, k := range known {
			h, there := found[k.node]
			switch {
			case !there:
				t.Errorf("%s was told of a hold with fence %d, which is gone", k.node, k.fence)
			case h.Fence != k.fence:
				t.Errorf("%s was told of fence %d, the hold has %d", k.node, k.fence, h.Fence)
			case k.state == "confirmed" && h.State != "confirmed":
				t.Errorf("%s was told that its hold is confirmed, it is %s", k.node, h.State)
			}
		}
	}
}

func TestServe_StopsOnRequestWhileFleetLockHostsAreParked(t *testing.T) {
	c := startCoordinator(t)
	status, text := lock(t, c.url, "holder")
	wantStatus(t, "a free slot", status, text, http.StatusOK)
	parked := make(chan int, 1)
	go func() {
		status, _ := lock(t, c.url, "parked")
		parked <- status
	}()
	waits(t, c.url, "parked")
	c.endsWithin(5 * time.Second)
	if got := <-parked; got == http.StatusOK {
		t.Error("the parked host was told that it has a slot")
	}
	c.start()
	began := time.Now()
	c.waitReady()
	t.Logf("ready %s after a clean stop", time.Since(began))
	if got := holders(t, c.url); got != "holder" {
		t.Errorf("holders %q after the restart, want holder", got)
	}
}

// waits returns when the node stands in the queue of the group default.
func waits(t *testing.T, url, node string) {
	t.Helper()
	eventually(t, node+" waits", func() bool {
		var g api.Group
		getJSON(t, url+"/api/v1/groups/default", &g)
		for _, w := range g.Queue {
			if w.Node == node {
				return true
			}
		}
		return false
	})
}

func TestServe_DamagedDataAreNamedAndNothingIsServed(t *testing.T) {
	t.Parallel()
	for name, harm := range map[string]func(member string) error{
		"overwritten database": func(member string) error {
			return os.WriteFile(filepath.Join(member, "snap", "db"), make([]byte, 1<<20), 0o600)
		},
		"half a database": func(member string) error {
			return os.Truncate(filepath.Join(member, "snap", "db"), 9000)
		},
		"overwritten log": func(member string) error {
			logs, err := filepath.Glob(filepath.Join(member, "wal", "*.wal"))
			if err != nil {
				return err
			}
			return os.WriteFile(logs[0], []byte("this is no log"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data := filepath.Join(t.TempDir(), "data")
			c := startCoordinator(t, "--data-dir", data)
			if code := c.terminate(); code != 0 {
				t.Fatalf("exit %d, want 0", code)
			}
			must0(t, harm(filepath.Join(data, "etcd", "member")))
			out := refused(t, 2, "serve", "--data-dir", data, "--listen", "127.0.0.1:0")
			wantWords(t, out, data, "lockkeeperd: ", "the data are damaged", "lockkeeperd restore")
		})
	}
}

// An empty store in place of the fleet's own would hand out slots that are
// taken: a person has to say that this is meant.
func TestServe_WipedDataAreNoNewCluster(t *testing.T) {
	t.Parallel()
	data := filepath.Join(t.TempDir(), "data")
	c := startCoordinator(t, "--data-dir", data)
	c.kill()
	must0(t, os.RemoveAll(filepath.Join(data, "etcd")))
	out := refused(t, 2, "serve", "--data-dir", data, "--listen", "127.0.0.1:0")
	wantWords(t, out, data, "a cluster was made here", "lockkeeperd restore")
	if _, err := os.Stat(filepath.Join(data, "etcd")); err == nil {
		t.Error("a new store was made all the same")
	}
}
