package main

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// standing is a rollout of three waves, of 1, 2 and 3 nodes, at the second.
func standing(state api.RolloutState, revision int64, change func(*api.Rollout)) api.Rollout {
	r := api.Rollout{
		ID: "ro-1", State: state, Revision: revision, Wave: 2, Progress: api.RolloutProgress{Total: 6, Updated: 1},
		Waves: []api.RolloutWave{
			{Name: "canary", State: api.WaveDone, Total: 1, Updated: 1}, {Name: "half", State: api.WaveRunning, Total: 2}, {State: api.WavePending, Total: 3},
		},
		Nodes: []api.RolloutNode{
			{Node: "a", Wave: 1, State: api.NodeUpdated}, {Node: "b", Wave: 2, State: api.NodeUpdating}, {Node: "c", Wave: 2, State: api.NodePending},
			{Node: "d", Wave: 3, State: api.NodePending}, {Node: "e", Wave: 3, State: api.NodePending}, {Node: "f", Wave: 3, State: api.NodePending},
		},
	}
	if change != nil {
		change(&r)
	}
	return r
}

func TestActionAnswer_SaysWhatWasDoneAndWhatComesNext(t *testing.T) {
	t.Parallel()
	why := func(text string) func(*api.Rollout) { return func(r *api.Rollout) { r.Why = text } }
	gate := func(approvals ...string) func(*api.Rollout) {
		return func(r *api.Rollout) {
			g := api.RolloutGate{Wave: 2, Name: "release", Kind: "approval", Needed: 2}
			for _, by := range approvals {
				g.Approvals = append(g.Approvals, api.Approval{By: by})
			}
			r.Waves[1].State, r.Gates = api.WaveGates, []api.RolloutGate{g}
		}
	}
	running := standing(api.RolloutRunning, 1, nil)
	for name, c := range map[string]struct {
		action string
		req    api.RolloutActionRequest
		was, r api.Rollout
		want   string
	}{
		"skip": {"skip", api.RolloutActionRequest{Wave: 2}, running, standing(api.RolloutRunning, 2, func(r *api.Rollout) {
			r.Waves[1].Skipped, r.Nodes[2].State = 1, api.NodeSkipped
		}), "wave 2 of 3 (half) skipped: 1 node left out, 1 node under way finishes; running; next: wave 3 of 3, 3 nodes"},
		"skip of the last": {"skip", api.RolloutActionRequest{Wave: 3}, running, standing(api.RolloutRunning, 2, func(r *api.Rollout) {
			r.Waves[2].Skipped, r.Waves[2].State = 3, api.WaveSkipped
		}), "wave 3 of 3 skipped: 3 nodes left out; running; in wave 2 of 3 (half), 2 nodes to go"},
		"skip of a soak": {"skip", api.RolloutActionRequest{Wave: 2}, running, standing(api.RolloutSoaking, 2, func(r *api.Rollout) {
			r.Waves[1].Updated, r.Nodes[1].State, r.Nodes[2].State = 2, api.NodeUpdated, api.NodeUpdated
		}), "wave 2 of 3 (half) skipped: its soak and gates, no node left out; soaking; next: wave 3 of 3, 3 nodes"},
		"skip again":              {"skip", api.RolloutActionRequest{Wave: 2}, running, running, "wave 2 of 3 (half) is skipped already; running; next: wave 3 of 3, 3 nodes"},
		"skip of what is done":    {"skip", api.RolloutActionRequest{Wave: 1}, running, running, "wave 1 of 3 (canary) is done already; running; in wave 2 of 3 (half), 2 nodes to go"},
		"skip with an approval":   {"skip", api.RolloutActionRequest{Wave: 2}, running, standing(api.RolloutApproval, 2, gate("ann")), "its soak and gates, no node left out, 1 node under way finishes; gate release still needs 1 approval; waiting_for_approval; next: wave 3 of 3, 3 nodes"},
		"skip of the gates":       {"skip", api.RolloutActionRequest{}, running, standing(api.RolloutScheduled, 2, func(r *api.Rollout) { r.Wave, r.Waves[0].State, r.Waves[1].State = 0, api.WavePending, api.WavePending }), "the gates before the first wave are skipped; scheduled; next: wave 1 of 3 (canary), 1 node"},
		"skip while it is halted": {"skip", api.RolloutActionRequest{Wave: 2}, running, standing(api.RolloutHalted, 2, func(r *api.Rollout) { r.Waves[1].Skipped = 1 }), "halted; next: wave 3 of 3, 3 nodes once it is resumed"},

		"approve":            {"approve", api.RolloutActionRequest{}, standing(api.RolloutApproval, 1, gate()), standing(api.RolloutApproval, 2, gate("ann")), "gate release approved, 1 of 2; 1 more needed, of somebody else; waiting_for_approval; wave 2 of 3 (half) is at its gates"},
		"the last approval":  {"approve", api.RolloutActionRequest{}, standing(api.RolloutApproval, 1, gate("ann")), standing(api.RolloutApproval, 2, gate("ann", "bob")), "gate release approved, 2 of 2; waiting_for_approval"},
		"approve again":      {"approve", api.RolloutActionRequest{}, standing(api.RolloutApproval, 1, gate("ann")), standing(api.RolloutApproval, 1, gate("ann")), "gate release has your word already, 1 of 2; 1 more needed, of somebody else"},
		"approve afterwards": {"approve", api.RolloutActionRequest{}, running, running, "approved; running; in wave 2 of 3 (half), 2 nodes to go"},

		"pause":        {"pause", api.RolloutActionRequest{}, running, standing(api.RolloutPaused, 2, why("paused by ann")), "paused: paused by ann; no further node begins, 1 node under way finishes"},
		"pause again":  {"pause", api.RolloutActionRequest{}, standing(api.RolloutPaused, 2, why("paused by ann")), standing(api.RolloutPaused, 2, why("paused by ann")), "paused already: paused by ann"},
		"halt":         {"halt", api.RolloutActionRequest{}, running, standing(api.RolloutHalted, 2, why("halted by ann")), "halted: halted by ann; no further node begins, 1 node under way finishes"},
		"abort":        {"abort", api.RolloutActionRequest{}, running, standing(api.RolloutAborted, 2, why("aborted by ann")), "aborted: aborted by ann; 1 of 6 updated, 1 node under way finishes"},
		"abort again":  {"abort", api.RolloutActionRequest{}, standing(api.RolloutAborted, 2, why("aborted by ann")), standing(api.RolloutAborted, 2, why("aborted by ann")), "aborted already: aborted by ann"},
		"resume":       {"resume", api.RolloutActionRequest{}, standing(api.RolloutPaused, 1, nil), standing(api.RolloutRunning, 2, why("resumed by ann")), "running: resumed by ann; in wave 2 of 3 (half), 2 nodes to go"},
		"stopped anew": {"resume", api.RolloutActionRequest{}, standing(api.RolloutPaused, 1, nil), standing(api.RolloutPaused, 3, why("paused by bob")), "it was stopped anew meanwhile, and stands: paused: paused by bob; in wave 2 of 3 (half), 2 nodes to go once it is resumed"},
		"not stopped":  {"resume", api.RolloutActionRequest{}, running, standing(api.RolloutRunning, 2, why("something")), "it was not stopped, and goes on: running; in wave 2 of 3 (half), 2 nodes to go"},
		"retry":        {"retry", api.RolloutActionRequest{}, standing(api.RolloutHalted, 1, func(r *api.Rollout) { r.Progress.Failed = 2 }), standing(api.RolloutRunning, 2, why("retry of 2 failed nodes by ann")), "running: retry of 2 failed nodes by ann; in wave 2 of 3 (half), 2 nodes to go"},
		"no failures":  {"retry", api.RolloutActionRequest{}, running, running, "no node has failed that could be tried again: running"},
	} {
		t.Run(name, func(t *testing.T) {
			got, want := actionAnswer(c.action, c.req, c.was, c.r), c.want
			if name == "skip with an approval" || name == "skip while it is halted" || name == "the last approval" || name == "approve again" {
				result{out: got}.want(t, 0, want)
				return
			}
			if got != "rollout ro-1: "+want {
				t.Errorf("got  %s\nwant rollout ro-1: %s", got, want)
			}
		})
	}
}
