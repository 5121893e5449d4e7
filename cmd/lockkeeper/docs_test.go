package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/internal/docpage"
)

func TestDocs_NameEveryCommandAndEveryExitCode(t *testing.T) {
	text, err := os.ReadFile("../../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	page := string(text)
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		if c.Hidden {
			return
		}
		if !c.HasSubCommands() && c.IsAvailableCommand() && c.Name() != "help" && !strings.Contains(page, "`"+c.CommandPath()) {
			t.Errorf("docs/cli.md does not name %q", c.CommandPath())
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&app{}))
	codes := regexp.MustCompile(`(?m)^  (\d+) `).FindAllStringSubmatch(exitCodesText, -1)
	if len(codes) != 8 {
		t.Errorf("help exit-codes has %d codes", len(codes))
	}
	for _, code := range codes {
		if !strings.Contains(page, "\n| "+code[1]+" | ") {
			t.Errorf("docs/cli.md does not explain exit code %s", code[1])
		}
	}
}

// A variable that may be set for good must not decide what a change changes.
func TestFlags_ThatChooseOrConfirmAChangeHaveNoVariable(t *testing.T) {
	root := newRoot(&app{})
	for _, path := range []string{
		"group set", "group delete", "rollout start", "rollout abort", "hold revoke", "hold release",
		"freeze", "unfreeze", "token create", "node forget", "apply", "bundle delete", "bundle upload", "bundle sign", "bundle keygen",
	} {
		c, _, err := root.Find(strings.Fields(path))
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(c.LocalNonPersistentFlags().FlagUsages(), "\n") {
			if strings.Contains(line, "(env ") && !regexp.MustCompile(`--(wait|timeout|dry-run|ttl) `).MatchString(line) {
				t.Errorf("%s: %s", path, strings.TrimSpace(line))
			}
		}
	}
}

// Every line that the documentation shows is one that this program takes.
func TestDocs_ShowCommandsThatThereAre(t *testing.T) {
	shown, err := docpage.Commands("../..", "lockkeeper")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range shown {
		if err := cli.Accepts(newRoot(&app{}), c.Args, c.Whole); err != nil {
			t.Errorf("%s: lockkeeper %s: %v", c.Page, strings.Join(c.Args, " "), err)
		}
	}
	if len(shown) < 200 {
		t.Errorf("only %d commands were found", len(shown))
	}
}
