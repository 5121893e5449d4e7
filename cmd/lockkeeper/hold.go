package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/shellword"
)

func (a *app) holdCommand() *cobra.Command {
	return noun("hold", "Slots taken, and freeing one by name",
		a.holdListCommand(), a.holdRevokeCommand(), a.holdReleaseCommand())
}

func (a *app) holdListCommand() *cobra.Command {
	group := ""
	c := &cobra.Command{
		Use:   "list",
		Short: "List who holds a slot",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			holds, err := allHolds(cmd.Context(), c, group)
			if err != nil {
				return err
			}
			return a.print(holds, func() error {
				return a.table("Nobody holds a slot.", a.holdHeading(), a.holdRows(holds))
			})
		},
	}
	c.Flags().StringVar(&group, "group", "", "only of this group")
	complete(c, "group", a.completeGroups)
	return c
}

// allHolds are the holds of one group, or of all.
func allHolds(ctx context.Context, c coordinator, group string) ([]api.Hold, error) {
	holds := []api.Hold{}
	if group != "" {
		g, err := c.Group(ctx, group)
		return append(holds, g.Holds...), err
	}
	groups, err := c.Groups(ctx)
	for _, g := range groups {
		holds = append(holds, g.Holds...)
	}
	return holds, err
}

func (a *app) holdHeading() []string {
	return []string{"GROUP", "NODE", a.paint(plain, "STATE"), "VIA", "FENCE", "HELD", "HEARD", "PHASE", "REASON"}
}

func (a *app) holdRows(holds []api.Hold) [][]string {
	var rows [][]string
	for _, h := range holds {
		state, tint := h.State, plain
		switch {
		case h.Failed:
			state, tint = state+", failed", red
		case h.Overdue:
			state, tint = state+", overdue", red
		case h.State == "revoked":
			tint = yellow
		}
		heard := "-"
		if h.Heard != nil {
			heard = cli.Age(*h.Heard, a.now())
		}
		rows = append(rows, []string{
			cli.Cell(h.Group), cli.Cell(h.Node), a.paint(tint, state), cli.Cell(h.Via), strconv.FormatInt(h.Fence, 10),
			cli.Age(h.Since, a.now()), heard, orDash(h.Phase), cli.Cell(h.Reason),
		})
	}
	return rows
}

// dueText says when a hold is overdue, "" for one that never is.
func dueText(h *api.Hold, now time.Time) string {
	left := cli.Span(max(h.Deadline.Sub(now), time.Second))
	switch {
	case h.Deadline.IsZero() && h.Overdue:
		return "overdue"
	case h.Deadline.IsZero():
		return ""
	case h.Overdue:
		return "overdue since " + cli.Age(h.Deadline, now)
	case h.DeadlineStill == "":
		return "overdue in " + left
	case h.DeadlineStill == api.DeadlineFrozen:
		return fmt.Sprintf("overdue %s after the freeze is lifted", left)
	}
	return fmt.Sprintf("overdue %s after a quorum is back", left)
}

// holdOf finds the one hold of a node.
func holdOf(ctx context.Context, c coordinator, group, node string) (api.Hold, error) {
	holds, err := allHolds(ctx, c, group)
	if err != nil {
		return api.Hold{}, err
	}
	var found []api.Hold
	for _, h := range holds {
		if h.Node == node {
			found = append(found, h)
		}
	}
	switch {
	case len(found) == 0:
		return api.Hold{}, notFoundf("node %q holds no slot; \"lockkeeper hold list\" shows who does", node)
	case len(found) > 1:
		return api.Hold{}, usagef("node %q holds slots of %d groups: name one with --group", node, len(found))
	}
	return found[0], nil
}

const twoSteps = `Freeing a slot has two steps:

  1. lockkeeper hold revoke NODE --reason REASON
     The hold is marked and still counts. An agent that is alive stops at its
     next gate and returns the slot by itself: then you are done.
  2. lockkeeper hold release NODE --host-is-down --reason REASON
     Only for a host that you have seen to be down. The slot is free at once,
     and another host may go. If this one is not down after all, one more host
     than allowed is out of service.

The second step is refused until 15 s after the first, and while the node was
heard from within the last 60 s. A FleetLock host cannot see the first step.`

func (a *app) holdRevokeCommand() *cobra.Command {
	var group, reason string
	c := &cobra.Command{
		Use:   "revoke NODE --reason REASON",
		Short: "Ask a hold back: the first step of freeing a slot",
		Long:  "Ask a hold back: the first step of freeing a slot.\n\n" + twoSteps,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if reason == "" {
				return usagef("want --reason, for whoever reads the audit trail")
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			h, err := holdOf(cmd.Context(), c, group, args[0])
			if err != nil {
				return err
			}
			h, err = c.Revoke(cmd.Context(), h.Group, h.Node, api.RevokeRequest{Fence: h.Fence, Name: h.Node, Reason: reason})
			if err != nil {
				return err
			}
			return a.print(h, func() error {
				a.say("group %s: the hold of %s (fence %d) is revoked; it counts until the node returns it", h.Group, cli.Cell(h.Node), h.Fence)
				a.hint("If the host is down: lockkeeper hold release --host-is-down --reason REASON %s, in 15 s at the earliest.", shellword.Argument(h.Node))
				return nil
			})
		},
	}
	c.Flags().StringVar(&group, "group", "", "the group, if the node holds in several")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit trail (needed)")
	cli.NoEnv(c, "group", "reason")
	c.ValidArgsFunction = a.completeHolders
	complete(c, "group", a.completeGroups)
	return c
}

func (a *app) holdReleaseCommand() *cobra.Command {
	var group, reason, name string
	var down bool
	c := &cobra.Command{
		Use:   "release NODE --host-is-down --reason REASON",
		Short: "Free the slot of a host that is down: the second step",
		Long: `Free the slot of a host that is down: the second step.

` + twoSteps + `

On a terminal the node's name must be typed once more. Without one, give it
with --name.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			node := args[0]
			if !down {
				return usagef("want --host-is-down: look first, and release only a host that is down. Before that, `lockkeeper hold revoke --reason REASON %s` asks for the slot back", shellword.Argument(node))
			}
			if reason == "" {
				return usagef("want --reason, for whoever reads the audit trail")
			}
			if name != "" && name != node {
				return usagef("--name %q is not the node %q", name, node)
			}
			if name == "" && !a.inTTY {
				return usagef("no terminal to confirm on: give the node's name once more, --name %s", shellword.Word(node))
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			// The fence binds the release to the hold that is shown here.
			h, err := holdOf(cmd.Context(), c, group, node)
			if err != nil {
				return err
			}
			if name == "" {
				if err := a.confirmRelease(cmd.Context(), h); err != nil {
					return err
				}
			}
			err = c.ForceRelease(cmd.Context(), h.Group, node, api.ReleaseRequest{Fence: h.Fence, Name: node, Reason: reason, HostIsDown: true})
			if refusedStep(err) && h.Revoked == nil {
				return fmt.Errorf("%w; first: lockkeeper hold revoke --reason REASON %s", err, shellword.Argument(node))
			}
			if err != nil {
				return err
			}
			a.say("group %s: the slot of %s (fence %d) is free", h.Group, cli.Cell(node), h.Fence)
			return nil
		},
	}
	c.Flags().StringVar(&group, "group", "", "the group, if the node holds in several")
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit trail (needed)")
	c.Flags().StringVar(&name, "name", "", "the node's name once more, where there is no terminal")
	c.Flags().BoolVar(&down, "host-is-down", false, "I have looked: the host is down")
	cli.NoEnv(c, "group", "reason", "name", "host-is-down")
	c.ValidArgsFunction = a.completeHolders
	complete(c, "group", a.completeGroups)
	return c
}

func refusedStep(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && (e.Kind == api.Conflict || e.Kind == api.InUse)
}

// confirmRelease shows the hold and has the name typed.
func (a *app) confirmRelease(ctx context.Context, h api.Hold) error {
	heard := "never"
	if h.Heard != nil {
		heard = ago(*h.Heard, a.now())
	}
	fmt.Fprintf(a.err, "%s holds a slot of group %s since %s (%s, fence %d); last heard %s.\n",
		cli.Cell(h.Node), cli.Cell(h.Group), cli.Age(h.Since, a.now()), cli.Cell(h.State), h.Fence, heard)
	fmt.Fprintf(a.err, "If the host is not down, one more than allowed will be out of service.\nType the node's name to free its slot: ")
	line, err := readLine(ctx, a.in)
	if err != nil {
		return err
	}
	if strings.TrimSpace(line) != h.Node {
		return usagef("%q is not the node's name: nothing was changed", strings.TrimSpace(line))
	}
	return nil
}

// readLine reads one line, or gives up when the context ends.
func readLine(ctx context.Context, r io.Reader) (string, error) {
	type answer struct {
		line string
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		line, err := bufio.NewReader(r).ReadString('\n')
		if errors.Is(err, io.EOF) {
			err = nil
		}
		got <- answer{line, err}
	}()
	select {
	case <-ctx.Done():
		return "", ctx.Err()
	case a := <-got:
		return a.line, a.err
	}
}
