package main

import (
	"context"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/shellword"
)

// maxPriority bounds a priority, on both sides of 0.
const maxPriority = 100

func (a *app) queueCommand() *cobra.Command {
	return noun("queue", "Who waits for a slot, and in which order",
		a.queueListCommand(), a.queuePriorityCommand(), a.queueLeaveCommand())
}

// waiting is a place with the group that it is in.
type waiting struct {
	Group string `json:"group"`
	api.Waiter
}

func (a *app) queueListCommand() *cobra.Command {
	group := ""
	c := &cobra.Command{
		Use:   "list",
		Short: "List who waits, in order",
		Long: `List who waits, in order.

PRIORITY is what was set and what was gained by waiting: one for each day.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			groups, err := someGroups(cmd.Context(), c, group)
			if err != nil {
				return err
			}
			list, rows := []waiting{}, [][]string{}
			for _, g := range groups {
				for i, row := range a.waiterRows(g.Queue) {
					list = append(list, waiting{g.Name, g.Queue[i]})
					rows = append(rows, append([]string{cli.Cell(g.Name)}, row...))
				}
				if more := g.Status.Waiting - len(g.Queue); more > 0 {
					a.hint("Group %s: %d more wait; \"lockkeeper queue list --group %s\" has all.", cli.Cell(g.Name), more, shellword.Word(g.Name))
				}
			}
			return a.print(list, func() error {
				return a.table("Nobody waits.", append([]string{"GROUP"}, waiterHeading...), rows)
			})
		},
	}
	c.Flags().StringVar(&group, "group", "", "only of this group")
	cli.NoEnv(c, "group")
	complete(c, "group", a.completeGroups)
	return c
}

func (a *app) queuePriorityCommand() *cobra.Command {
	group := ""
	c := &cobra.Command{
		Use:   "priority NODE PRIORITY",
		Short: "Let a waiting node go before or behind others",
		Long: `Let a waiting node go before or behind others.

The priority is a whole number from -100 to 100; a node comes with 0, and the
higher goes first. It lasts until the node has its slot or leaves the queue.`,
		Example: `  lockkeeper queue priority web-07 10
  lockkeeper queue priority web-07 -- -10`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			priority, err := strconv.Atoi(args[1])
			if err != nil || priority < -maxPriority || priority > maxPriority {
				return usagef("priority %q: want a whole number from %d to %d", args[1], -maxPriority, maxPriority)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			in, err := groupOf(cmd.Context(), c, group, args[0])
			if err != nil {
				return err
			}
			if err := c.SetPriority(cmd.Context(), in, args[0], api.PriorityRequest{Priority: priority}); err != nil {
				return err
			}
			a.say("group %s: %s waits with priority %d", cli.Cell(in), cli.Cell(args[0]), priority)
			return nil
		},
	}
	c.Flags().StringVar(&group, "group", "", "the group, if it is not the node's own")
	cli.NoEnv(c, "group")
	c.ValidArgsFunction = a.completeWaiters
	complete(c, "group", a.completeGroups)
	return c
}

func (a *app) queueLeaveCommand() *cobra.Command {
	group := ""
	c := &cobra.Command{
		Use:   "leave NODE",
		Short: "Take a node's place in the queue away",
		Long: `Take a node's place in the queue away.

A node that still wants a slot asks again, and is last then.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			in, err := groupOf(cmd.Context(), c, group, args[0])
			if err != nil {
				return err
			}
			if err := c.LeaveQueue(cmd.Context(), in, args[0]); err != nil {
				return err
			}
			a.say("group %s: %s is not in the queue", cli.Cell(in), cli.Cell(args[0]))
			return nil
		},
	}
	c.Flags().StringVar(&group, "group", "", "the group, if it is not the node's own")
	cli.NoEnv(c, "group")
	c.ValidArgsFunction = a.completeWaiters
	complete(c, "group", a.completeGroups)
	return c
}

// groupOf is the group that a node belongs to, unless one is named.
func groupOf(ctx context.Context, c coordinator, named, node string) (string, error) {
	if named != "" {
		return named, nil
	}
	n, err := c.Node(ctx, node)
	return n.Group, err
}

func (a *app) completeWaiters(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completion(cmd, func(ctx context.Context, c coordinator) (found []cobra.Completion, err error) {
		groups, err := c.Groups(ctx)
		for _, g := range groups {
			for _, w := range g.Queue {
				found = append(found, cobra.CompletionWithDesc(w.Node, g.Name+", place "+strconv.Itoa(w.Place)))
			}
		}
		return found, err
	})
}
