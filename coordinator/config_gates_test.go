package coordinator

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestGatesConfig_NamesWhatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		field, detail string
		change        func(*GatesConfig)
	}{
		{"gates.prometheus_url", "want a URL such as", func(g *GatesConfig) { g.PrometheusURL = "prometheus:9090" }},
		{"gates.prometheus_url", "has a user or a password", func(g *GatesConfig) { g.PrometheusURL = "http://u:hunter2@prometheus:9090" }},
		{"gates.prometheus_url", "has a query", func(g *GatesConfig) { g.PrometheusURL = "http://prometheus:9090?a=b" }},
		{"gates.prometheus_token_file", "goes with gates.prometheus_url", func(g *GatesConfig) { g.PrometheusTokenFile = file }},
		{"gates.alertmanager_url", "want http or https", func(g *GatesConfig) { g.AlertmanagerURL = "ftp://alertmanager" }},
		{"gates.alertmanager_token_file", "no such file", func(g *GatesConfig) {
			g.AlertmanagerURL, g.AlertmanagerTokenFile = "http://alertmanager:9093", file+".not"
		}},
		{"gates.ca_file", "want certificates in PEM", func(g *GatesConfig) { g.CAFile = file }},
		{"gates.allow", "want a host such as", func(g *GatesConfig) { g.Allow = []string{"ok.example.com", "https://web.example.com"} }},
		{"gates.commands", "want the absolute path", func(g *GatesConfig) { g.Commands = []string{"smoke"} }},
		{"gates.alertmanager_settle", "want 1ms to 1h", func(g *GatesConfig) { g.AlertmanagerSettle = -time.Second }},
	} {
		cfg := DefaultConfig()
		c.change(&cfg.Gates)
		var found *FieldError
		if err := cfg.Validate(); !errors.As(err, &found) || found.Field != c.field || !strings.Contains(found.Detail, c.detail) || strings.Contains(found.Detail, "hunter2") {
			t.Errorf("%v, want %s: …%s…", err, c.field, c.detail)
		}
	}
	cfg := DefaultConfig()
	cfg.Gates = GatesConfig{
		PrometheusURL: "https://mon.example.com/prometheus", PrometheusTokenFile: file, AlertmanagerURL: "http://10.0.0.5:9093",
		Allow: []string{"*.example.com", "[::1]:8080"}, Commands: []string{"/usr/local/bin/smoke"},
	}
	if cfg = cfg.withDefaults(); cfg.Validate() != nil {
		t.Error(cfg.Validate())
	}
}
