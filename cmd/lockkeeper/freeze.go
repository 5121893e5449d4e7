package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) freezeCommand() *cobra.Command {
	var group string
	var stop bool
	c := &cobra.Command{
		Use:   "freeze REASON",
		Short: "Stop all grants of the fleet or of a group, until lifted",
		Long: `Stop all grants of the fleet or of a group, until lifted.

A node that was granted a slot and has not confirmed it gives it back. One that
has confirmed finishes what it began; with --stop it halts at its next gate.`,
		Example: `  lockkeeper freeze "storage incident 4711"
  lockkeeper freeze --group web --stop "bad kernel"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			f, err := c.Freeze(cmd.Context(), group, api.FreezeRequest{Reason: args[0], Stop: stop})
			if err != nil {
				return err
			}
			return a.print(f, func() error {
				text := freezeText(f, a.now())
				if f.Reason != args[0] {
					text += "; it was frozen already, and that reason stays"
				}
				a.say("%s", cli.Cell(text))
				a.more("id %s", f.ID)
				return nil
			})
		},
	}
	c.Flags().StringVar(&group, "group", "", "only this group, else the whole fleet")
	c.Flags().BoolVar(&stop, "stop", false, "holders halt at their next gate too")
	cli.NoEnv(c, "group", "stop")
	complete(c, "group", a.completeGroups)
	return c
}

func (a *app) unfreezeCommand() *cobra.Command {
	var group, id string
	var unheard int
	c := &cobra.Command{
		Use:   "unfreeze",
		Short: "Lift the freeze of the fleet or of a group",
		Long: `Lift the freeze of the fleet or of a group.

The freeze that a restore has set is lifted when every node was heard since: one
that was not may hold a slot that the snapshot does not know. The refusal names
those nodes, and those that hold through FleetLock and cannot say so; look at
them, then give their number to --accept-unheard.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch {
			case unheard < 0:
				return usagef("--accept-unheard %d: want the number of nodes that were not heard", unheard)
			case unheard > 0 && group != "":
				return usagef("--accept-unheard is for the freeze of the fleet, not with --group")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			f, err := frozen(cmd.Context(), c, group)
			if err != nil {
				return err
			}
			what := "the fleet"
			if group != "" {
				what = "group " + group
			}
			switch {
			case f == nil && id == "":
				a.say("%s is not frozen", cli.Cell(what))
				return nil
			case id == "":
				id = f.ID
			}
			if unheard > 0 {
				err = c.UnfreezeAccepting(cmd.Context(), id, unheard)
			} else {
				err = c.Unfreeze(cmd.Context(), group, id)
			}
			if err != nil {
				return err
			}
			if f != nil {
				a.say("%s", cli.Cell(what+": lifted the freeze that "+f.By+" set "+ago(f.At, a.now())+": "+f.Reason))
			} else {
				a.say("%s: lifted", cli.Cell(what))
			}
			return nil
		},
	}
	c.Flags().StringVar(&group, "group", "", "only this group's freeze, else the fleet's")
	c.Flags().StringVar(&id, "id", "", "only if the freeze is this one")
	c.Flags().IntVar(&unheard, "accept-unheard", 0, "after a restore: how many nodes that were not heard are accepted")
	cli.NoEnv(c, "group", "id", "accept-unheard")
	complete(c, "group", a.completeGroups)
	return c
}

// frozen is the freeze of a group itself, or of the fleet; nil for none.
func frozen(ctx context.Context, c coordinator, group string) (*api.Freeze, error) {
	if group == "" {
		s, err := c.Status(ctx)
		return s.Frozen, err
	}
	g, err := c.Group(ctx, group)
	if err != nil || g.Status.Frozen == nil || g.Status.Frozen.Group != group {
		return nil, err
	}
	return g.Status.Frozen, nil
}
