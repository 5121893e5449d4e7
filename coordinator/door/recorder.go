package door

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// recorder is the answer on its way out. Each write gets a time for the client
// to take it in, so that one that does not read holds nothing for ever.
type recorder struct {
	http.ResponseWriter
	control *http.ResponseController
	door    *door
	asks    *http.Request
	entry   entry
	ticket  *ticket // nil until it was let in
	gone    bool    // the answer comes by another way, see Park
	status  int
	wrote   bool
	until   time.Time // what is written now must be taken by then
}

// hurry gives the client a time to take what is written now. To set a deadline
// costs as much as to write a short answer, so one that was set just now does.
func (w *recorder) hurry() {
	if now := time.Now(); w.until.Sub(now) < writeWithin-time.Second {
		w.until = now.Add(writeWithin)
		_ = w.control.SetWriteDeadline(w.until)
	}
}

func (w *recorder) WriteHeader(status int) {
	if status >= 200 && !w.wrote {
		w.wrote, w.status = true, status
		w.door.identify(w.Header())
	}
	w.hurry()
	w.ResponseWriter.WriteHeader(status)
}

func (w *recorder) Write(p []byte) (int, error) {
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	w.hurry()
	return w.ResponseWriter.Write(p)
}

// Flush is for handlers that ask for an http.Flusher.
func (w *recorder) Flush() { _ = w.control.Flush() }

// Unwrap is for http.ResponseController.
func (w *recorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// code is the status that went out, or will.
func (w *recorder) code() int {
	if !w.wrote {
		return http.StatusOK
	}
	return w.status
}

// finish leaves net/http time for what it still has to write.
func (w *recorder) finish() {
	if !w.wrote {
		w.door.identify(w.Header())
	}
	w.hurry()
}

// identify says which cluster answers, as of when.
func (d *door) identify(h http.Header) {
	if d.Cluster == nil {
		return
	}
	id, incarnation := d.Cluster.ClusterID()
	if id == "" {
		return
	}
	h[api.HeaderCluster] = []string{id}
	h[api.HeaderIncarnation] = []string{strconv.FormatInt(incarnation, 10)}
	h[api.HeaderRevision] = []string{strconv.FormatInt(d.Cluster.Revision(), 10)}
	if d.Cluster.Stale() {
		h.Set(api.HeaderStale, "true")
	}
}

// guardBody gives a body a time to arrive in, whether it is read or drained.
// The deadline is lifted when the body is read: left in place it would end a
// long poll, because net/http goes on reading to learn when the client leaves.
func (d *door) guardBody(w *recorder, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	d.limitBody(w, r)
	r.Body = &timedBody{ReadCloser: r.Body, control: w.control}
}

// limitBody counts the time for a body from now on.
func (d *door) limitBody(w *recorder, r *http.Request) {
	if r.Body != nil && r.Body != http.NoBody {
		_ = w.control.SetReadDeadline(time.Now().Add(d.bodyWithin))
	}
}

type timedBody struct {
	io.ReadCloser
	control *http.ResponseController
}

func (b *timedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) {
		_ = b.control.SetReadDeadline(time.Time{})
	}
	return n, err
}
