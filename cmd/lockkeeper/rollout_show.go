package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) printRollout(r api.Rollout) error {
	ended := ""
	if !r.EndedAt.IsZero() {
		ended = ago(r.EndedAt, a.now())
	}
	stopped := ""
	if !r.StoppedAt.IsZero() {
		stopped = fmt.Sprintf("%s, %s", ago(r.StoppedAt, a.now()), whenText(r.StoppedAt))
	}
	stalled := ""
	if r.Stalled != nil {
		stalled = "since " + cli.Age(r.Stalled.Since, a.now()) + ": " + blockerText(r.Stalled.Blockers)
	}
	atOnce := ""
	if c := r.Concurrency; c != nil {
		atOnce = fmt.Sprintf("%d, by the %s: %s", c.Nodes, c.Bound, c.Detail)
	}
	starts := ""
	if r.State == api.RolloutScheduled && !r.Spec.Start.IsZero() {
		starts = a.momentText(r.Spec.Start, "")
	}
	err := a.facts(
		"Rollout", cli.Cell(r.ID),
		"Name", cli.Cell(r.Spec.Name),
		"State", a.paint(rolloutColour(r), stateText(r)),
		"Why", cli.Cell(r.Why),
		"Stopped", stopped,
		"Stalled", a.paint(yellow, stalled),
		"Bundle", cli.Cell(short(r.Spec.Bundle)+" "+r.BundleName),
		"Selection", cli.Cell(selectionText(r.Spec)),
		"Begins", starts,
		"After", cli.Cell(strings.Join(r.After, ", ")),
		"Progress", progressText(r.Progress),
		"Failures", fmt.Sprintf("%d, %d are allowed", r.Budget.Failed, r.Budget.Max),
		"At once", cli.Cell(atOnce),
		"Estimate", a.leftText(r),
		"Started", cli.Cell(ago(r.CreatedAt, a.now())+" by "+r.By),
		"Reason", cli.Cell(r.Spec.Reason),
		"Ended", ended,
		"Brings back", cli.Cell(r.RollbackOf),
		"Rolled back by", cli.Cell(r.Rollback),
		"Superseded by", cli.Cell(r.SupersededBy),
	)
	if err != nil {
		return err
	}
	for _, table := range [][]string{a.waveTable(r), a.gateLines(r), undeliveredLines(r)} {
		if len(table) > 0 {
			fmt.Fprintln(a.out)
			fmt.Fprintln(a.out, strings.Join(table, "\n"))
		}
	}
	fmt.Fprintln(a.out)
	return a.table("It selects no node.", a.rolloutNodeHeading(), a.rolloutNodeRows(r.Nodes))
}

// waveTable is empty for one wave of all nodes, which says nothing more.
func (a *app) waveTable(r api.Rollout) []string {
	if len(r.Waves) < 2 {
		return nil
	}
	var rows [][]string
	for i, w := range r.Waves {
		most := "-"
		if w.MaxFailures >= 0 {
			most = strconv.Itoa(w.MaxFailures)
		}
		rows = append(rows, []string{
			strconv.Itoa(i + 1), orDash(w.Name), a.paint(waveColour(w.State), w.State),
			fmt.Sprintf("%d/%d", w.Updated, w.Total), strconv.Itoa(w.Failed), most,
			whenText(w.StartedAt), whenText(w.SoakUntil), whenText(w.DoneAt), whenText(w.Estimate),
		})
	}
	return tableLines([]string{"WAVE", "NAME", a.paint(plain, "STATE"), "UPDATED", "FAILED", "MAY FAIL", "BEGAN", "SOAKS UNTIL", "DONE", "EXPECTED"}, rows)
}

// whenText is a moment by this machine's clock, with its offset.
func whenText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	t = t.Local()
	if _, offset := t.Zone(); offset == 0 {
		return t.Format("Jan 2 15:04 UTC")
	}
	return t.Format("Jan 2 15:04 -0700")
}

func (a *app) gateLines(r api.Rollout) []string {
	var lines []string
	for _, g := range r.Gates {
		lines = append(lines, strings.TrimSpace(a.gateLine(g)))
		for _, ap := range g.Approvals {
			lines = append(lines, "  "+cli.Cell(strings.TrimSpace(fmt.Sprintf("approved by %s %s %s", ap.By, ago(ap.At, a.now()), ap.Reason))))
		}
		if !g.Passes && g.Needed > 0 {
			lines = append(lines, cli.Cell(fmt.Sprintf("  to approve: lockkeeper rollout approve %s (role %s)", r.ID, g.Role)))
		}
	}
	return lines
}

func undeliveredLines(r api.Rollout) []string {
	var lines []string
	for _, u := range r.Undelivered {
		what := fmt.Sprintf("not delivered to %s: %s, %s: %s", u.To, u.What, count(u.Tries, "try", "tries"), u.Detail)
		if u.GaveUp {
			what += "; given up"
		}
		lines = append(lines, cli.Cell(what))
	}
	return lines
}

func selectionText(s api.RolloutSpec) string {
	var list []string
	if s.Group != "" {
		list = append(list, "group "+s.Group)
	}
	if s.Selector != "" {
		list = append(list, s.Selector)
	}
	if len(s.Nodes) > 0 {
		list = append(list, strings.Join(s.Nodes, ", "))
	}
	if s.NeedsReboot {
		list = append(list, "that need a reboot")
	}
	return strings.Join(list, ", ")
}
