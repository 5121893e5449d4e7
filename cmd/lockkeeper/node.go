package main

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func (a *app) nodeCommand() *cobra.Command {
	return noun("node", "Nodes, and what each last reported",
		a.nodeListCommand(), a.nodeShowCommand(), a.nodeLabelCommand(), a.nodeForgetCommand(), a.nodeClearDuplicateCommand(),
		a.nodeActionCommand("retry", "Try a node again that failed in its newest rollout", `Try a node again that failed in its newest rollout.

The failure counts no longer against the rollout's budget, and the node gets
max-attempts attempts anew. A rollout that this failure had halted or ended runs
again. The node waits for a slot as before, or goes on with the one that it kept.`, "tried again"),
		a.nodeActionCommand("rollback", "Take a node back from its bundle to what that replaced", `Take a node back from its bundle to what that replaced.

The node waits for a slot, drains, puts the files back that the bundle in place
replaced on it, interrupts what the bundle had interrupted, and verifies. One
step back is kept. It is refused while a rollout wants the bundle there, and for
a node that has failed: that one went back by itself.`, "rolled back once it has a slot"))
}

func (a *app) nodeListCommand() *cobra.Command {
	var q api.NodeQuery
	limit := 0
	c := &cobra.Command{
		Use:   "list [PART-OF-ID]",
		Short: "List the nodes",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.State != "" && !slices.Contains(api.NodeStates, api.NodeState(q.State)) {
				return usagef("--state %q: want one of %s", q.State, joinStates())
			}
			if limit < 0 {
				return usagef("--limit %d: want 0 (all) or more", limit)
			}
			if len(args) == 1 {
				q.Text = args[0]
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			nodes, total, err := allNodes(cmd.Context(), c, q, limit)
			if err != nil {
				return err
			}
			if len(nodes) == 0 && q.Group != "" {
				if _, err := c.Group(cmd.Context(), q.Group); err != nil {
					return err // it may be misspelt
				}
			}
			err = a.print(nodes, func() error {
				return a.table("No node matches.", a.nodeHeading(), a.nodeRows(nodes))
			})
			if len(nodes) < total {
				a.hint("%d of %d nodes; --limit 0 shows all", len(nodes), total)
			}
			return err
		},
	}
	flags := c.Flags()
	flags.StringVar(&q.Group, "group", "", "only of this group")
	flags.StringVar(&q.State, "state", "", "only in this state: "+joinStates())
	flags.StringVar(&q.Selector, "selector", "", "only with these labels: zone=a,role=web")
	flags.BoolVar(&q.Drifted, "drifted", false, "only those that do not have what a rollout brought them to")
	flags.IntVar(&limit, "limit", 0, "show at most so many, 0 for all")
	c.ValidArgsFunction = a.completeNodes
	complete(c, "group", a.completeGroups)
	complete(c, "state", cobra.FixedCompletions(strings.Split(joinStates(), ", "), cobra.ShellCompDirectiveNoFileComp))
	return c
}

func joinStates() string {
	var list []string
	for _, s := range api.NodeStates {
		list = append(list, string(s))
	}
	return strings.Join(list, ", ")
}

// nodePage is how many nodes are asked for at once.
const nodePage = 1000

// allNodes reads page after page; limit 0 means all. total is how many match.
func allNodes(ctx context.Context, c coordinator, q api.NodeQuery, limit int) (nodes []api.Node, total int, err error) {
	nodes = []api.Node{}
	for {
		q.Limit = nodePage
		if limit > 0 {
			q.Limit = min(nodePage, limit-len(nodes))
		}
		page, err := c.Nodes(ctx, q)
		if err != nil {
			return nil, 0, err
		}
		nodes = append(nodes, page.Nodes...)
		if page.Next == "" || page.Next == q.After || limit > 0 && len(nodes) >= limit {
			return nodes, page.Total, nil
		}
		q.After = page.Next
	}
}

func (a *app) nodeHeading() []string {
	return []string{"NODE", "GROUP", a.paint(plain, "STATE"), "PHASE", "BUNDLE", "HEARD", "LABELS", "MESSAGE"}
}

func (a *app) nodeRows(nodes []api.Node) [][]string {
	var rows [][]string
	for _, n := range nodes {
		message := n.Report.Message
		if n.Report.Failure != nil {
			message = n.Report.Failure.Reason + ": " + n.Report.Failure.Detail
		}
		if n.Drift != nil && n.Report.Failure == nil {
			message = driftText(n)
		}
		if n.Report.Trouble != "" {
			message = n.Report.Trouble
		}
		if n.Duplicate != "" {
			message = n.Duplicate
		}
		rows = append(rows, []string{
			cli.Cell(n.ID), orDash(n.Group), a.paint(nodeColour(n.State), string(n.State)), orDash(string(n.Report.Phase)),
			orDash(short(n.Report.Bundle)), cli.Age(n.LastHeard, a.now()), orDash(labelText(n.Labels)), cli.Cell(message),
		})
	}
	return rows
}

// driftLine says by which rollout it should have it, too.
func driftLine(n api.Node) string {
	if n.Drift == nil {
		return ""
	}
	return strings.TrimPrefix(driftText(n), "drifted: ") + ", by rollout " + n.Drift.Rollout
}

// driftText says what a node should have that has drifted; empty for any other.
func driftText(n api.Node) string {
	d := n.Drift
	if d == nil {
		return ""
	}
	has := "none"
	if n.Report.Bundle != "" {
		has = short(n.Report.Bundle)
	}
	return strings.TrimSpace(fmt.Sprintf("drifted: has %s, should have %s %s", has, short(d.Bundle), d.Name))
}

func nodeColour(s api.NodeState) colour {
	switch s {
	case api.NodeFailed, api.NodeOverdue, api.NodeDuplicate:
		return red
	case api.NodeUnreachable:
		return yellow
	case api.NodeOut, api.NodeWaiting:
		return blue
	}
	return plain
}

func (a *app) nodeShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show NODE",
		Short: "Show a node and why it may or may not go now",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.Node(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(n, func() error {
				v, err := c.ExplainNode(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				return a.printNode(n, v)
			})
		},
	}
	c.ValidArgsFunction = a.completeNodes
	return c
}

func (a *app) printNode(n api.Node, v api.Verdict) error {
	r := n.Report
	failure, wanted, hold, os, message := "", "", "", r.OS, r.Message
	if message == r.Trouble {
		message = "" // said once
	}
	if f := r.Failure; f != nil {
		of := "bundle " + short(f.Bundle)
		if f.Bundle == "" {
			of = "a reboot without a bundle"
		}
		failure = fmt.Sprintf("%s, %s, %s: %s", f.Reason, of, ago(f.At, a.now()), f.Detail)
	}
	reboot := r.RebootReason
	if r.NeedsReboot {
		reboot = strings.TrimSuffix("the host asks for one: "+r.RebootReason, ": ")
	}
	if w := n.Wanted; w != nil {
		wanted = fmt.Sprintf("%s %s by rollout %s", short(w.Bundle), w.Name, w.Rollout)
		if o := n.Order; w.Undo && o != nil {
			wanted = fmt.Sprintf("back from %s %s, by %s", short(w.Bundle), w.Name, o.By)
			if o.Reason != "" {
				wanted += ": " + o.Reason
			}
		}
	}
	if h := n.Hold; h != nil {
		hold = fmt.Sprintf("%s, fence %d, since %s", h.State, h.Fence, cli.Age(h.Since, a.now()))
		if due := dueText(h, a.now()); due != "" {
			hold += ", " + due
		}
	}
	if r.Simulated {
		os += " (simulated)"
	}
	return a.facts(
		"Node", cli.Cell(n.ID),
		"Group", cli.Cell(n.Group),
		"State", a.paint(nodeColour(n.State), string(n.State)),
		"Verdict", cli.Cell(v.Summary),
		"Phase", cli.Cell(string(r.Phase)),
		"Message", cli.Cell(message),
		"Trouble", a.paint(red, r.Trouble),
		"Failure", a.paint(red, failure),
		"Reboot", cli.Cell(reboot),
		"Duplicate", a.paint(red, n.Duplicate),
		"Hold", cli.Cell(hold),
		"Bundle", short(r.Bundle),
		"Wanted", cli.Cell(wanted),
		"Drifted", a.paint(yellow, driftLine(n)),
		"Labels", labelText(n.Labels),
		"Declared", labelText(n.Declared),
		"Last heard", cli.Cell(ago(n.LastHeard, a.now())+" by "+n.Via),
		"Boot id", cli.Cell(n.BootID),
		"Machine id", cli.Cell(r.MachineID),
		"System", cli.Cell(os),
		"Agent", cli.Cell(r.Version),
		"Revision", strconv.FormatInt(n.Revision, 10),
	)
}

func (a *app) nodeActionCommand(action, short, long, told string) *cobra.Command {
	reason := ""
	c := &cobra.Command{
		Use:   action + " NODE",
		Short: short,
		Long:  long,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.NodeAction(cmd.Context(), args[0], action, api.NodeActionRequest{Reason: reason})
			if err != nil {
				return err
			}
			return a.print(n, func() error {
				a.say("node %s: is %s", cli.Cell(n.ID), told)
				return nil
			})
		},
	}
	c.Flags().StringVar(&reason, "reason", "", "why, for the audit trail")
	cli.NoEnv(c, "reason")
	c.ValidArgsFunction = a.completeNodes
	return c
}

func (a *app) nodeForgetCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "forget NODE",
		Short: "Forget a node that is gone for good and holds no slot",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.DeleteNode(cmd.Context(), args[0]); err != nil {
				return err
			}
			a.say("node %s: forgotten", cli.Cell(args[0]))
			return nil
		},
	}
	c.ValidArgsFunction = a.completeNodes
	return c
}

func (a *app) nodeClearDuplicateCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "clear-duplicate NODE",
		Short: "Say that only one host has this id now",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := c.PatchNode(cmd.Context(), args[0], api.NodePatch{ClearDuplicate: true}, "")
			if err != nil {
				return err
			}
			return a.print(n, func() error {
				a.say("node %s: may be granted slots again", cli.Cell(n.ID))
				return nil
			})
		},
	}
	c.ValidArgsFunction = a.completeNodes
	return c
}

func (a *app) nodeLabelCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "label NODE KEY=VALUE... KEY-...",
		Short: "Declare labels of a node, which win over those it reports",
		Long: `Declare labels of a node, which win over those it reports.

KEY=VALUE declares a label, KEY- takes the declaration back: the value that the
node reports counts again. Holds keep the labels that they were granted under. A
KEY is such as zone or topology.kubernetes.io/zone.`,
		Example: `  lockkeeper node label web1 zone=b rack=7
  lockkeeper node label web1 zone-`,
		Args: cobra.MinimumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			set, remove, err := parseLabels(args[1:])
			if err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			n, err := labelNode(cmd.Context(), c, args[0], set, remove)
			if err != nil {
				return err
			}
			return a.print(n, func() error {
				a.say("node %s: declared %s, in effect %s", cli.Cell(n.ID), orDash(labelText(n.Declared)), orDash(labelText(n.Labels)))
				return nil
			})
		},
	}
	c.ValidArgsFunction = a.completeNodes
	return c
}

func parseLabels(args []string) (set map[string]string, remove []string, err error) {
	set = map[string]string{}
	for _, arg := range args {
		if key, value, ok := strings.Cut(arg, "="); ok && key != "" {
			if err := semaphore.ValidLabel(key); err != nil {
				return nil, nil, usageError{err}
			}
			set[key] = value
			continue
		}
		key, ok := strings.CutSuffix(arg, "-")
		if !ok || key == "" || strings.Contains(key, "=") {
			return nil, nil, usagef("label %q: want KEY=VALUE to declare, KEY- to take back", arg)
		}
		remove = append(remove, key)
	}
	for _, key := range remove {
		if _, both := set[key]; both {
			return nil, nil, usagef("label %q: both declared and taken back", key)
		}
	}
	return set, remove, nil
}

// labelNode changes the declared labels and leaves the others, again if another
// change came between.
func labelNode(ctx context.Context, c coordinator, id string, set map[string]string, remove []string) (api.Node, error) {
	for attempt := 1; ; attempt++ {
		n, err := c.Node(ctx, id)
		if err != nil {
			return n, err
		}
		labels := map[string]string{}
		maps.Copy(labels, n.Declared)
		maps.Copy(labels, set)
		for _, key := range remove {
			delete(labels, key)
		}
		n, err = c.PatchNode(ctx, id, api.NodePatch{Labels: labels}, strconv.FormatInt(n.Revision, 10))
		if changed(err) && attempt < attempts {
			continue
		}
		return n, err
	}
}
