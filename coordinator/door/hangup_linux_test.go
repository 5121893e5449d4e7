package door

import (
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"testing"
	"time"
)

// The client of a request is known to have left from the moment on in which it
// closed its connection, with TLS or without, and not before.
func TestHungUp_IsKnownOnceTheClientHasClosedItsConnection(t *testing.T) {
	for _, secure := range []bool{false, true} {
		t.Run(fmt.Sprint("TLS ", secure), func(t *testing.T) {
			ln, err := Listen(Config{Listen: "127.0.0.1:0", SelfSigned: secure, KeyDir: t.TempDir()})
			if err != nil {
				t.Fatal(err)
			}
			asked, closed, left := make(chan bool, 1), make(chan struct{}), make(chan bool, 1)
			srv := NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				asked <- HungUp(r)
				<-closed
				left <- HungUp(r)
			}), slog.New(slog.DiscardHandler))
			done := make(chan struct{})
			go func() { defer close(done); _ = srv.Serve(ln) }()
			t.Cleanup(func() { _ = srv.Close(); <-done })
			conn, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(time.Minute))
			out := conn
			if secure {
				out = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // its certificate is not what this is about
			}
			if _, err := io.WriteString(out, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
				t.Fatal(err)
			}
			if <-asked {
				t.Error("it left before it did")
			}
			conn.Close()
			close(closed)
			if !<-left {
				t.Error("nobody noticed that it left")
			}
		})
	}
}
