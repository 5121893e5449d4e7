package e2e

import (
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// secured is a coordinator that asks everybody for a token, over TLS.
type secured struct {
	*process
	url, pin, admin string // admin is the socket that asks for none
}

func startSecured(t *testing.T, args ...string) *secured {
	t.Helper()
	dir, err := os.MkdirTemp("", "lk") // a socket's path must be short
	must0(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	data, addr := filepath.Join(dir, "data"), freePort(t)
	s := &secured{url: "https://" + addr, admin: "unix:" + filepath.Join(data, "admin.sock")}
	s.process = startProcess(t, "lockkeeperd", program("lockkeeperd"), append([]string{"serve", "--data-dir", data, "--listen", addr, "--tls-self-signed", "--require-token"}, args...)...)
	eventually(t, "the coordinator is ready", func() bool {
		_, _, code := lockkeeper(t, s.admin, "group", "list")
		return code == 0
	})
	found := regexp.MustCompile(`pin=(sha256:[0-9a-f]{64})`).FindStringSubmatch(s.output(t))
	if found == nil {
		t.Fatal("the pin is not in the log")
	}
	s.pin = found[1]
	return s
}

func (p *process) output(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.log.Name())
	must0(t, err)
	return string(text)
}

// token makes a token and returns its secret, and a file that holds it.
func (s *secured) token(t *testing.T, args ...string) (secret, file string) {
	t.Helper()
	secret = strings.TrimSpace(must(t, s.admin, append([]string{"token", "create"}, args...)...))
	file = filepath.Join(t.TempDir(), "token")
	must0(t, os.WriteFile(file, []byte(secret+"\n"), 0o600))
	return secret, file
}

// anyCertificate is a client to which certificates are another test's matter.
func anyCertificate() *http.Client {
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}}
}

// ask sends a request with a token.
func (s *secured) ask(t *testing.T, method, path, token string, header ...string) int {
	t.Helper()
	client := anyCertificate()
	req, err := http.NewRequestWithContext(t.Context(), method, s.url+path, strings.NewReader("{}"))
	must0(t, err)
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		}
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := client.Do(req)
	must0(t, err)
	resp.Body.Close()
	return resp.StatusCode
}

func TestDoor_OverTLSEveryRequestNeedsATokenThatCanBeRevoked(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	if got := s.ask(t, http.MethodGet, "/api/v1/status", ""); got != http.StatusUnauthorized {
		t.Errorf("without a token: %d, want 401", got)
	}
	secret, file := s.token(t, "--role", "admin")
	if _, errs, code := lockkeeper(t, s.url, "--token-file", file, "--pin", s.pin, "group", "list"); code != 0 {
		t.Errorf("with token and pin: exit %d, %s", code, errs)
	}
	wrong := "sha256:" + strings.Repeat("0", 64)
	if _, errs, code := lockkeeper(t, s.url, "--token-file", file, "--pin", wrong, "group", "list"); code != 3 {
		t.Errorf("with a wrong pin: exit %d, %s; want 3, unreachable", code, errs)
	}
	if got := s.ask(t, http.MethodGet, "/api/v1/status", secret, "Host", "evil.example"); got != http.StatusMisdirectedRequest {
		t.Errorf("for a foreign host: %d, want 421", got)
	}
	if got := s.ask(t, http.MethodPut, "/api/v1/groups/web", secret, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); got != http.StatusForbidden {
		t.Errorf("from another site's page: %d, want 403", got)
	}
	sum := sha256.Sum256([]byte(secret))
	must(t, s.admin, "token", "revoke", hex.EncodeToString(sum[:8]))
	if got := s.ask(t, http.MethodGet, "/api/v1/status", secret); got != http.StatusUnauthorized {
		t.Errorf("with a revoked token: %d, want 401", got)
	}
	if strings.Contains(s.output(t), secret) {
		t.Error("the secret is in the log")
	}
}

func TestDoor_ANodesTokenUpdatesItsHostAndNoOther(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	secret, file := s.token(t, "--role", "node", "--node", "host-1")
	w := newWitness(t)
	m := startMachine(t, w, "host-1", s.url, "--token-file", file, "--pin", s.pin)
	reports(t, s.admin, "host-1")
	must(t, s.admin, "rollout", "start", "--bundle", pushBundle(t, s.admin, "new", ""), "--group", "default", "--wait")
	if got := m.file(t, "etc/app.conf"); got != "new\n" {
		t.Errorf("the file is %q", got)
	}
	if got := s.ask(t, http.MethodDelete, "/api/v1/groups/default/holds/host-2?fence=1&instance=x", secret); got != http.StatusForbidden {
		t.Errorf("as another node: %d, want 403", got)
	}
	if got := s.ask(t, http.MethodGet, "/api/v1/status", secret); got != http.StatusForbidden {
		t.Errorf("reading the fleet: %d, want 403", got)
	}
	if strings.Contains(s.output(t), secret) || strings.Contains(m.agent.output(t), secret) {
		t.Error("the secret is in a log")
	}
}

func TestDoor_AUnixSocketNeedsNoToken(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "lk")
	must0(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := "unix:" + filepath.Join(dir, "s")
	startProcess(t, "lockkeeperd", program("lockkeeperd"), "serve", "--data-dir", filepath.Join(dir, "data"), "--listen", socket)
	eventually(t, "the coordinator answers", func() bool {
		_, _, code := lockkeeper(t, socket, "group", "list")
		return code == 0
	})
}

func TestServe_EndsWithin5SecondsThoughStreamsAreOpen(t *testing.T) {
	c := startCoordinator(t)
	resp, err := http.Get(c.url + "/api/v1/events/stream?after=0")
	must0(t, err)
	defer resp.Body.Close()
	startFleet(t, newWitness(t), c.url, 2) // with their long polls
	c.endsWithin(5 * time.Second)
}

func TestServe_AFlagWinsOverTheEnvironmentOverTheFile(t *testing.T) {
	file, env, flag := freePort(t), freePort(t), freePort(t)
	dir := writeFiles(t, t.TempDir(), map[string]string{"lockkeeperd.yaml": "listen: " + file + "\n"})
	config := filepath.Join(dir, "lockkeeperd.yaml")
	for _, c := range []struct {
		want string
		env  string
		args []string
	}{
		{file, "", nil}, {env, env, nil}, {flag, env, []string{"--listen", flag}},
	} {
		t.Setenv("LOCKKEEPER_LISTEN", c.env)
		p := startProcess(t, "lockkeeperd", program("lockkeeperd"), append([]string{"serve", "--config", config, "--data-dir", filepath.Join(t.TempDir(), "data")}, c.args...)...)
		eventually(t, "it listens on "+c.want, func() bool {
			status, _ := get("http://" + c.want + "/readyz")
			return status == http.StatusOK
		})
		p.kill()
	}
}
