package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// actionAnswer says in one line what an action has done to a rollout, and what
// comes next: was is the rollout as it was before, r as it is now.
func actionAnswer(action string, req api.RolloutActionRequest, was, r api.Rollout) string {
	text := fmt.Sprintf("rollout %s: ", r.ID)
	switch action {
	case "skip":
		return text + skipAnswer(req.Wave, was, r)
	case "approve":
		return text + approveAnswer(req, was, r)
	}
	if wasDone(action, was, r) {
		return text + unchangedAnswer(action, r)
	}
	if action == "resume" && stands(r) {
		text += "it was stopped anew meanwhile, and stands: "
	}
	text += stateText(r)
	if r.Why != "" {
		text += ": " + r.Why
	}
	under := underWay(r.Nodes)
	switch action {
	case "pause", "halt":
		text += "; no further node begins" + plus(under, ", ", "under way finishes", "under way finish")
	case "abort":
		text += fmt.Sprintf("; %d of %d updated", r.Progress.Updated, r.Progress.Total) + plus(under, ", ", "under way finishes", "under way finish")
	case "resume", "retry":
		text += nextText(r)
	}
	return text
}

// wasDone reports whether an action found done what it was to do. The engine may
// have written between two looks, so that the revision alone does not tell.
func wasDone(action string, was, r api.Rollout) bool {
	switch action {
	case "pause":
		return was.State == api.RolloutPaused
	case "halt":
		return was.State == api.RolloutHalted
	case "abort":
		return was.State == api.RolloutAborted
	case "resume":
		return !stands(was)
	case "retry":
		return was.Progress.Failed == 0
	}
	return was.Revision == r.Revision
}

// stands reports whether a rollout waits for a person's resume.
func stands(r api.Rollout) bool {
	return r.State == api.RolloutPaused || r.State == api.RolloutHalted
}

func unchangedAnswer(action string, r api.Rollout) string {
	switch action {
	case "resume":
		return "it was not stopped, and goes on: " + stateText(r) + nextText(r)
	case "retry":
		return "no node has failed that could be tried again: " + stateText(r)
	}
	text := stateText(r) + " already"
	if r.Why != "" {
		text += ": " + r.Why
	}
	return text
}

// skipAnswer says which wave was skipped, how many nodes are left out, and what
// comes next. wave is 0 for the gates before the first.
func skipAnswer(wave int, was, r api.Rollout) string {
	if wave == 0 || wave > len(r.Waves) || wave > len(was.Waves) {
		return "the gates before the first wave are skipped; " + stateText(r) + nextText(r)
	}
	before, now := was.Waves[wave-1], r.Waves[wave-1]
	name := "wave " + waveTitleOf(r, wave)
	open := ""
	for _, g := range r.Gates {
		if g.Wave == wave && g.Needed > 0 && !g.Passes {
			open += fmt.Sprintf("; gate %s still needs %s", g.Name, count(g.Needed-len(g.Approvals), "approval", "approvals"))
		}
	}
	if before.State == api.WaveSkipped || before.State == api.WaveDone || wasDone("skip", was, r) {
		is := api.WaveSkipped
		if before.State == api.WaveDone {
			is = api.WaveDone
		}
		return fmt.Sprintf("%s is %s already%s; %s%s", name, is, open, stateText(r), nextText(r, wave))
	}
	text := name + " skipped: " + plus(now.Skipped, "", "left out", "left out")
	if now.Skipped == 0 {
		text = name + " skipped: its soak and gates, no node left out"
	}
	mine := slices.DeleteFunc(slices.Clone(r.Nodes), func(n api.RolloutNode) bool { return n.Wave != wave })
	text += plus(underWay(mine), ", ", "under way finishes", "under way finish")
	return text + open + "; " + stateText(r) + nextText(r, wave)
}

// approveAnswer says which gate has the word, and how many more it needs.
func approveAnswer(req api.RolloutActionRequest, was, r api.Rollout) string {
	for _, g := range r.Gates {
		if g.Needed == 0 || req.Gate != "" && g.Name != req.Gate {
			continue
		}
		text := fmt.Sprintf("gate %s approved, %d of %d", g.Name, len(g.Approvals), g.Needed)
		if i := slices.IndexFunc(was.Gates, func(w api.RolloutGate) bool { return w.Wave == g.Wave && w.Name == g.Name }); i >= 0 && len(was.Gates[i].Approvals) == len(g.Approvals) {
			text = fmt.Sprintf("gate %s has your word already, %d of %d", g.Name, len(g.Approvals), g.Needed)
		}
		if more := g.Needed - len(g.Approvals); more > 0 {
			text += fmt.Sprintf("; %d more needed, of somebody else", more)
		}
		return text + "; " + stateText(r) + nextText(r)
	}
	// It has gone on from there.
	return "approved; " + stateText(r) + nextText(r)
}

// nextText is what comes next in a rollout that can go on, from its current wave
// on: "; next: wave 2 of 3 (half), 5 nodes". A rollout that stands says so itself.
// Waves in past are over with, whatever they still say.
func nextText(r api.Rollout, past ...int) string {
	if !r.State.Active() {
		return ""
	}
	until := ""
	if stands(r) {
		until = " once it is resumed"
	}
	for i := max(0, r.Wave-1); i < len(r.Waves); i++ {
		w := r.Waves[i]
		title := "wave " + waveTitleOf(r, i+1)
		left := w.Total - w.Updated - w.Failed - w.Skipped
		if slices.Contains(past, i+1) {
			continue
		}
		switch w.State {
		case api.WaveSkipped, api.WaveDone:
			continue
		case api.WaveSoaking:
			return fmt.Sprintf("; %s soaks until %s%s", title, whenText(w.SoakUntil), until)
		case api.WaveGates:
			if len(r.Gates) == 0 { // and goes on at once
				continue
			}
			return "; " + title + " is at its gates" + until
		case api.WaveRunning:
			return "; in " + title + ", " + count(left, "node", "nodes") + " to go" + until
		}
		return "; next: " + title + ", " + count(w.Total, "node", "nodes") + until
	}
	return "; no wave is left to come"
}

// waveTitleOf names a wave by number and name: "2 of 3 (half)".
func waveTitleOf(r api.Rollout, n int) string {
	text := fmt.Sprintf("%d of %d", n, len(r.Waves))
	if name := r.Waves[n-1].Name; name != "" {
		text += " (" + name + ")"
	}
	return text
}

func underWay(nodes []api.RolloutNode) int {
	n := 0
	for _, node := range nodes {
		if node.State == api.NodeUpdating {
			n++
		}
	}
	return n
}

// plus is "SEP1 node ONE", "SEPn nodes MANY", or nothing for none.
func plus(n int, sep, one, many string) string {
	if n == 0 {
		return ""
	}
	verb := many
	if n == 1 {
		verb = one
	}
	return sep + count(n, "node", "nodes") + " " + strings.TrimSpace(verb)
}
