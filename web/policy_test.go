package web_test

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// Whatever a coordinator answers to a browser, page or refusal, stream or file,
// has one policy that lets nothing run but our own files.
func TestPolicy_StandsOnEveryAnswer(t *testing.T) {
	t.Parallel()
	s := startConfigured(t, coordinator.Config{RequireToken: true})
	secret := s.token(api.RoleViewer, "").Secret
	for _, c := range []struct {
		method, path string
		status       int
		header       []string
	}{
		{"GET", "/", 200, nil}, {"HEAD", "/nodes", 200, nil}, {"GET", "/", 303, []string{"Cookie", ""}}, {"GET", "/login", 200, []string{"Cookie", ""}},
		{"GET", "/ui/stream?topic=overview", 200, nil}, {"GET", "/ui/stream?topic=none", 404, nil}, {"GET", "/ui/stream?topic=overview", 401, []string{"Cookie", ""}},
		{"GET", "/static/lockkeeper.css", 200, nil}, {"GET", "/static/lockkeeper.js?v=1", 200, nil}, {"GET", "/static/logo.svg", 200, []string{"Cookie", ""}}, {"GET", "/static/none.js", 404, nil}, {"GET", "/static/", 404, nil},
		{"GET", "/nowhere", 404, nil}, {"GET", "/nodes/nobody", 404, nil}, {"GET", "/events?from=yesterday", 400, nil}, {"GET", "/favicon.ico", 404, nil}, {"GET", "/..%2f", 404, nil},
		{"POST", "/ui/freeze", 403, nil}, {"POST", "/ui/login", 401, []string{"Cookie", ""}}, {"GET", "/ui/freeze", 404, nil}, {"DELETE", "/", 404, nil}, {"POST", "/ui/freeze", 403, []string{"Sec-Fetch-Site", "cross-site"}},
		{"POST", "/ui/freeze", 415, []string{"Content-Type", "multipart/form-data"}}, {"GET", "/", 421, []string{"Host", "evil.example"}},
		{"GET", "/api/v1/status", 200, nil}, {"GET", "/api/v1/none", 404, nil}, {"GET", "/metrics", 200, nil},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, s.c.URL()+c.path, nil)
		if c.method == http.MethodPost {
			r, err = http.NewRequestWithContext(t.Context(), c.method, s.c.URL()+c.path, strings.NewReader("reason=x"))
		}
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Cookie", auth.CookieName(r.URL.Host, false)+"="+secret)
		if len(c.header) > 0 {
			r.Header.Set(c.header[0], c.header[1])
			if c.header[0] == "Host" {
				r.Host = c.header[1]
			}
		}
		answer, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if c.path != "/ui/stream?topic=overview" { // which does not end
			_, _ = io.Copy(io.Discard, answer.Body)
		}
		answer.Body.Close()
		what := c.method + " " + c.path
		if answer.StatusCode != c.status {
			t.Errorf("%s: status %d, want %d", what, answer.StatusCode, c.status)
		}
		policies := answer.Header.Values("Content-Security-Policy")
		if len(policies) != 1 {
			t.Errorf("%s, %d: policies %q, want one", what, answer.StatusCode, policies)
			continue
		}
		rules := strings.Split(policies[0], "; ")
		for _, want := range []string{"default-src 'self'", "base-uri 'none'", "form-action 'self'", "frame-ancestors 'none'"} {
			if !slices.Contains(rules, want) {
				t.Errorf("%s: the policy %q lacks %s", what, policies[0], want)
			}
		}
		if strings.Contains(policies[0], "unsafe") || strings.Contains(policies[0], "*") || answer.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: the policy %q lets in what is not ours, or types are guessed", what, policies[0])
		}
	}
}
