package client

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Wire is one kept connection to one coordinator that carries one request
// after the other: a Client without its tries, redirects and pools, for
// programs that make thousands of requests a second and measure them. It is
// not safe for concurrent use.
type Wire struct {
	name string
	head string // what every request says
	conn net.Conn
	in   *bufio.Reader
	out  []byte
	stop func() bool
}

// Wire connects to the coordinator that answered last. The connection is closed
// when ctx ends, which ends the request under way.
func (c *Client) Wire(ctx context.Context) (*Wire, error) {
	s := &c.servers[c.good.Load()]
	transport, ok := s.http.Transport.(*http.Transport)
	if !ok || transport.DialContext == nil {
		return nil, fmt.Errorf("server %s: the HTTP client that was given has no dialer of its own", s.name)
	}
	u, err := url.Parse(s.base)
	if err != nil {
		return nil, err
	}
	token, err := c.secret()
	if err != nil {
		return nil, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := transport.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, s.name, err)
	}
	if u.Scheme == "https" {
		config := transport.TLSClientConfig.Clone()
		config.ServerName = u.Hostname()
		secure := tls.Client(conn, config)
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, fmt.Errorf("%w: %s: %w", ErrUnreachable, s.name, err)
		}
		conn = secure
	}
	w := &Wire{name: s.name, conn: conn, in: bufio.NewReaderSize(conn, 1<<10)}
	w.head = " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: " + c.userAgent + "\r\n"
	if token != "" {
		w.head += "Authorization: Bearer " + token + "\r\n"
	}
	w.stop = context.AfterFunc(ctx, func() { conn.Close() })
	return w, nil
}

// Close ends the connection.
func (w *Wire) Close() {
	w.stop()
	w.conn.Close()
}

// Acquire is Client.Acquire.
func (w *Wire) Acquire(group, node string, req api.AcquireRequest, wait time.Duration) (api.AcquireResponse, error) {
	var out api.AcquireResponse
	k := call{method: http.MethodPut, path: holdPath(group, node), in: req, out: &out, wait: wait}
	if wait > 0 {
		k.query = values("wait", wait.String())
	}
	err := w.do(k)
	return out, err
}

// Confirm is Client.Confirm.
func (w *Wire) Confirm(group, node string, req api.ConfirmRequest) error {
	return w.do(call{method: http.MethodPost, path: holdPath(group, node, "confirm"), in: req})
}

// Release is Client.Release.
func (w *Wire) Release(group, node string, fence int64, instance string) error {
	return w.do(call{
		method: http.MethodDelete, path: holdPath(group, node),
		query: values("fence", strconv.FormatInt(fence, 10), "instance", instance),
	})
}

// Poll is Client.Poll.
func (w *Wire) Poll(node string, req api.PollRequest) error {
	return w.do(call{method: http.MethodPost, path: []string{"nodes", node, "poll"}, in: req, wait: time.Duration(req.WaitS) * time.Second})
}

// DeleteNode is Client.DeleteNode.
func (w *Wire) DeleteNode(node string) error {
	return w.do(call{method: http.MethodDelete, path: []string{"nodes", node}})
}

func (w *Wire) do(k call) error {
	target, err := k.target()
	if err != nil {
		return err
	}
	b := append(w.out[:0], k.method...)
	b = append(append(append(b, ' '), target...), w.head...)
	if k.in != nil {
		body, err := json.Marshal(k.in)
		if err != nil {
			return api.Errorf(api.Invalid, "the request cannot be written as JSON: %v", err)
		}
		b = append(b, "Content-Type: application/json\r\nContent-Length: "...)
		b = append(strconv.AppendInt(b, int64(len(body)), 10), "\r\n\r\n"...)
		b = append(b, body...)
	} else {
		b = append(b, "\r\n"...)
	}
	w.out = b
	if err := w.conn.SetDeadline(time.Now().Add(answerWithin + k.wait)); err != nil {
		return w.broken(err)
	}
	if _, err := w.conn.Write(b); err != nil {
		return w.broken(err)
	}
	resp, err := http.ReadResponse(w.in, nil)
	if err != nil {
		return w.broken(err)
	}
	if resp.StatusCode < 200 || resp.StatusCode > 299 {
		return problem(resp, w.name)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return w.broken(err)
	}
	if k.out == nil {
		return nil
	}
	if err := json.Unmarshal(body, k.out); err != nil {
		return w.broken(err)
	}
	return nil
}

func (w *Wire) broken(err error) error { return fmt.Errorf("%w: %s: %w", ErrUnreachable, w.name, err) }
