package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/simulate"
)

func (a *app) planCommand() *cobra.Command {
	var s selection
	c := &cobra.Command{
		Use:   "plan -f FILE | --bundle BUNDLE --group GROUP",
		Short: "What \"rollout start\" with the same flags would do",
		Long: `What "rollout start" with the same flags would do: its waves with their nodes,
how many may be out at once and which bound that is, when each would be done,
what blocks it now and on its way, and who is left out. With -v each node.

The coordinator plays the rollout through from where the fleet is, by the rules
that it goes by. A host is taken to need as long as the last ones of its group
did, or what is assumed where nothing is on record; the plan says which.

With --dir the bundle is built and uploaded, and nothing else is changed.`,
		Example: `  lockkeeper plan -f rollout.yaml
  lockkeeper plan --bundle 3fa9c1 --group web --wave 1 --wave 10% --wave rest --soak 10m -v`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := s.resolve(cmd.Context(), a, c); err != nil {
				return err
			}
			p, err := c.Plan(cmd.Context(), s.spec)
			if err != nil {
				return s.placed(err)
			}
			return a.print(p, func() error { return a.printPlan(&p) })
		},
	}
	s.flags(a, c)
	return c
}

func (a *app) printPlan(p *api.Plan) error {
	fmt.Fprintln(a.out, cli.Cell(p.Summary))
	end := ""
	if !p.Estimate.IsZero() {
		end = fmt.Sprintf("%s, in %s", p.Estimate.UTC().Format(time.RFC3339), simulate.Span(time.Duration(p.TakesS)*time.Second))
	} else if p.Already < p.Total {
		end = "cannot be said while it is blocked"
	}
	facts := []string{"Done", end, "By", cli.Cell(p.EstimateBasis), "Bound", cli.Cell(p.Concurrency.Detail), "Gates before", cli.Cell(strings.Join(p.Gates, "; "))}
	if err := a.facts(facts...); err != nil {
		return err
	}
	if err := a.printPlanWaves(p); err != nil {
		return err
	}
	var rows [][]string
	for _, g := range p.Groups {
		rows = append(rows, []string{
			cli.Cell(g.Group), strconv.Itoa(g.Nodes), strconv.Itoa(g.Slots),
			simulate.Span(time.Duration(g.NodeTakesS) * time.Second), orDash(blockerText(g.Blockers)),
		})
	}
	if len(rows) > 0 {
		fmt.Fprintln(a.out)
		if err := cli.Table(a.out, []string{"GROUP", "NODES", "SLOTS", "EACH TAKES", "BLOCKED NOW BY"}, rows); err != nil {
			return err
		}
	}
	a.printPlanNotes(p)
	if !a.verbose {
		return nil
	}
	return a.printPlanNodes(p)
}

func (a *app) printPlanWaves(p *api.Plan) error {
	var rows [][]string
	for i, w := range p.Waves {
		already := 0
		for _, n := range w.Nodes {
			if n.Already {
				already++
			}
		}
		nodes := strconv.Itoa(len(w.Nodes))
		if already > 0 {
			nodes += fmt.Sprintf(" (%d already)", already)
		}
		rows = append(rows, []string{
			strconv.Itoa(i + 1), cli.Cell(w.Name), nodes, strconv.Itoa(w.Concurrency.Nodes), w.Concurrency.Bound,
			a.until(w.Starts), a.until(w.Ends), orDash(w.Soak), orDash(strings.Join(w.Gates, "; ")),
		})
	}
	if len(rows) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	return cli.Table(a.out, []string{"WAVE", "NAME", "NODES", "AT ONCE", "BOUND", "BEGINS IN", "DONE IN", "SOAK", "GATES AFTER IT"}, rows)
}

// until is how long it is to a moment of a plan.
func (a *app) until(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return simulate.Span(max(0, t.Sub(a.now())))
}

func (a *app) printPlanNotes(p *api.Plan) {
	note := func(title string, lines []string) {
		if len(lines) == 0 {
			return
		}
		fmt.Fprintf(a.out, "\n%s:\n", title)
		for _, line := range lines {
			fmt.Fprintf(a.out, "  %s\n", cli.Cell(line))
		}
	}
	var blocked, left []string
	for _, b := range p.Blockers {
		line := b.Detail
		if !b.Until.IsZero() && !strings.Contains(line, b.Until.UTC().Format(time.RFC3339)) {
			line += fmt.Sprintf(" (until %s)", b.Until.UTC().Format(time.RFC3339))
		}
		blocked = append(blocked, line)
	}
	const most = 10
	for i, e := range p.Excluded {
		if i == most && !a.verbose {
			left = append(left, fmt.Sprintf("and %d more; -v lists them", len(p.Excluded)-most))
			break
		}
		left = append(left, e.Node+": "+e.Reason)
	}
	note("What blocks it, now or on its way", blocked)
	note("Mind", p.Warnings)
	note("Left out", left)
}

func (a *app) printPlanNodes(p *api.Plan) error {
	var rows [][]string
	for i, w := range p.Waves {
		for _, n := range w.Nodes {
			done := a.until(n.Estimate)
			if n.Already {
				done = "is there already"
			}
			rows = append(rows, []string{strconv.Itoa(i + 1), cli.Cell(n.Node), cli.Cell(n.Group), a.until(n.Starts), done})
		}
	}
	fmt.Fprintln(a.out)
	return cli.Table(a.out, []string{"WAVE", "NODE", "GROUP", "BEGINS IN", "DONE IN"}, rows)
}
