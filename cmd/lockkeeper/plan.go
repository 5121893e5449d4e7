package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) planCommand() *cobra.Command {
	var s selection
	c := &cobra.Command{
		Use:   "plan --bundle DIGEST --group GROUP",
		Short: "What \"rollout start\" with the same flags would do",
		Long: `What "rollout start" with the same flags would do.

With --dir the bundle is built and uploaded, and nothing else is changed.`,
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
				return err
			}
			return a.print(p, func() error { return a.printPlan(p) })
		},
	}
	s.flags(a, c)
	return c
}

func (a *app) printPlan(p api.Plan) error {
	fmt.Fprintln(a.out, cli.Cell(p.Summary))
	var rows [][]string
	for _, g := range p.Groups {
		rows = append(rows, []string{cli.Cell(g.Group), strconv.Itoa(g.Nodes), strconv.Itoa(g.Slots), orDash(blockerText(g.Blockers))})
	}
	if len(rows) == 0 {
		return nil
	}
	return cli.Table(a.out, []string{"GROUP", "NODES", "SLOTS", "BLOCKED NOW BY"}, rows)
}
