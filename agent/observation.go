package agent

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// Observation is what Next may know besides the state. Everything in it but
// the clock and the boot id is of this process only: after a start it is empty.
type Observation struct {
	Now    time.Duration // host.Clock
	At     time.Time     // wall clock, for failures
	BootID string
	// Userspace is known only with a soft reboot under way, "" otherwise.
	Userspace string
	NewID     string // a fresh random id, for whoever needs one

	Known    bool   // the pinned cluster has answered a poll since the start
	Cluster  string // pinned
	Instance string
	Wanted   *api.Wanted
	Hold     *api.Hold // as the coordinator sees it
	// NeedsReboot: the host asks for one, and the agent is to care.
	NeedsReboot bool
	NeedsWhy    string
	Request     *RebootRequest // a person's

	Gate        Gate
	PreReboot   bool          // the hooks before the reboot have succeeded in this process
	RebootAsked time.Duration // when a reboot was accepted, 0: not in this process
	Last        Outcome       // of the last act, until the next one
	MaxAttempts int
}

// GateAnswer is what a confirm brought.
type GateAnswer string

// The answers. "" is a gate not yet asked in this process.
const (
	GateOpen     GateAnswer = "open"
	GateGone     GateAnswer = "gone"     // the hold is gone or revoked
	GateFrozen   GateAnswer = "frozen"   // it stands, and has to wait
	GateNoAnswer GateAnswer = "noanswer" // nobody can say
)

// Gate is the last confirm.
type Gate struct {
	Fence  int64 // that was asked about
	Answer GateAnswer
	Asked  time.Duration // when the question was sent
	// Shut is when the first of the questions was sent that found it not open.
	Shut   time.Duration
	Detail string
}

// open reports whether the gate was open for this fence in this process.
func (o *Observation) open(s *State) bool {
	return o.Gate.Answer == GateOpen && o.Gate.Fence == s.Fence
}

// fresh reports whether it is still open.
func (o *Observation) fresh(s *State) bool { return o.open(s) && o.Now-o.Gate.Asked < GateFor }

// gone reports whether the hold is known to be gone.
func (o *Observation) gone(s *State) bool {
	return o.Gate.Answer == GateGone && o.Gate.Fence == s.Fence
}

// shutFor is how long the gate has not been open.
func (o *Observation) shutFor(s *State) time.Duration {
	if o.Gate.Fence != s.Fence || o.Gate.Answer != GateNoAnswer && o.Gate.Answer != GateFrozen {
		return 0
	}
	return o.Now - o.Gate.Shut
}

// Do names an act.
type Do string

// The acts.
const (
	DoWait    Do = "wait"    // for news
	DoRecord  Do = "record"  // the journal only
	DoPlan    Do = "plan"    // fetch the bundle and compare
	DoAcquire Do = "acquire" // ask for a slot
	DoLeave   Do = "leave"   // the queue
	DoConfirm Do = "confirm" // ask the gate
	DoDrain   Do = "drain"   //
	DoUndrain Do = "undrain" //
	DoApply   Do = "apply"   // keep the previous files, put the new ones in place
	DoUnits   Do = "units"   // reload or restart
	// DoPreReboot runs the hooks that may be against it.
	DoPreReboot Do = "pre-reboot"
	DoReboot    Do = "reboot"   // or a soft one
	DoVerify    Do = "verify"   // wait until healthy, or the deadline
	DoRecheck   Do = "recheck"  // whether a failed host is healthy by now
	DoRollBack  Do = "rollback" // put the previous files back
	DoRelease   Do = "release"  // return the slot
)

// Action is what to do next. The state that Next returned with it is on disk
// before it is begun.
type Action struct {
	Do Do
	// Gated: only while the gate is open and fresh, looked at once more when
	// the journal is on disk.
	Gated bool
	Job   *Job          // DoPlan
	Fence int64         // DoRelease
	For   time.Duration // DoWait: at most; 0 is for as long as it takes
	Why   string        // a sentence for people
}

// Status is how an act ended.
type Status string

// The endings.
const (
	Done    Status = "done"
	Failed  Status = "failed"  // for good
	Unknown Status = "unknown" // to be asked again, after a pause
)

// Outcome is how the last act ended.
type Outcome struct {
	Do     Do
	Status Status
	Reason string // of a failure: api.Failure.Reason
	Detail string
	// DoPlan and DoApply: what would change, or has.
	Job       *Job
	Changed   bool
	Interrupt bundle.Interrupt
	Units     []string
	Fence     int64 // DoAcquire and DoRelease
}

func (o *Observation) done(d Do) bool   { return o.Last.Do == d && o.Last.Status == Done }
func (o *Observation) failed(d Do) bool { return o.Last.Do == d && o.Last.Status == Failed }
