package agent

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// seen is what an agent sees in the middle of a job that is wanted.
func seen(change func(o *Observation)) Observation {
	o := Observation{
		Now: time.Hour, BootID: "boot1", Userspace: "u1", NewID: "new", Known: true, Cluster: "c", Instance: "i", MaxAttempts: 2,
		Wanted: &api.Wanted{Rollout: "r", Bundle: "b"},
	}
	if change != nil {
		change(&o)
	}
	return o
}

func in(phase api.Phase, change func(s *State)) State {
	s := State{Phase: phase, Job: &Job{Rollout: "r", Bundle: "b"}, Request: "req", Fence: 5, BootID: "boot1"}
	if change != nil {
		change(&s)
	}
	return s
}

func gate(a GateAnswer, asked time.Duration) func(o *Observation) {
	return func(o *Observation) { o.Gate = Gate{Fence: 5, Answer: a, Asked: asked, Shut: asked} }
}

func after(do Do, st Status) func(o *Observation) {
	return func(o *Observation) { o.Last = Outcome{Do: do, Status: st, Interrupt: bundle.InterruptReboot} }
}

func both(fs ...func(o *Observation)) func(o *Observation) {
	return func(o *Observation) {
		for _, f := range fs {
			f(o)
		}
	}
}

func TestNext(t *testing.T) {
	const now = time.Hour
	drained := func(s *State) { s.Drain = DrainDone }
	unpacked := func(s *State) { s.Drain, s.Unpacked, s.Interrupt = DrainDone, true, bundle.InterruptReboot }
	back := func(s *State) {
		unpacked(s)
		s.Back, s.BackAgain, s.PutBack, s.Failure = true, true, true, &api.Failure{Reason: "unhealthy"}
	}
	wish := func(s *State) { unpacked(s); s.Job.Bundle, s.Job.Rollout = "", "" }
	soft := func(s *State) {
		unpacked(s)
		s.Interrupt, s.Interrupting, s.Userspace = bundle.InterruptSoftReboot, true, "u1"
	}
	hooked := func(o *Observation) { o.PreReboot = true }
	asked := func(ago time.Duration, accepted bool) func(s *State) {
		return func(s *State) {
			unpacked(s)
			s.AskedAt, s.Accepted, s.AskedIn, s.Starts = now-ago, accepted, 1, 2
		}
	}
	idleState := State{Phase: api.PhaseIdle}
	for name, c := range map[string]struct {
		state State
		seen  func(o *Observation)
		phase api.Phase
		do    Do
	}{
		"idle, nothing heard yet":                 {idleState, func(o *Observation) { o.Known = false }, api.PhaseIdle, DoWait},
		"idle, nothing wanted":                    {idleState, func(o *Observation) { o.Wanted = nil }, api.PhaseIdle, DoWait},
		"idle, wanted":                            {idleState, nil, api.PhaseIdle, DoPlan},
		"idle, wanted and ended before":           {State{Phase: api.PhaseIdle, Ended: &Job{Rollout: "r", Bundle: "b"}}, nil, api.PhaseIdle, DoWait},
		"idle, tried too often":                   {State{Phase: api.PhaseIdle, Tries: map[string]int{"b": 2}}, nil, api.PhaseIdle, DoRecord},
		"idle, plan not known":                    {idleState, after(DoPlan, Unknown), api.PhaseIdle, DoPlan},
		"idle, a hold of another instance":        {idleState, func(o *Observation) { o.Wanted = nil; o.Hold = &api.Hold{Via: "agent", Instance: "j", Fence: 1} }, api.PhaseIdle, DoWait},
		"idle, a hold of its own":                 {idleState, func(o *Observation) { o.Hold = &api.Hold{Via: "agent", Instance: "i", Fence: 1} }, api.PhaseIdle, DoRelease},
		"waiting":                                 {in(api.PhaseWaiting, nil), nil, api.PhaseWaiting, DoAcquire},
		"waiting, after a start":                  {in(api.PhaseWaiting, nil), func(o *Observation) { o.Known = false; o.Wanted = nil }, api.PhaseWaiting, DoAcquire},
		"waiting, withdrawn":                      {in(api.PhaseWaiting, nil), func(o *Observation) { o.Wanted = nil }, api.PhaseWaiting, DoLeave},
		"waiting, another bundle wanted":          {in(api.PhaseWaiting, nil), func(o *Observation) { o.Wanted = &api.Wanted{Bundle: "x"} }, api.PhaseWaiting, DoLeave},
		"waiting, granted":                        {in(api.PhaseWaiting, nil), after(DoAcquire, Done), api.PhaseHolding, DoConfirm},
		"holding, gate not asked":                 {in(api.PhaseHolding, nil), nil, api.PhaseHolding, DoConfirm},
		"holding, gate open":                      {in(api.PhaseHolding, nil), gate(GateOpen, now-time.Second), api.PhaseDraining, DoDrain},
		"holding, gate open too long ago":         {in(api.PhaseHolding, nil), gate(GateOpen, now-GateFor), api.PhaseHolding, DoConfirm},
		"holding, gate of another fence":          {in(api.PhaseHolding, nil), func(o *Observation) { o.Gate = Gate{Fence: 4, Answer: GateOpen, Asked: now} }, api.PhaseHolding, DoConfirm},
		"holding, no answer for an hour":          {in(api.PhaseHolding, nil), gate(GateNoAnswer, 0), api.PhaseHolding, DoConfirm},
		"holding, gone":                           {in(api.PhaseHolding, nil), gate(GateGone, now), api.PhaseReleasing, DoRecord},
		"holding, withdrawn":                      {in(api.PhaseHolding, nil), func(o *Observation) { o.Wanted = nil }, api.PhaseReleasing, DoRecord},
		"draining, after a start":                 {in(api.PhaseDraining, drained), nil, api.PhaseDraining, DoConfirm},
		"draining, withdrawn goes on":             {in(api.PhaseDraining, drained), both(gate(GateOpen, now), func(o *Observation) { o.Wanted = nil }), api.PhaseDraining, DoDrain},
		"draining, done":                          {in(api.PhaseDraining, drained), after(DoDrain, Done), api.PhaseApplying, DoApply},
		"draining, gone":                          {in(api.PhaseDraining, drained), gate(GateGone, now), api.PhaseReleasing, DoRecord},
		"draining, no answer":                     {in(api.PhaseDraining, drained), gate(GateNoAnswer, now-9*time.Minute), api.PhaseDraining, DoConfirm},
		"draining, no answer for ten minutes":     {in(api.PhaseDraining, drained), gate(GateNoAnswer, now-10*time.Minute), api.PhaseDraining, DoUndrain},
		"applying, after a start":                 {in(api.PhaseApplying, drained), nil, api.PhaseApplying, DoConfirm},
		"applying, after a start and its gate":    {in(api.PhaseApplying, drained), gate(GateOpen, now-time.Minute), api.PhaseApplying, DoApply},
		"applying, gone":                          {in(api.PhaseApplying, drained), gate(GateGone, now), api.PhaseApplying, DoRollBack},
		"applying, failed":                        {in(api.PhaseApplying, drained), after(DoApply, Failed), api.PhaseApplying, DoRollBack},
		"applying, another boot":                  {in(api.PhaseApplying, drained), func(o *Observation) { o.BootID = "boot2" }, api.PhaseApplying, DoRecord},
		"applied, before the second gate":         {in(api.PhaseApplying, unpacked), nil, api.PhaseApplying, DoConfirm},
		"applied, gate open":                      {in(api.PhaseApplying, unpacked), gate(GateOpen, now), api.PhaseApplying, DoPreReboot},
		"applied, gate open too long ago":         {in(api.PhaseApplying, unpacked), gate(GateOpen, now-GateFor), api.PhaseApplying, DoPreReboot},
		"hooks against the reboot":                {in(api.PhaseApplying, unpacked), both(gate(GateOpen, now), after(DoPreReboot, Failed)), api.PhaseApplying, DoRollBack},
		"hooks for it, gate open":                 {in(api.PhaseApplying, unpacked), both(gate(GateOpen, now), hooked), api.PhaseRebooting, DoReboot},
		"hooks for it, gate open too long ago":    {in(api.PhaseApplying, unpacked), both(gate(GateOpen, now-GateFor), hooked), api.PhaseApplying, DoConfirm},
		"wish, hooks against the reboot":          {in(api.PhaseApplying, wish), both(gate(GateOpen, now), after(DoPreReboot, Failed)), api.PhaseReleasing, DoRecord},
		"soft reboot, userspace as before":        {in(api.PhaseRebooting, soft), nil, api.PhaseApplying, DoRecord},
		"soft reboot, userspace not known":        {in(api.PhaseRebooting, soft), func(o *Observation) { o.Userspace = "" }, api.PhaseRebooting, DoWait},
		"soft reboot, userspace another":          {in(api.PhaseRebooting, soft), func(o *Observation) { o.Userspace = "u2" }, api.PhaseVerifying, DoRecord},
		"soft reboot, boot another":               {in(api.PhaseRebooting, soft), func(o *Observation) { o.BootID = "boot2" }, api.PhaseVerifying, DoRecord},
		"reboot, userspace another":               {in(api.PhaseRebooting, unpacked), func(o *Observation) { o.Userspace = "u2" }, api.PhaseApplying, DoRecord},
		"reboot, kept from it for now":            {in(api.PhaseRebooting, unpacked), after(DoReboot, Unknown), api.PhaseApplying, DoRecord},
		"applied, gate open and not drained":      {in(api.PhaseApplying, func(s *State) { unpacked(s); s.Drain = DrainNone }), gate(GateOpen, now), api.PhaseApplying, DoDrain},
		"applied, no answer for ten minutes":      {in(api.PhaseApplying, unpacked), gate(GateNoAnswer, now-DrainedFor), api.PhaseApplying, DoUndrain},
		"applied, frozen":                         {in(api.PhaseApplying, unpacked), gate(GateFrozen, now), api.PhaseApplying, DoConfirm},
		"applied, gone":                           {in(api.PhaseApplying, unpacked), gate(GateGone, now), api.PhaseApplying, DoRollBack},
		"units, gone behind the gate":             {in(api.PhaseApplying, func(s *State) { unpacked(s); s.Interrupt, s.Interrupting = bundle.InterruptReload, true }), gate(GateGone, now), api.PhaseVerifying, DoRecord},
		"rebooting, other boot id":                {in(api.PhaseRebooting, unpacked), func(o *Observation) { o.BootID = "boot2" }, api.PhaseVerifying, DoRecord},
		"rebooting, same boot id after a start":   {in(api.PhaseRebooting, unpacked), nil, api.PhaseApplying, DoRecord},
		"rebooting, asked a minute ago":           {in(api.PhaseRebooting, unpacked), func(o *Observation) { o.RebootAsked = now - time.Minute }, api.PhaseRebooting, DoWait},
		"rebooting, accepted before a start":      {in(api.PhaseRebooting, asked(time.Minute, true)), nil, api.PhaseRebooting, DoWait},
		"rebooting, accepted, and it never came":  {in(api.PhaseRebooting, asked(RebootWithin, true)), nil, api.PhaseApplying, DoRecord},
		"rebooting, perhaps asked before a start": {in(api.PhaseRebooting, asked(time.Minute, false)), nil, api.PhaseApplying, DoRecord},
		"rebooting, perhaps asked a last time":    {in(api.PhaseRebooting, func(s *State) { asked(time.Minute, false)(s); s.Reboots = 1 }), nil, api.PhaseRebooting, DoWait},
		"perhaps going down, and the slot gone":   {in(api.PhaseApplying, asked(time.Minute, false)), gate(GateGone, now), api.PhaseApplying, DoWait},
		"the reboot comes after all":              {in(api.PhaseApplying, asked(time.Minute, false)), func(o *Observation) { o.BootID = "boot2" }, api.PhaseVerifying, DoRecord},
		"back, after a boot on the way":           {in(api.PhaseApplying, func(s *State) { back(s); s.BackAgain, s.Booted = true, true }), nil, api.PhaseApplying, DoConfirm},
		"rebooting, asked long ago":               {in(api.PhaseRebooting, unpacked), func(o *Observation) { o.RebootAsked = now - RebootWithin }, api.PhaseApplying, DoRecord},
		"verifying":                               {in(api.PhaseVerifying, unpacked), nil, api.PhaseVerifying, DoVerify},
		"verifying, withdrawn goes on":            {in(api.PhaseVerifying, unpacked), func(o *Observation) { o.Wanted = nil }, api.PhaseVerifying, DoVerify},
		"verifying, healthy":                      {in(api.PhaseVerifying, unpacked), after(DoVerify, Done), api.PhaseReleasing, DoRecord},
		"verifying, unhealthy":                    {in(api.PhaseVerifying, unpacked), after(DoVerify, Failed), api.PhaseApplying, DoRollBack},
		"verifying, a boot nobody asked for":      {in(api.PhaseVerifying, unpacked), func(o *Observation) { o.BootID = "boot2" }, api.PhaseVerifying, DoRecord},
		"verifying, a second one":                 {in(api.PhaseVerifying, func(s *State) { unpacked(s); s.Crashes = 1 }), func(o *Observation) { o.BootID = "boot2" }, api.PhaseApplying, DoRollBack},
		"back, before its interrupt":              {in(api.PhaseApplying, back), nil, api.PhaseApplying, DoConfirm},
		"back, gate open":                         {in(api.PhaseApplying, back), both(gate(GateOpen, now), hooked), api.PhaseRebooting, DoReboot},
		"back, hooks against the reboot":          {in(api.PhaseApplying, back), both(gate(GateOpen, now), after(DoPreReboot, Failed)), api.PhaseFailed, DoRecord},
		"back, gone":                              {in(api.PhaseApplying, back), gate(GateGone, now), api.PhaseFailed, DoRecord},
		"back, files not yet":                     {in(api.PhaseApplying, func(s *State) { back(s); s.PutBack = false }), nil, api.PhaseApplying, DoRollBack},
		"back, files cannot be put back":          {in(api.PhaseApplying, func(s *State) { back(s); s.PutBack = false }), after(DoRollBack, Failed), api.PhaseFailed, DoRecord},
		"back, booted":                            {in(api.PhaseRebooting, back), func(o *Observation) { o.BootID = "boot2" }, api.PhaseVerifying, DoRecord},
		"back, healthy":                           {in(api.PhaseVerifying, back), after(DoVerify, Done), api.PhaseReleasing, DoRecord},
		"back, unhealthy keeps the slot":          {in(api.PhaseVerifying, back), after(DoVerify, Failed), api.PhaseFailed, DoRecord},
		"failed, looks again":                     {in(api.PhaseFailed, func(s *State) { back(s); s.Ended = s.Job }), nil, api.PhaseFailed, DoRecheck},
		"failed, still sick":                      {in(api.PhaseFailed, func(s *State) { back(s); s.Ended = s.Job }), after(DoRecheck, Failed), api.PhaseFailed, DoWait},
		"failed, healthy again":                   {in(api.PhaseFailed, func(s *State) { back(s); s.Ended = s.Job }), after(DoRecheck, Done), api.PhaseReleasing, DoRecord},
		"failed, a newer bundle":                  {in(api.PhaseFailed, func(s *State) { back(s); s.Ended = s.Job }), func(o *Observation) { o.Wanted = &api.Wanted{Rollout: "r2", Bundle: "x"} }, api.PhaseFailed, DoPlan},
		"releasing, drained":                      {in(api.PhaseReleasing, drained), nil, api.PhaseReleasing, DoUndrain},
		"releasing, in service":                   {in(api.PhaseReleasing, nil), nil, api.PhaseReleasing, DoRelease},
		"releasing, no answer":                    {in(api.PhaseReleasing, nil), after(DoRelease, Unknown), api.PhaseReleasing, DoRelease},
		"releasing, returned":                     {in(api.PhaseReleasing, nil), after(DoRelease, Done), api.PhaseIdle, DoRecord},
		"a phase that nobody knows is not worked": {State{Phase: "other"}, func(o *Observation) { o.Wanted = nil }, "other", DoWait},
	} {
		t.Run(name, func(t *testing.T) {
			s, a := Next(c.state, seen(c.seen))
			if s.Phase != c.phase || a.Do != c.do {
				t.Errorf("got %s and %s (%s), want %s and %s", s.Phase, a.Do, a.Why, c.phase, c.do)
			}
			if gated := a.Do == DoDrain || a.Do == DoUnits || a.Do == DoReboot; gated != a.Gated {
				t.Errorf("%s gated: %t", a.Do, a.Gated)
			}
		})
	}
}

// What a boot on the way has read is not what is put back: the way back needs the
// interrupt too.
func TestNext_AfterABootOnTheWayGoingBackInterruptsAgain(t *testing.T) {
	for _, interrupt := range []bundle.Interrupt{"", bundle.InterruptReboot} {
		s := in(api.PhaseApplying, func(s *State) { s.Drain, s.Booted, s.Interrupt = DrainDone, true, interrupt })
		n, act := Next(s, seen(after(DoApply, Failed)))
		if act.Do != DoRollBack || !n.BackAgain || n.Interrupt != bundle.InterruptReboot {
			t.Errorf("%q: %s, again %t by %s", interrupt, act.Do, n.BackAgain, n.Interrupt)
		}
	}
}

func TestNext_ChangesNothingOfTheStateThatItWasGiven(t *testing.T) {
	s := in(api.PhaseDraining, func(s *State) { s.Tries = map[string]int{"b": 1} })
	n, _ := Next(s, seen(after(DoDrain, Done)))
	if s.Tries["b"] != 1 || n.Tries["b"] != 2 {
		t.Errorf("before %v, after %v", s.Tries, n.Tries)
	}
}
