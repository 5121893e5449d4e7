package etcdstore

import (
	"slices"
	"sync"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// feedKept is how many of the newest events are kept in memory; older ones are
// read from etcd when somebody asks for them.
const feedKept = 10_000

// feed is the newest part of the audit trail, in the order of revisions.
type feed struct {
	mu     sync.RWMutex
	events []api.Event
	from   int64 // every event behind this revision is in events
	more   chan struct{}
}

func (f *feed) init() { f.more = make(chan struct{}) }

// renew replaces everything: the events after a watch that was lost.
func (f *feed) renew(events []api.Event, from int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events, f.from = events, from
	f.trim()
	f.wake()
}

func (f *feed) add(events []api.Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.events = append(f.events, events...)
	f.trim()
	f.wake()
}

func (f *feed) wake() {
	close(f.more)
	f.more = make(chan struct{})
}

// trim forgets the oldest events, whole revisions at a time: a reader's cursor
// is a revision.
func (f *feed) trim() {
	cut := len(f.events) - feedKept
	if cut <= feedKept/10 { // rarely, for it copies
		return
	}
	f.from = f.events[cut-1].Revision
	for cut < len(f.events) && f.events[cut].Revision == f.from {
		cut++
	}
	f.events = slices.Clone(f.events[cut:])
}

// after returns the events behind a revision, whether the feed reaches back so
// far, and a channel that is closed when there is more. The events must not be
// changed.
func (f *feed) after(revision int64) ([]api.Event, bool, <-chan struct{}) {
	f.mu.RLock()
	defer f.mu.RUnlock()
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
	f.mu.RLock()
	defer f.mu.RUnlock()
	return slices.Clip(f.events), f.from == 0
}
