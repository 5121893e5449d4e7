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
	stop func() bool

	out, header, body []byte // of the last exchange
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
	length, chunked := 0, false
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

func (w *Wire) broken(err error) error { return fmt.Errorf("%w: %s: %w", ErrUnreachable, w.name, err) }
