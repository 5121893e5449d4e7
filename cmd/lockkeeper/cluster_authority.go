package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) clusterRotateCA() *cobra.Command {
	return &cobra.Command{
		Use:   "rotate-ca [begin|next|abort]",
		Short: "Replace the authority that vouches for the members, without an interruption",
		Long: `Replace the authority that vouches for the members to each other, without an
interruption. Without a step it shows how far that is, and what each member needs.

  begin   makes another authority, and hands it to all members. Restart the
          coordinators then, one after the other: each believes both from its
          start on.
  next    has the new authority vouch for all members, at once; once all of them
          show it, a second next has them believe the old one no more, for which
          each is restarted once more.
  abort   before the first next: gives the new one up.

A step is refused while a member has not taken the one before. Join tokens made
before the first next are of no use behind it. Certificates of the members are
renewed by themselves, half a year before they end.`,
		Example: `  lockkeeper cluster rotate-ca begin
  lockkeeper cluster rotate-ca`,
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"begin", "next", "abort"},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			var st api.AuthorityStatus
			if len(args) == 0 {
				st, err = c.Authority(cmd.Context())
			} else {
				st, err = c.RotateAuthority(cmd.Context(), api.AuthorityRequest{Step: args[0]})
			}
			if err != nil {
				return err
			}
			return a.print(st, func() error { return a.printAuthority(st) })
		},
	}
}

func (a *app) printAuthority(st api.AuthorityStatus) error {
	since, stage := "", "one authority, which was never replaced"
	if st.Stage != "" {
		since = ago(st.Since, a.now())
		stage = fmt.Sprintf("%s, from %s to %s", st.Stage, short(st.From), short(st.To))
	}
	if err := a.facts("Authority", cli.Cell(stage), "Since", cli.Cell(since), "By", cli.Cell(st.By), "Next", cli.Cell(st.Next)); err != nil {
		return err
	}
	if len(st.Members) == 0 {
		return nil
	}
	fmt.Fprintln(a.out)
	var rows [][]string
	for _, m := range st.Members {
		believes := ""
		for i, b := range m.Believes {
			if i > 0 {
				believes += " "
			}
			believes += short(b)
		}
		rows = append(rows, []string{cli.Cell(m.Member), orDash(short(m.Shows)), orDash(believes), orDash(m.Todo)})
	}
	return a.table("", []string{"MEMBER", "SHOWS", "BELIEVES", "NEEDS"}, rows)
}
