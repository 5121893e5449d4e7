package door

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

func TestBody_HasItsTimeAfterItsRequestStoodInLine(t *testing.T) {
	l := NewLimiter(1, 5)
	d := newDoor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			w.WriteHeader(http.StatusRequestTimeout)
		}
	}), Options{Loopback: true, Limiter: l})
	d.bodyWithin = time.Second
	srv := httptest.NewServer(d)
	defer srv.Close()
	self, _, err := net.SplitHostPort(srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	first := enter(t, l, self, brief)
	conn, err := net.Dial("tcp", srv.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	send := func(text string) {
		if _, err := io.WriteString(conn, text); err != nil {
			t.Fatal(err)
		}
	}
	send("PUT /api/v1/groups/g/holds/n?wait=30s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n")
	inTime := time.Now().Add(time.Minute)
	for standing := 0; standing == 0; {
		if time.Now().After(inTime) {
			t.Fatal("the request does not stand in line")
		}
		l.mu.Lock()
		standing = len(l.clients[self].line)
		l.mu.Unlock()
	}
	<-time.After(d.bodyWithin + 200*time.Millisecond)
	send("{}")
	first.leave()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%v, %v: its body was there", resp, err)
	}
}
