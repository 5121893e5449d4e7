package main

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

func TestRestore_CallsTheMemberByTheNameOfTheFlagOrTheConfigFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	snapshot := filepath.Join(dir, "s.snapshot")
	c, peer := serveFor(t, filepath.Join(dir, "before"), "lock-1")
	body, err := peer.Snapshot(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(body)
	body.Close()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(snapshot, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := c.Stop(); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(dir, "lockkeeperd.yaml")
	if err := os.WriteFile(config, []byte("name: lock-8\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, args := range map[string][]string{
		"lock-7": {"--name", "lock-7"},
		"lock-8": {"--config", config},
	} {
		data := filepath.Join(dir, want)
		root := newRoot()
		root.SetArgs(append([]string{"restore", snapshot, "--data-dir", data, "--log-level", "error"}, args...))
		root.SetOut(io.Discard)
		if err := root.ExecuteContext(t.Context()); err != nil {
			t.Fatal(err)
		}
		c, peer := serveFor(t, data, want)
		cluster, err := peer.Cluster(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if len(cluster.Members) != 1 || !strings.HasPrefix(cluster.Members[0].Name, want+"-") {
			t.Errorf("restored with %v, the members are %+v, want one called %s-…", args, cluster.Members, want)
		}
		if err := c.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// serveFor starts a coordinator.
func serveFor(t *testing.T, dir, name string) (*coordinator.Coordinator, *client.Client) {
	t.Helper()
	c, err := coordinator.New(coordinator.Config{DataDir: dir, Listen: "127.0.0.1:0", Name: name})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	peer, err := client.New(client.Config{Servers: []string{c.URL()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(peer.Close)
	return c, peer
}
