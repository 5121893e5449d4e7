package coordinator

import (
	"errors"
	"strings"
	"testing"
	"time"
)

func TestSilencesConfig_NamesWhatCannotBe(t *testing.T) {
	for _, c := range []struct {
		field, detail string
		change        func(*SilencesConfig)
	}{
		{"silences.alertmanager_url", "want http or https", func(s *SilencesConfig) { s.AlertmanagerURL = "ftp://alertmanager" }},
		{"silences.token_file", "goes with silences.alertmanager_url", func(s *SilencesConfig) { s.TokenFile = "/token" }},
		{"silences.ca_file", "no such file", func(s *SilencesConfig) { s.CAFile = "/nowhere/ca.pem" }},
		{"silences.matchers", "that has {node}", func(s *SilencesConfig) { s.Matchers = []string{`job="node"`} }},
		{"silences.matchers", "want one such as", func(s *SilencesConfig) { s.Matchers = []string{`host={node}`} }},
		{"silences.for", "want 1m to 1h", func(s *SilencesConfig) { s.For = time.Second }},
		{"silences.linger", "want 1s to 15m", func(s *SilencesConfig) { s.Linger = time.Hour }},
	} {
		cfg := DefaultConfig()
		c.change(&cfg.Silences)
		var found *FieldError
		if err := cfg.Validate(); !errors.As(err, &found) || found.Field != c.field || !strings.Contains(found.Detail, c.detail) {
			t.Errorf("%v, want %s: …%s…", err, c.field, c.detail)
		}
	}
	cfg := Config{Silences: SilencesConfig{AlertmanagerURL: "http://alertmanager:9093", Matchers: []string{`host="{node}"`, `zone="{label.zone}"`}}}
	if cfg = cfg.withDefaults(); cfg.Validate() != nil {
		t.Error(cfg.Validate())
	}
}
