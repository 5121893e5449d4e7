package door

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// enter lets one request in that must not have to wait.
func enter(t *testing.T, l *Limiter, client string, k kind) *ticket {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // whoever would stand in line leaves at once
	ticket, err := l.enter(ctx, client, k, patience)
	if err != nil {
		t.Fatalf("%s has to wait: %v", client, err)
	}
	return ticket
}

func isKind(err error) api.Kind {
	if e, ok := err.(*api.Error); ok { //nolint:errorlint // made by this very package
		return e.Kind
	}
	return ""
}

func TestLimiter_OneTooManyIsRefusedAndAnotherClientIsNot(t *testing.T) {
	l := NewLimiter(2, 3)
	first := enter(t, l, "loud", brief)
	enter(t, l, "loud", brief)
	_, err := l.enter(t.Context(), "loud", brief, patience)
	if e, ok := err.(*api.Error); !ok || e.Kind != api.Rate || e.RetryAfter <= 0 { //nolint:errorlint // made by this very package
		t.Fatalf("the third request: %v, want 429 with Retry-After", err)
	}
	enter(t, l, "quiet", brief).leave()
	first.leave()
	enter(t, l, "loud", brief)
}

func TestLimiter_WhatWaitsIsCountedApartAndBoundedToo(t *testing.T) {
	l := NewLimiter(1, 3)
	enter(t, l, "site", brief)
	polls := []*ticket{enter(t, l, "site", patient), enter(t, l, "site", patient), enter(t, l, "site", patient)}
	if _, err := l.enter(t.Context(), "site", patient, patience); isKind(err) != api.Rate {
		t.Errorf("the fourth long poll: %v", err)
	}
	if _, err := l.enter(t.Context(), "site", queues, patience); isKind(err) != api.Rate {
		t.Errorf("an acquire behind as many as may wait: %v", err)
	}
	polls[0].leave()
	enter(t, l, "site", patient)
}

func TestLimiter_AcquiresStandInLineAndGoOnWhenOneIsParkedOrAnswered(t *testing.T) {
	l := NewLimiter(1, 10)
	first := enter(t, l, "site", queues)
	type got struct {
		name   string
		ticket *ticket
	}
	in := make(chan got)
	line := func() int {
		l.mu.Lock()
		defer l.mu.Unlock()
		return len(l.clients["site"].line)
	}
	for i, name := range []string{"second", "third"} {
		go func() {
			ticket, err := l.enter(context.Background(), "site", queues, time.Minute)
			if err != nil {
				t.Error(err)
			}
			in <- got{name, ticket}
		}()
		for line() != i+1 {
			continue // until it stands there
		}
	}
	first.parked()
	second := <-in
	if second.name != "second" || line() != 1 {
		t.Fatalf("%s came first, %d stand in line", second.name, line())
	}
	second.ticket.leave()
	third := <-in
	third.ticket.leave()
	first.leave()
	if len(l.clients) != 0 {
		t.Errorf("what has ended is still counted: %+v", l.clients["site"])
	}
}

func TestLimiter_ARequestThatDoesNotWaitGoesBeforeAcquiresThatDo(t *testing.T) {
	l := NewLimiter(1, 10)
	first := enter(t, l, "site", brief)
	in := make(chan kind)
	for i, k := range []kind{queues, brief} {
		go func() {
			ticket, err := l.enter(context.Background(), "site", k, time.Minute)
			if err != nil {
				t.Error(err)
			}
			in <- k
			ticket.leave()
		}()
		for standing := 0; standing != i+1; {
			l.mu.Lock()
			standing = len(l.clients["site"].line) + len(l.clients["site"].short)
			l.mu.Unlock()
		}
	}
	first.leave()
	if k := <-in; k != brief {
		t.Error("an acquire that has time went first")
	}
	<-in
}

func TestLimiter_WhoLeavesTheLineTakesNoPlace(t *testing.T) {
	l := NewLimiter(1, 10)
	first := enter(t, l, "site", queues)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.enter(ctx, "site", queues, patience); err == nil {
		t.Fatal("a request that has ended was let in")
	}
	first.leave()
	enter(t, l, "site", brief).leave()
	if len(l.clients) != 0 {
		t.Errorf("what has ended is still counted: %+v", l.clients)
	}
}

func TestLimiter_CountsEachRequestAsItIs(t *testing.T) {
	for target, want := range map[string]kind{
		"GET /healthz": unbounded, "GET /readyz": unbounded, "GET /api/v1/status": brief, "GET /": brief, "GET /metrics": brief,
		"GET /api/v1/events/stream?after=0": patient, "GET /ui/stream": patient, "POST /v1/pre-reboot": patient,
		"POST /v1/steady-state": brief, "POST /api/v1/nodes/a%2Fb/poll": patient, "GET /api/v1/nodes/x/poll": brief,
		"PUT /api/v1/groups/g/holds/n": brief, "PUT /api/v1/groups/g/holds/n?wait=30s": queues, "DELETE /api/v1/groups/g/holds/n?fence=1": brief,
	} {
		var method, path string
		for i := range target {
			if target[i] == ' ' {
				method, path = target[:i], target[i+1:]
				break
			}
		}
		if got := kindOfRequest(httptest.NewRequest(method, "http://localhost"+path, nil)); got != want {
			t.Errorf("%s counts as %d, want %d", target, got, want)
		}
	}
}

func TestLimiter_AClientIsItsTokenElseItsAddress(t *testing.T) {
	r := httptest.NewRequest("GET", "http://localhost/", nil)
	r.RemoteAddr = "10.0.0.7:4711"
	for want, p := range map[string]auth.Principal{
		"10.0.0.7": auth.Local(), "token t1": {Name: "token t1", Role: api.RoleViewer},
	} {
		if got := clientOf(r, p); got != want {
			t.Errorf("%+v is %q, want %q", p, got, want)
		}
	}
	r.RemoteAddr = "@"
	if got := clientOf(r, auth.Local()); got != "this host" {
		t.Errorf("through a unix socket it is %q", got)
	}
}

func TestLimiter_ShowsWhatIsInProgress(t *testing.T) {
	l := NewLimiter(5, 5)
	reg := prometheus.NewRegistry()
	if err := l.Register(reg); err != nil {
		t.Fatal(err)
	}
	enter(t, l, "a", brief)
	enter(t, l, "b", queues)
	enter(t, l, "b", patient)
	families, err := reg.Gather()
	if err != nil || len(families) != 1 || families[0].GetName() != "lockkeeper_http_in_progress" {
		t.Fatalf("%v, %v", families, err)
	}
	for _, m := range families[0].GetMetric() {
		if m.GetGauge().GetValue() != 2 {
			t.Errorf("%v, want 2", m)
		}
	}
}

func TestLimiter_ARefusalIsAProblemWithItsTime(t *testing.T) {
	l := NewLimiter(1, 1)
	inside := make(chan struct{})
	leave := make(chan struct{})
	h := Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/api/v1/slow" {
			close(inside)
			<-leave
		}
	}), Options{Loopback: true, Limiter: l})
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "http://localhost/api/v1/slow", nil))
	}()
	<-inside
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/api/v1/status", nil))
	if w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "1" || w.Header().Get("Content-Type") != api.ProblemType {
		t.Errorf("status %d, %v", w.Code, w.Header())
	}
	close(leave)
	<-done
	w = httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("GET", "http://localhost/api/v1/status", nil))
	if w.Code != http.StatusOK {
		t.Errorf("afterwards: status %d", w.Code)
	}
}

// An acquire that is answered by its handler waits as well as one that is parked.
func TestLimiter_AnAcquireThatIsNotParkedKeepsNoPlaceWhileItWaits(t *testing.T) {
	l := NewLimiter(1, 5)
	inside, freed := make(chan struct{}), make(chan struct{})
	h := Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut {
			close(inside)
			<-freed
		}
	}), Options{Loopback: true, Limiter: l})
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("PUT", "http://localhost/api/v1/groups/g/holds/a?wait=30s", nil))
	}()
	<-inside
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("DELETE", "http://localhost/api/v1/groups/g/holds/b?fence=1&instance=i", nil))
	if w.Code != http.StatusOK {
		t.Errorf("the release that it waits for: status %d", w.Code)
	}
	close(freed)
	<-done
	if len(l.clients) != 0 {
		t.Errorf("what has ended is still counted: %+v", l.clients)
	}
}

// Its client has given up by then, which shows only when its body is read.
func TestLimiter_AnAcquireStandsInLineForAsLongAsItMayWait(t *testing.T) {
	l := NewLimiter(1, 10)
	first := enter(t, l, "site", brief)
	if _, err := l.enter(context.Background(), "site", queues, 10*time.Millisecond); isKind(err) != api.Rate {
		t.Errorf("%v, want 429", err)
	}
	first.leave()
	if len(l.clients) != 0 {
		t.Errorf("what has ended is still counted: %+v", l.clients)
	}
	for target, want := range map[string]time.Duration{
		"/api/v1/groups/g/holds/n?wait=30s": 30 * time.Second, "/api/v1/groups/g/holds/n?wait=2m&x=1": 2 * time.Minute,
		"/api/v1/groups/g/holds/n?wait=10ms": patience, "/api/v1/groups/g/holds/n?wait=x": patience, "/api/v1/groups/g": patience,
	} {
		r := httptest.NewRequest("PUT", "http://localhost"+target, nil)
		if got := patienceOf(r, kindOfRequest(r)); got != want {
			t.Errorf("%s stands in line for %s, want %s", target, got, want)
		}
	}
}
