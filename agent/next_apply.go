package agent

import (
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// applying covers both directions: forward to the bundle, and back to what it
// replaced. Both end at the interrupt.
func applying(s State, o Observation) (State, Action) {
	if s.Back {
		return applyingBack(s, o)
	}
	if o.BootID != s.BootID {
		// Nobody asked for that boot: the bundle may have caused it, and must
		// not be put in place for ever.
		s.BootID, s.Booted = o.BootID, true
		if s.Unpacked && s.AskedAt != 0 && !s.Interrupt.OfUnits() {
			s.Phase, s.Interrupting = api.PhaseVerifying, true
			return record(s, "the reboot that was asked for has come after all")
		}
		if n := s.tries(1); n > o.MaxAttempts {
			return goBack(s, o, "attempts", fmt.Sprintf("the host booted by itself while the bundle was put in place, %d times", n-1))
		}
		return record(s, "the host booted while the bundle was put in place")
	}
	switch {
	case o.done(DoApply):
		s.Unpacked, s.Interrupt, s.Units = true, o.Last.Interrupt, o.Last.Units
		if s.Interrupt == bundle.InterruptNone {
			s.Phase = api.PhaseVerifying
			return record(s, "the bundle is in place")
		}
		return record(s, "the bundle is in place, and asks for: %s", s.Interrupt)
	case o.failed(DoApply):
		return goBack(s, o, o.Last.Reason, o.Last.Detail)
	case s.Unpacked:
		return interrupt(s, o)
	case o.gone(&s):
		return goBack(s, o, "lost_slot", o.Gate.Detail)
	case o.open(&s):
		return apply(s, o)
	}
	return confirm(s, o)
}

// apply puts the bundle in place, in at most maxApplies starts of the agent.
func apply(s State, o Observation) (State, Action) {
	if s.AppliedIn != s.Starts {
		s.AppliedIn = s.Starts
		s.Applies++
	}
	if n := s.Applies - 1; n >= max(maxApplies, o.MaxAttempts+1) {
		return goBack(s, o, "attempts", fmt.Sprintf("the agent was ended %d times while it put the bundle in place", n))
	}
	return s, Action{Do: DoApply, Why: "putting the bundle in place"}
}

// goBack turns round: the previous files, the interrupt if it was begun, and a
// verification decide whether the host is in service again.
func goBack(s State, o Observation, reason, detail string) (State, Action) {
	switch {
	case s.Job.Bundle == "" && reason == "lost_slot":
		s.tries(-1)
		return giveUp(s, "the slot is gone: %s", detail) // and nothing was done
	case s.Job.Bundle == "":
		return stuck(s, o, reason, detail)
	}
	s.Failure = failure(s, o, reason, detail)
	s.Phase, s.Back, s.PutBack = api.PhaseApplying, true, false
	s.BackAgain, s.Interrupting = s.Interrupting || s.Booted, false
	if s.Booted && s.Interrupt == "" {
		s.Interrupt = bundle.InterruptReboot // nobody knows what the boot has read
	}
	s.Reboots, s.Crashes = 0, 0
	s.LostSlot = reason == "lost_slot"
	s.BootID = o.BootID
	return s, Action{Do: DoRollBack, Why: "putting the previous files back: " + detail}
}

// undo turns round because a person asked for it: the same way as after a
// failure, with all that runs to be interrupted.
func undo(s State) (State, Action) {
	u := s.Undo
	s.Back, s.BackAgain, s.Request, s.Interrupt, s.Units = true, true, u.Request, u.Interrupt, u.Units
	return s, Action{Do: DoRollBack, Why: "putting the previous files back, as a person asked"}
}

func applyingBack(s State, o Observation) (State, Action) {
	switch {
	case o.done(DoRollBack):
		s.PutBack, s.BootID = true, o.BootID
		if s.undoing() && s.Undo != nil {
			s.Applied, s.Undo = s.Undo.Before, nil
		}
	case o.failed(DoRollBack):
		return stuck(s, o, "rollback", o.Last.Detail)
	}
	switch {
	case !s.PutBack && s.undoing() && !o.open(&s) && !o.gone(&s):
		return confirm(s, o)
	case !s.PutBack:
		return s, Action{Do: DoRollBack, Why: "putting the previous files back"}
	case s.LostSlot && s.Sick != nil:
		return failedAgain(s)
	case s.LostSlot && !s.BackAgain:
		// Nothing was interrupted: what runs is what ran before.
		f := *s.Failure
		f.Healthy = true
		s.Failure, s.Phase = &f, api.PhaseReleasing
		return record(s, "the slot is gone; the previous files are in place again")
	case !s.BackAgain || s.Interrupt == bundle.InterruptNone:
		s.Phase = api.PhaseVerifying
		return record(s, "the previous files are in place again")
	case o.BootID != s.BootID && !s.Interrupt.OfUnits():
		s.Phase, s.BootID = api.PhaseVerifying, o.BootID
		return record(s, "the host has booted with the previous files")
	}
	return interrupt(s, o)
}

// interrupt passes the second gate and carries the interrupt out.
func interrupt(s State, o Observation) (State, Action) {
	switch {
	case o.done(DoUnits):
		s.Phase = api.PhaseVerifying
		return record(s, "units: %s done", s.Interrupt)
	case o.failed(DoPreReboot):
		return notRebooting(s, o)
	case o.failed(DoUnits):
		if s.Back {
			return stuck(s, o, "interrupt", o.Last.Detail)
		}
		return goBack(s, o, "interrupt", o.Last.Detail)
	case o.done(DoDrain):
		s.Drain = DrainDone
	case o.failed(DoDrain):
		if s.Back {
			return stuck(s, o, "drain", o.Last.Detail)
		}
		return goBack(s, o, "drain", o.Last.Detail)
	case o.done(DoUndrain):
		s.Drain = DrainNone
		return record(s, "in service again until the coordinator answers")
	}
	switch {
	case o.gone(&s) && s.Interrupting:
		// The units may have been interrupted already: see how they do.
		s.Phase = api.PhaseVerifying
		return record(s, "the slot went behind the last gate")
	case o.gone(&s) && s.mayGoDown(&o):
		return untilDown(s, o)
	case o.gone(&s) && s.Back:
		return stuck(s, o, "lost_slot", "the slot went before the "+string(s.Interrupt)+" that the previous files need")
	case o.gone(&s):
		return goBack(s, o, "lost_slot", o.Gate.Detail)
	case o.shutFor(&s) >= DrainedFor && s.Drain != DrainNone && !s.unfit():
		return s, Action{Do: DoUndrain, Why: "nobody has confirmed the slot for long: back into service meanwhile"}
	case !s.Interrupt.OfUnits() && s.Drain == DrainDone && !o.PreReboot && o.open(&s):
		// Before the gate, for they may take longer than its answer counts.
		return s, Action{Do: DoPreReboot, Why: "running the hooks before the reboot"}
	case !o.fresh(&s):
		return confirm(s, o)
	case s.Drain != DrainDone:
		s.Drain = DrainBegun
		return s, Action{Do: DoDrain, Gated: true, Why: "draining"}
	case s.Interrupt.OfUnits():
		if s.Interrupting && s.AskedIn != s.Starts {
			// It was begun, and the agent ended: the unit may be the agent's own.
			if s.Reboots++; s.Reboots >= maxReboots {
				s.Phase = api.PhaseVerifying
				return record(s, "units: %s was begun %d times, and the agent ended each time; seeing how they do", s.Interrupt, s.Reboots)
			}
		}
		s.Interrupting, s.AskedIn = true, s.Starts
		return s, Action{Do: DoUnits, Gated: true, Why: "units: " + string(s.Interrupt)}
	}
	s.Phase, s.Interrupting, s.AskedIn = api.PhaseRebooting, true, s.Starts
	s.BootID, s.Userspace = o.BootID, o.Userspace
	s.AskedAt, s.Accepted = max(1, o.Now), false
	return s, Action{Do: DoReboot, Gated: true, Why: "rebooting"}
}

// notRebooting gives the interrupt up because a hook is against it.
func notRebooting(s State, o Observation) (State, Action) {
	switch {
	case s.Back:
		return stuck(s, o, "pre-reboot", o.Last.Detail)
	case s.Job.Bundle != "":
		return goBack(s, o, "pre-reboot", o.Last.Detail)
	}
	s.Failure = failure(s, o, "pre-reboot", o.Last.Detail)
	s.Failure.Healthy = true // and nothing was done
	s.Phase = api.PhaseReleasing
	return record(s, "%s", o.Last.Detail)
}

// userspaceEvery is the pause between two looks for a soft reboot.
const userspaceEvery = 5 * time.Second

func noReboot(s State, o Observation, detail string) (State, Action) {
	detail = fmt.Sprintf("%d requests for a reboot, and no reboot: %s", s.Reboots, detail)
	if s.Back {
		return stuck(s, o, "reboot", detail)
	}
	return goBack(s, o, "reboot", detail)
}

// rebooting waits for another boot id. Nothing else counts as a reboot.
func rebooting(s State, o Observation) (State, Action) {
	if s.rebooted(&o) {
		s.Phase, s.BootID = api.PhaseVerifying, o.BootID
		return record(s, "rebooted")
	}
	if s.Userspace != "" && o.Userspace == "" {
		return s, Action{Do: DoWait, For: userspaceEvery, Why: "cannot tell whether the soft reboot has happened: systemd does not answer"}
	}
	switch {
	case o.done(DoReboot):
		s.Accepted = true
	case o.failed(DoReboot), o.Last.Do == DoReboot:
		s.AskedAt = 0
	}
	if left := o.RebootAsked + RebootWithin - o.Now; o.RebootAsked != 0 && left > 0 {
		return s, Action{Do: DoWait, For: left, Why: "the host goes down"}
	}
	if last := s.Reboots+1 >= maxReboots && s.AskedIn != s.Starts; s.mayGoDown(&o) && (s.Accepted || last) {
		return untilDown(s, o)
	}
	// It has not happened: before the gate again.
	s.Phase, s.Interrupting = api.PhaseApplying, false
	detail := "the host did not go down"
	switch {
	case o.Last.Do == DoReboot && o.Last.Status == Unknown:
		detail = o.Last.Detail // something keeps the host from it for now
	case o.failed(DoReboot):
		detail = o.Last.Detail
		s.Reboots++
	case o.RebootAsked != 0:
		s.Reboots++
	case s.AskedIn != s.Starts:
		// The request may have ended the agent and nothing else, as it does in
		// a container.
		detail = "the agent was started again, and the host was not"
		s.Reboots++
	}
	if s.Reboots >= maxReboots {
		return noReboot(s, o, detail)
	}
	return record(s, "the host has not rebooted: %s", detail)
}
