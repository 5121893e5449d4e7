package main

import (
	"errors"
	"strings"
	"testing"
)

func TestDev_FlagsThatCannotBeAreUsageErrorsBeforeAnythingIsStarted(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"--nodes 0", "--nodes 0: want 1 to 1000"},
		{"--groups web,web", `--groups: "web" is named twice`},
		{"--groups w@b", `--groups: group "w@b": want 1 to 253 of the characters`},
		{"--groups a,b,c --nodes 2", "--groups: 3 groups for 2 nodes: want a node for each at least"},
		{"--reboot-time -1s", "must not be negative"},
	} {
		root := newRoot()
		root.SetArgs(append([]string{"dev", "--listen", "127.0.0.1:0"}, strings.Fields(c.args)...))
		err := root.ExecuteContext(t.Context())
		var exit *exitError
		if !errors.As(err, &exit) || exit.code != exitUsage || !strings.Contains(exit.Error(), c.want) {
			t.Errorf("%s: %v, want %s", c.args, err, c.want)
		}
	}
}
