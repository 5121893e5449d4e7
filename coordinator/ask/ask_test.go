package ask_test

import (
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/ask"
)

func parse(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func file(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAllowed_ByHostAndPort(t *testing.T) {
	t.Parallel()
	c := ask.New(ask.Config{
		Services: []ask.Service{{URL: "https://Prom.example.org/prefix"}, {}},
		Allow:    []string{"web.example.com", "api.example.com:8443", "*.Lab.example.com", "10.0.0.5:9090", "[2001:db8::1]:9090", "2001:db8::2"},
	})
	for text, want := range map[string]bool{
		"http://web.example.com":             true,
		"https://WEB.example.com.:8443/x":    true,
		"http://api.example.com":             false,
		"https://api.example.com:8443":       true,
		"https://prom.example.org/other":     true,
		"https://prom.example.org:443/other": true,
		"http://prom.example.org":            false,
		"http://a.lab.example.com":           true,
		"http://a.b.lab.example.com:1":       true,
		"http://lab.example.com":             false,
		"http://xlab.example.com":            false,
		"http://evil-web.example.com":        false,
		"http://web.example.com.evil.org":    false,
		"http://10.0.0.5:9090":               true,
		"http://10.0.0.5":                    false,
		"http://[::ffff:10.0.0.5]:9090":      true,
		"http://[2001:db8::1]:9090":          true,
		"http://[2001:db8::1]":               false,
		"http://[2001:db8:0::2]:7":           true,
		"http://localhost":                   false,
		"http://127.0.0.1":                   false,
		"http://[::1]":                       false,
		"http://0.0.0.0":                     false,
	} {
		if err := c.Allowed(parse(t, text)); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", text, err, want)
		}
	}
	here := ask.New(ask.Config{Loopback: true})
	for text, want := range map[string]bool{
		"http://localhost:1": true, "http://127.9.9.9": true, "http://[::1]:1": true, "http://[::ffff:127.0.0.1]": true,
		"http://10.0.0.1": false, "http://localhost.evil.org": false,
	} {
		if err := here.Allowed(parse(t, text)); (err == nil) != want {
			t.Errorf("%s: %v, want allowed %v", text, err, want)
		}
	}
}

func TestCheckPattern_RefusesWhatWouldMatchNothing(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]bool{
		"a": true, "a.example.com:9090": true, "*.example.com": true, "*.example.com:80": true, "10.0.0.1": true, "::1": true, "[::1]:80": true,
		"": false, "*": false, "*.": false, "a.*.com": false, "http://a": false, "a/b": false, "u@a": false, "a:99999": false, "a:b:c": false,
		"*.10.0.0.1": false, ".example.com": false,
	} {
		if err := ask.CheckPattern(pattern); (err == nil) != want {
			t.Errorf("%q: %v, want valid %v", pattern, err, want)
		}
	}
}

// TestToken_IsShownToItsServiceOnly: not to another path, host or scheme, and not
// behind a redirect that leaves the service.
func TestToken_IsShownToItsServiceOnly(t *testing.T) {
	t.Parallel()
	seen := make(chan string, 10)
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		seen <- "other " + r.Header.Get("Authorization") + r.Header.Get("Referer")
	}))
	t.Cleanup(other.Close)
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		seen <- r.URL.Path + " " + r.Header.Get("Authorization")
	})
	mux.Handle("/prom/out", http.RedirectHandler(other.URL, http.StatusFound))
	mux.Handle("/prom/up", http.RedirectHandler("/elsewhere", http.StatusFound))
	mux.Handle("/prom/in", http.RedirectHandler("/prom/query", http.StatusTemporaryRedirect))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)

	service := ask.Service{URL: server.URL + "/prom", TokenFile: file(t, "hunter2\n")}
	c := ask.New(ask.Config{Services: []ask.Service{service}, Loopback: true})
	for from, want := range map[string]string{
		server.URL + "/prom/query":            "/prom/query Bearer hunter2",
		server.URL + "/prom":                  "/prom Bearer hunter2",
		server.URL + "/prom/in":               "/prom/query Bearer hunter2",
		server.URL + "/prometheus":            "/prometheus ",
		server.URL + "/elsewhere":             "/elsewhere ",
		server.URL + "/prom/up":               "/elsewhere ",
		server.URL + "/prom/%2e%2e/elsewhere": "/prom/../elsewhere ",
		server.URL + "/prom/out":              "other ",
		other.URL + "/prom/query":             "other ",
	} {
		if _, err := c.Once(t.Context(), ask.Request{URL: parse(t, from), Service: service, Limit: 1 << 10}); err != nil {
			t.Fatal(err)
		}
		if got := <-seen; got != want {
			t.Errorf("%s: seen %q, want %q", from, got, want)
		}
	}
	for _, text := range []string{"", "two\nlines"} {
		service.TokenFile = file(t, text)
		if _, err := c.Once(t.Context(), ask.Request{URL: parse(t, server.URL), Service: service, Limit: 1 << 10}); err == nil || !strings.Contains(err.Error(), "want one token") {
			t.Errorf("token %q: %v", text, err)
		}
	}
}

func TestTLS_TrustsTheConfiguredAuthorityAndFollowsItsChange(t *testing.T) {
	t.Parallel()
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/down" {
			http.Redirect(w, r, "http://"+r.Host, http.StatusFound)
		}
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	request := func(path string) ask.Request { return ask.Request{URL: parse(t, server.URL+path), Limit: 1 << 10} }

	plain := ask.New(ask.Config{Loopback: true})
	if _, err := plain.Once(t.Context(), request("")); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("an unknown authority: %v", err)
	}
	ca := file(t, "no certificate")
	c := ask.New(ask.Config{Loopback: true, CAFile: ca})
	if _, err := c.Once(t.Context(), request("")); err == nil || !strings.Contains(err.Error(), "want certificates in PEM") {
		t.Errorf("a file without certificates: %v", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(ca, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if a, err := c.Once(t.Context(), request("")); err != nil || a.Status != http.StatusOK {
		t.Errorf("the configured authority: %v %v", a.Status, err)
	}
	if _, err := c.Once(t.Context(), request("/down")); err == nil || !strings.Contains(err.Error(), "from https to http") {
		t.Errorf("a redirect to http: %v", err)
	}
}

func TestErrors_ShowNoPathAndNoQuery(t *testing.T) {
	t.Parallel()
	c := ask.New(ask.Config{Loopback: true})
	for _, text := range []string{"http://127.0.0.1:1/path-secret?token=query-secret", "https://127.0.0.1:1/path-secret"} {
		_, err := c.Once(t.Context(), ask.Request{URL: parse(t, text), Limit: 1})
		if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "127.0.0.1:1") {
			t.Errorf("error %v: want the host alone", err)
		}
	}
}

func TestRedirect_ToAHostThatIsNotAllowedIsNotFollowed(t *testing.T) {
	t.Parallel()
	asked := make(chan struct{}, 1)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked <- struct{}{} }))
	t.Cleanup(other.Close)
	server := httptest.NewServer(http.RedirectHandler(other.URL+"/path-secret", http.StatusFound))
	t.Cleanup(server.Close)
	c := ask.New(ask.Config{Allow: []string{parse(t, server.URL).Host}})
	_, err := c.Once(t.Context(), ask.Request{URL: parse(t, server.URL), Limit: 1 << 10})
	if err == nil || !strings.Contains(err.Error(), "it redirects: "+parse(t, other.URL).Host+" is not among the hosts") || strings.Contains(err.Error(), "secret") {
		t.Errorf("error %v", err)
	}
	select {
	case <-asked:
		t.Error("it was asked")
	default:
	}
}

func TestLimit_WhatIsLongerIsNoAnswer(t *testing.T) {
	t.Parallel()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 2048))
	}))
	t.Cleanup(server.Close)
	c := ask.New(ask.Config{Loopback: true})
	if a, err := c.Once(t.Context(), ask.Request{URL: parse(t, server.URL), Limit: 2048}); err != nil || len(a.Body) != 2048 {
		t.Errorf("%d bytes, %v", len(a.Body), err)
	}
	if _, err := c.Once(t.Context(), ask.Request{URL: parse(t, server.URL), Limit: 2047}); err == nil || !strings.Contains(err.Error(), "more than 1 KiB") {
		t.Errorf("a byte too many: %v", err)
	}
}
