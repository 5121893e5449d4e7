package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// A stream and a long poll last; what their token may do ends with it.
func TestToken_RevokedEndsTheStreamAndTheLongPollThatAreOpen(t *testing.T) {
	t.Parallel()
	s := startSecured(t)
	watching, _ := s.token(t, "--role", "viewer")
	polling, _ := s.token(t, "--role", "node", "--node", "host-1")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()

	resp := s.open(ctx, t, "/api/v1/events/stream", watching)
	defer resp.Body.Close()
	lines := bufio.NewScanner(resp.Body)
	if !lines.Scan() {
		t.Fatal("the stream is empty")
	}
	streamed := make(chan time.Time, 1)
	go func() {
		for lines.Scan() {
		}
		streamed <- time.Now()
	}()

	agent := s.client(t, polling)
	req := api.PollRequest{Instance: "i", BootID: "b", Report: api.Report{Seq: 1, Group: "default"}}
	first, err := agent.Poll(ctx, "host-1", req)
	must0(t, err)
	polled := make(chan error, 1)
	go func() {
		req.Seen, req.WaitS, req.Report.Seq = first.Tag, 50, 2
		_, err := agent.Poll(ctx, "host-1", req)
		polled <- err
	}()

	var tokens []api.Token
	must0(t, json.Unmarshal([]byte(must(t, s.admin, "token", "list", "-o", "json")), &tokens))
	for _, token := range tokens {
		must(t, s.admin, "token", "revoke", token.ID)
	}
	revoked := startStopwatch(s.process)
	select {
	case at := <-streamed:
		revoked.within(t, at.Sub(revoked.began), time.Second, "the stream ended when its token was revoked")
	case <-ctx.Done():
		t.Error("the stream goes on")
	}
	select {
	case err := <-polled:
		revoked.within(t, time.Since(revoked.began), 2*time.Second, "the poll ended when its token was revoked")
		wantKind(t, "the poll that waited", err, api.Unauthenticated)
	case <-ctx.Done():
		t.Error("the poll goes on")
	}
}

// open starts a request whose answer is read by the test.
func (s *secured) open(ctx context.Context, t *testing.T, path, token string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+path, nil)
	must0(t, err)
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := anyCertificate().Do(req)
	must0(t, err)
	if resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		t.Fatalf("GET %s: %d %s", path, resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	return resp
}
