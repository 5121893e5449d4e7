package agent

import (
	"maps"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// Times of the gates and of the reboot (RULES 7).
const (
	// GateFor is how long an open gate counts, from when the question was sent.
	GateFor = 10 * time.Second
	// DrainedFor is how long the host stays drained while its gate is not open.
	DrainedFor = 10 * time.Minute
	// RebootWithin is how long an accepted reboot may take to end this process.
	RebootWithin = 10 * time.Minute
	// maxReboots is how often a reboot that does not happen is asked for: once
	// more than once.
	maxReboots = 2
	// maxApplies is in how many starts of the agent one bundle is put in place:
	// what ends the agent each time may be the bundle's own command.
	maxApplies = 5
)

// Job is one bundle to bring this host to. A job without a bundle is the
// reboot that the host itself asks for, or a person on it.
type Job struct {
	Rollout string `json:"rollout,omitempty"`
	Bundle  string `json:"bundle,omitempty"`
	Name    string `json:"name,omitempty"`
	Attempt int    `json:"attempt,omitempty"` // the rollout's; a person's retry raises it
	Request string `json:"request,omitempty"` // id of a person's RebootRequest or Order
	Undo    bool   `json:"undo,omitempty"`    // from the bundle to what it replaced
}

// same reports whether two jobs are one, so that an ended one is not begun again.
func (j *Job) same(k *Job) bool {
	return j != nil && k != nil && j.Rollout == k.Rollout && j.Bundle == k.Bundle && j.Attempt == k.Attempt && j.Request == k.Request
}

// Undo is the way back from the bundle in place, which a person may ask for.
type Undo struct {
	Request   string           `json:"request"` // of the job that brought it, and names the generation
	Bundle    string           `json:"bundle"`
	Before    string           `json:"before,omitempty"` // the bundle that was in place before
	Interrupt bundle.Interrupt `json:"interrupt,omitempty"`
	Units     []string         `json:"units,omitempty"`
}

// Drain is how far the drain is that the agent began.
type Drain string

// The stages of a drain.
const (
	DrainNone  Drain = ""
	DrainBegun Drain = "begun"
	DrainDone  Drain = "done"
)

// State is what the journal says. It is written before each act.
type State struct {
	Phase   api.Phase `json:"phase"`
	Cluster string    `json:"cluster,omitempty"` // in which the slot was asked for
	Node    string    `json:"node,omitempty"`
	Group   string    `json:"group,omitempty"` // "" between jobs: the agent's own
	Job     *Job      `json:"job,omitempty"`
	Request string    `json:"request,omitempty"` // of the acquire; names the generation too
	Fence   int64     `json:"fence,omitempty"`   // of the hold, 0 without one
	Drain   Drain     `json:"drain,omitempty"`
	BootID  string    `json:"boot_id,omitempty"` // of the boot in which the phase was begun
	// Userspace is that of a soft reboot's, as BootID is of a reboot's.
	Userspace string `json:"userspace,omitempty"`

	Unpacked     bool             `json:"unpacked,omitempty"`     // the files are in place and the command has run
	Interrupt    bundle.Interrupt `json:"interrupt,omitempty"`    // that the files ask for which really changed
	Units        []string         `json:"units,omitempty"`        // for reload and restart
	Interrupting bool             `json:"interrupting,omitempty"` // the interrupt was begun
	Reboots      int              `json:"reboots,omitempty"`      // or units, asked for in this direction and in vain
	Crashes      int              `json:"crashes,omitempty"`      // boots that nobody asked for while verifying

	Back      bool `json:"back,omitempty"`       // to the previous generation
	PutBack   bool `json:"put_back,omitempty"`   // its files are in place
	BackAgain bool `json:"back_again,omitempty"` // the way back needs the interrupt too
	LostSlot  bool `json:"lost_slot,omitempty"`

	// AskedIn is the start of the agent in which the interrupt was begun last,
	// AppliedIn that in which the bundle was; Applies counts those starts.
	AskedIn   uint64 `json:"asked_in,omitempty"`
	AppliedIn uint64 `json:"applied_in,omitempty"`
	Applies   int    `json:"applies,omitempty"`
	// AskedAt is when the host's clock was at the last request for a reboot, in the
	// boot BootID; 0 without one. Accepted: the host has said that it goes down.
	AskedAt  time.Duration `json:"asked_at,omitempty"`
	Accepted bool          `json:"accepted,omitempty"`
	// Booted: the host has booted while the bundle was put in place, so that what
	// runs need not be what ran before.
	Booted bool `json:"booted,omitempty"`

	// Sick is the failed state that the job was begun from, until the host is
	// found healthy: it is out of service, and stays so if the job is given up.
	Sick *State `json:"sick,omitempty"`

	// What is kept between jobs.
	Applied   string         `json:"applied,omitempty"`  // digest of the bundle in place
	Undo      *Undo          `json:"undo,omitempty"`     // nil when nothing is kept to go back to
	Ended     *Job           `json:"ended,omitempty"`    // the job that ended last
	Failure   *api.Failure   `json:"failure,omitempty"`  // of the job tried last
	Tries     map[string]int `json:"tries,omitempty"`    // by bundle, until one succeeds
	FailedAt  time.Time      `json:"failed_at,omitzero"` // the last failure's time
	LastFence int64          `json:"last_fence,omitempty"`
	Starts    uint64         `json:"starts"`             // of the agent
	Served    string         `json:"served,omitempty"`   // the RebootRequest that ended last
	Rebooted  bool           `json:"rebooted,omitempty"` // or tried to, for the host's own wish, which has not gone since
}

// tries counts one more try for the job's bundle and returns the count.
func (s *State) tries(delta int) int {
	t := maps.Clone(s.Tries)
	if t == nil {
		t = map[string]int{}
	}
	t[s.Job.Bundle] += delta
	s.Tries = t
	return t[s.Job.Bundle]
}

// forget drops the count of a bundle.
func (s *State) forget(bundle string) {
	t := maps.Clone(s.Tries)
	delete(t, bundle)
	s.Tries = t
}

// end remembers that a job ended, so that it is not begun again.
func (s *State) end(j *Job) {
	switch {
	case j == nil:
	case j.Undo:
		s.Ended = j
	case j.Request != "":
		s.Served = j.Request
	case j.Bundle == "":
		s.Rebooted = true
	default:
		s.Ended = j
	}
}

// mayGoDown reports that a reboot was asked for in this boot and may still come:
// the agent may have been ended between the request and its answer.
func (s *State) mayGoDown(o *Observation) bool {
	return s.AskedAt != 0 && o.BootID == s.BootID && o.Now-s.AskedAt < RebootWithin
}

// untilDown waits for such a reboot, or until it is sure that none comes.
func untilDown(s State, o Observation) (State, Action) {
	return s, Action{Do: DoWait, For: s.AskedAt + RebootWithin - o.Now, Why: "the host goes down, as far as is known"}
}

// rebooted reports that the host has booted since the interrupt was begun, or
// with a soft reboot its userspace.
func (s *State) rebooted(o *Observation) bool {
	soft := s.Interrupt == bundle.InterruptSoftReboot && s.Userspace != "" && o.Userspace != ""
	return o.BootID != s.BootID || soft && o.Userspace != s.Userspace
}

// unfit reports a host that was found unhealthy and not healthy since: only a
// verification puts it back into service.
func (s *State) unfit() bool {
	return s.Sick != nil || s.Back && s.BackAgain && (!s.undoing() || s.Interrupting)
}

// undoing: the way back was asked for by a person, not by a failure.
func (s *State) undoing() bool { return s.Job != nil && s.Job.Undo }

// keep remembers the way back from the bundle that is in place now.
func (s *State) keep() {
	s.Undo = nil
	if s.Applies > 0 { // else it was there already
		s.Undo = &Undo{Request: s.Request, Bundle: s.Job.Bundle, Before: s.Applied, Interrupt: s.Interrupt, Units: s.Units}
	}
	s.Applied = s.Job.Bundle
}

// asFailed is the failed state that the job was begun from, with what has
// changed since.
func (s State) asFailed() State {
	f := *s.Sick
	f.Fence, f.LastFence, f.Drain, f.Tries, f.Starts = s.Fence, s.LastFence, s.Drain, s.Tries, s.Starts
	f.Group, f.FailedAt, f.Undo = s.Group, s.FailedAt, s.Undo
	return f
}

// idle is the state between jobs.
func (s State) idle() State {
	return State{
		Phase: api.PhaseIdle, Node: s.Node, Applied: s.Applied, Undo: s.Undo, Ended: s.Ended, Failure: s.Failure, FailedAt: s.FailedAt, Tries: s.Tries,
		LastFence: max(s.LastFence, s.Fence), Starts: s.Starts, Served: s.Served, Rebooted: s.Rebooted,
	}
}
