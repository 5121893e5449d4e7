package silence

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// pastDeadline is how long after its hold's deadline a silence may last.
const pastDeadline = 5 * time.Minute

// key of a silence: a hold, whatever its fence.
type key struct{ group, node string }

// want is a silence that there should be.
type want struct {
	key
	fence    int64
	reason   string
	labels   map[string]string
	deadline time.Time // of the hold, as if nothing stopped its clock from now on; zero: none
}

// until is when a silence made or renewed now ends.
func (w want) until(now time.Time, lasts time.Duration) time.Time {
	end := now.Add(lasts)
	if last := w.deadline.Add(pastDeadline); !w.deadline.IsZero() && last.Before(end) {
		return last
	}
	return end
}

// wanted are the silences that there should be: of nodes that are out of service
// for as long as was planned, and have not failed.
func (s *Silencer) wanted(now time.Time) map[key]want {
	out := map[key]want{}
	for _, group := range s.cfg.Semaphores.Groups() {
		st, ok := s.cfg.Semaphores.Look(group)
		if !ok || st.NewerSchema != "" {
			continue
		}
		deadlines := st.Deadlines(now)
		for node, h := range st.EachHold() {
			if h.State != semaphore.Confirmed && h.State != semaphore.Revoked || s.failed(node) {
				continue
			}
			w := want{key: key{group, node}, fence: h.Fence, reason: h.Reason, labels: h.Labels, deadline: deadlines.Of(*h)}
			if w.until(now, s.cfg.For).After(now) {
				out[w.key] = w
			}
		}
	}
	return out
}

// failed reports whether a node says that its update failed.
func (s *Silencer) failed(node string) bool {
	phase, ok := s.cfg.Phase(node)
	return ok && phase == api.PhaseFailed
}

// comment of a silence, by which the next engine knows it.
func (w want) comment() string {
	text := fmt.Sprintf("lockkeeper: node %q of group %q is out of service, by hold %d", w.node, w.group, w.fence)
	if w.reason != "" {
		text += ": " + ask.Line(w.reason)
	}
	return text
}

// keyOf reads a comment.
func keyOf(comment string) (k key, ok bool) {
	_, err := fmt.Sscanf(comment, "lockkeeper: node %q of group %q", &k.node, &k.group)
	return k, err == nil
}
