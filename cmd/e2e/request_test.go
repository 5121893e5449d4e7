package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// call is one request of a client that is not ours.
type call struct {
	client  *http.Client // nil: http.DefaultClient
	method  string
	url     string
	body    string
	headers map[string]string // Host is the name that the client calls by
}

// do returns the status and the body; status 0 is an answer that never came.
func (c call) do(ctx context.Context) (int, string) {
	req, err := http.NewRequestWithContext(ctx, c.method, c.url, strings.NewReader(c.body))
	if err != nil {
		return 0, err.Error()
	}
	if c.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for name, value := range c.headers {
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Set(name, value)
	}
	client := c.client
	if client == nil {
		client = http.DefaultClient
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

func (c call) want(t *testing.T, status int) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	got, body := c.do(ctx)
	if got != status {
		t.Errorf("%s %s %v: %d %s, want %d", c.method, c.url, c.headers, got, body, status)
	}
	return body
}

const (
	preReboot   = "/v1/pre-reboot"
	steadyState = "/v1/steady-state"
)

// fleetLockCall is a request as Zincati makes it.
func fleetLockCall(server, path, group, id string) call {
	return call{
		method: http.MethodPost, url: server + path,
		body:    fmt.Sprintf(`{"client_params": {"id": %q, "group": %q}}`, id, group),
		headers: map[string]string{"Fleet-Lock-Protocol": "true"},
	}
}

// parseBody reads an answer's body.
func parseBody(t *testing.T, body string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
}
