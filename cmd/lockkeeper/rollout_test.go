package main

import (
	"strings"
	"testing"

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
