package fleetlock

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake is a semaphore that does as it is told.
type fake struct {
	mu      sync.Mutex
	seen    []string
	acquire func(ctx context.Context, look int) (semaphore.Answer, error)
	release func(ctx context.Context) error
	looks   int
}

func (f *fake) note(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seen = append(f.seen, fmt.Sprintf(format, args...))
}

func (f *fake) log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.seen, "; ")
}

func granted(created bool, age time.Duration) semaphore.Answer {
	return semaphore.Answer{Created: created, Hold: &semaphore.Hold{Fence: 7}, At: time.Now().Add(-age)}
}

func (f *fake) FleetLockAcquire(ctx context.Context, group, id, peer string, wait time.Duration) (semaphore.Answer, error) {
	f.note("acquire %s %q %s %s", group, id, peer, wait)
	f.mu.Lock()
	f.looks++
	look := f.looks
	f.mu.Unlock()
	if f.acquire != nil {
		return f.acquire(ctx, look)
	}
	return granted(true, 0), nil
}

func (f *fake) FleetLockRelease(ctx context.Context, group, id string) error {
	f.note("release %s %q", group, id)
	if f.release != nil {
		return f.release(ctx)
	}
	return nil
}

func (f *fake) FleetLockGiveBack(group, id string, fence int64) {
	f.note("give back %s %q %d", group, id, fence)
}

const good = `{"client_params":{"id":"c988d2509fdf5cdcbed39037c56406fb","group":"workers"}}`

type reply struct {
	*http.Response
	Kind, Value string
	text        string
}

func ask(t *testing.T, h http.Handler, method, path, body string, change ...func(*http.Request)) reply {
	t.Helper()
	r := httptest.NewRequest(method, "http://localhost"+path, strings.NewReader(body))
	r.RemoteAddr = "10.1.2.3:4567"
	r.Header.Set("fleet-lock-protocol", "true")
	for _, c := range change {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	out := reply{Response: w.Result(), text: w.Body.String()}
	if got := out.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("%s %s: content type %q", method, path, got)
	}
	if out.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("%s %s: no nosniff", method, path)
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Errorf("%s %s: %s: %v", method, path, w.Body, err)
	}
	if out.StatusCode != 200 && (out.Kind == "" || out.Value == "") {
		t.Errorf("%s %s: status %d without kind and value: %s", method, path, out.StatusCode, w.Body)
	}
	return out
}

func TestProtocol_GrantedAndReleasedAre200(t *testing.T) {
	f := &fake{}
	h := New(f, Options{Wait: DefaultWait})
	if r := ask(t, h, "POST", PreReboot, good); r.StatusCode != 200 {
		t.Errorf("pre-reboot: %d %s", r.StatusCode, r.text)
	}
	if r := ask(t, h, "POST", SteadyState, good); r.StatusCode != 200 {
		t.Errorf("steady-state: %d %s", r.StatusCode, r.text)
	}
	if want := `acquire workers "c988d2509fdf5cdcbed39037c56406fb" 10.1.2.3 25s; release workers "c988d2509fdf5cdcbed39037c56406fb"`; f.log() != want {
		t.Errorf("the semaphore saw %s", f.log())
	}
}

func TestProtocol_WhatIsNoRequestOfItIsRefusedAndAsksNothing(t *testing.T) {
	f := &fake{}
	h := New(f, Options{})
	noHeader := func(r *http.Request) { r.Header.Del("fleet-lock-protocol") }
	wrongHeader := func(r *http.Request) { r.Header.Set("fleet-lock-protocol", "1") }
	long := strings.Repeat("x", semaphore.MaxNodeID+1)
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		kind                     string
		change                   func(*http.Request)
	}{
		{"GET", "GET", PreReboot, "", 405, "invalid", nil},
		{"PUT", "PUT", SteadyState, good, 405, "invalid", nil},
		{"HEAD", "HEAD", PreReboot, "", 405, "invalid", nil},
		{"path with a slash", "POST", PreReboot + "/", good, 404, "not_found", nil},
		{"path escaped", "POST", "/v1/pre%2Dreboot", good, 404, "not_found", nil},
		{"path below", "POST", PreReboot + "/x", good, 404, "not_found", nil},
		{"another path", "POST", "/v1/steadystate", good, 404, "not_found", nil},
		{"no header", "POST", PreReboot, good, 400, "invalid", noHeader},
		{"header with another value", "POST", PreReboot, good, 400, "invalid", wrongHeader},
		{"empty body", "POST", PreReboot, "", 400, "invalid", nil},
		{"no object", "POST", PreReboot, `["a"]`, 400, "invalid", nil},
		{"broken JSON", "POST", PreReboot, good[:40], 400, "invalid", nil},
		{"trailing object", "POST", PreReboot, good + good, 400, "invalid", nil},
		{"trailing text", "POST", PreReboot, good + "x", 400, "invalid", nil},
		{"not UTF-8", "POST", PreReboot, "{\"client_params\":{\"id\":\"\xff\",\"group\":\"g\"}}", 400, "invalid", nil},
		{"no client_params", "POST", PreReboot, `{}`, 400, "invalid", nil},
		{"client_params is null", "POST", PreReboot, `{"client_params":null}`, 400, "invalid", nil},
		{"client_params twice", "POST", PreReboot, `{"client_params":{"id":"a","group":"g"},"client_params":{"id":"b","group":"g"}}`, 400, "invalid", nil},
		{"no id", "POST", PreReboot, `{"client_params":{"group":"g"}}`, 400, "invalid", nil},
		{"id in capitals only", "POST", PreReboot, `{"client_params":{"ID":"a","group":"g"}}`, 400, "invalid", nil},
		{"id is a number", "POST", PreReboot, `{"client_params":{"id":1,"group":"g"}}`, 400, "invalid", nil},
		{"id is empty", "POST", PreReboot, `{"client_params":{"id":"","group":"g"}}`, 400, "invalid", nil},
		{"id twice", "POST", PreReboot, `{"client_params":{"id":"a","id":"b","group":"g"}}`, 400, "invalid", nil},
		{"id is too long", "POST", PreReboot, `{"client_params":{"id":"` + long + `","group":"g"}}`, 400, "invalid", nil},
		{"id with half a pair", "POST", PreReboot, `{"client_params":{"id":"\ud800","group":"g"}}`, 400, "invalid", nil},
		{"id with the other half", "POST", PreReboot, `{"client_params":{"id":"\\\udc01","group":"g"}}`, 400, "invalid", nil},
		{"id with a half before text", "POST", PreReboot, `{"client_params":{"id":"\ud800\u0041","group":"g"}}`, 400, "invalid", nil},
		{"no group", "POST", PreReboot, `{"client_params":{"id":"a"}}`, 400, "invalid", nil},
		{"group with a slash", "POST", PreReboot, `{"client_params":{"id":"a","group":"a/b"}}`, 400, "invalid", nil},
		{"group with a newline", "POST", PreReboot, `{"client_params":{"id":"a","group":"g\n"}}`, 400, "invalid", nil},
		{"group with an underscore", "POST", PreReboot, `{"client_params":{"id":"a","group":"a_b"}}`, 400, "invalid", nil},
		{"empty group", "POST", PreReboot, `{"client_params":{"id":"a","group":""}}`, 400, "invalid", nil},
		{"huge body", "POST", PreReboot, good + strings.Repeat(" ", maxBody), 413, "too_large", nil},
		{"huge body of unknown length", "POST", PreReboot, good + strings.Repeat(" ", maxBody), 413, "too_large", func(r *http.Request) { r.ContentLength = -1 }},
	} {
		change := c.change
		if change == nil {
			change = func(*http.Request) {}
		}
		r := ask(t, h, c.method, c.path, c.body, change)
		if r.StatusCode != c.status || r.Kind != c.kind {
			t.Errorf("%s: status %d, %s; want %d, %s", c.name, r.StatusCode, r.text, c.status, c.kind)
		}
		if r.StatusCode == 405 && r.Header.Get("Allow") != "POST" {
			t.Errorf("%s: Allow is %q", c.name, r.Header.Get("Allow"))
		}
	}
	if f.log() != "" {
		t.Errorf("the semaphore was asked: %s", f.log())
	}
}

func TestProtocol_AnyIDStaysItself(t *testing.T) {
	for text, id := range map[string]string{
		`"a/b"`: "a/b", `" "`: " ", `"\u0000"`: "\x00", `"\ud83d\ude00"`: "😀", `"😀"`: "😀", `"\ufffd"`: "\ufffd", `"\\ud800"`: `\ud800`,
		`"` + strings.Repeat("x", semaphore.MaxNodeID) + `"`: strings.Repeat("x", semaphore.MaxNodeID),
	} {
		f := &fake{}
		body := `{"extra":[1,{"id":2}],"client_params":{"more":null,"id":` + text + `,"ID":"other","group":"a.B-9"}}` + "\n"
		if r := ask(t, New(f, Options{}), "POST", SteadyState, body); r.StatusCode != 200 {
			t.Errorf("%s: %d %s", text, r.StatusCode, r.text)
		}
		if want := fmt.Sprintf("release a.B-9 %q", id); f.log() != want {
			t.Errorf("%s: the semaphore saw %s", text, f.log())
		}
	}
}

func TestRefusal_IsNever2xxAndSaysWhyAndWhenToAskAgain(t *testing.T) {
	for _, c := range []struct {
		give    error
		answer  semaphore.Answer
		status  int
		kind    string
		retry   string
		mention string
	}{
		{answer: semaphore.Answer{Kind: semaphore.Full, Detail: "2 of 2 slots are taken"}, status: 423, kind: "full", retry: "10", mention: "2 of 2"},
		{answer: semaphore.Answer{Kind: semaphore.Queued, Blockers: []semaphore.Blocker{{Kind: semaphore.Queued, Detail: "3 are before it"}}}, status: 423, kind: "queue", retry: "10", mention: "3 are before it"},
		{answer: semaphore.Answer{Kind: semaphore.HeldByOther, Detail: "an agent holds"}, status: 423, kind: "held_by_other", retry: "10", mention: "agent"},
		{answer: semaphore.Answer{Kind: semaphore.DuplicateID, Detail: "two hosts"}, status: 409, kind: "duplicate_id", mention: "two hosts"},
		{give: api.Errorf(api.UnknownGroup, "no group workers"), status: 404, kind: "unknown_group", mention: "no group"},
		{give: &api.Error{Kind: api.Frozen, Detail: "frozen by ann", RetryAfter: 90 * time.Second}, status: 423, kind: "frozen", retry: "90", mention: "ann"},
		{give: &api.Error{Kind: api.NoQuorum, Detail: "no leader", RetryAfter: 3 * time.Second}, status: 503, kind: "no_quorum", retry: "3", mention: "leader"},
		{give: api.Errorf(api.DiskLow, "disk"), status: 503, kind: "disk_low", retry: "10", mention: "disk"},
		{give: errors.New("password is hunter2"), status: 500, kind: "internal", mention: "log"},
	} {
		f := &fake{acquire: func(context.Context, int) (semaphore.Answer, error) { return c.answer, c.give }}
		r := ask(t, New(f, Options{}), "POST", PreReboot, good)
		if r.StatusCode != c.status || r.Kind != c.kind || r.Header.Get("Retry-After") != c.retry || !strings.Contains(r.Value, c.mention) || strings.Contains(r.text, "hunter2") {
			t.Errorf("%+v: status %d, Retry-After %q, %s", c, r.StatusCode, r.Header.Get("Retry-After"), r.text)
		}
	}
}

func TestAcquire_AnOldAnswerIsAskedForAgainAndNotGivenBack(t *testing.T) {
	f := &fake{acquire: func(_ context.Context, look int) (semaphore.Answer, error) {
		if look == 1 {
			return granted(false, 3*time.Second), nil
		}
		return granted(false, 0), nil
	}}
	if r := ask(t, New(f, Options{Wait: time.Minute}), "POST", PreReboot, good); r.StatusCode != 200 {
		t.Errorf("status %d %s", r.StatusCode, r.text)
	}
	if !strings.HasSuffix(f.log(), "10.1.2.3 0s") || strings.Contains(f.log(), "give back") {
		t.Errorf("the semaphore saw %s", f.log())
	}
	f = &fake{acquire: func(context.Context, int) (semaphore.Answer, error) { return granted(false, time.Minute), nil }}
	if r := ask(t, New(f, Options{}), "POST", PreReboot, good); r.StatusCode != 503 || r.Kind != "no_quorum" {
		t.Errorf("always old: status %d %s", r.StatusCode, r.text)
	}
	if strings.Contains(f.log(), "give back") {
		t.Errorf("a hold of an earlier request was given back: %s", f.log())
	}
}

// A hold that a request made, and on which no 200 of it rests, must not stay.
func TestAcquire_AGrantThatCameTooLateIsGivenBackBeforeTheNextLook(t *testing.T) {
	f := &fake{}
	f.acquire = func(_ context.Context, look int) (semaphore.Answer, error) {
		if look == 2 && !strings.Contains(f.log(), "give back") {
			t.Errorf("looked again before: %s", f.log())
		}
		return granted(true, time.Minute), nil
	}
	if r := ask(t, New(f, Options{}), "POST", PreReboot, good); r.StatusCode != 503 || r.Kind != "no_quorum" {
		t.Errorf("always old: status %d %s", r.StatusCode, r.text)
	}
	if made, back := strings.Count(f.log(), "acquire"), strings.Count(f.log(), "give back"); made != maxLooks || back != made {
		t.Errorf("%d holds made, %d given back: %s", made, back, f.log())
	}
}

// leave is an acquire whose client leaves while it waits.
func leave(answer semaphore.Answer) (*fake, *reply, func(t *testing.T)) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fake{acquire: func(context.Context, int) (semaphore.Answer, error) {
		cancel()
		return answer, nil
	}}
	out := &reply{}
	return f, out, func(t *testing.T) {
		*out = ask(t, New(f, Options{}), "POST", PreReboot, good, func(r *http.Request) { *r = *r.WithContext(ctx) })
	}
}

func TestAcquire_ASlotWhoseClientLeftIsGivenBackByItsFence(t *testing.T) {
	f, r, run := leave(granted(true, 0))
	run(t)
	if !strings.HasSuffix(f.log(), `give back workers "c988d2509fdf5cdcbed39037c56406fb" 7`) || r.StatusCode == 200 {
		t.Errorf("status %d, the semaphore saw %s", r.StatusCode, f.log())
	}
}

// net/http learns a moment later than the kernel that a client has closed its
// connection, and its answer can be written all the same.
func TestAcquire_ASlotWhoseClientHasJustClosedItsConnectionIsGivenBack(t *testing.T) {
	f := &fake{acquire: func(context.Context, int) (semaphore.Answer, error) { return granted(true, 0), nil }}
	r := ask(t, New(f, Options{HungUp: func(*http.Request) bool { return true }}), "POST", PreReboot, good)
	if !strings.HasSuffix(f.log(), `give back workers "c988d2509fdf5cdcbed39037c56406fb" 7`) || r.StatusCode == 200 {
		t.Errorf("status %d, the semaphore saw %s", r.StatusCode, f.log())
	}
}

func TestAcquire_ARenewedHoldWhoseClientLeftIsKept(t *testing.T) {
	f, r, run := leave(granted(false, 0))
	run(t)
	if strings.Contains(f.log(), "give back") || r.StatusCode == 200 {
		t.Errorf("status %d, the semaphore saw %s", r.StatusCode, f.log())
	}
}

func TestAcquire_ASlotWhoseAnswerCannotBeWrittenIsGivenBack(t *testing.T) {
	for created, want := range map[bool]bool{true: true, false: false} {
		f := &fake{acquire: func(context.Context, int) (semaphore.Answer, error) { return granted(created, 0), nil }}
		r := httptest.NewRequest("POST", PreReboot, strings.NewReader(good))
		r.Header.Set("fleet-lock-protocol", "true")
		New(f, Options{}).ServeHTTP(deaf{httptest.NewRecorder()}, r)
		if got := strings.Contains(f.log(), "give back"); got != want {
			t.Errorf("created %v: the semaphore saw %s", created, f.log())
		}
	}
}

// deaf is an answer that nobody takes.
type deaf struct{ *httptest.ResponseRecorder }

func (deaf) Write([]byte) (int, error) { return 0, net.ErrClosed }

func TestRelease_IsCarriedThroughWhenTheClientLeaves(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	f := &fake{release: func(ctx context.Context) error {
		cancel()
		return ctx.Err()
	}}
	r := ask(t, New(f, Options{}), "POST", SteadyState, good, func(r *http.Request) { *r = *r.WithContext(ctx) })
	if r.StatusCode != 200 {
		t.Errorf("status %d %s", r.StatusCode, r.text)
	}
}

func TestAdmit_WhoIsRefusedAsksNothingAndWhoIsAdmittedActsForItsID(t *testing.T) {
	f := &fake{acquire: func(ctx context.Context, _ int) (semaphore.Answer, error) {
		if p := auth.From(ctx); !p.AllowsNode("c988d2509fdf5cdcbed39037c56406fb") || p.AllowsNode("other") {
			return semaphore.Answer{}, api.Errorf(api.Forbidden, "%+v", p)
		}
		return granted(true, 0), nil
	}}
	refuse := true
	h := New(f, Options{Admit: func(_ *http.Request, group, id string, acquire bool) *api.Error {
		if refuse {
			return api.Errorf(api.Forbidden, "not from here: %s %v", group, acquire)
		}
		return nil
	}})
	if r := ask(t, h, "POST", PreReboot, good); r.StatusCode != 403 || r.Kind != "forbidden" || f.log() != "" {
		t.Errorf("status %d %s, the semaphore saw %s", r.StatusCode, r.text, f.log())
	}
	refuse = false
	if r := ask(t, h, "POST", PreReboot, good); r.StatusCode != 200 {
		t.Errorf("status %d %s", r.StatusCode, r.text)
	}
}

// talk sends raw text to a server over the handler.
func talk(t *testing.T, h http.Handler, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

func TestWire_AParkedRequestWhoseClientHangsUpIsDropped(t *testing.T) {
	parked, dropped := make(chan struct{}), make(chan struct{})
	f := &fake{acquire: func(ctx context.Context, _ int) (semaphore.Answer, error) {
		close(parked)
		<-ctx.Done()
		close(dropped)
		return semaphore.Answer{}, ctx.Err()
	}}
	conn, _ := talk(t, New(f, Options{Wait: time.Hour}),
		fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nFleet-Lock-Protocol: true\r\nContent-Length: %d\r\n\r\n%s", PreReboot, len(good), good))
	<-parked
	conn.Close()
	select {
	case <-dropped:
	case <-time.After(time.Minute):
		t.Fatal("the request stayed parked without its client")
	}
}

func TestWire_ABodyThatNeverEndsIsCutOffAtItsLimit(t *testing.T) {
	conn, answer := talk(t, New(&fake{}, Options{}),
		"POST "+PreReboot+" HTTP/1.1\r\nHost: localhost\r\nFleet-Lock-Protocol: true\r\nTransfer-Encoding: chunked\r\n\r\n")
	go func() {
		for chunk := "1000\r\n" + strings.Repeat(" ", 0x1000) + "\r\n"; ; {
			if _, err := io.WriteString(conn, chunk); err != nil {
				return
			}
		}
	}()
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != 413 || !resp.Close {
		t.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
	}
	conn.Close()
}

func TestWire_ABodyThatDoesNotComeIsNotWaitedFor(t *testing.T) {
	h := newHandler(&fake{}, Options{})
	h.bodyWithin = 100 * time.Millisecond
	const head = "Host: localhost\r\nFleet-Lock-Protocol: true\r\nContent-Length: 100\r\n\r\n{"
	for first, status := range map[string]int{
		"POST " + PreReboot:   408,
		"POST " + SteadyState: 408,
		"POST /v1/other":      404,
		"DELETE " + PreReboot: 405,
	} {
		conn, answer := talk(t, h, first+" HTTP/1.1\r\n"+head)
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		resp, err := http.ReadResponse(answer, nil)
		if err != nil {
			t.Fatalf("%s: %v", first, err)
		}
		if resp.StatusCode != status {
			t.Errorf("%s: status %d, want %d", first, resp.StatusCode, status)
		}
		if _, err := io.ReadAll(answer); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: the connection is kept", first)
		}
	}
}

func TestWire_AParkedRequestOutlivesTheTimeForItsBody(t *testing.T) {
	f := &fake{acquire: func(ctx context.Context, _ int) (semaphore.Answer, error) {
		select {
		case <-ctx.Done():
			return semaphore.Answer{}, ctx.Err()
		case <-time.After(1200 * time.Millisecond):
			return granted(true, 0), nil
		}
	}}
	h := newHandler(f, Options{Wait: time.Minute})
	h.bodyWithin = time.Second
	_, answer := talk(t, h, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: localhost\r\nFleet-Lock-Protocol: true\r\nContent-Length: %d\r\n\r\n%s", PreReboot, len(good), good))
	resp, err := http.ReadResponse(answer, nil)
	if err != nil || resp.StatusCode != 200 {
		t.Errorf("got %v, %v", resp, err)
	}
}
