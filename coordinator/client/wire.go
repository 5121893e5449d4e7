package client

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"slices"
	"strconv"
	"sync"
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
	dial func() (net.Conn, error)
	stop func() bool

	mu   sync.Mutex // guards conn against hangUp
	conn net.Conn   // nil after one that the coordinator closed, or that broke
	in   *bufio.Reader

	out, header, body []byte // of the last exchange
}

// Wire connects to the coordinator that answered last. The connection is closed
// when ctx ends, which ends the request under way. After one that the coordinator
// has closed, the next request connects anew.
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
	w := &Wire{name: s.name, dial: func() (net.Conn, error) { return dialWire(ctx, transport, u) }}
	w.head = " HTTP/1.1\r\nHost: " + u.Host + "\r\nUser-Agent: " + c.userAgent + "\r\n"
	if token != "" {
		w.head += "Authorization: Bearer " + token + "\r\n"
	}
	if err := w.connect(); err != nil {
		return nil, err
	}
	w.stop = context.AfterFunc(ctx, w.hangUp)
	return w, nil
}

func dialWire(ctx context.Context, transport *http.Transport, u *url.URL) (net.Conn, error) {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	conn, err := transport.DialContext(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil || u.Scheme != "https" {
		return conn, err
	}
	config := transport.TLSClientConfig.Clone()
	config.ServerName = u.Hostname()
	secure := tls.Client(conn, config)
	if err := secure.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return secure, nil
}

// connect makes the connection, unless there is one.
func (w *Wire) connect() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		return nil
	}
	conn, err := w.dial()
	if err != nil {
		return w.unreachable(err)
	}
	w.conn = conn
	if w.in == nil {
		w.in = bufio.NewReaderSize(conn, 1<<10)
	}
	w.in.Reset(conn)
	return nil
}

// hangUp drops the connection.
func (w *Wire) hangUp() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		w.conn.Close()
	}
}

// Close ends the connection.
func (w *Wire) Close() {
	w.stop()
	w.hangUp()
}

// Acquire is Client.Acquire, of whose answer only the fence is read.
func (w *Wire) Acquire(group, node string, req api.AcquireRequest, wait time.Duration) (fence int64, err error) {
	var out struct {
		Hold struct {
			Fence int64 `json:"fence"`
		} `json:"hold"`
	}
	k := call{method: http.MethodPut, path: holdPath(group, node), in: req, out: &out, wait: wait}
	if wait > 0 {
		k.query = values("wait", wait.String())
	}
	err = w.do(k)
	return out.Hold.Fence, err
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

// Poll is Client.Poll, of whose answer only the tag is read.
func (w *Wire) Poll(node string, req api.PollRequest) (tag string, err error) {
	var out struct {
		Tag string `json:"tag"`
	}
	err = w.do(call{method: http.MethodPost, path: []string{"nodes", node, "poll"}, in: req, out: &out, wait: time.Duration(req.WaitS) * time.Second})
	return out.Tag, err
}

// PollAnswer is Client.Poll.
func (w *Wire) PollAnswer(node string, req api.PollRequest) (api.PollResponse, error) {
	var out api.PollResponse
	err := w.do(call{method: http.MethodPost, path: []string{"nodes", node, "poll"}, in: req, out: &out, wait: time.Duration(req.WaitS) * time.Second})
	return out, err
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
	if err := w.connect(); err != nil {
		return err
	}
	if err := w.conn.SetDeadline(time.Now().Add(answerWithin + k.wait)); err != nil {
		return w.broken(err)
	}
	if _, err := w.conn.Write(b); err != nil {
		return w.broken(err)
	}
	return w.read(k.out)
}

// read takes the answer off the connection. Only what a coordinator's answers
// need is understood, which is a tenth of the work of reading any.
func (w *Wire) read(out any) error {
	line, err := w.in.ReadSlice('\n')
	if err != nil {
		return w.broken(err)
	}
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) {
		return w.broken(fmt.Errorf("%q is no answer of HTTP/1.1", line))
	}
	status, err := strconv.Atoi(string(line[9:12]))
	if err != nil {
		return w.broken(err)
	}
	w.header = w.header[:0]
	length, chunked, closes := 0, false, false
	for {
		line, err := w.in.ReadSlice('\n')
		if err != nil {
			return w.broken(err)
		}
		w.header = append(w.header, line...)
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			break
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > maxAnswer {
				return w.broken(fmt.Errorf("%q is no length of an answer", line))
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = true
		case bytes.EqualFold(name, []byte("Connection")):
			closes = bytes.EqualFold(value, []byte("close"))
		}
	}
	var body []byte
	if chunked {
		body, err = io.ReadAll(io.LimitReader(httputil.NewChunkedReader(w.in), maxAnswer))
		if err == nil {
			_, err = w.in.Discard(len("\r\n")) // the end of the trailers, of which there are none
		}
	} else {
		w.body = slices.Grow(w.body[:0], length)[:length]
		body = w.body
		_, err = io.ReadFull(w.in, body)
	}
	if err != nil {
		return w.broken(err)
	}
	if closes {
		w.drop()
	}
	if status < 200 || status > 299 {
		header, err := textproto.NewReader(bufio.NewReader(bytes.NewReader(w.header))).ReadMIMEHeader()
		if err != nil {
			return w.broken(err)
		}
		return problem(&http.Response{StatusCode: status, Header: http.Header(header), Body: io.NopCloser(bytes.NewReader(body))}, w.name)
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(body, out); err != nil {
		return w.broken(err)
	}
	return nil
}

// broken gives up a connection on which an answer may be under way still: the
// next request must not take it for its own.
func (w *Wire) broken(err error) error {
	w.drop()
	return w.unreachable(err)
}

func (w *Wire) drop() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.conn != nil {
		w.conn.Close()
		w.conn = nil
	}
}

func (w *Wire) unreachable(err error) error {
	return fmt.Errorf("%w: %s: %w", ErrUnreachable, w.name, err)
}
