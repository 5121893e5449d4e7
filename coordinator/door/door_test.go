package door

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// inside shows who came in.
func inside(w http.ResponseWriter, r *http.Request) {
	p := auth.From(r.Context())
	w.Header().Set("X-Who", p.Name+"/"+string(p.Role))
	_, _ = io.Copy(io.Discard, r.Body)
}

type cluster struct{ stale bool }

func (cluster) ClusterID() (string, int64) { return "c-1", 4 }
func (cluster) Revision() int64            { return 99 }
func (c cluster) Stale() bool              { return c.stale }
func (cluster) ForeignCluster(ctx context.Context, theirs string) *api.Error {
	return api.Errorf(api.WrongCluster, "%s asks for %s", auth.From(ctx).Name, theirs)
}

func authenticate(_ context.Context, secret string) (auth.Principal, error) {
	switch secret {
	case "lk_ann":
		return auth.Principal{Name: "ann", Role: api.RoleOperator}, nil
	case "lk_node":
		return auth.Principal{Name: "node web-1", Role: api.RoleNode, Node: "web-1"}, nil
	case "lk_down":
		return auth.Principal{}, api.Errorf(api.NoQuorum, "no leader")
	}
	return auth.Principal{}, api.Errorf(api.Unauthenticated, "this token is not known")
}

// knock sends one request to a door. Every answer must name its request.
func knock(t *testing.T, o Options, method, target, body string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	Wrap(http.HandlerFunc(inside), o).ServeHTTP(w, r)
	resp := w.Result()
	if resp.Header.Get(api.HeaderRequestID) == "" || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %s: headers %v", method, target, resp.Header)
	}
	return resp
}

func kindOf(t *testing.T, resp *http.Response) api.Kind {
	t.Helper()
	var p api.Problem
	b, _ := io.ReadAll(resp.Body)
	if err := json.Unmarshal(b, &p); err != nil {
		t.Fatalf("status %d: %s", resp.StatusCode, b)
	}
	return p.Kind
}

func TestHost_ANameThatIsNotOursIsTurnedAway(t *testing.T) {
	o := Options{Loopback: true, AllowedHosts: []string{"Lock.example.com", "10.0.0.7:8443"}}
	for host, want := range map[string]int{
		"localhost": 200, "localhost:8080": 200, "LOCALHOST.": 200, "app.localhost:1": 200, "127.0.0.1:8080": 200, "127.9.9.9": 200, "[::1]:8080": 200,
		"lock.example.com": 200, "LOCK.EXAMPLE.COM:443": 200, "lock.example.com.": 200, "10.0.0.7": 200,
		"evil.example": 421, "evil.example:8080": 421, "127.0.0.1.evil.example": 421, "localhost.evil.example": 421, "xlock.example.com": 421,
		"10.0.0.8": 421, "0.0.0.0": 421, "": 400, ":8080": 400, "[::1": 200, "127.0.0.1 ": 421,
	} {
		r := httptest.NewRequest("GET", "/api/v1/status", nil)
		r.Host = host
		w := httptest.NewRecorder()
		Wrap(http.HandlerFunc(inside), o).ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("Host %q: status %d, want %d", host, w.Code, want)
		}
	}
}

func TestOrigin_AnotherSitesPageMayChangeNothing(t *testing.T) {
	o := Options{Loopback: true}
	const at = "http://127.0.0.1:8080/api/v1/freeze"
	for _, c := range []struct {
		method, name, value string
		want                int
	}{
		{"PUT", "Origin", "http://evil.example", 403},
		{"POST", "Sec-Fetch-Site", "cross-site", 403},
		{"DELETE", "Sec-Fetch-Site", "same-site", 403},
		{"POST", "Origin", "null", 403},
		{"POST", "Origin", "http://127.0.0.1:9090", 403},
		{"POST", "Origin", "http://127.0.0.1:8080", 200},
		{"POST", "Sec-Fetch-Site", "same-origin", 200},
		{"GET", "Sec-Fetch-Site", "cross-site", 200},
		{"POST", "X-None", "", 200},
	} {
		if resp := knock(t, o, c.method, at, "", c.name, c.value); resp.StatusCode != c.want {
			t.Errorf("%s with %s %s: status %d, want %d", c.method, c.name, c.value, resp.StatusCode, c.want)
		}
	}
}

func TestContentType_AFormThatAnyPageCanSendIsNotTaken(t *testing.T) {
	for _, c := range []struct {
		method, path, mime string
		want               int
	}{
		{"POST", "/api/v1/rollouts", "application/json", 200},
		{"POST", "/api/v1/rollouts", "application/json; charset=utf-8", 200},
		{"POST", "/api/v1/rollouts", "text/plain", 415},
		{"POST", "/api/v1/rollouts", "application/x-www-form-urlencoded", 415},
		{"POST", "/api/v1/rollouts", "", 415},
		{"POST", "/api/v1/rollouts", "application/octet-stream", 415},
		{"POST", "/api/v1/bundles", "application/octet-stream", 200},
		{"POST", "/api/v1/bundles", "application/vnd.lockkeeper.bundle+tar", 200},
		{"POST", "/ui/freeze", "application/x-www-form-urlencoded", 200},
		{"POST", "/ui/freeze", "text/plain", 415},
		{"POST", "/v1/pre-reboot", "text/plain", 200},
		{"GET", "/api/v1/status", "text/plain", 200},
	} {
		if resp := knock(t, Options{Loopback: true}, c.method, "http://localhost"+c.path, "x", "Content-Type", c.mime); resp.StatusCode != c.want {
			t.Errorf("%s %s %q: status %d, want %d", c.method, c.path, c.mime, resp.StatusCode, c.want)
		}
	}
	if resp := knock(t, Options{Loopback: true}, "DELETE", "http://localhost/api/v1/freeze", ""); resp.StatusCode != 200 {
		t.Errorf("no body, no type: status %d", resp.StatusCode)
	}
}

func TestCredentials_WhoComesIn(t *testing.T) {
	loopback := Options{Loopback: true, Authenticate: authenticate}
	open := Options{AllowedHosts: []string{"lk"}, Authenticate: authenticate}
	for _, c := range []struct {
		why    string
		o      Options
		path   string
		header []string
		want   int
		who    string
	}{
		{"loopback without a token", loopback, "/api/v1/status", nil, 200, "local/admin"},
		{"loopback with a token", loopback, "/api/v1/status", []string{"Authorization", "Bearer lk_ann"}, 200, "ann/operator"},
		{"loopback with a wrong token", loopback, "/api/v1/status", []string{"Authorization", "Bearer lk_x"}, 401, ""},
		{"loopback behind a proxy", loopback, "/api/v1/status", []string{"X-Forwarded-For", "203.0.113.9"}, 401, ""},
		{"loopback behind a proxy with a token", loopback, "/api/v1/status", []string{"X-Forwarded-For", "203.0.113.9", "Authorization", "bearer lk_ann"}, 200, "ann/operator"},
		{"outside without a token", open, "/api/v1/status", nil, 401, ""},
		{"outside with a token", open, "/api/v1/status", []string{"Authorization", "Bearer lk_ann"}, 200, "ann/operator"},
		{"a browser that has signed in", open, "/", []string{"Cookie", auth.CookieName("lk", false) + "=lk_ann"}, 200, "ann/operator"},
		{"a browser that has signed in at another port of the host", open, "/", []string{"Cookie", auth.CookieName("lk:8081", false) + "=lk_ann"}, 200, "/"},
		{"a browser that has not", open, "/", nil, 200, "/"},
		{"a browser whose token was revoked", open, "/", []string{"Cookie", auth.CookieName("lk", false) + "=lk_x"}, 200, "/"},
		{"outside with another scheme", open, "/api/v1/status", []string{"Authorization", "Digest lk_ann"}, 401, ""},
		{"outside, token in the URL", open, "/api/v1/status?token=lk_ann", nil, 401, ""},
		{"outside, the store is down", open, "/api/v1/status", []string{"Authorization", "Bearer lk_down"}, 503, ""},
		{"health", open, "/healthz", nil, 200, "/"},
		{"readiness", open, "/readyz", nil, 200, "/"},
		{"readiness with a token", open, "/readyz", []string{"Authorization", "Bearer lk_ann"}, 200, "ann/operator"},
		{"readiness with a token that ended", open, "/readyz", []string{"Authorization", "Bearer lk_x"}, 200, "/"},
		{"readiness on this host", loopback, "/readyz", nil, 200, "local/admin"},
		{"readiness on this host, behind a proxy", loopback, "/readyz", []string{"X-Forwarded-For", "203.0.113.9"}, 200, "/"},
		{"metrics without a token", open, "/metrics", nil, 401, ""},
		{"metrics with a node's token", open, "/metrics", []string{"Authorization", "Bearer lk_node"}, 403, ""},
		{"metrics with a viewer's token", open, "/metrics", []string{"Authorization", "Bearer lk_ann"}, 200, "ann/operator"},
		{"FleetLock outside", open, "/v1/pre-reboot", nil, 403, ""},
		{"FleetLock at its own listener", Options{AllowedHosts: []string{"lk"}, FleetLock: true}, "/v1/pre-reboot", nil, 200, "/"},
	} {
		host := "http://lk"
		if c.o.Loopback {
			host = "http://localhost"
		}
		resp := knock(t, c.o, "GET", host+c.path, "", c.header...)
		if resp.StatusCode != c.want || resp.Header.Get("X-Who") != c.who {
			t.Errorf("%s: status %d as %q, want %d as %q", c.why, resp.StatusCode, resp.Header.Get("X-Who"), c.want, c.who)
		}
		if c.want == 401 && !strings.HasPrefix(resp.Header.Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s: asks with %q", c.why, resp.Header.Get("WWW-Authenticate"))
		}
	}
}

func TestCredentials_ARefusalOfMetricsNamesBothRoles(t *testing.T) {
	resp := knock(t, Options{AllowedHosts: []string{"lk"}, Authenticate: authenticate}, "GET", "http://lk/metrics", "", "Authorization", "Bearer lk_node")
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"need the role viewer", "the token has the role node, bound to "} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%s does not say %q", text, want)
		}
	}
}

func TestCluster_EveryAnswerNamesItAndAClientOfAnotherIsTurnedAway(t *testing.T) {
	o := Options{Loopback: true, Authenticate: authenticate, Cluster: cluster{stale: true}}
	resp := knock(t, o, "GET", "http://localhost/", "")
	for name, want := range map[string]string{
		api.HeaderCluster: "c-1", api.HeaderIncarnation: "4", api.HeaderRevision: "99", api.HeaderStale: "true",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if resp := knock(t, o, "GET", "http://localhost/", "", api.HeaderCluster, "c-1"); resp.StatusCode != 200 {
		t.Errorf("a client of this cluster: status %d", resp.StatusCode)
	}
	resp = knock(t, o, "GET", "http://localhost/", "", api.HeaderCluster, "c-2", "Authorization", "Bearer lk_node")
	if resp.StatusCode != 409 || kindOf(t, resp) != api.WrongCluster || resp.Header.Get(api.HeaderCluster) != "c-1" {
		t.Errorf("a client of another cluster: status %d", resp.StatusCode)
	}
}

func TestCluster_OnlyARequestThatAnAgentMakesCallsForAnother(t *testing.T) {
	o := Options{Loopback: true, Authenticate: authenticate, Cluster: cluster{}}
	for request, counts := range map[string]bool{
		"POST /api/v1/nodes/web%2F1/poll":                 true,
		"PUT /api/v1/groups/web/holds/web-1":              true,
		"POST /api/v1/groups/web/holds/web-1/confirm":     true,
		"DELETE /api/v1/groups/web/holds/web-1?fence=1":   true,
		"GET /api/v1/status":                              false,
		"GET /":                                           false,
		"GET /api/v1/nodes/web-1":                         false,
		"PATCH /api/v1/nodes/web-1":                       false,
		"POST /api/v1/groups/web/holds/web-1/revoke":      false,
		"POST /api/v1/groups/web/holds/web-1/release":     false,
		"PUT /api/v1/freeze":                              false,
		"PUT /api/v1/groups/web":                          false,
		"DELETE /api/v1/groups/web":                       false,
		"POST /api/v1/groups/web/queue/web-1/poll":        false,
		"PUT /x/api/v1/groups/web/holds/web-1":            false,
		"POST /api/v1/rollouts":                           false,
		"POST /v1/pre-reboot":                             false,
		"DELETE /api/v1/groups/web/holds/web-1/../../a/b": false,
	} {
		method, path, _ := strings.Cut(request, " ")
		resp := knock(t, o, method, "http://localhost"+path, "{}", api.HeaderCluster, "c-2", "Content-Type", "application/json")
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		// The cluster says by whom it was told.
		if got := strings.Contains(string(text), "local asks for c-2"); got != counts || resp.StatusCode != 409 {
			t.Errorf("%s: status %d, counts %v, want 409 and %v: %s", request, resp.StatusCode, got, counts, text)
		}
	}
}

func TestLog_EachFailureIsThereOnceUnderItsRequestID(t *testing.T) {
	var log bytes.Buffer
	status := 200
	h := Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if status == 0 {
			panic("boom")
		}
		w.WriteHeader(status)
	}), Options{Loopback: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for _, c := range []struct {
		method, path string
		status, want int
		level        string
	}{
		{"GET", "/api/v1/status", 200, 0, ""},
		{"PUT", "/api/v1/freeze", 200, 1, "level=INFO"},
		{"PUT", "/api/v1/freeze", 423, 0, ""},
		{"PUT", "/api/v1/freeze", 409, 0, ""},
		{"GET", "/api/v1/x", 404, 1, "level=WARN"},
		{"GET", "/api/v1/x", 503, 1, "level=WARN"},
		{"GET", "/api/v1/x", 500, 1, "level=ERROR"},
		{"GET", "/api/v1/x", 0, 2, "level=ERROR"},
	} {
		log.Reset()
		status = c.status
		w := httptest.NewRecorder()
		func() {
			defer func() {
				if fault := recover(); fault != nil && fault != http.ErrAbortHandler { //nolint:errorlint // net/http panics with this very value
					t.Errorf("panic %v got out", fault)
				}
			}()
			h.ServeHTTP(w, httptest.NewRequest(c.method, "http://localhost"+c.path, nil))
		}()
		id := w.Header().Get(api.HeaderRequestID)
		if got := strings.Count(log.String(), "request_id="+id); got != c.want || !strings.Contains(log.String(), c.level) {
			t.Errorf("%s %s with %d: log %q", c.method, c.path, c.status, log.String())
		}
		if c.status == 0 && (w.Code != 500 || strings.Contains(w.Body.String(), "boom")) {
			t.Errorf("a panic: status %d %s", w.Code, w.Body)
		}
	}
}

func TestMetrics_RoutesAreBoundedWhateverIsAsked(t *testing.T) {
	reg := prometheus.NewRegistry()
	m, err := NewMetrics(reg)
	if err != nil {
		t.Fatal(err)
	}
	mux := chi.NewMux()
	mux.Get("/api/v1/nodes/{node}", inside)
	outer := chi.NewMux()
	outer.Handle("/api/*", mux)
	outer.NotFound(http.NotFound)
	h := Wrap(outer, Options{Loopback: true, Metrics: m})
	for _, path := range []string{"/api/v1/nodes/a", "/api/v1/nodes/b%2Fc", "/api/v1/nope", "/wp-login.php", "/x/y/z", "/metrics"} {
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost"+path, nil))
	}
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("BREW", "http://localhost/coffee", nil))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		if f.GetName() != "lockkeeper_http_requests_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetValue())
			}
			got[strings.Join(labels, " ")] = m.GetCounter().GetValue()
		}
	}
	want := map[string]float64{ // code, method, route
		"200 GET /api/v1/nodes/{node}": 2, "404 GET other": 3, "404 GET /metrics": 1, "405 other other": 1,
	}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := NewMetrics(reg); !errors.As(err, new(prometheus.AlreadyRegisteredError)) {
		t.Errorf("registered twice: %v", err)
	}
}

func TestLog_AClientThatLeftIsNoFailureOfOurs(t *testing.T) {
	var log bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	h := Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cancel()
		api.WriteProblem(w, api.Errorf(api.NoQuorum, "the request ended"))
	}), Options{Loopback: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost/", nil).WithContext(ctx))
	if log.Len() != 0 {
		t.Errorf("log %q", log.String())
	}
}

func TestFleetLock_IsRefusedInItsOwnWords(t *testing.T) {
	resp := knock(t, Options{FleetLock: true}, "POST", "http://evil.example/v1/pre-reboot", "{}")
	var e struct{ Kind, Value string }
	if err := json.NewDecoder(resp.Body).Decode(&e); err != nil || resp.StatusCode != 421 || e.Kind != "invalid" || !strings.Contains(e.Value, "evil.example") ||
		resp.Header.Get("Content-Type") != "application/json" {
		t.Errorf("status %d, %+v, %v", resp.StatusCode, e, err)
	}
}

func TestLog_ALineIsBoundedWhateverIsAsked(t *testing.T) {
	var log bytes.Buffer
	h := Wrap(http.NotFoundHandler(), Options{Loopback: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	long := strings.Repeat("x", 60<<10)
	r := httptest.NewRequest("GET", "http://localhost/api/v1/"+long, nil)
	r.Method = strings.ToUpper(long)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	h.ServeHTTP(httptest.NewRecorder(), r)
	if n := log.Len(); n == 0 || n > 8<<10 {
		t.Errorf("a line of %d bytes", n)
	}
	if !strings.Contains(log.String(), "/api/v1/xxx") {
		t.Errorf("what was asked is not there: %.200s", log.String())
	}
}
