package etcdstore

import (
	"slices"
	"sync"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// feedKept is how many of the newest events are kept in memory; older ones are
// read from etcd when somebody asks for them.
const feedKept = 10_000

// feed is the newest part of the audit trail, in the order of revisions. What
// arrives is decoded when somebody asks for it: a fleet makes far more events
// than people look at.
type feed struct {
	decode func([]kv) []api.Event // set before anything arrives

	mu     sync.Mutex
	events []api.Event
	fresh  []kv  // behind events, not decoded yet
	from   int64 // every event behind this revision is in events or fresh
	more   chan struct{}
	since  int           // events that came since many was last told
	many   chan struct{} // of one: eventsBetween have come
}

func (f *feed) init() { f.more, f.many = make(chan struct{}), make(chan struct{}, 1) }

// counted says that there are many, every so many events. f.mu is held.
func (f *feed) counted(n int) {
	if f.since += n; f.since < eventsBetween {
		return
	}
	f.since = 0
	select {
	case f.many <- struct{}{}:
	default:
	}
}

// renew replaces everything: the events after a watch that was lost.
func (f *feed) renew(kvs []kv, from int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events, f.fresh, f.from = nil, kvs, from
	f.counted(eventsBetween) // nobody knows how many came meanwhile
	f.trim()
	f.wake()
}

func (f *feed) add(kvs []kv) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := len(f.fresh)
	for _, k := range kvs {
		if !k.deleted {
			f.fresh = append(f.fresh, k)
		}
	}
	f.counted(len(f.fresh) - before)
	f.trim()
	f.wake()
}

func (f *feed) wake() {
	close(f.more)
	f.more = make(chan struct{})
}

// settle decodes what has arrived.
func (f *feed) settle() {
	if len(f.fresh) > 0 {
		f.events = append(f.events, f.decode(f.fresh)...)
		f.fresh = nil
	}
}

// trim forgets the oldest events, whole revisions at a time: a reader's cursor
// is a revision.
func (f *feed) trim() {
	cut := len(f.events) + len(f.fresh) - feedKept
	if cut <= feedKept/10 { // rarely, for it moves them
		return
	}
	if cut <= len(f.events) {
		f.from = f.events[cut-1].Revision
	} else {
		f.from = f.fresh[cut-len(f.events)-1].revision
	}
	if i := slices.IndexFunc(f.events, func(e api.Event) bool { return e.Revision > f.from }); i >= 0 {
		f.events = slices.Clone(f.events[i:])
	} else {
		f.events = nil
	}
	// In place, since nobody else has them: a busy fleet trims several times a second.
	f.fresh = slices.DeleteFunc(f.fresh, func(k kv) bool { return k.revision <= f.from })
}

// after returns the events behind a revision, whether the feed reaches back so
// far, and a channel that is closed when there is more. The events must not be
// changed.
func (f *feed) after(revision int64) ([]api.Event, bool, <-chan struct{}) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	i, _ := slices.BinarySearchFunc(f.events, revision+1, func(e api.Event, r int64) int {
		switch {
		case e.Revision < r:
			return -1
		case e.Revision > r:
			return 1
		}
		return 0
	})
	return slices.Clip(f.events[i:]), revision >= f.from, f.more
}

// all returns what the feed has, and whether that is all there is.
func (f *feed) all() (events []api.Event, complete bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.settle()
	return slices.Clip(f.events), f.from == 0
}
