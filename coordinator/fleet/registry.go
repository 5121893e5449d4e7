package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

const (
	// LiveFor is how long after its last poll a session counts as live.
	LiveFor = time.Minute
	// UnreachableAfter is how long a node may be silent.
	UnreachableAfter = 2 * time.Minute
)

// Config of a Registry.
type Config struct {
	Store Store
	// Presence tells of the nodes that other coordinators hear. Nil: there are
	// no others.
	Presence *Presence
	// Semaphores gives each node's hold, place and declared labels. Nil: none.
	Semaphores semaphore.Store
	Logger     *slog.Logger     // nil: discarded
	Now        func() time.Time // nil: time.Now
}

// Registry knows all nodes that ever reported.
type Registry struct {
	cfg Config

	mu      sync.RWMutex
	nodes   map[string]*entry
	order   []*entry // by id
	changed chan struct{}
	started time.Time

	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// entry is one node: its record, and what is known of it in memory only.
type entry struct {
	record Record
	heard  time.Time // last contact under this id, by whichever host
	// session is the last contact of the host that the record is of.
	session time.Time
	seq     uint64 // of the newest report, stored or not
	// saving serialises the writes of this node's record.
	saving chan struct{}
	stale  bool // not sent again since the watch began anew
}

// New makes a Registry. Nothing runs before Start.
func New(cfg Config) *Registry {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Registry{cfg: cfg, nodes: map[string]*entry{}, changed: make(chan struct{}), started: cfg.Now()}
}

// Start loads the records and follows them until Stop. It returns when all
// were read once, or when ctx ends.
func (r *Registry) Start(ctx context.Context) error {
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	r.cancel = cancel
	r.mu.Lock()
	r.started = r.cfg.Now()
	r.mu.Unlock()
	synced := make(chan struct{})
	changes := r.cfg.Store.FollowNodes(life)
	r.wg.Go(func() {
		done := sync.OnceFunc(func() { close(synced) })
		for list := range changes {
			if r.apply(list) {
				done()
			}
		}
	})
	select {
	case <-synced:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("load the nodes: %w", context.Cause(ctx))
	}
}

// Stop ends what Start began, and waits for it.
func (r *Registry) Stop() {
	if r.cancel != nil {
		r.cancel()
	}
	r.wg.Wait()
}

// apply takes over stored changes, and reports whether all records were seen.
func (r *Registry) apply(list []Change) (synced bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range list {
		switch {
		case c.Reset:
			for _, e := range r.order {
				e.stale = true
			}
		case c.Synced:
			synced = true
			for _, e := range slices.Clone(r.order) {
				if e.stale && e.record.Revision != 0 {
					r.remove(e.record.ID)
				}
				e.stale = false
			}
		case c.Deleted:
			r.remove(c.ID)
		default:
			e := r.entry(c.ID)
			e.stale = false
			e.take(c.Record)
		}
	}
	r.bump()
	return synced
}

// take replaces the record by a newer one.
func (e *entry) take(rec Record) {
	if rec.Revision <= e.record.Revision {
		return
	}
	if rec.Instance != e.record.Instance || rec.BootID != e.record.BootID {
		e.seq = 0
		e.session = rec.HeardAt
	}
	e.record = rec
	e.seq = max(e.seq, rec.Report.Seq)
}

// entry is the entry of an id, made when there is none. With the lock held.
func (r *Registry) entry(id string) *entry {
	if e, found := r.nodes[id]; found {
		return e
	}
	e := &entry{saving: make(chan struct{}, 1)}
	e.record.ID = id
	r.nodes[id] = e
	i, _ := slices.BinarySearchFunc(r.order, id, byID)
	r.order = slices.Insert(r.order, i, e)
	return e
}

func (r *Registry) remove(id string) {
	delete(r.nodes, id)
	if i, found := slices.BinarySearchFunc(r.order, id, byID); found {
		r.order = slices.Delete(r.order, i, i+1)
	}
}

func byID(e *entry, id string) int { return strings.Compare(e.record.ID, id) }

// bump tells that something changed. With the lock held.
func (r *Registry) bump() {
	close(r.changed)
	r.changed = make(chan struct{})
}

// Changed returns a channel that is closed at the next change of a record.
func (r *Registry) Changed() <-chan struct{} {
	r.mu.RLock()
	defer r.mu.RUnlock()
	return r.changed
}

// Heard is when the node was last heard, here or, as far as it is known, by
// another coordinator; zero for never.
func (r *Registry) Heard(id string) time.Time {
	r.mu.RLock()
	defer r.mu.RUnlock()
	if e, found := r.nodes[id]; found {
		return r.lastHeard(e)
	}
	return time.Time{}
}

// MaybeHeard is the last moment at which the node may have been heard, zero for
// never: of the time before its start this coordinator knows only what was
// written, and the others are asked. Errors are as those of Store.
func (r *Registry) MaybeHeard(ctx context.Context, id string) (time.Time, error) {
	elsewhere, err := r.cfg.Presence.Ask(ctx, id)
	if err != nil {
		return time.Time{}, err
	}
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, found := r.nodes[id]
	if !found || e.record.Revision == 0 {
		return elsewhere, nil
	}
	return latest(latest(r.lastHeard(e), elsewhere), r.started), nil
}

func (r *Registry) lastHeard(e *entry) time.Time {
	elsewhere, _ := r.cfg.Presence.Elsewhere(e.record.ID)
	return latest(latest(e.heard, e.record.HeardAt), elsewhere)
}

// silence is for how long the host that the record is of was not heard.
func (r *Registry) silence(e *entry, now time.Time) time.Duration {
	last := latest(e.session, e.record.HeardAt)
	if elsewhere, instance := r.cfg.Presence.Elsewhere(e.record.ID); instance == e.record.Instance {
		last = latest(last, elsewhere)
	}
	return now.Sub(last)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// Forget deletes a node's record.
func (r *Registry) Forget(ctx context.Context, id string) error {
	if err := r.cfg.Store.DeleteNode(ctx, id); err != nil {
		return err
	}
	r.cfg.Presence.Forget(ctx, id)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.remove(id)
	r.bump()
	return nil
}

// Record is the record of a node; false when it never reported.
func (r *Registry) Record(id string) (Record, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, found := r.nodes[id]
	if !found || e.record.Revision == 0 {
		return Record{}, false
	}
	return e.record, true
}

// Node is one node; false when it never reported.
func (r *Registry) Node(id string) (api.Node, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	e, found := r.nodes[id]
	if !found || e.record.Revision == 0 {
		return api.Node{}, false
	}
	return newViewer(r).node(e), true
}

// Nodes lists the nodes that ever reported, by id. It is made anew for each
// call, so that what it says of presence and holds is never behind; what it
// points to must not be changed.
func (r *Registry) Nodes() []api.Node {
	r.mu.RLock()
	defer r.mu.RUnlock()
	v := newViewer(r)
	list := make([]api.Node, 0, len(r.order))
	for _, e := range r.order {
		if e.record.Revision != 0 {
			list = append(list, v.node(e))
		}
	}
	return list
}
