package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	daemon "github.com/lockkeeper/lockkeeper/coordinator"
)

// The alerts are tried by promtool with made-up series; whether a coordinator
// has series of these names only a coordinator can tell.
func TestAlerts_AskOnlyForMetricsThatACoordinatorHas(t *testing.T) {
	rules, err := os.ReadFile("../../deploy/prometheus/lockkeeper.rules.yml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := daemon.New(daemon.Config{
		DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0",
		Snapshots: daemon.SnapshotsConfig{Dir: t.TempDir()},
	})
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
	resp, err := http.Get(c.URL() + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	metrics := regexp.MustCompile(`lockkeeper_[a-z_]+`).FindAllString(string(rules), -1)
	if len(metrics) == 0 {
		t.Fatal("the rules name no metric")
	}
	for _, name := range metrics {
		if !strings.Contains(string(text), "\n"+name+"{") && !strings.Contains(string(text), "\n"+name+" ") {
			t.Errorf("a coordinator has no metric %s", name)
		}
	}
}
