package main

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

func rolloutOf(state api.RolloutState, why string, nodes ...string) api.Rollout {
	r := api.Rollout{ID: "01ROLL", State: state, Why: why, CreatedAt: noon, Progress: api.RolloutProgress{Total: len(nodes)}}
	for i, s := range nodes {
		r.Nodes = append(r.Nodes, api.RolloutNode{Node: "web" + string(rune('1'+i)), Group: "web", State: s, Detail: "unhealthy"})
		switch s {
		case api.NodePending:
			r.Progress.Pending++
		case api.NodeUpdating:
			r.Progress.Updating++
		case api.NodeUpdated:
			r.Progress.Updated++
		case api.NodeBroken:
			r.Progress.Failed++
		}
	}
	return r
}

func TestRolloutWait_WritesALineForEachChangeAndSucceeds(t *testing.T) {
	f := &fake{rollouts: []api.Rollout{
		rolloutOf(api.RolloutRunning, "", "pending", "pending"),
		rolloutOf(api.RolloutRunning, "", "updating", "pending"),
		rolloutOf(api.RolloutRunning, "", "updating", "pending"),
		rolloutOf(api.RolloutRunning, "", "updated", "updating"),
		rolloutOf(api.RolloutSucceeded, "all nodes are updated", "updated", "updated"),
	}}
	r := newShell(f).run(t, "rollout", "show", "01ROLL", "--wait")
	r.want(t, exitOK)
	want := `running: 0 of 2 updated, 0 updating, 0 waiting, 2 pending, 0 failed
web1: updating
running: 0 of 2 updated, 1 updating, 0 waiting, 1 pending, 0 failed
web1: updated
web2: updating
running: 1 of 2 updated, 1 updating, 0 waiting, 0 pending, 0 failed
web2: updated
succeeded: 2 of 2 updated, 0 updating, 0 waiting, 0 pending, 0 failed; all nodes are updated
`
	if r.out != want {
		t.Errorf("output:\n%s\nwant:\n%s", r.out, want)
	}
}

func TestRolloutWait_ExitCodeTellsTheOutcome(t *testing.T) {
	for state, code := range map[api.RolloutState]int{
		api.RolloutSucceeded: exitOK, api.RolloutFailed: exitPerson, api.RolloutAborted: exitPerson, api.RolloutHalted: exitPerson,
	} {
		f := &fake{rollouts: []api.Rollout{rolloutOf(state, "web1 failed", "failed")}}
		newShell(f).run(t, "rollout", "show", "01ROLL", "--wait").want(t, code, "web1: failed: unhealthy", string(state)+": ")
	}
}

func TestRolloutWait_GoesOnWhenACoordinatorIsAwayForAWhile(t *testing.T) {
	f := &fake{
		rollouts: []api.Rollout{rolloutOf(api.RolloutSucceeded, "", "updated")},
		err:      []error{client.ErrUnreachable, api.Errorf(api.NoQuorum, "1 of 3 coordinators"), client.ErrUnreachable},
	}
	r := newShell(f).run(t, "rollout", "show", "01ROLL", "--wait")
	r.want(t, exitOK, "succeeded")
	if strings.Count(r.err, "No answer, trying again") != 1 {
		t.Errorf("errors: %q", r.err)
	}
}

func TestRolloutWait_WithJSONWritesTheOutcomeOnly(t *testing.T) {
	f := &fake{rollouts: []api.Rollout{rolloutOf(api.RolloutRunning, "", "updating"), rolloutOf(api.RolloutSucceeded, "", "updated")}}
	r := newShell(f).run(t, "rollout", "show", "01ROLL", "--wait", "-o", "json")
	r.want(t, exitOK)
	if !strings.HasPrefix(r.out, "{\n") || strings.Count(r.out, `"id": "01ROLL"`) != 1 {
		t.Errorf("output:\n%s", r.out)
	}
}

func TestRolloutWait_OnATerminalDrawsOneBlockInPlace(t *testing.T) {
	f := &fake{rollouts: []api.Rollout{rolloutOf(api.RolloutRunning, "", "updating", "pending"), rolloutOf(api.RolloutSucceeded, "done", "updated", "updated")}}
	s := newShell(f)
	s.outTTY = true
	r := s.run(t, "rollout", "show", "01ROLL", "--wait")
	r.want(t, exitOK, "\x1b[4A\r", "[▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒·") // over the heading, the bar and a table of two lines
	if strings.Contains(r.out, "\x1b[31m") {
		t.Error("colours though none were asked for")
	}
}

func TestRolloutStart_WithoutAnAnswerTellsHowToAskAgain(t *testing.T) {
	s := &shell{connect: dial}
	digest := strings.Repeat("ab", 32)
	r := s.run(t, "rollout", "start", "--server", "http://127.0.0.1:1", "--bundle", digest, "--group", "web", "--idempotency-key", "k1", "-v")
	r.want(t, exitUnreachable, "Idempotency key k1", "run the same command with --idempotency-key k1")
}

// waved is a rollout of three waves, the second under way, behind a gate that waits.
func waved() api.Rollout {
	r := rolloutOf(api.RolloutRunning, "", "updated", "updated", "failed", "updating", "pending", "pending")
	for i := range r.Nodes {
		r.Nodes[i].Wave = []int{1, 2, 2, 2, 3, 3}[i]
	}
	r.Waves = []api.RolloutWave{
		{Name: "canary", State: api.WaveDone, Total: 1, Updated: 1, MaxFailures: 0},
		{Name: "50%", State: api.WaveRunning, Total: 3, Updated: 1, Failed: 1, MaxFailures: 1},
		{Name: "rest", State: api.WavePending, Total: 2, MaxFailures: -1, Estimate: noon.Add(time.Hour)},
	}
	r.Wave, r.Estimate = 2, noon.Add(90*time.Minute)
	r.Budget = api.RolloutBudget{Failed: 1, Max: 2}
	r.Concurrency = &api.Concurrency{Nodes: 1, Bound: "slots", Detail: "group web has 1 slot"}
	r.Gates = []api.RolloutGate{{Wave: 2, Name: "go", Kind: "approval", Condition: "2 operators", Needed: 2, Role: "operator", Approvals: []api.Approval{{By: "ann", At: noon, Reason: "fine"}}}}
	return r
}

func TestRolloutWatch_DrawsWavesWithACellForEachNodeGatesAndBudget(t *testing.T) {
	f := &fake{rollouts: []api.Rollout{waved(), rolloutOf(api.RolloutSucceeded, "", "updated")}}
	s := newShell(f)
	s.outTTY = true
	s.run(t, "rollout", "watch", "01ROLL").want(t, exitOK,
		"about 1h30m left, until "+noon.Add(90*time.Minute).Local().Format("15:04"),
		"1 of 2 failures used; 1 node at once, by the slots: group web has 1 slot",
		"  1 canary  done     █ 1/1", "  2 50%     running  █✗▒ 1/3, 1 failed of 1", "  3 rest    pending  ·· 0/2, until about",
		"  gate go after wave 2  waits  2 operators: 1 of 2 approvals", "web4   web     updating")
}

func TestRolloutWatch_WritesALineForEachWaveAndGateThatChanges(t *testing.T) {
	later := waved()
	later.Waves[1].State, later.Gates[0].Passes = api.WaveDone, true
	f := &fake{rollouts: []api.Rollout{waved(), waved(), later, rolloutOf(api.RolloutHalted, "2 nodes failed", "failed")}}
	r := newShell(f).run(t, "rollout", "watch", "01ROLL")
	r.want(t, exitPerson, "1 canary: done\n", "2 50%: running\n", "gate go after wave 2: 1 of 2 approvals\n", "2 50%: done\n", "gate go after wave 2: passes\n", "halted: ")
	if strings.Count(r.out, "1 of 2 approvals") != 1 {
		t.Errorf("a gate is said again without a change:\n%s", r.out)
	}
}

func TestRolloutWatch_ManyNodesShareCellsAndTheWorstShows(t *testing.T) {
	var nodes []api.RolloutNode
	for i := range 1000 {
		nodes = append(nodes, api.RolloutNode{State: api.NodeUpdated})
		if i == 500 {
			nodes[i].State = api.NodeBroken
		}
	}
	got := (&app{}).cells(nodes, 40)
	if want := strings.Repeat("█", 20) + "✗" + strings.Repeat("█", 19); got != want {
		t.Errorf("cells %s, want %s", got, want)
	}
}

func TestRolloutWatch_EndsWithItsTimeoutAndTheRolloutGoesOn(t *testing.T) {
	f := &fake{rollouts: []api.Rollout{rolloutOf(api.RolloutRunning, "", "updating")}}
	newShell(f).run(t, "rollout", "watch", "01ROLL", "--timeout", "30ms").want(t, exitUnreachable,
		"has not ended within 30ms", "The rollout goes on. To follow it again: lockkeeper rollout watch 01ROLL")
	r := newShell(f).run(t, "rollout", "show", "01ROLL", "--wait", "--timeout", "30ms", "-o", "json")
	r.want(t, exitUnreachable, `"state": "running"`)
	newShell(f).run(t, "rollout", "start", "--bundle", strings.Repeat("ab", 32), "--group", "web", "--wait", "--timeout", "30ms").want(t, exitUnreachable, "has not ended")
	newShell(f).run(t, "rollout", "watch", "01ROLL", "--timeout", "-1s").want(t, exitUsage)
}

func TestRolloutActions_SayWhichWaveAndWhichGate(t *testing.T) {
	f := &fake{rollouts: []api.Rollout{waved()}}
	for _, args := range [][]string{
		{"approve", "01ROLL", "--wave", "2", "--gate", "go", "--reason", "fine"}, {"skip", "01ROLL", "--reason", "known"}, {"halt", "01ROLL"}, {"retry", "01ROLL"},
	} {
		newShell(f).run(t, append([]string{"rollout"}, args...)...).want(t, exitOK, "rollout 01ROLL: ", "running")
	}
	if got, want := strings.Join(f.acted, "; "), "approve 2 go fine; skip 2  known; halt 0  ; retry 0  "; got != want {
		t.Errorf("acted %q, want %q", got, want)
	}
	newShell(f).run(t, "rollout", "skip", "01ROLL", "--wave", "-1").want(t, exitUsage)
	since := time.Now()
	f.rollouts[0].State, f.rollouts[0].StoppedAt = api.RolloutPaused, since
	newShell(f).run(t, "rollout", "resume", "01ROLL").want(t, exitOK)
	if got := f.stops[len(f.stops)-1]; !got.Equal(since) {
		t.Errorf("resumed whatever stops it, as of %s: want the pause that was seen", got)
	}
}

func TestRolloutShow_HasWavesGatesAndWhoWasNotTold(t *testing.T) {
	r := waved()
	r.Undelivered = []api.Undelivered{{To: "ops (https://hooks.example.com)", What: "halted", Tries: 3, Detail: "answered 500"}}
	newShell(&fake{rollouts: []api.Rollout{r}}).run(t, "rollout", "show", "01ROLL").want(t, exitOK,
		"Failures   1, 2 are allowed", "At once    1, by the slots: group web has 1 slot", "2      50%      running   1/3",
		"gate go after wave 2", "  approved by ann just now fine", "to approve: lockkeeper rollout approve 01ROLL (role operator)",
		"not delivered to ops (https://hooks.example.com): halted, 3 tries: answered 500")
}

func TestRolloutShow_GivesNoTimeWhileNobodyKnowsIt(t *testing.T) {
	a := &app{now: func() time.Time { return noon }}
	r := waved()
	if a.leftText(r) == "" {
		t.Fatal("a rollout that goes on has no estimate")
	}
	frozen := r
	frozen.Stalled = &api.Stalled{Blockers: []api.Blocker{{Kind: api.Frozen}}}
	approval := r
	approval.State = api.RolloutApproval
	for _, r := range []api.Rollout{frozen, approval} {
		if got := a.leftText(r); got != "" {
			t.Errorf("%s, stalled %v: %q", r.State, r.Stalled, got)
		}
	}
}
