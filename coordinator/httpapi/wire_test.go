package httpapi

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/door"
)

// talk sends raw text to a listening coordinator.
func talk(t *testing.T, f *fake, text string) (*net.TCPConn, *bufio.Reader) {
	t.Helper()
	ln, err := door.Listen(door.Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	srv := door.NewServer(door.Wrap(New(f, Options{}), door.Options{Loopback: true}), slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn.(*net.TCPConn), bufio.NewReader(conn)
}

func TestWire_AnUploadThatBreaksOffStoresNothing(t *testing.T) {
	f := &fake{}
	conn, answer := talk(t, f, "POST /api/v1/bundles HTTP/1.1\r\nHost: localhost\r\n"+
		"Content-Type: application/octet-stream\r\nContent-Length: 100\r\n\r\nhalf of it")
	if err := conn.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(answer, nil)
	if err == nil && (resp.StatusCode != 400 || resp.Header.Get(api.HeaderRequestID) == "") {
		t.Errorf("status %d", resp.StatusCode)
	}
	if f.last() != "" {
		t.Errorf("the service saw %s", f.last())
	}
}

func TestWire_DotsAndEscapesInAPathMeanThemselves(t *testing.T) {
	for path, want := range map[string]string{
		"/api/v1/nodes/%2E%2E":             "Node[..]",
		"/api/v1/nodes/%2e":                "Node[.]",
		"/api/v1/nodes/a%2Fb%2F..%2Fc":     "Node[a/b/../c]",
		"/api/v1/nodes/a%252Fb":            "Node[a%2Fb]",
		"/api/v1/nodes/a%20b/explain":      "ExplainNode[a b]",
		"/api/v1/nodes/a+b":                "Node[a+b]",
		"/api/v1/groups/%77eb/holds?":      "Holds[web]",
		"/api/v1/nodes/explain%2F/explain": "ExplainNode[explain/]",
	} {
		f := &fake{}
		_, answer := talk(t, f, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path))
		if resp, err := http.ReadResponse(answer, nil); err != nil || resp.StatusCode != 200 || f.last() != want {
			t.Errorf("%s: %v, %v; the service saw %s", path, resp, err, f.last())
		}
	}
	for _, path := range []string{"/api/v1/../v1/status", "/api/v1/nodes/../status", "//api/v1/status", "/api/v1/nodes//explain", "/api/v1/nodes/"} {
		f := &fake{}
		_, answer := talk(t, f, fmt.Sprintf("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path))
		if resp, err := http.ReadResponse(answer, nil); err != nil || resp.StatusCode/100 != 4 || f.last() != "" {
			t.Errorf("%s: %v, %v; the service saw %s", path, resp, err, f.last())
		}
	}
}

func TestWire_AStreamIsServerSentEvents(t *testing.T) {
	f := &fake{events: make(chan api.Event, 1)}
	f.events <- api.Event{Revision: 42, Kind: "hold.granted"}
	_, answer := talk(t, f, "GET /api/v1/events/stream HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nLast-Event-ID: 41\r\n\r\n")
	resp, err := http.ReadResponse(answer, nil)
	if err != nil {
		t.Fatal(err)
	}
	close(f.events)
	text, err := io.ReadAll(resp.Body)
	if err != nil || !strings.HasPrefix(string(text), "retry: 2000\n\nid: 42\ndata: {") || !strings.HasSuffix(string(text), "}\n\n") {
		t.Errorf("%v: %q", err, text)
	}
	if resp.Header.Get("Cache-Control") != "no-store" || f.last() != "WatchEvents[41]" {
		t.Errorf("headers %v, the service saw %s", resp.Header, f.last())
	}
}
