package coordinator

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestJoinToken_IsReadFromWhereItMayBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("  in a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]JoinConfig{
		"in a file":             {TokenFile: file},
		"on the standard input": {TokenFile: "-"},
		"in a variable":         {Token: "in a variable"},
	} {
		got, err := cfg.readToken(strings.NewReader("on the standard input\n"))
		if err != nil || got != want {
			t.Errorf("%+v: %q %v, want %q", cfg, got, err, want)
		}
	}
	var none JoinConfig
	if _, err := none.readToken(nil); err == nil || !strings.Contains(err.Error(), "lockkeeper cluster token") {
		t.Errorf("without a token: %v", err)
	}
}

func TestConfig_OfSeveralCoordinatorsNamesWhatCannotBe(t *testing.T) {
	for field, c := range map[string]func(*Config){
		"peer.listen":     func(c *Config) { c.Peer.Listen = "lock-1:2380" },
		"peer.url":        func(c *Config) { c.Peer.URL = "https://lock-1:2380" },
		"join.servers":    func(c *Config) { c.Join.Servers = []string{"https://lock-1:8443"} },
		"join.token_file": func(c *Config) { c.Join.TokenFile = "t" },
		"name":            func(c *Config) { c.Name = strings.Repeat("n", 64) },
	} {
		cfg := DefaultConfig()
		c(&cfg)
		var found *FieldError
		if err := cfg.Validate(); !errors.As(err, &found) || found.Field != field {
			t.Errorf("%s: %v", field, err)
		}
	}
	for text, c := range map[string]PeerConfig{
		"want IP:PORT":                 {Listen: "10.0.0.1"},
		"with a port that the other":   {Listen: "10.0.0.1:0"},
		"by which URL":                 {Listen: "[::]:2380"},
		"want https://HOST:PORT":       {Listen: "0.0.0.0:2380", URL: "http://lock-1:2380"},
		"that is no address of one":    {Listen: "0.0.0.0:2380", URL: "https://0.0.0.0:2380"},
		"goes with a listen address":   {URL: "https://lock-1:2380"},
		"want https://HOST:PORT, as t": {Listen: "10.0.0.1:2380", URL: "https://lock-1"},
	} {
		cfg := DefaultConfig()
		cfg.Peer = c
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), text) {
			t.Errorf("%+v: %v, want %q", c, err, text)
		}
	}
	for _, good := range []PeerConfig{{}, {Listen: "10.0.0.1:2380"}, {Listen: "[fd00::1]:2380"}, {Listen: "0.0.0.0:2380", URL: "https://lock-1.example.com:2380"}} {
		cfg := DefaultConfig()
		cfg.Peer = good
		if err := cfg.Validate(); err != nil {
			t.Errorf("%+v: %v", good, err)
		}
	}
}
