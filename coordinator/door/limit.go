package door

import (
	"context"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// The bounds of a Limiter that was told none.
const (
	DefaultRequests = 256
	DefaultWaiting  = 20_000
)

const (
	// patience is how long a request stands in line for a place among those that
	// are carried out, before it is refused. An acquire stands there for as long
	// as it may wait, if that is longer.
	patience = time.Second
	// retryBusy is when a client that asks too much at once may ask again.
	retryBusy = time.Second
	// WaitsAfter is when an acquire that may wait and was not answered does
	// wait, and is parked if it can be. Most slots are there by then, and the
	// connection serves for the confirm too.
	WaitsAfter = 250 * time.Millisecond
)

// Limiter keeps one client from taking the coordinator away from the others:
// it bounds what a client has in progress. One serves all listeners.
//
// A client is a token, or an address where none is asked for. What is there to
// wait, long polls, event streams, and acquires that may take a place in the
// queue, costs little while it waits and is counted apart, so that a whole
// fleet may wait behind one address. Such an acquire is carried out like any
// other request first.
//
// What cannot be carried out yet stands in line for the client's other
// requests: an acquire that may wait for as long as that, any other for a
// moment. So a burst is served in turn, and whoever keeps asking without
// reading Retry-After is slowed down by it.
type Limiter struct {
	requests, waiting int

	mu      sync.Mutex
	clients map[string]*usage
}

// Register exposes how much is in progress, of all clients together.
func (l *Limiter) Register(reg prometheus.Registerer) error {
	for name, of := range map[string]func(*usage) int{
		"requests": func(u *usage) int { return u.requests },
		"waiting":  func(u *usage) int { return u.waiting },
	} {
		err := reg.Register(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "lockkeeper_http_in_progress", ConstLabels: prometheus.Labels{"kind": name},
			Help: "Requests in progress: those being carried out (requests), and those that may wait on purpose (waiting).",
		}, func() float64 {
			l.mu.Lock()
			defer l.mu.Unlock()
			n := 0
			for _, u := range l.clients {
				n += of(u)
			}
			return float64(n)
		}))
		if err != nil {
			return err
		}
	}
	return nil
}

// usage is what one client has in progress.
type usage struct {
	requests, waiting int
	short, line       []chan struct{} // who wants to be one of requests: those that do not wait, first, and acquires
}

// NewLimiter makes a Limiter of so many requests in progress, and so many that
// wait, for each client. 0 is the default.
func NewLimiter(requests, waiting int) *Limiter {
	l := &Limiter{requests: requests, waiting: waiting, clients: map[string]*usage{}}
	if requests == 0 {
		l.requests = DefaultRequests
	}
	if waiting == 0 {
		l.waiting = DefaultWaiting
	}
	return l
}

// ticket is what one request takes up. Once it was let in, busy and waits are
// guarded by l.mu: an acquire may begin to wait while it is answered.
type ticket struct {
	l      *Limiter
	client string
	brief  bool // it will not wait any more once it is carried out
	stood  bool // in line
	busy   bool // one of requests
	waits  bool // one of waiting
}

// enter lets a request of a client in, when its turn comes within the time that
// it has, or says that the client has too many. That a client hangs up ends ctx
// only when the body was read, which is after its turn has come.
func (l *Limiter) enter(ctx context.Context, client string, k kind, within time.Duration) (*ticket, error) {
	if l == nil || k == unbounded {
		return &ticket{}, nil
	}
	t, turn, err := l.take(client, k)
	if err != nil || turn == nil {
		return t, err
	}
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-turn:
		t.begin()
		return t, nil
	case <-late.C:
		err = tooBusy("%d requests of %s are in progress, which is the most (limits.requests)", l.requests, client)
	case <-ctx.Done():
		err = api.Errorf(api.NoQuorum, "the request ended before it could be carried out")
	}
	l.mu.Lock()
	line := l.clients[client].lineOf(k)
	i := slices.Index(*line, turn)
	if i >= 0 {
		*line = slices.Delete(*line, i, i+1)
	}
	l.mu.Unlock()
	if t.busy = i < 0; t.busy && ctx.Err() == nil {
		t.begin() // its turn came in that moment
		return t, nil
	}
	t.leave()
	return nil, err
}

// take notes a request. With a channel, it has to wait for its turn.
func (l *Limiter) take(client string, k kind) (*ticket, chan struct{}, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.clients[client]
	if u == nil {
		u = &usage{}
		l.clients[client] = u
	}
	t := &ticket{l: l, client: client, brief: k == brief}
	place := k == patient || u.requests < l.requests
	if t.waits = k != brief || !place; t.waits {
		if u.waiting >= l.waiting {
			return nil, nil, tooBusy("%d requests of %s wait, which is the most (limits.waiting)", l.waiting, client)
		}
		u.waiting++
	}
	switch {
	case k == patient:
		return t, nil, nil
	case place:
		u.requests++
		t.busy = true
		return t, nil, nil
	}
	t.stood = true
	turn := make(chan struct{})
	line := u.lineOf(k)
	*line = append(*line, turn)
	return t, turn, nil
}

// lineOf is where a request of that kind stands. Thousands of acquires that
// have time must not keep a person's request from its turn.
func (u *usage) lineOf(k kind) *[]chan struct{} {
	if k == brief {
		return &u.short
	}
	return &u.line
}

// begin: its turn has come. From then on only what may wait again counts as
// waiting.
func (t *ticket) begin() {
	t.busy = true
	if !t.brief {
		return
	}
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	t.waits = false
	t.l.clients[t.client].waiting--
}

func tooBusy(format string, args ...any) error {
	e := api.Errorf(api.Rate, format, args...)
	e.RetryAfter = retryBusy
	return e
}

// parked: the request has been carried out as far as it goes, and only waits.
func (t *ticket) parked() {
	if t.l == nil {
		return
	}
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	if t.busy {
		t.idle()
	}
}

// idle gives the place among the requests to the next in line. l.mu is held.
func (t *ticket) idle() {
	t.busy = false
	u := t.l.clients[t.client]
	for _, line := range []*[]chan struct{}{&u.short, &u.line} {
		if len(*line) > 0 {
			close((*line)[0])
			*line = (*line)[1:]
			return
		}
	}
	u.requests--
}

// leave ends the request. A request that was not let in has none.
func (t *ticket) leave() {
	if t == nil || t.l == nil {
		return
	}
	t.l.mu.Lock()
	defer t.l.mu.Unlock()
	if !t.busy && !t.waits {
		return // it has left
	}
	if t.busy {
		t.idle()
	}
	u := t.l.clients[t.client]
	if t.waits {
		t.waits = false
		u.waiting--
	}
	if u.requests == 0 && u.waiting == 0 {
		delete(t.l.clients, t.client)
	}
}

// kind is how a request is counted.
type kind int

const (
	unbounded kind = iota // whether the process lives
	brief                 // is carried out and answered
	patient               // waits, and costs next to nothing until something happens
	queues                // is carried out, and then may wait
)

func kindOfRequest(r *http.Request) kind {
	path := r.URL.Path
	switch {
	case open(r):
		return unbounded
	case r.Method == http.MethodPut && strings.Contains(r.URL.RawQuery, "wait=") && strings.Contains(path, "/holds/"):
		return queues
	case path == "/api/v1/events/stream", path == "/ui/stream", path == "/v1/pre-reboot",
		r.Method == http.MethodPost && strings.HasPrefix(path, "/api/v1/nodes/") && strings.HasSuffix(path, "/poll"):
		return patient
	}
	return brief
}

// patienceOf is how long a request may stand in line.
func patienceOf(r *http.Request, k kind) time.Duration {
	if k != queues {
		return patience
	}
	_, rest, _ := strings.Cut(r.URL.RawQuery, "wait=")
	text, _, _ := strings.Cut(rest, "&")
	wait, err := time.ParseDuration(text)
	if err != nil { // for whoever reads it to refuse
		return patience
	}
	return max(patience, wait)
}

// clientOf names who asks: by its token, else by the address it comes from.
func clientOf(r *http.Request, p auth.Principal) string {
	if p.Known() && !p.Local {
		return p.Name
	}
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return "this host" // through a unix socket
	}
	return host
}
