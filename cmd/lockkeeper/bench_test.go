package main

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	daemon "github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// cue calls back, once, when a text is written that it waits for.
type cue struct {
	mu   sync.Mutex
	text bytes.Buffer
	want string
	call func()
}

func (c *cue) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.text.Write(p)
	if c.call != nil && strings.Contains(c.text.String(), c.want) {
		c.call()
		c.call = nil
	}
	return len(p), nil
}

// Whenever it is interrupted, a benchmark cleans up before it ends.
func TestBench_InterruptedItLeavesNothingBehind(t *testing.T) {
	c, err := daemon.New(daemon.Config{DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	for _, x := range []struct{ when, args string }{
		{"simulated nodes", "cycles --clients 50 --duration 1h"},
		{"raw puts by", "cycles --clients 8 --duration 40s"},
		{"cycles by", "cycles --clients 8 --duration 4s"},
		{"waiters get in line", "handover --waiting 40 --duration 1h"},
		{"handover for", "handover --waiting 8 --duration 4s"},
		{"watching the coordinator", "waiters --waiting 8 --idle 1h"},
		{"need a slot", "makespan --hosts 12 --slots 2 --hold 1h --duration 400ms"},
		{"refusals to", "refused --clients 8 --duration 4s"},
		{"clients take slots", "commits --clients 8 --duration 1s"},
		{"agents park a poll", "agents --agents 40 --idle 1h"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		progress := &cue{want: x.when, call: interrupt}
		a := &app{in: strings.NewReader(""), out: &bytes.Buffer{}, err: progress, now: time.Now, connect: dial, every: pollEvery}
		root := newRoot(a)
		root.SetArgs(append([]string{"bench", "--server", c.URL()}, strings.Fields(x.args)...))
		_, err := root.ExecuteContextC(ctx)
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s interrupted at %q: %v\n%s", x.args, x.when, err, progress.text.String())
		}
		interrupt()
		nothingLeft(t, c.URL(), x.args)
	}
}

func nothingLeft(t *testing.T, url, after string) {
	t.Helper()
	a := &app{servers: []string{url}, connect: dial}
	c, err := a.client()
	if err != nil {
		t.Fatal(err)
	}
	groups, err := c.Groups(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if left := benchGroups(groups); len(left) > 0 {
		t.Errorf("after %s: groups %v", after, left)
	}
	nodes, err := c.Nodes(t.Context(), api.NodeQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if nodes.Total > 0 {
		t.Errorf("after %s: %d nodes, such as %s", after, nodes.Total, nodes.Nodes[0].ID)
	}
}
