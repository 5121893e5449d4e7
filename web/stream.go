package web

import (
	"bytes"
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
	out.send(atEvent(s.opts.Now()))
	for out.err == nil {
		fragments, next := t.newest()
		whole := map[string]bool{} // sent now, with all that is within
		for _, f := range fragments {
			if sent[f.ID] == f.version {
				continue
			}
			sent[f.ID] = f.version
			if whole[f.within] {
				continue
			}
			out.send(f.event)
			whole[f.ID] = true
		}
		out.flush()
		select {
		case <-r.Context().Done():
			return
		case <-auth.From(r.Context()).Ended():
			return
		case <-ends.C:
			return
		case <-next:
		case <-beat.C:
			out.send(atEvent(s.opts.Now()))
		}
	}
}

// eventWriter writes events and remembers that one failed.
type eventWriter struct {
	w       http.ResponseWriter
	control *http.ResponseController
	err     error
}

func (e *eventWriter) send(event []byte) {
	if e.err != nil {
		return
	}
	// A writer without deadlines is one without a slow network behind it.
	_ = e.control.SetWriteDeadline(time.Now().Add(writeWithin))
	_, e.err = e.w.Write(event)
}

func (e *eventWriter) flush() {
	if e.err == nil {
		e.err = e.control.Flush()
	}
}

// atEvent says that the stream is alive, and what time it is.
func atEvent(now time.Time) []byte {
	return fmt.Appendf(nil, "event: at\ndata: %s\n\n", now.UTC().Format(time.RFC3339Nano))
}

// fragmentEvent is the event that carries a fragment, the same for all viewers.
func fragmentEvent(f fragment) []byte {
	var b bytes.Buffer
	b.WriteString("event: fragment\ndata: ")
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // an event stream is no page, and HTML is full of what would be escaped
	_ = enc.Encode(f)        // strings always can be
	b.WriteByte('\n')        // behind the line break that ends the text
	return b.Bytes()
}
