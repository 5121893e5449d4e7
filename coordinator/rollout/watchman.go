package rollout

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

const (
	// unheard is how long a member is silent until it counts as down, and how
	// long after an election nobody is set down.
	unheard = 2 * time.Minute
	// settle is how long after an election no hold is judged overdue.
	settle = 2 * time.Minute
	// longestStep bounds the time that passes between two looks: a process that
	// was stopped meanwhile must not hold that time against anybody.
	longestStep = 5 * time.Second
	// maxDuties bounds the changes of one look.
	maxDuties = 256
)

// watchman measures, by this process's monotonic clock and from its own
// election on, how long grants stay unconfirmed and members unheard. While a
// group is frozen, and without a quorum, time stands still. It judges from some
// time after its election on which holds are overdue.
type watchman struct {
	elected time.Time
	last    time.Time
	holds   map[holdKey]*timing
	todo    []duty
}

// Span is a time from one moment to another.
type Span struct{ From, To time.Time }

// without is how much of the time since a moment the spans take.
func without(spans []Span, since time.Time) (d time.Duration) {
	for _, s := range spans {
		if from := later(s.From, since); s.To.After(from) {
			d += s.To.Sub(from)
		}
	}
	return d
}

// timing is how long one hold was watched.
type timing struct {
	unconfirmed time.Duration // while granted and not frozen
	overdue     bool
}

// views is what the watchman looks at.
type views interface {
	Groups() []string
	View(group string) (semaphore.State, bool)
}

// duty is a change of one group.
type duty struct {
	group string
	op    semaphore.Op
}

func newWatchman(now time.Time) *watchman {
	return &watchman{elected: now, last: now, holds: map[holdKey]*timing{}}
}

// stand lets a time without quorum pass: nothing is judged, and when it is over
// all are given the time that they have after an election.
func (w *watchman) stand(now time.Time) { w.elected, w.last, w.todo = now, now, nil }

// look takes the time and finds what is due.
func (w *watchman) look(store views, nodes func() []api.Node, now time.Time) {
	step := min(max(0, now.Sub(w.last)), longestStep)
	w.last = now
	w.todo = nil
	seen := make(map[holdKey]*timing, len(w.holds))
	var byID map[string]*api.Node
	for _, group := range store.Groups() {
		st, ok := store.View(group)
		if !ok || st.NewerSchema != "" {
			continue
		}
		w.lookAtHolds(group, &st, seen, step, now)
		if !st.Spec.CountUnreachable && !anyDown(&st) {
			continue
		}
		if byID == nil {
			byID = map[string]*api.Node{}
			for _, n := range nodes() {
				byID[n.ID] = &n
			}
		}
		w.lookAtMembers(group, &st, byID, now)
	}
	w.holds = seen
}

func (w *watchman) lookAtHolds(group string, st *semaphore.State, seen map[holdKey]*timing, step time.Duration, now time.Time) {
	freeze, deadlines := st.Frozen(), st.Deadlines(now)
	for node, h := range st.Holds {
		key := holdKey{group, node, h.Fence}
		t := w.holds[key]
		switch {
		case t == nil:
			t = &timing{}
		case freeze == nil && h.State == semaphore.Granted:
			t.unconfirmed += step
		}
		seen[key] = t
		t.overdue = now.Sub(w.elected) >= settle && deadlines.Overdue(h)
		if h.State == semaphore.Granted && freeze == nil && t.unconfirmed >= semaphore.ConfirmWithin {
			w.due(group, semaphore.Expire{Node: node, Fence: h.Fence})
		}
	}
}

// lookAtMembers finds members that went silent, or were heard again. One that
// has no agent is never heard, and never down.
func (w *watchman) lookAtMembers(group string, st *semaphore.State, nodes map[string]*api.Node, now time.Time) {
	for id, m := range st.Members {
		n, known := nodes[id]
		down := st.Spec.CountUnreachable && known && hasAgent(*n) && now.Sub(later(n.LastHeard, w.elected)) > unheard
		switch {
		case down == m.Down:
		case !down && st.Spec.CountUnreachable && known && now.Sub(n.LastHeard) > unheard:
			// Down already, and this engine has not watched for long enough to
			// say otherwise.
		default:
			w.due(group, semaphore.SetDown{Node: id, Down: down})
		}
	}
}

func (w *watchman) due(group string, op semaphore.Op) {
	if len(w.todo) < maxDuties {
		w.todo = append(w.todo, duty{group, op})
	}
}

func (w *watchman) duties() []duty { return w.todo }

// overdue lists the holds that are past their deadline.
func (w *watchman) overdue() map[holdKey]bool {
	out := map[holdKey]bool{}
	for key, t := range w.holds {
		if t.overdue {
			out[key] = true
		}
	}
	return out
}

func anyDown(st *semaphore.State) bool {
	for _, m := range st.Members {
		if m.Down {
			return true
		}
	}
	return false
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
