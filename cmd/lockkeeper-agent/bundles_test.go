package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestBundleFlags_WhatIsWrongIsSaidWithWhatIsAccepted(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "allowed_signers")
	if err := os.WriteFile(empty, []byte("# nobody yet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"no size":         {[]string{"--max-bundle-size", "0"}, "--max-bundle-size 0: want 1 to 1024, in MiB"},
		"source":          {[]string{"--bundle-source", "files.lan"}, "want https://, or the beginning of URLs with a / at its end"},
		"no authorities":  {[]string{"--bundle-ca-file", "/nowhere"}, "/nowhere"},
		"no trusted keys": {[]string{"--trusted-keys", "/nowhere"}, "--trusted-keys: open /nowhere"},
		// Not to trust anybody is not to ask for signatures, which nobody meant.
		"nobody trusted": {[]string{"--trusted-keys", empty}, "no key in it that may sign"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := runAgent(t, nil, append([]string{"run", "--server", "http://127.0.0.1:1", "--node", "n"}, c.args...)...)
			if code != 2 || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d and %q, want 2 and %q", code, stderr, c.want)
			}
		})
	}
}
