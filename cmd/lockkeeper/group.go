package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) groupCommand() *cobra.Command {
	return noun("group", "Groups of nodes that share slots",
		a.groupListCommand(), a.groupShowCommand(), a.groupSetCommand(), a.groupDeleteCommand(), a.groupExportCommand(), hidden(a.blackoutCommand()))
}

func (a *app) groupListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the groups",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			groups, err := c.Groups(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(groups, func() error {
				return a.table("There are no groups.", a.groupHeading(), a.groupRows(groups))
			})
		},
	}
}

func (a *app) groupHeading() []string {
	return []string{"GROUP", "SLOTS", "HELD", "FREE", "WAITING", "MEMBERS", "LIMITS", "NOTE"}
}

func (a *app) groupRows(groups []api.Group) [][]string {
	var rows [][]string
	for _, g := range groups {
		slots := strconv.Itoa(g.Status.Slots)
		if strings.HasSuffix(string(g.Spec.Slots), "%") {
			slots += " (" + string(g.Spec.Slots) + ")"
		}
		note := a.paint(plain, "")
		switch {
		case g.Status.Stuck > 0:
			note = a.paint(red, fmt.Sprintf("%d stuck", g.Status.Stuck))
		case g.Status.Frozen != nil:
			note = a.paint(blue, "frozen: "+g.Status.Frozen.Reason)
		case g.Status.Shut != "":
			note = a.paint(blue, a.shutNote(g.Status))
		}
		rows = append(rows, []string{
			cli.Cell(g.Name), cli.Cell(slots), strconv.Itoa(g.Status.Held), strconv.Itoa(g.Status.Free),
			strconv.Itoa(g.Status.Waiting), strconv.Itoa(g.Status.Members), orDash(limitText(g.Spec.Limits)), note,
		})
	}
	return rows
}

func limitText(limits []api.Limit) string {
	var list []string
	for _, l := range limits {
		list = append(list, l.By+"="+string(l.Max))
	}
	return strings.Join(list, ",")
}

func (a *app) groupShowCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "show GROUP",
		Short: "Show a group: what was declared, who holds, who waits",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			g, err := c.Group(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.print(g, func() error { return a.printGroup(g) })
		},
	}
	c.ValidArgsFunction = a.completeGroups
	return c
}

func (a *app) printGroup(g api.Group) error {
	frozen := ""
	if g.Status.Frozen != nil {
		frozen = a.paint(blue, freezeText(*g.Status.Frozen, a.now()))
	}
	unreachable := ""
	if g.Spec.CountUnreachable {
		unreachable = "count as out of service"
	}
	facts := []string{
		"Group", cli.Cell(g.Name),
		"Slots", cli.Cell(fmt.Sprintf("%s: %d of %s held, %d free", g.Spec.Slots, g.Status.Held, count(g.Status.Slots, "slot", "slots"), g.Status.Free)),
		"Limits", cli.Cell(limitText(g.Spec.Limits)),
		"Unreachable", unreachable,
		"Overdue after", cli.Cell(timeoutText(g.Spec.Timeouts)),
	}
	facts = append(facts, a.scheduleFacts(g)...)
	facts = append(facts,
		"Members", strconv.Itoa(g.Status.Members),
		"Frozen", frozen,
		"Revision", strconv.FormatInt(g.Revision, 10),
	)
	if err := a.facts(facts...); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	if err := a.table("Nobody holds a slot.", a.holdHeading(), a.holdRows(g.Holds)); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	return a.table("Nobody waits.", waiterHeading, a.waiterRows(g.Queue))
}

func timeoutText(t api.GroupTimeouts) string {
	var list []string
	if t.Hold != "" {
		list = append(list, shortDuration(t.Hold))
	}
	if t.FleetLockHold != "" {
		list = append(list, shortDuration(t.FleetLockHold)+" by FleetLock")
	}
	return strings.Join(list, ", ")
}

var waiterHeading = []string{"PLACE", "WAITING", "VIA", "PRIORITY", "SINCE", "REASON"}

func (a *app) waiterRows(queue []api.Waiter) [][]string {
	var rows [][]string
	for _, w := range queue {
		rows = append(rows, []string{
			strconv.Itoa(w.Place), cli.Cell(w.Node), cli.Cell(w.Via), strconv.Itoa(w.Priority),
			cli.Age(w.Since, a.now()), cli.Cell(w.Reason),
		})
	}
	return rows
}

func (a *app) groupDeleteCommand() *cobra.Command {
	var ifMatch int64
	c := &cobra.Command{
		Use:   "delete GROUP",
		Short: "Delete a group that nobody holds a slot of",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			match := ""
			if ifMatch > 0 {
				match = strconv.FormatInt(ifMatch, 10)
			}
			g, _ := c.Group(cmd.Context(), args[0]) // what is wrong with it, the deletion says
			if err := c.DeleteGroup(cmd.Context(), args[0], match); err != nil {
				return err
			}
			text := fmt.Sprintf("group %s: deleted", args[0])
			if n := g.Status.Members; n > 0 {
				text += "; no slot for its " + count(n, "node", "nodes") + " until it is made again"
			}
			a.say("%s", text)
			return nil
		},
	}
	c.Flags().Int64Var(&ifMatch, "if-match", 0, "only if the group is at this revision")
	cli.NoEnv(c, "if-match")
	c.ValidArgsFunction = a.completeGroups
	return c
}

// attempts bounds how often a change is tried anew on what somebody else has
// changed meanwhile.
const attempts = 5

// putGroup reads a group, changes its spec and writes it back, again if another
// change came between. It returns what the spec was, nil for a new group.
func putGroup(ctx context.Context, c coordinator, name, ifMatch string, dryRun bool, change func(old *api.GroupSpec) (api.GroupSpec, error)) (api.Group, *api.GroupSpec, error) {
	for attempt := 1; ; attempt++ {
		var old *api.GroupSpec
		g, err := c.Group(ctx, name)
		match := strconv.FormatInt(g.Revision, 10)
		switch {
		case unknown(err):
			match = "*"
		case err != nil:
			return api.Group{}, nil, err
		default:
			spec := g.Spec
			old = &spec
		}
		spec, err := change(old)
		if err != nil {
			return api.Group{}, nil, err
		}
		if ifMatch != "" {
			match = ifMatch
		}
		if dryRun {
			err = limitsFit(ctx, c, name, old, spec)
		}
		if err != nil || dryRun || old != nil && len(specChanges(old, spec)) == 0 && ifMatch == "" {
			g.Name, g.Spec = name, spec
			return g, old, err
		}
		g, err = c.PutGroup(ctx, name, spec, match)
		if changed(err) && ifMatch == "" && attempt < attempts {
			continue
		}
		if err != nil {
			err = putError{err}
		}
		return g, old, err
	}
}

// putError is the end of a change that was sent.
type putError struct{ error }

func (e putError) Unwrap() error { return e.error }

// mayHaveArrived reports whether a change that putGroup failed with may have been
// made all the same: it was sent, and no coordinator has refused it.
func mayHaveArrived(err error) bool {
	var put putError
	if !errors.As(err, &put) {
		return false
	}
	var e *api.Error
	return !errors.As(err, &e) || e.Kind == api.NoQuorum || e.Kind == api.Internal
}

func unknown(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && (e.Kind == api.UnknownGroup || e.Kind == api.NotFound)
}

func changed(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Kind == api.Changed
}

// specChanges lists what a spec changes, in words; old is nil for a new group.
func specChanges(old *api.GroupSpec, spec api.GroupSpec) []string {
	was := api.GroupSpec{}
	if old != nil {
		was = *old
	}
	var list []string
	note := func(what, before, after string) {
		switch {
		case before == after:
		case before == "":
			list = append(list, what+" "+after)
		case after == "":
			list = append(list, what+" "+before+" → none")
		default:
			list = append(list, what+" "+before+" → "+after)
		}
	}
	note("slots", string(was.Slots), string(spec.Slots))
	labels := map[string][2]string{}
	for i, limits := range [][]api.Limit{was.Limits, spec.Limits} {
		for _, l := range limits {
			v := labels[l.By]
			v[i] = string(l.Max)
			labels[l.By] = v
		}
	}
	for _, by := range sortedKeys(labels) {
		note("limit by "+by, labels[by][0], labels[by][1])
	}
	if was.CountUnreachable != spec.CountUnreachable {
		note("count-unreachable", strconv.FormatBool(was.CountUnreachable), strconv.FormatBool(spec.CountUnreachable))
	}
	list = append(list, scheduleChanges(was, spec)...)
	note("grant-interval", shortDuration(was.GrantInterval), shortDuration(spec.GrantInterval))
	note("hold-timeout", shortDuration(was.Timeouts.Hold), shortDuration(spec.Timeouts.Hold))
	note("fleetlock-hold-timeout", shortDuration(was.Timeouts.FleetLockHold), shortDuration(spec.Timeouts.FleetLockHold))
	return list
}

// shortDuration writes "30m" for "30m0s", so that the same time reads the same
// however it was written.
func shortDuration(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		return text
	}
	text = d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// changeLine says what became of a group.
func changeLine(name string, old *api.GroupSpec, spec api.GroupSpec, dryRun bool) string {
	list := specChanges(old, spec)
	verb := ""
	switch {
	case old == nil && dryRun:
		verb = "would be created: "
	case old == nil:
		verb = "created: "
	case len(list) == 0:
		return "group " + name + ": nothing to change"
	case dryRun:
		verb = "would change: "
	}
	return cli.Cell("group " + name + ": " + verb + strings.Join(list, ", "))
}

func sortedKeys[V any](m map[string]V) []string {
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
