package door

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// Parked is a request that waits without a place in net/http, which keeps some
// 20 KB for each request in progress: ten thousand hosts may wait for a slot.
// Its connection goes back there when it was answered.
type Parked struct {
	conn   net.Conn
	server *http.Server // whose connection it is; nil: it is closed
	watch  int32        // of the client's hanging up
	door   *door
	entry  entry
	ticket *ticket
	left   atomic.Bool
}

// Detach is a context for a request that may be parked: with who asks and the
// request's id, ended by cancel, and when the server closes.
func Detach(r *http.Request) (ctx context.Context, cancel context.CancelFunc) {
	ctx, cancel = context.WithCancel(lifeOf(serverOf(r)))
	return api.WithRequestID(auth.With(ctx, auth.From(r.Context())), api.RequestID(r.Context())), cancel
}

// serverOf is the server of a request, nil for one that a test made up.
func serverOf(r *http.Request) *http.Server {
	s, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	return s
}

// lifeOf is what ends when a server closes.
func lifeOf(s *http.Server) context.Context {
	if s == nil || s.BaseContext == nil {
		return context.Background()
	}
	return s.BaseContext(nil)
}

// Park takes a request, whose answer may take long, out of the hands of
// net/http: its handler returns at once, touches w no more, and Answer is called
// later, once. Until then gone is called when the client hangs up. It reports
// false when that cannot be, as with HTTP/2, and then nothing has happened. The
// body must have been read.
func Park(w http.ResponseWriter, route string, gone context.CancelFunc) (*Parked, bool) {
	rec, ok := w.(*recorder)
	if !ok || rec.wrote || rec.asks.ProtoMajor != 1 || rec.asks.ProtoMinor != 1 {
		return nil, false
	}
	conn, in, err := rec.control.Hijack()
	if err != nil {
		return nil, false
	}
	rec.gone = true
	rec.ticket.parked()
	rec.entry.route = route
	p := &Parked{conn: conn, door: rec.door, entry: rec.entry, ticket: rec.ticket}
	if !rec.asks.Close && in.Reader.Buffered() == 0 {
		p.server = serverOf(rec.asks)
	}
	p.watch, err = hangups.watch(conn, func() {
		p.left.Store(true)
		gone()
	})
	if err != nil {
		// It waits all the same. That its client left shows when it is answered.
		rec.door.Logger.Warn("a client that waits cannot be watched", "request_id", p.entry.id, "error", err)
	}
	return p, true
}

// Answer sends what is written, and ends the request. Its client's next one comes
// over the same connection: whoever has waited for a slot confirms it at once.
func (p *Parked) Answer(write func(http.ResponseWriter)) {
	keep := p.server != nil && lifeOf(p.server).Err() == nil
	w := &late{header: http.Header{}, status: http.StatusOK}
	p.door.headers(w.header, p.entry.path, p.entry.id)
	write(w)
	left := p.left.Load()
	if !left {
		p.door.identify(w.header)
		if !keep {
			w.header["Connection"] = []string{"close"}
		}
		w.header["Content-Length"] = []string{strconv.Itoa(w.body.Len())}
		w.header["Date"] = []string{time.Now().UTC().Format(http.TimeFormat)}
		var out bytes.Buffer
		out.WriteString("HTTP/1.1 " + strconv.Itoa(w.status) + " " + http.StatusText(w.status) + "\r\n")
		_ = w.header.Write(&out)
		out.WriteString("\r\n")
		_, _ = w.body.WriteTo(&out)
		_ = p.conn.SetWriteDeadline(time.Now().Add(writeWithin))
		_, err := p.conn.Write(out.Bytes())
		left = err != nil
	}
	hangups.forget(p.conn, p.watch)
	p.door.note(&p.entry, w.status, left)
	p.ticket.leave()
	if left || !keep {
		p.conn.Close()
		return
	}
	_ = p.conn.SetDeadline(time.Time{})
	_ = p.server.Serve(&once{conn: p.conn}) // returns when it has taken the connection
}

// once is a listener that has one connection to give.
type once struct {
	conn net.Conn
	gave bool
}

func (l *once) Accept() (net.Conn, error) {
	if l.gave {
		return nil, net.ErrClosed
	}
	l.gave = true
	return l.conn, nil
}

// Close implements net.Listener. A server that closes takes nothing any more.
func (l *once) Close() error {
	if l.gave {
		return nil
	}
	l.gave = true
	return l.conn.Close()
}

func (l *once) Addr() net.Addr { return l.conn.LocalAddr() }

// late is an answer that is kept until it is whole.
type late struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (w *late) Header() http.Header               { return w.header }
func (w *late) WriteHeader(status int)            { w.status = status }
func (w *late) Write(b []byte) (int, error)       { return w.body.Write(b) }
func (w *late) WriteString(s string) (int, error) { return w.body.WriteString(s) }

var _ io.StringWriter = (*late)(nil)
