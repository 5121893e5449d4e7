package rollout

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Stop is when a rollout came to be paused or halted.
type Stop struct {
	At time.Time `json:"at"`
	// Seq is the head's EventSeq of the last write that kept At true. A coordinator
	// of a version before this member writes the head without it: it keeps what it
	// does not know, and may have had the rollout go on and stop again meanwhile. It
	// cannot do that without an event, so that Seq stays behind then.
	Seq int64 `json:"seq"`
}

// stops reports whether somebody has to have the rollout go on.
func stops(s api.RolloutState) bool { return s == api.RolloutPaused || s == api.RolloutHalted }

// become changes the state and says why; the event of it is still to come.
func (h *Head) become(to api.RolloutState, why string, now time.Time) {
	switch {
	case !stops(to):
		h.Stopped = Stop{}
	case to != h.State:
		h.Stopped = Stop{At: now, Seq: h.EventSeq}
	}
	h.State, h.Why = to, why
}

// nextEvent numbers an event.
func (h *Head) nextEvent() {
	if !h.Stopped.At.IsZero() {
		h.Stopped.Seq++
	}
	h.EventSeq++
}

// stoppedAt is when it came to be paused or halted, zero when it is neither or
// that is not known.
func (h *Head) stoppedAt() time.Time {
	if !stops(h.State) || h.Stopped.Seq != h.EventSeq {
		return time.Time{}
	}
	return h.Stopped.At
}
