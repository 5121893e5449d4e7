package etcdstore_test

import (
	"fmt"
	"strings"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// is reports whether a read told this state.
func (s linState) is(r wireState) bool {
	same := func(f linFreeze, read *semaphore.Freeze) bool {
		if read == nil {
			return f.id == ""
		}
		return f.id == read.ID && f.stop == read.Stop
	}
	if s.exists != r.Exists || s.next != r.Next || s.exists && s.slots != r.Slots.N ||
		!same(s.freeze, r.Freeze) || !same(s.fleet, r.Fleet) || s.held() != len(r.Holds) {
		return false
	}
	for n, h := range s.holds {
		read := r.Holds[fmt.Sprintf("n%d", n)]
		if h.fence != read.Fence || h.state != read.State || h.via != string(read.Via) || h.instance != read.Instance {
			return false
		}
	}
	return true
}

func (s linState) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "next %d, %d slots", s.next, s.slots)
	if !s.exists {
		b.WriteString(", deleted")
	}
	for n, h := range s.holds {
		if h.fence != 0 {
			fmt.Fprintf(&b, ", n%d %s %d", n, h.state, h.fence)
		}
	}
	if s.freeze.id != "" {
		fmt.Fprintf(&b, ", frozen %+v", s.freeze)
	}
	if s.fleet.id != "" {
		fmt.Fprintf(&b, ", fleet frozen %+v", s.fleet)
	}
	if s.pending != "" {
		fmt.Fprintf(&b, ", pending %v", []rune(s.pending))
	}
	return b.String()
}

// describe is a request and its answer in the words of the page.
func describe(in linInput, out linOutput) string {
	what := fmt.Sprintf("%d %s %+v", in.number, kindOf(in.op), in.op)
	switch a := out.Answer; {
	case out.unknown && a.Kind == semaphore.OK:
		return what + " -> ?"
	case out.Read != nil:
		return fmt.Sprintf("%s -> %+v", what, *out.Read)
	case a.Kind != semaphore.OK:
		return fmt.Sprintf("%s -> %s: %s", what, a.Kind, a.Detail)
	case a.Freeze != nil:
		return fmt.Sprintf("%s -> frozen %s", what, a.Freeze.ID)
	case a.Hold != nil:
		return fmt.Sprintf("%s -> %s, fence %d", what, a.Hold.State, a.Hold.Fence)
	}
	return what + " -> done"
}
