// Package memory decides when the garbage of a long-lived program is collected.
//
// Go lets the heap double between two collections. For a coordinator with a
// small fleet that means collecting several times a second under load, to save
// memory that nobody misses; with ten thousand waiters it means twice the
// memory. Here the room between two collections is a fixed amount instead.
package memory

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"sync"
)

// The room for garbage between two collections, in bytes: Room, but at least a
// share of what is alive, so that a big heap is not collected all the time.
const (
	Room  = 32 << 20
	share = 8
)

// Tune sets the pace of collections from now on, unless the environment does
// (GOGC, GOMEMLIMIT). It is done once for a process; more calls do nothing.
func Tune() { tune() }

var tune = sync.OnceFunc(func() {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return
	}
	p := &pace{samples: []metrics.Sample{
		{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"},
	}}
	p.adjust()
	// A finalizer of something that nobody needs runs after each collection.
	var again func(*sentinel)
	again = func(s *sentinel) {
		p.adjust()
		runtime.SetFinalizer(s, again)
	}
	runtime.SetFinalizer(&sentinel{}, again)
})

type sentinel struct{ _ [16]byte } // too big to share a block with others

type pace struct {
	samples []metrics.Sample
	percent int
}

// adjust makes the next collection come after the room is used up.
func (p *pace) adjust() {
	metrics.Read(p.samples)
	if percent := percentFor(p.samples[0].Value.Uint64(), p.samples[1].Value.Uint64()+p.samples[2].Value.Uint64()); percent != p.percent {
		p.percent = percent
		debug.SetGCPercent(percent)
	}
}

// percentFor is the GOGC for so much alive on the heap and so much that is
// scanned beside it; both count (runtime/debug.SetGCPercent).
func percentFor(live, beside uint64) int {
	all := max(live+beside, 1<<20)
	room := max(Room, all/share)
	return int(room * 100 / all)
}
