package semaphore_test

import "slices"

// normalise sorts the requests, and takes of two worlds that differ only in
// which coordinator is which the same one. In a trace a coordinator's number is
// therefore good for that line only.
func (w *world) normalise() {
	w.sort()
	other := *w
	other.view[0], other.view[1] = w.view[1], w.view[0]
	for i := range other.requests {
		if other.requests[i].kind != none {
			other.requests[i].at = 1 - other.requests[i].at
		}
	}
	other.sort()
	if other.before(w) {
		*w = other
	}
}

func (w *world) before(o *world) bool {
	if w.view[0] != o.view[0] {
		return w.view[0] > o.view[0]
	}
	return slices.CompareFunc(w.requests[:], o.requests[:], compareRequests) < 0
}

func (w *world) sort() { slices.SortFunc(w.requests[:], compareRequests) }

func compareRequests(a, b request) int {
	if a == b {
		return 0
	}
	for _, d := range [...]int{
		int(b.kind) - int(a.kind), int(a.host) - int(b.host), int(a.at) - int(b.at), int(a.id) - int(b.id),
		int(a.stage) - int(b.stage), int(a.client) - int(b.client), int(a.bound) - int(b.bound),
		int(a.decision) - int(b.decision), int(a.answer) - int(b.answer), int(a.fence) - int(b.fence),
	} {
		if d != 0 {
			return d
		}
	}
	return 0
}

// add puts a request; false when too many are under way.
func (m *model) add(w *world, r request) bool {
	for i := range w.requests[:m.requests] {
		if w.requests[i].kind == none {
			w.requests[i] = r
			return true
		}
	}
	return false
}
