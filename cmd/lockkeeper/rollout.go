package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) rolloutCommand() *cobra.Command {
	return noun("rollout", "Bringing nodes to a bundle",
		hidden(a.planCommand()), a.rolloutStartCommand(), a.rolloutShowCommand(), a.rolloutListCommand(), a.rolloutWatchCommand(),
		a.rolloutActionCommand("pause", "Start no further node; those under way finish"),
		a.rolloutActionCommand("resume", "Go on with a rollout that was paused or halted"),
		a.rolloutActionCommand("halt", "Stop a rollout as it stops itself: told as a failure, to be looked at"),
		a.rolloutActionCommand("abort", "End a rollout for good; nodes under way finish"),
		a.rolloutActionCommand("approve", "Give your word for a gate that waits for it", "wave", "gate"),
		a.rolloutActionCommand("skip", "Go on without what is left of a wave, its soak and its gates", "wave"),
		a.rolloutActionCommand("retry", "Try the failed nodes once more"),
	)
}

func (a *app) rolloutListCommand() *cobra.Command {
	active := false
	c := &cobra.Command{
		Use:   "list",
		Short: "List the rollouts, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			all, err := c.Rollouts(cmd.Context())
			if err != nil {
				return err
			}
			list := []api.Rollout{}
			for _, r := range all {
				if !active || r.State.Active() {
					list = append(list, r)
				}
			}
			return a.print(list, func() error {
				return a.table("There are no rollouts.", a.rolloutHeading(), a.rolloutRows(list))
			})
		},
	}
	c.Flags().BoolVar(&active, "active", false, "only those that can still go on")
	return c
}

func (a *app) rolloutHeading() []string {
	return []string{"ROLLOUT", "NAME", a.paint(plain, "STATE"), "UPDATED", "FAILED", "AGE", "BY", "WHY"}
}

func (a *app) rolloutRows(list []api.Rollout) [][]string {
	var rows [][]string
	for _, r := range list {
		rows = append(rows, []string{
			cli.Cell(r.ID), orDash(rolloutName(r)), a.paint(rolloutColour(r), stateText(r)),
			fmt.Sprintf("%d/%d", r.Progress.Updated, r.Progress.Total), strconv.Itoa(r.Progress.Failed),
			cli.Age(r.CreatedAt, a.now()), cli.Cell(r.By), cli.Cell(r.Why),
		})
	}
	return rows
}

func rolloutName(r api.Rollout) string {
	if r.Spec.Name != "" {
		return r.Spec.Name
	}
	return r.BundleName
}

func stateText(r api.Rollout) string {
	if r.Stalled != nil && r.State.Active() {
		return string(r.State) + ", stalled"
	}
	return string(r.State)
}

func rolloutColour(r api.Rollout) colour {
	switch r.State {
	case api.RolloutSucceeded:
		return green
	case api.RolloutFailed, api.RolloutHalted:
		return red
	case api.RolloutPaused, api.RolloutAborted:
		return yellow
	}
	if r.Stalled != nil {
		return yellow
	}
	return blue
}

func (a *app) rolloutShowCommand() *cobra.Command {
	var wait following
	c := &cobra.Command{
		Use:   "show ROLLOUT",
		Short: "Show a rollout and its nodes; with --wait, follow it to its end",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := wait.check(); err != nil {
				return err
			}
			c, id, err := a.namedRollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			if wait.on {
				return a.follow(cmd.Context(), c, id, wait.timeout)
			}
			r, err := c.Rollout(cmd.Context(), id)
			if err != nil {
				return err
			}
			return a.print(r, func() error { return a.printRollout(r) })
		},
	}
	wait.flags(c)
	c.ValidArgsFunction = a.completeRollouts
	return c
}

func (a *app) rolloutNodeHeading() []string {
	return []string{"NODE", "GROUP", a.paint(plain, "STATE"), "PHASE", "ATTEMPT", "SINCE", "DETAIL"}
}

func (a *app) rolloutNodeRows(nodes []api.RolloutNode) [][]string {
	var rows [][]string
	for _, n := range nodes {
		tint := plain
		switch n.State {
		case api.NodeBroken:
			tint = red
		case api.NodeUpdated:
			tint = green
		case api.NodeUpdating, api.NodeQueued:
			tint = blue
		case api.NodeSkipped, api.NodeAborted:
			tint = yellow
		}
		rows = append(rows, []string{
			cli.Cell(n.Node), orDash(n.Group), a.paint(tint, n.State), orDash(string(n.Phase)),
			strconv.Itoa(n.Attempt), cli.Age(n.Since, a.now()), cli.Cell(n.Detail),
		})
	}
	return rows
}

func blockerText(blockers []api.Blocker) string {
	var list []string
	for _, b := range blockers {
		list = append(list, b.Detail)
	}
	return strings.Join(list, "; ")
}

func progressText(p api.RolloutProgress) string {
	text := fmt.Sprintf("%d of %d updated, %d updating, %d waiting, %d pending, %d failed",
		p.Updated, p.Total, p.Updating, p.Waiting, p.Pending, p.Failed)
	if p.Skipped > 0 {
		text += fmt.Sprintf(", %d skipped", p.Skipped)
	}
	if p.Aborted > 0 {
		text += fmt.Sprintf(", %d aborted", p.Aborted)
	}
	return text
}

// namedRollout is the rollout of an id, or the beginning of one, and the
// coordinators that have it.
func (a *app) namedRollout(ctx context.Context, text string) (coordinator, string, error) {
	c, err := a.client()
	if err != nil {
		return nil, "", err
	}
	id, err := fullRolloutID(ctx, c, text)
	return c, id, err
}

// fullRolloutID completes the beginning of an id by what the coordinator has.
func fullRolloutID(ctx context.Context, c coordinator, text string) (string, error) {
	if text == "" {
		return "", usagef("rollout: want an id; \"lockkeeper rollout list\" shows them")
	}
	list, err := c.Rollouts(ctx)
	if err != nil {
		return "", err
	}
	var found []string
	for _, r := range list {
		if strings.EqualFold(r.ID, text) {
			return r.ID, nil
		}
		if strings.HasPrefix(strings.ToLower(r.ID), strings.ToLower(text)) {
			found = append(found, r.ID)
		}
	}
	switch len(found) {
	case 0:
		return "", notFoundf("no rollout %q; \"lockkeeper rollout list\" shows them", text)
	case 1:
		return found[0], nil
	}
	return "", usagef("%d rollouts begin with %s: want more of the id", len(found), text)
}
