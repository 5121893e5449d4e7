package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	daemon "github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// secured is a coordinator, and what a person of each role has for it.
type secured struct {
	*shell
	url    string
	tokens map[api.Role]string // files
}

func startSecured(t *testing.T) *secured {
	t.Helper()
	dir := t.TempDir()
	c, err := daemon.New(daemon.Config{DataDir: filepath.Join(dir, "data"), Listen: "127.0.0.1:0", Name: "alone"})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Stop() })
	s := &secured{shell: &shell{connect: dial}, url: c.URL(), tokens: map[api.Role]string{"": ""}}
	for _, role := range []api.Role{api.RoleNode, api.RoleViewer, api.RoleDeployer, api.RoleOperator, api.RoleAdmin} {
		args := []string{"token", "create", "--role", string(role)}
		if role == api.RoleNode {
			args = append(args, "--node", "n1")
		}
		r := s.as(t, "", args...)
		r.want(t, exitOK)
		s.tokens[role] = filepath.Join(dir, string(role))
		if err := os.WriteFile(s.tokens[role], []byte(r.out), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func (s *secured) as(t *testing.T, role api.Role, args ...string) result {
	t.Helper()
	return s.run(t, append([]string{"--server", s.url, "--token-file", s.tokens[role]}, args...)...)
}

// fleet has of everything one that a command can be about.
func (s *secured) fleet(t *testing.T) (rollout, token, bundle string) {
	t.Helper()
	for _, args := range [][]string{{"group", "set", "web", "--slots", "1"}, {"group", "set", "spare", "--slots", "1"}, {"freeze", "why", "--group", "spare"}, {"blackout", "add", "b1", "--group", "web", "--start", "2036-01-01T00:00:00Z", "--for", "1h"}} {
		s.as(t, "", args...).want(t, exitOK)
	}
	c, err := client.New(client.Config{Servers: []string{s.url}})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []string{"n1", "n2"} {
		_, err := c.Poll(t.Context(), n, api.PollRequest{Instance: n, BootID: n, Report: api.Report{Seq: 1, Group: "web", Phase: api.PhaseIdle, Healthy: true}})
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Acquire(t.Context(), "web", "n1", api.AcquireRequest{Instance: "n1", BootID: "n1", Request: "r", Reason: "kernel"}, 0); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "files", "etc"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"bundle.yaml": "name: motd-1\n", "files/etc/motd": "hello\n", "groups.yaml": "groups:\n  web:\n    slots: 2\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	s.as(t, "", "bundle", "create", "--output", "motd.bundle", ".").want(t, exitOK)
	s.as(t, "", "bundle", "keygen", "key").want(t, exitOK)
	s.as(t, "", "bundle", "upload", "motd.bundle").want(t, exitOK)
	s.as(t, "", "rollout", "start", "--bundle", "motd-1", "--group", "web").want(t, exitOK)
	rollouts, err := c.Rollouts(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := c.Tokens(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return rollouts[0].ID, tokens[0].ID, rollouts[0].Spec.Bundle
}

// arguments of commands that need some; ROLLOUT, TOKEN and BUNDLE stand for ids.
var arguments = map[string]string{
	"apply": "-f groups.yaml", "blackout add": "b2 --group web --for 1h", "blackout remove": "b1 --group web",
	"bundle create": ".", "bundle delete": "BUNDLE", "bundle diff": "BUNDLE BUNDLE", "bundle show": "BUNDLE", "bundle sign": "BUNDLE --key key", "bundle upload": "motd.bundle",
	"cluster promote": "m", "cluster remove": "m", "cluster replace": "m", "cluster rotate-ca": "begin",
	"explain": "n1", "freeze": "why", "group delete": "spare", "group set": "web --slots 2", "group show": "web",
	"hold release": "n1 --host-is-down --reason r --name n1", "hold revoke": "n1 --reason r",
	"node clear-duplicate": "n1", "node forget": "n2", "node label": "n2 a=b", "node retry": "n1", "node rollback": "n1", "node show": "n1",
	"plan": "--bundle motd-1 --group web", "rollout plan": "--bundle motd-1 --group web", "queue leave": "n2 --group web", "queue priority": "n2 7 --group web",
	"rollout abort": "ROLLOUT", "rollout approve": "ROLLOUT", "rollout halt": "ROLLOUT", "rollout pause": "ROLLOUT", "rollout resume": "ROLLOUT", "rollout retry": "ROLLOUT", "rollout skip": "ROLLOUT", "rollout show": "ROLLOUT", "rollout watch": "ROLLOUT --timeout 1ms",
	"rollout start": "--bundle motd-1 --group web", "snapshot create": "s.snapshot", "token create": "--role viewer", "unfreeze": "--group spare", "token revoke": "TOKEN",
}

func TestRoles_EachRefusalNamesTheRoleThatTheCommandNeedsAndTheOneThatTheTokenHas(t *testing.T) {
	s := startSecured(t)
	rollout, token, bundle := s.fleet(t)
	order := []api.Role{api.RoleNode, api.RoleViewer, api.RoleDeployer, api.RoleOperator, api.RoleAdmin}
	fill := strings.NewReplacer("ROLLOUT", rollout, "TOKEN", token, "BUNDLE", bundle)
	for _, name := range sortedKeys(commandRoles) {
		args := append(strings.Fields(name), strings.Fields(fill.Replace(arguments[name]))...)
		need := commandRoles[name]
		// Itself and bundles are a node's own business too.
		if !slices.Contains([]string{"node show", "explain", "bundle show", "bundle diff"}, name) {
			t.Run(name+" by a node", func(t *testing.T) {
				s.as(t, api.RoleNode, args...).want(t, exitUnauthorised, "the role "+string(need), `the token has the role node, bound to "n1"`)
			})
		}
		if below := order[slices.Index(order, need)-1]; below != api.RoleNode {
			t.Run(name+" by the role below", func(t *testing.T) {
				s.as(t, below, args...).want(t, exitUnauthorised, "this needs the role "+string(need), "; the token has the role "+string(below))
			})
		}
	}
	// With the role none is refused for it; what ends something comes last.
	names := sortedKeys(commandRoles)
	slices.SortStableFunc(names, func(a, b string) int { return ends(a) - ends(b) })
	for _, name := range names {
		t.Run(name+" by its role", func(t *testing.T) {
			args := append(strings.Fields(name), strings.Fields(fill.Replace(arguments[name]))...)
			if name == "watch" || name == "token revoke" { // it would never end; it would end one of these
				return
			}
			if r := s.as(t, commandRoles[name], args...); r.code == exitUnauthorised || strings.Contains(r.err, "too many") {
				t.Errorf("exit code %d: %s", r.code, r.err)
			}
		})
	}
}

func ends(name string) int {
	for i, word := range []string{"delete", "forget", "remove", "abort"} {
		if strings.HasSuffix(name, word) {
			return i + 1
		}
	}
	return 0
}

// A command that is not in the table would be refused without its role's name.
func TestRoles_HaveEachCommandThatAsksACoordinator(t *testing.T) {
	alone := []string{"simulate", "version", "bundle keygen", "snapshot verify", "exit-codes", "help"}
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		_, name, _ := strings.Cut(c.CommandPath(), " ")
		if !c.HasSubCommands() && c.Runnable() && commandRole(c) == "" && !slices.Contains(alone, name) && !strings.HasPrefix(name, "completion") && !strings.HasPrefix(name, "group blackout") {
			t.Errorf("%s: in no role", name)
		}
		for _, sub := range c.Commands() {
			walk(sub)
		}
	}
	walk(newRoot(&app{}))
}
