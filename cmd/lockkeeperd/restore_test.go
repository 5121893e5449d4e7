package main

import (
	"errors"
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

// A file of the settings that cannot be used is a mistake as any other in them: a
// script that sees this code does not try again.
func TestRestore_BadFilesOfTheSettingsAreAMistakeInThem(t *testing.T) {
	t.Parallel()
	bad := filepath.Join(t.TempDir(), "bad.pem")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, args := range map[string][]string{
		"no certificates": {"--etcd-ca", bad},
		"no such file":    {"--etcd-ca", bad + ".none"},
		"a key pair":      {"--etcd-cert", bad, "--etcd-key", bad},
		"no password":     {"--etcd-username", "ann", "--etcd-password-file", bad + ".none"},
	} {
		root := newRoot()
		root.SetArgs(append([]string{"restore", "--etcd-endpoints", "https://127.0.0.1:1", "--log-level", "error"}, args...))
		root.SetOut(io.Discard)
		root.SetErr(io.Discard)
		var exit *exitError
		if err := root.ExecuteContext(t.Context()); !errors.As(err, &exit) || exit.code != exitUsage || !strings.Contains(err.Error(), "etcd.") {
			t.Errorf("%s: %v, exit %+v, want code %d and the setting's name", name, err, exit, exitUsage)
		}
	}
}
