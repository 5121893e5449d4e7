package web

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

const (
	// beatEvery is how often a quiet stream says that it is alive, and what
	// time it is.
	beatEvery = 10 * time.Second
	// writeWithin is how long a viewer may take to accept one event.
	writeWithin = 20 * time.Second
	// streamFor bounds a stream: the browser comes again at once, and who may
	// look is asked again. One whose token is taken back ends at once.
	streamFor = 10 * time.Minute
)

// stream sends a page's live parts: all of them at first, then each that
// changed. A viewer that reads slowly finds the newest state at its next
// event; nothing is queued for it.
func (s *server) stream(w http.ResponseWriter, r *http.Request) {
	name, known := s.topicOf(r.URL.Query().Get("topic"))
	if !known {
		s.refuse(w, r, api.Errorf(api.NotFound, "there is no topic %q", r.URL.Query().Get("topic")))
		return
	}
	t, leave := s.hub.join(name)
	if t == nil {
		s.refuse(w, r, api.Errorf(api.Rate, "too many different pages are being watched"))
		return
	}
	defer leave()

	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // proxies that buffer would hold events back
	out := eventWriter{w: w, control: http.NewResponseController(w)}
	ends := time.NewTimer(streamFor)
	defer ends.Stop()
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()

	sent := map[string]int64{}
	out.send("at", s.opts.Now().UTC().Format(time.RFC3339Nano))
	for out.err == nil {
		fragments, next := t.newest()
		for _, f := range fragments {
			if sent[f.ID] == f.version {
				continue
			}
			body, err := json.Marshal(f)
			if err != nil {
				s.opts.Logger.Error("fragment not sent", "id", f.ID, "error", err)
				continue
			}
			out.send("fragment", string(body))
			sent[f.ID] = f.version
		}
		select {
		case <-r.Context().Done():
			return
		case <-auth.From(r.Context()).Ended():
			return
		case <-ends.C:
			return
		case <-next:
		case <-beat.C:
			out.send("at", s.opts.Now().UTC().Format(time.RFC3339Nano))
		}
	}
}

// eventWriter writes events and remembers that one failed.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

// send writes one event; data holds no line break, which JSON and times do not.
func (e *eventWriter) send(kind, data string) {
	if e.err != nil {
		return
	}
	// A writer without deadlines is one without a slow network behind it.
	_ = e.control.SetWriteDeadline(time.Now().Add(writeWithin))
	if _, e.err = fmt.Fprintf(e.w, "event: %s\ndata: %s\n\n", kind, data); e.err == nil {
		e.err = e.control.Flush()
	}
}
