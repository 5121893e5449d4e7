package client

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// An answer that comes after its request was given up is not taken for that of
// the next.
func TestWire_AfterABrokenAnswerTheNextRequestConnectsAnew(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for connection := 0; ; connection++ {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(conn)); err != nil {
				t.Error(err)
			}
			const late = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"hold\":{\"fence\":1}}"
			const own = "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\n{\"hold\":{\"fence\":2}}"
			text := own
			if connection == 0 {
				text = "HTTP/9 what\r\n" + late
			}
			if _, err := io.WriteString(conn, text); err != nil {
				t.Error(err)
			}
			defer conn.Close()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	c := dial(t, Config{Servers: []string{"http://" + ln.Addr().String()}})
	w, err := c.Wire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	req := api.AcquireRequest{Instance: "i", Request: "q"}
	if _, err := w.Acquire("g", "n", req, 0); !errors.Is(err, ErrUnreachable) {
		t.Fatalf("no answer at all: %v", err)
	}
	if fence, err := w.Acquire("g", "n", req, 0); err != nil || fence != 2 {
		t.Errorf("fence %d, %v; want 2, which is the answer to it", fence, err)
	}
}
