package main

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/internal/docpage"
)

// Every line that the documentation shows is one that this program takes.
func TestDocs_ShowCommandsThatThereAre(t *testing.T) {
	shown, err := docpage.Commands("../..", "lockkeeperd")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range shown {
		if err := cli.Accepts(newRoot(), c.Args, c.Whole); err != nil {
			t.Errorf("%s: lockkeeperd %s: %v", c.Page, strings.Join(c.Args, " "), err)
		}
	}
	if len(shown) < 10 {
		t.Errorf("only %d commands were found", len(shown))
	}
}
