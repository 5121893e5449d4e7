package coordinator

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const (
	// silentStart is how long a start may leave its clients without an answer:
	// they wait for it, and it takes less when nothing is wrong.
	silentStart = 5 * time.Second
	// startingRetry is when a client may ask again then.
	startingRetry = 5 * time.Second
)

// startingHandler answers everything on the main listener until there is
// something to serve. A client that got no answer would not go to another
// coordinator for long.
type startingHandler struct{ then atomic.Pointer[http.Handler] }

func (s *startingHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := s.then.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	api.WriteProblem(w, &api.Error{
		Kind: api.NoQuorum, RetryAfter: startingRetry,
		Detail: "this coordinator has not started yet: its log says what it waits for",
	})
}

// answerMeanwhile answers on the main listener when the start takes long.
func (d *doors) answerMeanwhile() {
	if d.main == nil {
		return // its certificate is not there yet
	}
	d.starting.Add(1)
	go func() {
		defer d.starting.Done()
		select {
		case <-d.life.Done():
		case <-d.started:
		case <-time.After(silentStart):
			d.mu.Lock()
			defer d.mu.Unlock()
			if d.life.Err() == nil && d.early == nil && !d.open {
				d.early = new(startingHandler)
				d.serveLocked(d.main, d.early)
			}
		}
	}()
}

// serveMain answers on the main listener from here on.
func (d *doors) serveMain(h http.Handler) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.open = true
	close(d.started)
	if d.early != nil {
		d.early.then.Store(&h)
		return
	}
	d.serveLocked(d.main, h)
}
