package web

import (
	"context"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/spacing"
)

// The hub renders each topic that somebody looks at once per change, for all
// its viewers. A topic's renderer lives from its first viewer to its last.
const (
	// renderGap is the least time between two renderings of a topic that differ. A
	// first one after quiet counts for none, and the next two may follow sooner, as
	// what a change leads to is mostly close behind it; then these two a second hold.
	renderGap = 500 * time.Millisecond
	// lookGap is the least time between two renderings of a topic that changes
	// elsewhere ask for. Those that differ in nothing take over all topics one part
	// in lookParts of the time, looksAhead paid for later, but none is put off for
	// longer than renderGap.
	lookGap    = 100 * time.Millisecond
	lookParts  = 10
	looksAhead = time.Second
	// lookAgain is how long after a change a topic is rendered once more, as what
	// was read may be a view made just before it.
	lookAgain = 200 * time.Millisecond
	// renderEvery catches what changes with time alone: a hold becomes
	// overdue, a node falls silent. What looks the same is not sent.
	renderEvery = 5 * time.Second
	// maxTopics bounds how many topics viewers can make the hub render.
	maxTopics = 500
)

// fragment is one element of a page, rendered.
type fragment struct {
	ID      string `json:"id"`
	HTML    string `json:"html"`
	key     string // compared instead of HTML when set
	within  string // a fragment before it that holds it too
	minor   bool   // no reason to send anything before the next look of its own
	version int64  // of the topic, at which it last changed
	event   []byte // what viewers are sent
}

func (f fragment) same(g fragment) bool {
	if f.key != "" || g.key != "" {
		return f.key == g.key
	}
	return f.HTML == g.HTML
}

type hub struct {
	render  func(ctx context.Context, topic string) ([]fragment, error)
	changed func() <-chan struct{}

	mu     sync.Mutex
	topics map[string]*topic
}

func newHub(render func(context.Context, string) ([]fragment, error), changed func() <-chan struct{}) *hub {
	return &hub{render: render, changed: changed, topics: map[string]*topic{}}
}

// topic is the newest rendering of one page.
type topic struct {
	viewers int // guarded by hub.mu
	cancel  context.CancelFunc
	done    chan struct{}

	mu        sync.Mutex
	version   int64
	fragments []fragment
	err       error
	next      chan struct{} // closed by the next rendering that differs
}

// join adds a viewer; leave must be called once. It is nil when the hub is full.
func (h *hub) join(name string) (t *topic, leave func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	t = h.topics[name]
	if t == nil {
		if len(h.topics) >= maxTopics {
			return nil, nil
		}
		ctx, cancel := context.WithCancel(context.Background())
		t = &topic{cancel: cancel, done: make(chan struct{}), next: make(chan struct{})}
		h.topics[name] = t
		go h.monitor(ctx, name, t)
	}
	t.viewers++
	return t, func() {
		h.mu.Lock()
		t.viewers--
		last := t.viewers == 0
		if last {
			delete(h.topics, name)
			t.cancel()
		}
		h.mu.Unlock()
		if last {
			<-t.done
		}
	}
}

// monitor renders the topic at each change, until its last viewer has left.
func (h *hub) monitor(ctx context.Context, name string, t *topic) {
	defer close(t.done)
	woken, waited := false, false
	var ration ration
	looks := spacing.Looks{Least: lookGap, Most: renderGap, Ahead: looksAhead}
	for ctx.Err() == nil {
		changed := h.changed() // taken before reading, so that no change is missed
		began := time.Now()
		fragments, err := h.render(ctx, name)
		differs := t.publish(fragments, err, began.Sub(ration.last) >= renderEvery)
		switch {
		case differs:
			pause(ctx, ration.sent(began, waited), nil)
		case woken:
			looks.Parts = lookParts * h.watched()
			pause(ctx, looks.Pause(began, time.Now()), nil)
		}
		next := renderEvery
		if woken {
			next = lookAgain
		}
		began = time.Now()
		woken = pause(ctx, next, changed)
		waited = time.Since(began) >= lookGap
	}
}

// watched is how many topics somebody looks at.
func (h *hub) watched() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.topics)
}

// pause ends after d, when wake is closed, or with ctx; it reports a wake.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) (woken bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
		return true
	case <-timer.C:
	}
	return false
}

// publish takes a rendering over, and reports whether it differs, in what is minor
// too if that is asked; what is the same keeps its version.
func (t *topic) publish(fragments []fragment, err error, minor bool) (differs bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err != nil {
		t.err = err // the last good rendering stays
		return false
	}
	t.err = nil
	old := make(map[string]fragment, len(t.fragments))
	for _, f := range t.fragments {
		old[f.ID] = f
	}
	differs = len(fragments) != len(t.fragments)
	for i, f := range fragments {
		if was, ok := old[f.ID]; ok && was.same(f) {
			fragments[i].version, fragments[i].event = was.version, was.event
			continue
		}
		fragments[i].version = t.version + 1
		differs = differs || minor || !f.minor
	}
	if !differs {
		return false
	}
	t.version++
	for i := range fragments {
		// What has a key holds others: it is sent to the next viewer as it is now.
		if f := &fragments[i]; f.version == t.version || f.key != "" {
			f.event = fragmentEvent(*f)
		}
	}
	t.fragments = fragments
	close(t.next)
	t.next = make(chan struct{})
	return true
}

// newest is the latest rendering, and what is closed when it is no longer.
func (t *topic) newest() ([]fragment, <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.fragments, t.next
}
