package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// rolloutBlock draws a rollout in place on a terminal.
type rolloutBlock struct {
	a     *app
	block *block
	last  []string
}

// barWidth is the width of the bar of progress, and the greatest of a wave's cells.
const (
	barWidth = 30
	maxCells = 100
)

func (v *rolloutBlock) show(r api.Rollout) error {
	v.last = v.lines(r)
	return v.block.draw(v.last)
}

func (v *rolloutBlock) silent(err error) error {
	return v.block.draw(append([]string{v.a.paint(yellow, "No answer, trying again: "+errorLine(err))}, v.last...))
}

// lines is the whole picture. A low terminal cuts the end off: what waits is
// the least of it.
func (v *rolloutBlock) lines(r api.Rollout) []string {
	a, p := v.a, r.Progress
	head := fmt.Sprintf("%s %s  %s", cli.Cell(r.ID), cli.Cell(rolloutName(r)), a.paint(rolloutColour(r), stateText(r)))
	if left := a.leftText(r); left != "" {
		head += "  " + left
	}
	lines := []string{head, a.bar(p) + " " + progressText(p)}
	if r.Why != "" {
		lines = append(lines, a.paint(rolloutColour(r), r.Why))
	}
	if r.Stalled != nil {
		lines = append(lines, a.paint(yellow, "stalled: "+blockerText(r.Stalled.Blockers)))
	}
	if len(r.Waves) > 0 {
		lines = append(lines, budgetText(r))
		width, _ := v.block.size()
		lines = append(lines, a.waveLines(r, width)...)
	}
	for _, g := range r.Gates {
		lines = append(lines, a.gateLine(g))
	}
	var moving []api.RolloutNode
	for _, state := range []string{api.NodeBroken, api.NodeUpdating, api.NodeQueued} {
		for _, n := range r.Nodes {
			if n.State == state {
				moving = append(moving, n)
			}
		}
	}
	if len(moving) == 0 {
		return lines
	}
	return append(lines, tableLines(a.rolloutNodeHeading(), a.rolloutNodeRows(moving))...)
}

// leftText is when it will probably have ended.
func (a *app) leftText(r api.Rollout) string {
	switch {
	// It is an estimate of what goes on: nobody knows when a person says so.
	case !r.State.Active(), r.State == api.RolloutApproval, r.Stalled != nil && frozenBy(r.Stalled.Blockers):
		return ""
	case r.Estimate.After(a.now()):
		return fmt.Sprintf("about %s left, until %s", cli.Span(r.Estimate.Sub(a.now())), r.Estimate.Local().Format("15:04"))
	case r.Progress.EstimateS > 0:
		return "about " + cli.Span(time.Duration(r.Progress.EstimateS)*time.Second) + " left"
	}
	return ""
}

func frozenBy(blockers []api.Blocker) bool {
	return slices.ContainsFunc(blockers, func(b api.Blocker) bool { return b.Kind == api.Frozen })
}

func budgetText(r api.Rollout) string {
	text := fmt.Sprintf("%d of %s used", r.Budget.Failed, count(r.Budget.Max, "failure", "failures"))
	if c := r.Concurrency; c != nil {
		text += fmt.Sprintf("; %s at once, by the %s: %s", count(c.Nodes, "node", "nodes"), c.Bound, c.Detail)
	}
	return cli.Cell(text)
}

// waveLines are the waves, one a line, with a cell for each node.
func (a *app) waveLines(r api.Rollout, width int) []string {
	names, states := 0, 0
	for i, w := range r.Waves {
		names = max(names, len([]rune(waveTitle(i, w))))
		states = max(states, len(w.State))
	}
	names = min(names, 24)
	var lines []string
	for i, w := range r.Waves {
		var nodes []api.RolloutNode
		for _, n := range r.Nodes {
			if n.Wave == i+1 {
				nodes = append(nodes, n)
			}
		}
		room := min(maxCells, max(10, width-names-states-36))
		line := fmt.Sprintf("  %s  %s  %s", padded(waveTitle(i, w), names), a.paint(waveColour(w.State), padded(w.State, states)), a.cells(nodes, room))
		lines = append(lines, line+" "+a.waveFigures(w))
	}
	return lines
}

func waveTitle(i int, w api.RolloutWave) string {
	if w.Name == "" {
		return fmt.Sprintf("wave %d", i+1)
	}
	return cli.Cell(fmt.Sprintf("%d %s", i+1, w.Name))
}

func (a *app) waveFigures(w api.RolloutWave) string {
	text := fmt.Sprintf("%d/%d", w.Updated, w.Total)
	if w.Failed > 0 {
		text += fmt.Sprintf(", %d failed", w.Failed)
		if w.MaxFailures >= 0 {
			text += " of " + strconv.Itoa(w.MaxFailures)
		}
	}
	if w.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", w.Skipped)
	}
	switch {
	case w.State == api.WaveSoaking && w.SoakUntil.After(a.now()):
		text += ", soaks " + cli.Span(w.SoakUntil.Sub(a.now()))
	case (w.State == api.WavePending || w.State == api.WaveRunning) && w.Estimate.After(a.now()):
		text += ", until about " + w.Estimate.Local().Format("15:04")
	}
	return text
}

func waveColour(state string) colour {
	switch state {
	case api.WaveDone:
		return green
	case api.WaveRunning, api.WaveSoaking:
		return blue
	case api.WaveGates, api.WaveSkipped, api.WaveAborted:
		return yellow
	}
	return plain
}

// cells are a mark for each node or, where they are more than there is room,
// for so many nodes the mark of the one that matters most.
func (a *app) cells(nodes []api.RolloutNode, room int) string {
	per := max(1, (len(nodes)+room-1)/room)
	var b strings.Builder
	for i := 0; i < len(nodes); i += per {
		worst := 0
		for _, n := range nodes[i:min(len(nodes), i+per)] {
			worst = max(worst, cellRank[n.State])
		}
		c := cellMarks[worst]
		b.WriteString(a.paint(c.tint, c.mark))
	}
	return b.String()
}

var (
	cellRank = map[string]int{
		api.NodeUpdated: 0, api.NodeSkipped: 1, api.NodeAborted: 2, api.NodePending: 3, api.NodeQueued: 4, api.NodeUpdating: 5, api.NodeBroken: 6,
	}
	cellMarks = []struct {
		mark string
		tint colour
	}{{"█", green}, {"-", yellow}, {"×", yellow}, {"·", plain}, {"◌", blue}, {"▒", blue}, {"✗", red}}
)

// gateLine is a gate, what it asks and what it last said.
func (a *app) gateLine(g api.RolloutGate) string {
	text, tint := "waits", yellow
	if g.Passes {
		text, tint = "passes", green
	}
	line := "  gate " + gateText(g) + "  " + a.paint(tint, text)
	if age := cli.Age(g.Since, a.now()); !g.Since.IsZero() && age != "now" {
		line += " for " + age
	}
	if g.Condition != "" {
		line += "  " + cli.Cell(g.Condition)
	}
	if g.Value != "" {
		line += ": " + cli.Cell(g.Value)
	}
	// What it found may say the same, and more.
	if have := fmt.Sprintf("%d of %s", len(g.Approvals), count(g.Needed, "approval", "approvals")); g.Needed > 0 && !strings.HasPrefix(g.Detail, have) {
		line += ": " + have
	}
	if g.Detail != "" {
		line += "  " + cli.Cell(g.Detail)
	}
	return line
}

func gateText(g api.RolloutGate) string {
	name := g.Name
	if name == "" {
		name = g.Kind
	}
	if g.Wave == 0 {
		return cli.Cell(name + " before the first wave")
	}
	return cli.Cell(fmt.Sprintf("%s after wave %d", name, g.Wave))
}

func padded(s string, width int) string {
	r := []rune(s)
	if len(r) > width {
		return string(r[:width-1]) + "…"
	}
	return s + strings.Repeat(" ", width-len(r))
}

// bar shows updated, failed and updating nodes as parts of the whole.
func (a *app) bar(p api.RolloutProgress) string {
	if p.Total == 0 {
		return "[" + strings.Repeat("·", barWidth) + "]"
	}
	updated := barWidth * p.Updated / p.Total
	failed := barWidth * (p.Updated + p.Failed) / p.Total
	updating := barWidth * (p.Updated + p.Failed + p.Updating) / p.Total
	return "[" + a.paint(green, strings.Repeat("█", updated)) +
		a.paint(red, strings.Repeat("✗", failed-updated)) +
		a.paint(blue, strings.Repeat("▒", updating-failed)) +
		strings.Repeat("·", barWidth-updating) + "]"
}

func tableLines(heading []string, rows [][]string) []string {
	var b strings.Builder
	// A strings.Builder takes every write.
	_ = cli.Table(&b, heading, rows)
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}
