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
// Its connection is closed when it was answered.
type Parked struct {
	conn   net.Conn
	watch  int32 // of the client's hanging up
	door   *door
	entry  entry
	ticket *ticket
	left   atomic.Bool
}

// Detach is a context for a request that may be parked: with who asks and the
// request's id, ended by cancel, and when the server closes.
func Detach(r *http.Request) (ctx context.Context, cancel context.CancelFunc) {
	ctx = context.Background()
	if s, ok := r.Context().Value(http.ServerContextKey).(*http.Server); ok && s.BaseContext != nil {
		ctx = s.BaseContext(nil)
	}
	ctx, cancel = context.WithCancel(ctx)
	return api.WithRequestID(auth.With(ctx, auth.From(r.Context())), api.RequestID(r.Context())), cancel
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
	conn, _, err := rec.control.Hijack()
	if err != nil {
		return nil, false
	}
	rec.gone = true
	rec.ticket.parked()
	rec.entry.route = route
	p := &Parked{conn: conn, door: rec.door, entry: rec.entry, ticket: rec.ticket}
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

// Answer sends what is written, and ends the request.
func (p *Parked) Answer(write func(http.ResponseWriter)) {
	w := &late{header: http.Header{}, status: http.StatusOK}
	p.door.headers(w.header, p.entry.path, p.entry.id)
	write(w)
	left := p.left.Load()
	if !left {
		p.door.identify(w.header)
		w.header["Connection"] = []string{"close"}
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
	p.conn.Close()
	p.door.note(&p.entry, w.status, left)
	p.ticket.leave()
}

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
