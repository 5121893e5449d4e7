package client

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// coordinator answers as one of cluster c-1 does, and counts.
type coordinator struct {
	*httptest.Server
	asked atomic.Int64
}

func start(t *testing.T, h http.HandlerFunc) *coordinator {
	t.Helper()
	c := &coordinator{}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.asked.Add(1)
		w.Header().Set(api.HeaderCluster, "c-1")
		w.Header().Set(api.HeaderIncarnation, "3")
		h(w, r)
	}))
	t.Cleanup(c.Close)
	return c
}

func ok(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(api.Status{OK: true}) }

func noQuorum(w http.ResponseWriter, _ *http.Request) {
	api.WriteProblem(w, &api.Error{Kind: api.NoQuorum, Detail: "no leader", RetryAfter: 3 * time.Second})
}

func dial(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// gone is an address where nobody listens.
func gone(t *testing.T) string {
	t.Helper()
	address, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + address
}

func TestServers_TheOneThatAnswersIsRemembered(t *testing.T) {
	cut := start(t, noQuorum)
	live := start(t, ok)
	c := dial(t, Config{Servers: []string{gone(t), cut.URL, live.URL}})
	for range 3 {
		if _, err := c.Status(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if cut.asked.Load() != 1 || live.asked.Load() != 3 {
		t.Errorf("asked %d and %d times", cut.asked.Load(), live.asked.Load())
	}
}

func TestServers_WithoutAnyTheReasonIsKept(t *testing.T) {
	cut := start(t, noQuorum)
	c := dial(t, Config{Servers: []string{gone(t), cut.URL, gone(t)}})
	var e *api.Error
	if _, err := c.Status(t.Context()); !errors.As(err, &e) || e.Kind != api.NoQuorum || e.RetryAfter != 3*time.Second {
		t.Errorf("got %v", err)
	}
	c = dial(t, Config{Servers: []string{gone(t)}})
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestServers_WhereOneIsLowOnDiskOrOutOfDateAnotherIsAsked(t *testing.T) {
	for _, kind := range []api.Kind{api.DiskLow, api.NewerSchema} {
		unable := start(t, func(w http.ResponseWriter, _ *http.Request) {
			api.WriteProblem(w, api.Errorf(kind, "not here"))
		})
		live := start(t, ok)
		c := dial(t, Config{Servers: []string{unable.URL, live.URL}})
		for range 3 {
			if _, err := c.Acquire(t.Context(), "g", "n", api.AcquireRequest{}, 0); err != nil {
				t.Fatal(err)
			}
		}
		if unable.asked.Load() != 1 || live.asked.Load() != 3 {
			t.Errorf("%s: asked %d and %d times", kind, unable.asked.Load(), live.asked.Load())
		}
		c = dial(t, Config{Servers: []string{unable.URL}})
		var e *api.Error
		if _, err := c.Acquire(t.Context(), "g", "n", api.AcquireRequest{}, 0); !errors.As(err, &e) || e.Kind != kind {
			t.Errorf("alone: %v", err)
		}
	}
}

func TestServers_ARefusalIsAnAnswerAndAskedOfNobodyElse(t *testing.T) {
	first := start(t, func(w http.ResponseWriter, _ *http.Request) { api.WriteProblem(w, api.Errorf(api.Full, "2 of 2")) })
	second := start(t, ok)
	c := dial(t, Config{Servers: []string{first.URL, second.URL}})
	_, err := c.Acquire(t.Context(), "g", "n", api.AcquireRequest{}, 0)
	var e *api.Error
	if !errors.As(err, &e) || e.Kind != api.Full || second.asked.Load() != 0 {
		t.Errorf("got %v, the second was asked %d times", err, second.asked.Load())
	}
}

func TestServers_ATokenIsNotAskedForTwiceWhenItMayHaveBeenMade(t *testing.T) {
	first := start(t, func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) })
	second := start(t, ok)
	c := dial(t, Config{Servers: []string{first.URL, second.URL}})
	if _, err := c.CreateToken(t.Context(), api.TokenRequest{Role: api.RoleViewer}); !errors.Is(err, ErrUnreachable) || second.asked.Load() != 0 {
		t.Errorf("got %v, the second was asked %d times", err, second.asked.Load())
	}
	c = dial(t, Config{Servers: []string{first.URL, second.URL}})
	if _, _, err := c.CreateRollout(t.Context(), api.RolloutSpec{}, ""); err != nil {
		t.Errorf("a rollout has a key and is asked for again: %v", err)
	}
	c = dial(t, Config{Servers: []string{gone(t), second.URL}})
	if _, err := c.CreateToken(t.Context(), api.TokenRequest{Role: api.RoleViewer}); err != nil {
		t.Errorf("nobody can have made it at an address that is gone: %v", err)
	}
}

func TestStranger_WhatIsNoCoordinatorIsNotBelieved(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{
		"a proxy without backend": func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "<h1>Bad Gateway</h1>", 502) },
		"a page":                  func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>welcome")) },
		"a redirect":              func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "http://192.0.2.1/", 302) },
		"a problem without kind": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(404)
			_, _ = w.Write([]byte(`{"title":"no"}`))
		},
	} {
		c := dial(t, Config{Servers: []string{start(t, h).URL}})
		_, err := c.Status(t.Context())
		if !errors.Is(err, ErrUnreachable) || errors.As(err, new(*api.Error)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// A captive portal says yes to everything and names no cluster.
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }))
	defer portal.Close()
	c := dial(t, Config{Servers: []string{portal.URL}, Cluster: "c-1"})
	if err := c.Release(t.Context(), "g", "n", 1, "i"); !errors.Is(err, ErrUnreachable) {
		t.Errorf("a portal: %v", err)
	}
}

func TestUnreachable_WrongSchemeAndUnknownAuthorityNameTheRemedy(t *testing.T) {
	plain := start(t, ok)
	secure := httptest.NewTLSServer(http.HandlerFunc(ok))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0)
	defer secure.Close()
	for server, want := range map[string]string{
		"https://" + plain.Listener.Addr().String(): "; want http://",
		"http://" + secure.Listener.Addr().String(): "If it speaks TLS there, want https://",
		secure.URL: "; give the authority by --ca-file, or the coordinator's key by --pin",
	} {
		_, err := dial(t, Config{Servers: []string{server}}).Status(t.Context())
		if !errors.Is(err, ErrUnreachable) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want it to end with %q", server, err, want)
		}
	}
}

func TestCluster_AnotherOneIsNotBelievedWhateverItAnswers(t *testing.T) {
	for name, h := range map[string]http.HandlerFunc{"yes": ok, "no": func(w http.ResponseWriter, _ *http.Request) {
		api.WriteProblem(w, api.Errorf(api.NotFound, "no such hold"))
	}} {
		var sent string
		srv := start(t, func(w http.ResponseWriter, r *http.Request) { sent = r.Header.Get(api.HeaderCluster); h(w, r) })
		c := dial(t, Config{Servers: []string{srv.URL}})
		if _, err := c.Status(t.Context()); name == "yes" && err != nil {
			t.Errorf("unpinned: %v", err)
		}
		var e *api.Error
		c.SetCluster("c-9", 0)
		if _, err := c.Status(t.Context()); !errors.As(err, &e) || e.Kind != api.WrongCluster || sent != "c-9" {
			t.Errorf("%s: %v, sent %q", name, err, sent)
		}
		c.SetCluster("c-1", 3)
		if _, err := c.Status(t.Context()); name == "yes" && err != nil {
			t.Errorf("of the pinned incarnation: %v", err)
		}
		// A restore has replaced what answers, whatever it answers.
		c.SetCluster("c-1", 4)
		if _, err := c.Status(t.Context()); !errors.As(err, &e) || e.Kind != api.WrongCluster {
			t.Errorf("%s: of an older incarnation: %v", name, err)
		}
	}
}

func TestToken_IsSentAndShownNowhere(t *testing.T) {
	const secret = "lk_very-secret"
	var header, target string
	srv := start(t, func(w http.ResponseWriter, r *http.Request) {
		header, target = r.Header.Get("Authorization"), r.URL.String()
		api.WriteProblem(w, api.Errorf(api.Forbidden, "no"))
	})
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(secret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, cfg := range []Config{{Token: secret}, {TokenFile: file}} {
		cfg.Servers = []string{srv.URL}
		_, err := dial(t, cfg).Status(t.Context())
		if header != "Bearer "+secret || strings.Contains(target, secret) || err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("header %q, URL %q, error %v", header, target, err)
		}
	}
	c := dial(t, Config{TokenFile: file, Servers: []string{srv.URL}})
	if err := os.WriteFile(file, []byte("lk_renewed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _ = c.Status(t.Context()); header != "Bearer lk_renewed" {
		t.Errorf("a renewed token: %q", header)
	}
	for _, servers := range []string{gone(t), srv.URL + "/%zz", "http://user:" + secret + "@127.0.0.1:1", "http://user:" + secret + "@127.0.0.1:x"} {
		c, err := New(Config{Servers: []string{servers}, Token: "lk_x"})
		if err == nil {
			_, err = c.Status(t.Context())
		}
		if err == nil || strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "lk_x") {
			t.Errorf("%s: %v", servers, err)
		}
	}
}

func TestNew_SaysWhatItWouldTake(t *testing.T) {
	junk := filepath.Join(t.TempDir(), "junk")
	if err := os.WriteFile(junk, []byte("two words"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, cfg := range map[string]Config{
		"at least one":          {},
		"want http://":          {Servers: []string{"127.0.0.1:8080"}},
		"absolute path":         {Servers: []string{"unix:lk.sock"}},
		"no credentials, query": {Servers: []string{"http://localhost:1/?a=b"}},
		"in the clear":          {Servers: []string{"http://lock.example.com"}, Token: "lk_x"},
		"white space":           {Servers: []string{"http://localhost"}, Token: "lk x"},
		"want one of them":      {Servers: []string{"http://localhost"}, Token: "lk_x", TokenFile: junk},
		"want one line":         {Servers: []string{"http://localhost"}, TokenFile: junk},
		"no such file":          {Servers: []string{"http://localhost"}, CAFile: junk + "x"},
		"no certificate":        {Servers: []string{"http://localhost"}, CAFile: junk},
		"64 hexadecimal digits": {Servers: []string{"http://localhost"}, Pin: "sha256:abc"},
	} {
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q, got %v", want, err)
		}
	}
}

func TestDeadline_TheCallersEndEndsARequest(t *testing.T) {
	arrived := make(chan struct{})
	srv := start(t, func(_ http.ResponseWriter, r *http.Request) { close(arrived); <-r.Context().Done() })
	c := dial(t, Config{Servers: []string{srv.URL, gone(t)}})
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

// hangs answers nothing, as a process that stands still does.
func hangs(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func TestDeadline_OneThatHangsLeavesTimeForAnother(t *testing.T) {
	hung, live := start(t, hangs), start(t, ok)
	c := dial(t, Config{Servers: []string{hung.URL, live.URL}})
	ctx, cancel := context.WithTimeout(t.Context(), 6*time.Second) // half of it for each
	defer cancel()
	if _, err := c.Status(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Status(t.Context()); err != nil || hung.asked.Load() != 1 {
		t.Errorf("%v; the one that hangs was asked %d times, want once", err, hung.asked.Load())
	}
}

func TestDeadline_OneThatWasSilentForLongIsNotTheFirstToBeAskedAgain(t *testing.T) {
	hung, live := start(t, hangs), start(t, ok)
	c := dial(t, Config{Servers: []string{hung.URL, live.URL}})
	for i, silent := range []time.Duration{0, silentFor} { // from when it was asked
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			defer cancel()
			for hung.asked.Load() != int64(i)+1 {
				time.Sleep(time.Millisecond)
			}
			time.Sleep(silent)
		}()
		if _, err := c.Status(ctx); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v: one that was silent for a moment is not given up", err)
		}
	}
	if _, err := c.Status(t.Context()); err != nil || hung.asked.Load() != 2 {
		t.Errorf("%v; the one that hangs was asked %d times, want twice", err, hung.asked.Load())
	}
}

func TestRetryAfter_InSecondsOrAsADate(t *testing.T) {
	now := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Duration{
		"": 0, "7": 7 * time.Second, "-1": 0, "x": 0, "999999999": 24 * time.Hour,
		"Tue, 24 Nov 2026 12:00:30 GMT": 30 * time.Second, "Tue, 24 Nov 2026 11:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func TestBundle_ADigestThatDoesNotFitIsNotSent(t *testing.T) {
	srv := start(t, ok)
	c := dial(t, Config{Servers: []string{srv.URL}})
	if _, _, err := c.CreateBundle(t.Context(), strings.NewReader("hello"), strings.Repeat("0", 64)); !errors.As(err, new(*api.Error)) || srv.asked.Load() != 0 {
		t.Errorf("got %v", err)
	}
	if _, _, err := c.CreateBundle(t.Context(), strings.NewReader(strings.Repeat("x", maxBundle+1)), ""); !errors.As(err, new(*api.Error)) || srv.asked.Load() != 0 {
		t.Errorf("got %v", err)
	}
}

func TestEvents_AStreamThatIsNoneIsAnError(t *testing.T) {
	c := dial(t, Config{Servers: []string{start(t, ok).URL}})
	if _, err := c.WatchEvents(t.Context(), 0); !errors.Is(err, ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

func TestRolloutAction_WithoutAWaveOrAStopItIsNotAskedForTwice(t *testing.T) {
	for _, action := range []string{"approve", "skip", "resume"} {
		cut := start(t, noQuorum) // what it did before it lost the others is not known
		live := start(t, func(w http.ResponseWriter, _ *http.Request) { _ = json.NewEncoder(w).Encode(api.Rollout{}) })
		c := dial(t, Config{Servers: []string{cut.URL, live.URL}})
		var refused *api.Error
		if _, err := c.RolloutAction(t.Context(), "ro-1", action, api.RolloutActionRequest{}); !errors.As(err, &refused) || refused.Kind != api.NoQuorum {
			t.Errorf("%s: %v", action, err)
		}
		if live.asked.Load() != 0 {
			t.Errorf("the %s was asked for again, of whichever wave comes next", action)
		}
		c = dial(t, Config{Servers: []string{cut.URL, live.URL}})
		named := api.RolloutActionRequest{Wave: 1}
		if action == "resume" {
			named = api.RolloutActionRequest{StoppedAt: time.Now()}
		}
		if _, err := c.RolloutAction(t.Context(), "ro-1", action, named); err != nil || live.asked.Load() != 1 {
			t.Errorf("%s of %+v: %v, asked %d times", action, named, err, live.asked.Load())
		}
	}
}
