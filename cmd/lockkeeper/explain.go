package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) explainCommand() *cobra.Command {
	group := ""
	c := &cobra.Command{
		Use:   "explain [NODE]",
		Short: "Why a node may or may not go now; without a node, why nothing moves",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 && group != "" {
				return usagef("--group goes without a node: a node belongs to one group")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				v, err := c.ExplainNode(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.print(v, func() error { return a.printVerdict(v) })
			}
			e, err := c.Explain(cmd.Context(), group)
			if err != nil {
				return err
			}
			return a.print(e, func() error { return a.printExplanation(e) })
		},
	}
	c.Flags().StringVar(&group, "group", "", "only this group")
	cli.NoEnv(c, "group")
	c.ValidArgsFunction = a.completeNodes
	complete(c, "group", a.completeGroups)
	return c
}

func (a *app) printVerdict(v api.Verdict) error {
	tint := yellow
	if v.MayGo || v.Hold != nil {
		tint = green
	}
	fmt.Fprintln(a.out, a.paint(tint, cli.Cell(v.Summary)))
	if len(v.Blockers) == 0 {
		return nil
	}
	if !v.Earliest.IsZero() {
		fmt.Fprintf(a.out, "Not before %s.\n", a.momentText(v.Earliest, ""))
	}
	if !v.Estimate.IsZero() {
		fmt.Fprintf(a.out, "Probably %s, if %s.\n", a.momentText(v.Estimate, ""), cli.Cell(v.EstimateBasis))
	}
	return cli.Table(a.out, []string{"BLOCKED BY", "WHY"}, a.blockerRows(v.Blockers))
}

func (a *app) blockerRows(blockers []api.Blocker) [][]string {
	var rows [][]string
	for _, b := range blockers {
		text := b.Detail
		if !b.Until.IsZero() {
			text += " (for " + cli.Span(b.Until.Sub(a.now())) + " more)"
		}
		rows = append(rows, []string{cli.Cell(string(b.Kind)), cli.Cell(text)})
	}
	return rows
}

func (a *app) printExplanation(e api.Explanation) error {
	said := len(e.Groups) == 1 && e.Groups[0].Summary == e.Summary
	if !said {
		fmt.Fprintln(a.out, cli.Cell(e.Summary))
	}
	for _, g := range e.Groups {
		if !said {
			fmt.Fprintln(a.out)
		}
		fmt.Fprintf(a.out, "%s: %s\n", cli.Cell(g.Group), cli.Cell(g.Summary))
		if g.Next != "" {
			fmt.Fprintf(a.out, "Next in order: %s.\n", cli.Cell(g.Next))
		}
		if !g.Earliest.IsZero() {
			fmt.Fprintf(a.out, "Not before %s.\n", a.momentText(g.Earliest, ""))
		}
		if len(g.Blockers) == 0 {
			continue
		}
		if err := cli.Table(a.out, []string{"BLOCKED BY", "WHY"}, a.blockerRows(g.Blockers)); err != nil {
			return err
		}
	}
	return nil
}
