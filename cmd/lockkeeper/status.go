package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) statusCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "status",
		Short: "The fleet at a glance; exit code 1 when something needs a person",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if err := a.print(s, func() error { return a.printStatus(s) }); err != nil {
				return err
			}
			if !s.OK || s.Stale {
				return outcome(exitPerson)
			}
			return nil
		},
	}
}

func (a *app) printStatus(s api.Status) error {
	for _, line := range a.statusHead(s) {
		fmt.Fprintln(a.out, line)
	}
	if len(s.Attention) > 0 {
		fmt.Fprintln(a.out, "\nNeeds a person:")
		if err := cli.Table(a.out, []string{a.paint(plain, "WHAT"), "WHERE", "SINCE", "DETAIL"}, a.attentionRows(s.Attention)); err != nil {
			return err
		}
	}
	if len(s.Groups) > 0 {
		fmt.Fprintln(a.out)
		if err := cli.Table(a.out, a.groupHeading(), a.groupRows(s.Groups)); err != nil {
			return err
		}
	}
	if len(s.Rollouts) > 0 {
		fmt.Fprintln(a.out)
		return cli.Table(a.out, a.rolloutHeading(), a.rolloutRows(s.Rollouts))
	}
	return nil
}

// statusHead is the answer as a sentence and the figures under it.
func (a *app) statusHead(s api.Status) []string {
	tint := green
	switch {
	case s.Stale:
		tint = yellow
	case !s.OK:
		tint = red
	}
	lines := []string{a.paint(tint, s.Sentence)}
	if s.Stale {
		lines = append(lines, a.paint(yellow, fmt.Sprintf("No quorum: this is what was known %s.", ago(s.AsOf, a.now()))))
	}
	// The sentence says so itself unless something is worse.
	if frozen := "The fleet is frozen"; s.Frozen != nil && strings.HasPrefix(s.Sentence, frozen) && s.Frozen.Group == "" {
		lines[0] = a.paint(blue, freezeText(*s.Frozen, a.now()))
	} else if s.Frozen != nil {
		lines = append(lines, a.paint(blue, freezeText(*s.Frozen, a.now())))
	}
	f := s.Figures
	figures := []string{
		count(f.Nodes, "node", "nodes"),
		fmt.Sprintf("%d of %s held", f.Held, count(f.Slots, "slot", "slots")),
		fmt.Sprintf("%d waiting", f.Waiting),
	}
	if f.Stuck > 0 {
		figures = append(figures, fmt.Sprintf("%d stuck", f.Stuck))
	}
	if f.Wanted > 0 {
		figures = append(figures, fmt.Sprintf("%d of %d at the wanted bundle", f.AtWanted, f.Wanted))
	}
	if f.Drifted > 0 {
		figures = append(figures, fmt.Sprintf("%d drifted", f.Drifted))
	}
	if !f.OldestWait.IsZero() {
		figures = append(figures, fmt.Sprintf("%s waits for %s", f.OldestNode, cli.Age(f.OldestWait, a.now())))
	}
	return append(lines, cli.Cell(strings.Join(figures, ", ")))
}

func (a *app) attentionRows(list []api.Attention) [][]string {
	var rows [][]string
	for _, at := range list {
		tint := yellow
		if at.Severity == "bad" {
			tint = red
		}
		where := at.Node
		switch {
		case where == "" && at.Rollout != "":
			where = at.Rollout
		case where == "":
			where = at.Group
		case at.Group != "":
			where = at.Group + "/" + at.Node
		}
		text := at.Title
		if at.Detail != "" {
			text += ": " + at.Detail
		}
		rows = append(rows, []string{a.paint(tint, at.Kind), orDash(where), cli.Age(at.Since, a.now()), cli.Cell(text)})
	}
	return rows
}

func freezeText(f api.Freeze, now time.Time) string {
	what := "The fleet"
	if f.Group != "" {
		what = "Group " + f.Group
	}
	text := fmt.Sprintf("%s is frozen by %s %s: %s", what, f.By, ago(f.At, now), f.Reason)
	if f.Stop {
		text += " (holders stop at their next gate)"
	}
	return text
}

// ago is Age as part of a sentence.
func ago(t, now time.Time) string {
	switch age := cli.Age(t, now); age {
	case "-":
		return "at an unknown time"
	case "now":
		return "just now"
	default:
		return age + " ago"
	}
}
