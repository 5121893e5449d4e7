package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) blackoutCommand() *cobra.Command {
	return noun("blackout", "Named spans in which nothing starts",
		a.blackoutAddCommand(), a.blackoutRemoveCommand(), a.blackoutListCommand())
}

// chosen are the groups that a command is about: --group or --all-groups.
type chosen struct {
	names []string
	all   bool
}

func (ch *chosen) flags(a *app, c *cobra.Command) {
	c.Flags().StringSliceVar(&ch.names, "group", nil, "the group (repeatable)")
	c.Flags().BoolVar(&ch.all, "all-groups", false, "every group")
	cli.NoEnv(c, "group", "all-groups")
	complete(c, "group", a.completeGroups)
}

// groups are the names, of which there is at least one.
func (ch *chosen) groups(ctx context.Context, c coordinator) ([]string, error) {
	switch {
	case ch.all && len(ch.names) > 0:
		return nil, usagef("--all-groups goes without --group")
	case !ch.all && len(ch.names) == 0:
		return nil, usagef("want --group GROUP, or --all-groups")
	case !ch.all:
		return ch.names, nil
	}
	groups, err := c.Groups(ctx)
	var names []string
	for _, g := range groups {
		names = append(names, g.Name)
	}
	return names, err
}

// change changes the blackouts of each of the groups, and says so.
func (ch *chosen) change(a *app, cmd *cobra.Command, change func(group string, list []api.BlackoutSpec) ([]api.BlackoutSpec, error)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	names, err := ch.groups(cmd.Context(), c)
	if err != nil {
		return err
	}
	result := []api.Group{}
	for _, name := range names {
		g, old, err := putGroup(cmd.Context(), c, name, "", false, func(old *api.GroupSpec) (api.GroupSpec, error) {
			if old == nil {
				return api.GroupSpec{}, api.Errorf(api.UnknownGroup, "there is no group %q", name)
			}
			spec := *old
			spec.Blackouts, err = change(name, slices.Clone(old.Blackouts))
			return spec, err
		})
		if err != nil {
			return err
		}
		a.say("%s", changeLine(name, old, g.Spec, false))
		result = append(result, g)
	}
	return a.print(result, func() error { return nil })
}

func (a *app) blackoutAddCommand() *cobra.Command {
	var groups chosen
	var start, end, zone, reason string
	var lasts time.Duration
	c := &cobra.Command{
		Use:   "add NAME --group GROUP --end TIME",
		Short: "Let nothing start in a span of time",
		Long: `Let nothing start in a span of time, windows or not. Who holds a slot finishes.

A time is such as 2026-12-24T18:00:00Z, or "2026-12-24 18:00" by the clock of
--time-zone. Without --start it begins now. Adding the same blackout again
changes nothing.`,
		Example: `  lockkeeper blackout add year-end --group web --start "2026-12-20 00:00" --end "2027-01-06 00:00" --time-zone Europe/Berlin --reason "shop season"
  lockkeeper blackout add release --all-groups --for 4h --reason "release 7.2"`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			b := api.BlackoutSpec{Name: args[0], Start: a.now().UTC().Truncate(time.Second), Reason: reason}
			var err error
			if start != "" {
				if b.Start, err = parseMoment("--start", start, zone); err != nil {
					return err
				}
			}
			switch {
			case (end == "") == (lasts == 0):
				return usagef("want --end or --for, and not both")
			case end != "":
				if b.End, err = parseMoment("--end", end, zone); err != nil {
					return err
				}
			default:
				b.End = b.Start.Add(lasts)
			}
			if found := specProblems(api.GroupSpec{Blackouts: []api.BlackoutSpec{b}}); len(found) > 0 {
				return usagef("blackout %q: %s: %s", b.Name, lastName(found[0].Path), found[0].Detail)
			}
			return groups.change(a, cmd, func(group string, list []api.BlackoutSpec) ([]api.BlackoutSpec, error) {
				i := slices.IndexFunc(list, func(o api.BlackoutSpec) bool { return o.Name == b.Name })
				switch {
				case i < 0:
					return append(list, b), nil
				case blackoutText(list[i]) != blackoutText(b):
					return nil, api.Errorf(api.Conflict, "group %s has another blackout of that name: %s; remove it first, or choose another name", group, blackoutText(list[i]))
				}
				return list, nil
			})
		},
	}
	groups.flags(a, c)
	flags := c.Flags()
	flags.StringVar(&start, "start", "", "when it begins (default now)")
	flags.StringVar(&end, "end", "", "when it ends")
	flags.DurationVar(&lasts, "for", 0, "how long it lasts, instead of --end")
	flags.StringVar(&zone, "time-zone", "", "by whose clock a time without offset is meant, such as Europe/Berlin")
	flags.StringVar(&reason, "reason", "", "why, for whoever waits")
	cli.NoEnv(c, "start", "end", "for", "time-zone", "reason")
	c.ValidArgsFunction = cobra.NoFileCompletions
	return c
}

func (a *app) blackoutRemoveCommand() *cobra.Command {
	var groups chosen
	c := &cobra.Command{
		Use:   "remove NAME --group GROUP",
		Short: "Take a blackout back, also while it is in force",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			found := false
			err := groups.change(a, cmd, func(group string, list []api.BlackoutSpec) ([]api.BlackoutSpec, error) {
				kept := slices.DeleteFunc(slices.Clone(list), func(b api.BlackoutSpec) bool { return b.Name == args[0] })
				found = found || len(kept) < len(list)
				if !groups.all && len(kept) == len(list) {
					return nil, notFoundf("group %s has no blackout %q", group, args[0])
				}
				return kept, nil
			})
			if err == nil && !found {
				return notFoundf("no group has a blackout %q", args[0])
			}
			return err
		},
	}
	groups.flags(a, c)
	c.ValidArgsFunction = a.completeBlackouts
	return c
}

func (a *app) blackoutListCommand() *cobra.Command {
	group := ""
	c := &cobra.Command{
		Use:   "list",
		Short: "List the blackouts, those that are over too",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			groups, err := someGroups(cmd.Context(), c, group)
			if err != nil {
				return err
			}
			type row struct {
				Group string `json:"group"`
				api.BlackoutSpec
			}
			list, rows := []row{}, [][]string{}
			for _, g := range groups {
				for _, b := range g.Spec.Blackouts {
					list = append(list, row{g.Name, b})
					rows = append(rows, []string{cli.Cell(g.Name), cli.Cell(b.Name), b.Start.UTC().Format(time.RFC3339),
						b.End.UTC().Format(time.RFC3339), blackoutState(b, a.now()), cli.Cell(b.Reason)})
				}
			}
			return a.print(list, func() error {
				return a.table("There are no blackouts.", []string{"GROUP", "NAME", "START", "END", "STATE", "REASON"}, rows)
			})
		},
	}
	c.Flags().StringVar(&group, "group", "", "only of this group")
	cli.NoEnv(c, "group")
	complete(c, "group", a.completeGroups)
	return c
}

// someGroups is one group with all of its queue or, for "", all of them.
func someGroups(ctx context.Context, c coordinator, name string) ([]api.Group, error) {
	if name == "" {
		return c.Groups(ctx)
	}
	g, err := c.Group(ctx, name)
	if err != nil {
		return nil, err
	}
	return []api.Group{g}, nil
}

func (a *app) completeBlackouts(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completion(cmd, func(ctx context.Context, c coordinator) (found []cobra.Completion, err error) {
		groups, err := c.Groups(ctx)
		for _, g := range groups {
			for _, b := range g.Spec.Blackouts {
				found = append(found, cobra.CompletionWithDesc(b.Name, g.Name+", "+blackoutState(b, a.now())))
			}
		}
		return found, err
	})
}

// lastName is the last name of a path: "end" of "blackouts[0].end".
func lastName(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
