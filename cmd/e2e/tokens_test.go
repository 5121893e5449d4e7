package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// client is a program that shows this token and knows the certificate.
func (s *secured) client(t *testing.T, secret string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{Servers: []string{s.url}, Token: secret, Pin: s.pin})
	must0(t, err)
	t.Cleanup(c.Close)
	return c
}

// wantKind wants an error of that kind, or none for "".
func wantKind(t *testing.T, what string, err error, kind api.Kind) {
	t.Helper()
	var refused *api.Error
	switch {
	case kind == "" && err != nil:
		t.Errorf("%s: %v, want no error", what, err)
	case kind != "" && (!errors.As(err, &refused) || refused.Kind != kind):
		t.Errorf("%s: %v, want %s", what, err, kind)
	}
}

// wantRefusal asks until it is answered, and wants a refusal of that kind.
func wantRefusal(t *testing.T, what string, kind api.Kind, ask func() error) {
	t.Helper()
	settled(t, func() error {
		switch err := ask(); {
		case isKind(err, kind):
			return nil
		case err != nil:
			return fmt.Errorf("%s: %w, want %s", what, err, kind)
		}
		return fmt.Errorf("%s: no error, want %s", what, kind)
	})
}

func TestToken_ANodesOwnPollsAndAcquiresForItAlone(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	secret, file := s.token(t, "--role", "node", "--node", "own")
	c := s.client(t, secret)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	poll := func(node string) error {
		_, err := c.Poll(ctx, node, api.PollRequest{Instance: "i", BootID: "b", Report: api.Report{Seq: 1, Group: "default"}})
		return err
	}
	acquire := func(node string) (int64, error) {
		got, err := c.Acquire(ctx, "default", node, api.AcquireRequest{Instance: "i", Request: "r", BootID: "b"}, 0)
		return got.Hold.Fence, err
	}
	wantKind(t, "polling for another node", poll("other"), api.Forbidden)
	wantKind(t, "polling for itself", poll("own"), "")
	_, err := acquire("other")
	wantKind(t, "acquiring for another node", err, api.Forbidden)
	fence, err := acquire("own")
	wantKind(t, "acquiring for itself", err, "")
	confirm := api.ConfirmRequest{Fence: fence, Instance: "i", BootID: "b"}
	_, err = c.Confirm(ctx, "default", "other", confirm)
	wantKind(t, "confirming for another node", err, api.Forbidden)
	_, err = c.Confirm(ctx, "default", "own", confirm)
	wantKind(t, "confirming for itself", err, "")
	_, err = c.Freeze(ctx, "", api.FreezeRequest{Reason: "mine"})
	wantKind(t, "freezing the fleet", err, api.Forbidden)
	_, err = c.CreateToken(ctx, api.TokenRequest{Role: api.RoleAdmin})
	wantKind(t, "making itself an admin", err, api.Forbidden)

	// Revoked while it holds: it can no longer speak, and keeps its slot.
	var tokens []api.Token
	must0(t, json.Unmarshal([]byte(must(t, s.admin, "token", "list", "-o", "json")), &tokens))
	if len(tokens) != 1 || tokens[0].Node != "own" {
		t.Fatalf("tokens %+v, want the one of node own", tokens)
	}
	must(t, s.admin, "token", "revoke", tokens[0].ID)
	wantKind(t, "polling with a revoked token", poll("own"), api.Unauthenticated)
	wantKind(t, "releasing with a revoked token", c.Release(ctx, "default", "own", fence, "i"), api.Unauthenticated)
	if out := must(t, s.admin, "hold", "list"); !strings.Contains(out, "own") {
		t.Errorf("the hold is gone: %s", out)
	}
	if _, errs, code := lockkeeper(t, s.url, "--token-file", file, "--pin", s.pin, "node", "list"); code == 0 || strings.Contains(errs, secret) {
		t.Errorf("the CLI with a revoked token: exit %d, %q; want a refusal that does not tell it", code, errs)
	}
}

// Everybody on a host can read the arguments of its processes.
func TestToken_ShowsInNobodysArgumentsOrLog(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	secret, file := s.token(t, "--role", "node", "--node", "host-1")
	m := startMachine(t, newWitness(t), "host-1", s.url, "--token-file", file, "--pin", s.pin, "--log-level", "debug")
	eventually(t, "the host has reported", func() bool {
		return strings.Contains(must(t, s.admin, "node", "list"), "host-1")
	})
	s.ask(t, http.MethodGet, "/api/v1/status?token="+secret, "lk_"+secret) // a caller that does it wrong
	for _, p := range []*process{s.process, m.agent} {
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid()))
		must0(t, err)
		if strings.Contains(string(args), secret) {
			t.Errorf("%s shows the token in its arguments", p.name)
		}
		if strings.Contains(p.output(t), secret) {
			t.Errorf("%s shows the token in its log", p.name)
		}
	}
}

// FleetLock knows no tokens: behind a door that asks for them it has a listener
// of its own, or nothing.
func TestFleetLock_BesideADoorThatAsksForTokensHasItsOwnListener(t *testing.T) {
	t.Parallel()
	own := freePort(t)
	config := writeFiles(t, t.TempDir(), map[string]string{
		"lockkeeperd.yaml": "fleetlock:\n  listen: " + own + "\n  wait: 0s\n  known_ids_only: true\n  networks:\n    - {cidr: 127.0.0.0/8, groups: [default]}\n",
	})
	s := startSecured(t, "--config", filepath.Join(config, "lockkeeperd.yaml"))
	if got := s.ask(t, http.MethodPost, "/v1/pre-reboot", "", "Fleet-Lock-Protocol", "true"); got != http.StatusForbidden {
		t.Errorf("on the main listener: %d, want 403", got)
	}
	status, text := lock(t, "http://"+own, "stranger")
	wantStatus(t, "an id that nobody knows", status, text, http.StatusForbidden)
	wantWords(t, text, "stranger", "known")

	// An operator's acquaintance of it: an agent reported under the id once.
	secret, _ := s.token(t, "--role", "node", "--node", "known")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err := s.client(t, secret).Poll(ctx, "known", api.PollRequest{Instance: "i", BootID: "b", Report: api.Report{Seq: 1, Group: "default"}})
	must0(t, err)
	status, text = lock(t, "http://"+own, "known")
	wantStatus(t, "a known id", status, text, http.StatusOK)
	if out := must(t, s.admin, "hold", "list"); !strings.Contains(out, "known") || strings.Contains(out, "stranger") {
		t.Errorf("the holds are %s, want that of known", out)
	}
}
