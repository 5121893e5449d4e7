package web_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// hosted are simulated hosts with real agents on them. A test says of each
// bundle what is wrong with the hosts that have it.
type hosted struct {
	mu    sync.Mutex
	wrong map[string]string // by digest: why no host is healthy with it
}

// say sets what is wrong with every host that has the bundle; "" is nothing.
func (h *hosted) say(digest, wrong string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrong[digest] = wrong
}

func (h *hosted) health(_, digest string) string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.wrong[digest]
}

// startHosts runs so many hosts of a group, web-01 and so on, each with an agent
// that speaks HTTP to the coordinator, until the test ends.
func (s *site) startHosts(t *testing.T, group string, n int) *hosted {
	t.Helper()
	h := &hosted{wrong: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	var agents sync.WaitGroup
	t.Cleanup(func() { cancel(); agents.Wait() })
	dir := t.TempDir()
	for i := range n {
		node := fmt.Sprintf("%s-%02d", group, i+1)
		sim, err := host.NewSimulated(host.SimConfig{Node: node, Dir: filepath.Join(dir, node, "root"), RebootTime: 100 * time.Millisecond, FailHealth: h.health})
		if err != nil {
			t.Fatal(err)
		}
		c := s.client()
		agents.Go(func() {
			defer c.Close()
			err := agent.RunSimulated(ctx, agent.Config{Node: node, Group: group, StateDir: filepath.Join(dir, node, "state"),
				Labels: map[string]string{"zone": string(rune('a' + i%3))}, Coordinator: c, Version: "test", Logger: slog.New(slog.DiscardHandler)}, sim)
			if err != nil && ctx.Err() == nil {
				t.Errorf("the agent of %s: %v", node, err)
			}
		})
	}
	deadline := time.Now().Add(patience)
	for {
		list, err := s.api.Nodes(ctx, api.NodeQuery{Group: group, Limit: n})
		// One that is known may only wait for its first report to be stored, and no
		// rollout selects it before.
		if err == nil && list.Total == n && !slices.ContainsFunc(list.Nodes, func(n api.Node) bool { return n.FirstSeen.IsZero() }) {
			return h
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of %d hosts are known, or not all have reported, error %v", list.Total, n, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// upload stores a bundle that asks for a reboot, and whose hosts are given so long
// to be healthy.
func (s *site) upload(t *testing.T, name string, healthy time.Duration) string {
	t.Helper()
	body, err := bundle.Encode(bundle.Manifest{Name: name, HealthyDeadline: bundle.Duration(healthy),
		Files: []bundle.File{{Path: "/etc/motd", Mode: "0644", Interrupt: bundle.InterruptReboot}}},
		map[string][]byte{"/etc/motd": []byte(name + "\n")})
	if err != nil {
		t.Fatal(err)
	}
	digest := bundle.Digest(body)
	s.sure(func() error { _, _, err := s.api.CreateBundle(t.Context(), bytes.NewReader(body), digest); return err })
	return digest
}
