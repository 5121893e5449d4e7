package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
)

func (a *app) watchCommand() *cobra.Command {
	group := ""
	interval := pollEvery
	c := &cobra.Command{
		Use:   "watch",
		Short: "Groups, holds, queues and rollouts as they change",
		Long: `Groups, holds, queues and rollouts as they change.

On a terminal one block is drawn again in place; into a file or pipe goes a line
for each change. Ends with Ctrl-C. While no coordinator answers, the last state
stays and it tries again.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if interval < 100*time.Millisecond {
				return usagef("--interval %s: want 100ms or more", interval)
			}
			if a.format != formatTable {
				return usagef("-o %s does not go with watch: \"lockkeeper events --follow -o %s\" writes each change", a.format, a.format)
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			// The first answer shows that server and token are right.
			s, err := c.Status(cmd.Context())
			if err != nil {
				return err
			}
			if group != "" && len(onlyGroup(s.Groups, group)) == 0 {
				return api.Errorf(api.UnknownGroup, "there is no group %q; \"lockkeeper group list\" shows those that there are", group)
			}
			return a.watch(cmd.Context(), c, s, group, interval)
		},
	}
	c.Flags().StringVar(&group, "group", "", "only this group")
	c.Flags().DurationVar(&interval, "interval", pollEvery, "pause between two looks")
	complete(c, "group", a.completeGroups)
	return c
}

func (a *app) watch(ctx context.Context, c coordinator, s api.Status, group string, interval time.Duration) error {
	show := a.watchLines(group)
	if a.outTTY {
		screen := newBlock(a.out)
		show = func(s api.Status, err error) error { return screen.draw(a.watchBlock(s, group, err)) }
	}
	var err error
	for {
		if err := show(s, err); err != nil {
			return err
		}
		if err := sleep.For(ctx, interval); err != nil {
			return err
		}
		var next api.Status
		if next, err = c.Status(ctx); err == nil {
			s = next
			continue
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if !passing(err) {
			return err
		}
	}
}

// watchBlock is the whole picture; err says why it is not of now.
func (a *app) watchBlock(s api.Status, group string, err error) []string {
	lines := a.statusHead(s)
	if err != nil {
		lines = append([]string{a.paint(yellow, "No answer, this was "+ago(s.AsOf, a.now())+": "+errorLine(err))}, lines...)
	}
	add := func(heading []string, rows [][]string) {
		if len(rows) > 0 {
			lines = append(append(lines, ""), tableLines(heading, rows)...)
		}
	}
	groups := onlyGroup(s.Groups, group)
	add(a.groupHeading(), a.groupRows(groups))
	var holds [][]string
	var queue [][]string
	for _, g := range groups {
		holds = append(holds, a.holdRows(g.Holds)...)
		for _, row := range a.waiterRows(g.Queue) {
			queue = append(queue, append([]string{cli.Cell(g.Name)}, row...))
		}
	}
	var active []api.Rollout
	for _, r := range s.Rollouts {
		if r.State.Active() {
			active = append(active, r)
		}
	}
	add(a.rolloutHeading(), a.rolloutRows(active))
	add(a.holdHeading(), holds)
	add(append([]string{"GROUP"}, waiterHeading...), queue)
	return lines
}

func onlyGroup(groups []api.Group, name string) []api.Group {
	if name == "" {
		return groups
	}
	for _, g := range groups {
		if g.Name == name {
			return []api.Group{g}
		}
	}
	return nil
}

// watchLines writes a line for whatever changed since the last look.
func (a *app) watchLines(group string) func(api.Status, error) error {
	last := map[string]string{}
	say := func(topic, line string) error {
		if last[topic] == line {
			return nil
		}
		last[topic] = line
		_, err := fmt.Fprintf(a.out, "%s %s\n", a.now().Format(time.TimeOnly), cli.Cell(line))
		return err
	}
	return func(s api.Status, err error) error {
		if err != nil {
			return say("status", "no answer: "+errorLine(err))
		}
		if err := say("status", s.Sentence); err != nil {
			return err
		}
		for _, g := range onlyGroup(s.Groups, group) {
			line := fmt.Sprintf("group %s: %d of %s held, %d waiting", g.Name, g.Status.Held, count(g.Status.Slots, "slot", "slots"), g.Status.Waiting)
			if g.Status.Frozen != nil {
				line += ", frozen"
			}
			if err := say("group/"+g.Name, line); err != nil {
				return err
			}
		}
		for _, r := range s.Rollouts {
			if err := say("rollout/"+r.ID, fmt.Sprintf("rollout %s: %s: %s", r.ID, stateText(r), progressText(r.Progress))); err != nil {
				return err
			}
		}
		return nil
	}
}
