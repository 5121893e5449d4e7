package door

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// safeLog is a log that is written and read by several goroutines.
type safeLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *safeLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *safeLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// parkingLot serves requests that are parked, until the test answers them.
type parkingLot struct {
	t      *testing.T
	url    string
	log    safeLog
	limits *Limiter
	end    context.CancelFunc // of the server's life
	parked chan *Parked
	ctx    chan context.Context
}

func newParkingLot(t *testing.T) *parkingLot {
	l := &parkingLot{t: t, limits: NewLimiter(1, 5), parked: make(chan *Parked, 5), ctx: make(chan context.Context, 5)}
	ln, err := Listen(Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	logger := slog.New(slog.NewTextHandler(&l.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	srv := NewServer(Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		ctx, cancel := Detach(r)
		p, ok := Park(w, "/parked/{it}", cancel)
		if !ok {
			cancel()
			http.Error(w, "not parked", http.StatusTeapot)
			return
		}
		l.parked <- p
		l.ctx <- ctx
	}), Options{Loopback: true, Cluster: cluster{}, Logger: logger, Limiter: l.limits}), slog.New(slog.DiscardHandler))
	var life context.Context
	life, l.end = context.WithCancel(context.Background())
	srv.BaseContext = func(net.Listener) context.Context { return life }
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { l.end(); _ = srv.Close(); <-done })
	l.url = ln.Addr().String()
	return l
}

// ask sends a request and returns its connection.
func (l *parkingLot) ask() (net.Conn, *bufio.Reader) {
	l.t.Helper()
	conn := l.dial()
	l.askOn(conn, "")
	return conn, bufio.NewReader(conn)
}

func (l *parkingLot) dial() net.Conn {
	l.t.Helper()
	conn, err := net.Dial("tcp", l.url)
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	return conn
}

// askOn sends a request, with one more header line.
func (l *parkingLot) askOn(conn net.Conn, line string) {
	l.t.Helper()
	_, err := io.WriteString(conn, "PUT /api/v1/groups/g/holds/n?wait=30s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"+line+"Content-Length: 2\r\n\r\n{}")
	if err != nil {
		l.t.Fatal(err)
	}
}

func TestPark_TheAnswerComesLaterAndWhole(t *testing.T) {
	l := newParkingLot(t)
	_, in := l.ask()
	p, ctx := <-l.parked, <-l.ctx
	if auth.From(ctx).Name != "local" || api.RequestID(ctx) == "" || ctx.Err() != nil {
		t.Errorf("the context knows %+v, request %q, %v", auth.From(ctx), api.RequestID(ctx), ctx.Err())
	}
	p.Answer(func(w http.ResponseWriter) {
		w.Header().Set("Content-Type", "text/plain")
		w.WriteHeader(http.StatusLocked)
		_, _ = io.WriteString(w, "later")
	})
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil || string(body) != "later" || resp.StatusCode != http.StatusLocked || resp.Close {
		t.Errorf("status %d, %q, closes: %v, %v", resp.StatusCode, body, resp.Close, err)
	}
	for name, want := range map[string]string{
		api.HeaderRequestID: api.RequestID(ctx), api.HeaderCluster: "c-1", "X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Content-Type": "text/plain",
	} {
		if got := resp.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if n := strings.Count(l.log.String(), "request_id="+api.RequestID(ctx)); n != 1 || !strings.Contains(l.log.String(), "status=423") {
		t.Errorf("it is in the log %d times: %s", n, l.log.String())
	}
}

func TestPark_TheConnectionServesTheNextRequest(t *testing.T) {
	l := newParkingLot(t)
	conn := l.dial()
	in := bufio.NewReader(conn)
	for range 3 {
		l.askOn(conn, "")
		p, ctx := <-l.parked, <-l.ctx
		if ctx.Err() != nil {
			t.Errorf("the context has ended: %v", ctx.Err())
		}
		p.Answer(func(w http.ResponseWriter) { _, _ = io.WriteString(w, "later") })
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(resp.Body); err != nil || string(body) != "later" || resp.Close {
			t.Errorf("%q, closes: %v, %v", body, resp.Close, err)
		}
	}
}

func TestPark_TheConnectionIsClosedWhenTheClientAsksForItOrTheServerEnds(t *testing.T) {
	for name, line := range map[string]string{"asked for": "Connection: close\r\n", "the server ends": ""} {
		l := newParkingLot(t)
		conn := l.dial()
		in := bufio.NewReader(conn)
		l.askOn(conn, line)
		p, ctx := <-l.parked, <-l.ctx
		if line == "" {
			l.end()
			<-ctx.Done()
		}
		p.Answer(func(http.ResponseWriter) {})
		resp, err := http.ReadResponse(in, nil)
		if err != nil || !resp.Close {
			t.Errorf("%s: closes: %v, %v", name, resp != nil && resp.Close, err)
		}
		if _, err := in.ReadByte(); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the connection is open still: %v", name, err)
		}
	}
}

func TestPark_TakesNoPlaceAmongTheRequestsAndGivesBackItsOwn(t *testing.T) {
	l := newParkingLot(t)
	for range 5 { // one request may be in progress, five may wait
		l.ask()
	}
	for range 5 {
		p := <-l.parked
		p.Answer(func(http.ResponseWriter) {})
	}
	l.limits.mu.Lock()
	defer l.limits.mu.Unlock()
	if len(l.limits.clients) != 0 {
		t.Errorf("what was answered is still counted: %+v", l.limits.clients)
	}
}

func TestPark_AClientThatHangsUpEndsItsContextAndNoOther(t *testing.T) {
	l := newParkingLot(t)
	conn, _ := l.ask()
	leaves, ctx := <-l.parked, <-l.ctx
	_, in := l.ask()
	stays, other := <-l.parked, <-l.ctx
	conn.Close()
	<-ctx.Done()
	leaves.Answer(func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
	if !strings.Contains(l.log.String(), "status=499") {
		t.Errorf("the log does not say that its client left: %s", l.log.String())
	}
	if other.Err() != nil {
		t.Error("another's context has ended with it")
	}
	stays.Answer(func(http.ResponseWriter) {})
	if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("another's answer: %v, %v", resp, err)
	}
}

func TestPark_EndsWithTheServer(t *testing.T) {
	l := newParkingLot(t)
	l.ask()
	p, ctx := <-l.parked, <-l.ctx
	l.end()
	<-ctx.Done()
	p.Answer(func(w http.ResponseWriter) { w.WriteHeader(http.StatusServiceUnavailable) })
}

func TestPark_AClientThatSendsMoreIsAnsweredAllTheSame(t *testing.T) {
	l := newParkingLot(t)
	conn, in := l.ask()
	p, ctx := <-l.parked, <-l.ctx
	if _, err := io.WriteString(conn, "GET / HTTP/1.1\r\n"); err != nil {
		t.Fatal(err)
	}
	p.Answer(func(http.ResponseWriter) {})
	if ctx.Err() != nil {
		t.Error("the context has ended")
	}
	if _, err := in.Peek(1); err != nil && !strings.Contains(err.Error(), "reset") {
		t.Errorf("the answer: %v", err)
	}
}
