package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/simulate"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// maxSimulated bounds the hosts of a simulation.
const maxSimulated = 100_000

// simulateStart is when a simulated rollout is started unless it is said: a
// Monday, always the same, so that the same command comes to the same end.
var simulateStart = time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)

// simulation is what the flags of simulate say.
type simulation struct {
	selection
	hosts, zones          int
	labels, limits        []string
	groupFile, slots      string
	fleet                 bool
	apply, reboot, verify string
	svg, at               string
	o                     simulate.Options
}

func (a *app) simulateCommand() *cobra.Command {
	s := &simulation{}
	c := &cobra.Command{
		Use:   "simulate [-f FILE] --nodes N",
		Short: "Play a rollout through with made-up hosts, in virtual time",
		Long: `Play a rollout through with made-up hosts, in virtual time.

The rules are the real ones: the semaphore's and the rollout engine's own code
decides who goes when, what halts the rollout and when it is over. The hosts are
made up: how long one takes, whether it fails and is rolled back, and whether it
ever comes back is drawn from --seed, for each host by itself. The same command
comes to the same end. No coordinator is asked, unless --fleet is given: then
groups and hosts are those of the coordinator at --server as if nobody were out
of service, and nothing is changed there.

Gates are taken to pass as soon as they can, and people to approve at once; a
host that auto_rollback brings back is taken to come back. The
ideal is what the hosts' times come to with as many at once as each wave's bound
lets, and its soak, without windows or a moment between two hosts.`,
		Example: `  lockkeeper simulate -f rollout.yaml --nodes 10000 --fail-rate 0.02 --reboot 90s±30s --slots 5% --limit zone=1 --seed 1
  lockkeeper simulate --wave 10 --wave 10% --wave rest --soak 10m --nodes 1000 --slots 20 --svg rollout.svg
  lockkeeper simulate -f rollout.yaml --fleet --fail-rate 0.01 -o json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.options(cmd.Context(), a); err != nil {
				return err
			}
			return a.simulate(s)
		},
	}
	s.flags(a, c)
	flags := c.Flags()
	for _, name := range []string{"bundle", "dir", "key", "notify", "on-conflict", "name", "reason"} {
		if err := flags.MarkHidden(name); err != nil { // of no consequence here
			panic(err)
		}
	}
	flags.IntVar(&s.hosts, "nodes", 0, "how many hosts to make up")
	flags.IntVar(&s.zones, "zones", 3, "so many values has their label zone: a, b, c …")
	flags.StringArrayVar(&s.labels, "label", nil, "another label, as NAME=VALUE,VALUE…; hosts have the values in turn (repeatable)")
	flags.StringVar(&s.groupFile, "group-file", "", "file that declares the groups, as \"lockkeeper apply\" takes it")
	flags.StringVar(&s.slots, "slots", "1", "slots of the group, a number or a percentage (5%)")
	flags.StringSliceVar(&s.limits, "limit", nil, "LABEL=MAX, at most so many out of service with the same value (repeatable)")
	flags.BoolVar(&s.fleet, "fleet", false, "take the groups and hosts of the coordinator at --server")
	flags.StringVar(&s.apply, "apply", "10s", "what a host takes to drain and apply: 10s, or evenly between two bounds as 10s±5s (or 10s+-5s)")
	flags.StringVar(&s.reboot, "reboot", "90s±30s", "what a reboot takes; a host that fails is rolled back by another")
	flags.StringVar(&s.verify, "verify", "0s", "what it takes until its health checks have passed")
	flags.Float64Var(&s.o.Fail, "fail-rate", 0, "share of the hosts that fail and are rolled back, from 0 to 1")
	flags.Float64Var(&s.o.Hang, "hang-rate", 0, "share of the hosts that never come back and keep their slot, from 0 to 1")
	flags.Uint64Var(&s.o.Seed, "seed", 1, "what chance is drawn from")
	flags.StringVar(&s.at, "at", "", `when it is started, by which windows are open: 2026-12-24T18:00:00Z (default "2026-01-05T00:00:00Z", a Monday; with --fleet now)`)
	flags.StringVar(&s.svg, "svg", "", "write a chart of it to this file")
	cli.NoEnv(c, "nodes", "zones", "label", "group-file", "slots", "limit", "fleet", "apply", "reboot", "verify", "fail-rate", "hang-rate", "seed", "at", "svg")
	if err := c.MarkFlagFilename("group-file", "yaml", "yml"); err != nil {
		panic(err)
	}
	return c
}

// options reads what is to be simulated.
func (s *simulation) options(ctx context.Context, a *app) error {
	if err := s.read(); err != nil {
		return err
	}
	s.o.Spec = s.spec
	s.o.Spec.Bundle, s.o.Spec.OnHalt, s.o.Spec.OnDone = "", nil, nil
	s.o.Start = simulateStart
	if s.fleet {
		s.o.Start = a.now().UTC().Truncate(time.Minute)
	}
	if s.at != "" {
		at, err := parseMoment("--at", s.at, s.zone)
		if err != nil {
			return err
		}
		s.o.Start = at
	}
	for flag, d := range map[string]struct {
		text string
		into *simulate.Spread
	}{"apply": {s.apply, &s.o.Apply}, "reboot": {s.reboot, &s.o.Reboot}, "verify": {s.verify, &s.o.Verify}} {
		var err error
		if *d.into, err = simulate.ParseSpread(d.text); err != nil {
			return usagef("--%s %w", flag, err)
		}
	}
	for flag, share := range map[string]float64{"fail-rate": s.o.Fail, "hang-rate": s.o.Hang} {
		if !(share >= 0 && share <= 1) {
			return usagef("--%s %g: want a share from 0 to 1, such as 0.02", flag, share)
		}
	}
	if s.fleet {
		return s.realFleet(ctx, a)
	}
	return s.madeUp(a)
}

// madeUp makes the groups and hosts up.
func (s *simulation) madeUp(a *app) error {
	spec := &s.o.Spec
	given := s.set.Changed
	switch {
	case len(spec.Nodes) == 0 && (s.hosts < 1 || s.hosts > maxSimulated):
		return usagef("--nodes %d: want how many hosts to make up, 1 to %d; or --fleet", s.hosts, maxSimulated)
	case len(spec.Nodes) > 0 && given("nodes"):
		return usagef("--nodes, and the rollout lists its nodes: want one of them")
	case s.groupFile != "" && (given("slots") || given("limit")):
		return usagef("--group-file says what the slots and limits are: want no --slots and --limit beside it")
	case s.zones < 1 || s.zones > maxSimulated:
		return usagef("--zones %d: want 1 to %d", s.zones, maxSimulated)
	}
	declared, err := s.groups(a)
	if err != nil {
		return err
	}
	labels := []simulate.Label{simulate.Zones(s.zones)}
	for _, text := range s.labels {
		name, values, ok := strings.Cut(text, "=")
		if !ok || name == "" || values == "" {
			return usagef("--label %q: want NAME=VALUE,VALUE… such as role=web,db", text)
		}
		labels = append(labels, simulate.Label{Name: name, Values: strings.Split(values, ",")})
	}
	names := sortedKeys(declared)
	if spec.Group == "" && spec.Selector == "" && len(spec.Nodes) == 0 {
		if len(names) > 1 {
			return usagef("%s declares %s: say which the rollout is for, by --group or by \"group:\" in its file", s.groupFile, strings.Join(names, ", "))
		}
		spec.Group = names[0]
	}
	s.o.Hosts, err = simulate.Fleet(*spec, s.hosts, names, labels)
	if err != nil {
		return usageError{err}
	}
	return s.declare(declared)
}

// groups are those of the file or, without one, the one that the flags describe.
func (s *simulation) groups(a *app) (map[string]api.GroupSpec, error) {
	if s.groupFile != "" {
		d, err := a.readGroups(s.groupFile)
		return d.specs, err
	}
	g := api.GroupSpec{Slots: api.Slots(s.slots)}
	if _, err := semaphore.ParseSlots(s.slots); err != nil {
		return nil, usagef("--slots %q: want a number such as 2, or a percentage such as 5%%", s.slots)
	}
	var err error
	if g.Limits, err = parseLimits(s.limits); err != nil {
		return nil, err
	}
	name := s.o.Spec.Group
	if name == "" {
		name = "default"
	}
	return map[string]api.GroupSpec{name: g}, nil
}

func (s *simulation) declare(groups map[string]api.GroupSpec) error {
	s.o.Groups = map[string]semaphore.Spec{}
	for name, g := range groups {
		spec, err := simulate.GroupSpec(g)
		if err != nil {
			return usagef("group %s: %w", name, err)
		}
		s.o.Groups[name] = spec
	}
	return nil
}

// realFleet takes groups and hosts from a coordinator.
func (s *simulation) realFleet(ctx context.Context, a *app) error {
	for _, flag := range []string{"nodes", "zones", "label", "group-file", "slots", "limit"} {
		if s.set.Changed(flag) {
			return usagef("--%s and --fleet both say what the fleet is: want one of them", flag)
		}
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	groups, err := c.Groups(ctx)
	if err != nil {
		return err
	}
	declared := map[string]api.GroupSpec{}
	for _, g := range groups {
		declared[g.Name] = g.Spec
	}
	for q := (api.NodeQuery{Limit: 1000}); ; {
		page, err := c.Nodes(ctx, q)
		if err != nil {
			return err
		}
		for _, n := range page.Nodes {
			if _, ok := declared[n.Group]; ok && n.Via == string(semaphore.ViaAgent) {
				s.o.Hosts = append(s.o.Hosts, simulate.Host{ID: n.ID, Group: n.Group, Labels: n.Labels, NeedsReboot: n.Report.NeedsReboot})
			}
		}
		if q.After = page.Next; q.After == "" {
			break
		}
	}
	if len(s.o.Hosts) == 0 {
		return notFoundf("the coordinator has no hosts with an agent: want --nodes to make some up")
	}
	return s.declare(declared)
}

func (a *app) simulate(s *simulation) error {
	began := time.Now()
	r, err := simulate.Run(s.o)
	if err != nil {
		if s.file != nil {
			err = s.placed(err)
		}
		return asUsage(err)
	}
	took := time.Since(began)
	if s.svg != "" {
		if err := os.WriteFile(s.svg, r.SVG(), 0o644); err != nil {
			return usageError{err}
		}
	}
	a.hint("Simulated: %s, none of them real. %d events and %d decisions about the whole rollout in %s, %d events a second.",
		count(r.Nodes, "host", "hosts"), r.Events, r.Looks, took.Round(time.Millisecond), int(float64(r.Events)/max(took.Seconds(), 1e-6)))
	return a.print(r, func() error { return a.printSimulation(&r) })
}

// asUsage makes an error about what was asked for one of usage.
func asUsage(err error) error {
	if exitCode(err) == exitPerson {
		return usageError{err}
	}
	return err
}

func (a *app) printSimulation(r *simulate.Report) error {
	since := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return simulate.Span(t.Sub(r.Starts))
	}
	line := fmt.Sprintf("%s: %d of %d updated, %d failed (at most %d may)", r.State, r.Updated, r.Nodes, r.Failed, r.Budget.Max)
	if r.Kept > 0 {
		line += fmt.Sprintf(", %s kept by hosts that never came back", count(r.Kept, "slot", "slots"))
	}
	fmt.Fprintln(a.out, line)
	facts := []string{"Took", since(r.Ends)}
	if r.Ratio > 0 {
		facts = append(facts, "Ideal", fmt.Sprintf("%s, ratio %.2f", simulate.Span(time.Duration(r.IdealS*float64(time.Second))), r.Ratio))
	}
	if r.State != api.RolloutSucceeded {
		facts = append(facts, "Why", cli.Cell(r.Why))
	}
	if b := r.Budget; !b.HaltedAt.IsZero() {
		facts = append(facts, "Halted", fmt.Sprintf("after %s by %s, while %s out and finished; %d were never asked", since(b.HaltedAt), cli.Cell(b.By), are(b.UnderWay), r.Untouched))
		if u := r.Rollback; u != nil {
			text := fmt.Sprintf("auto_rollback brings %d of %s back", u.Back, count(u.Nodes, "host", "hosts"))
			if u.Ends.IsZero() {
				text += ", and does not end: it waits for hosts that never came back"
			} else {
				text += fmt.Sprintf(" in %s, by %s", simulate.Span(u.Ends.Sub(u.Began)), since(u.Ends))
			}
			facts = append(facts, "Rollback", text)
		}
	}
	facts = append(facts, "Out of service", fmt.Sprintf("at most %d at once", r.PeakOut), "Seed", fmt.Sprint(r.Seed))
	if err := a.facts(facts...); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	var rows [][]string
	for i, w := range r.Waves {
		rows = append(rows, []string{
			fmt.Sprint(i + 1), cli.Cell(w.Name), fmt.Sprint(w.Nodes), fmt.Sprint(w.Concurrency.Nodes), w.Concurrency.Bound,
			since(w.Started), since(w.Finished), since(w.Done), fmt.Sprint(w.Updated), fmt.Sprint(w.Failed),
		})
	}
	if err := cli.Table(a.out, []string{"WAVE", "NAME", "NODES", "AT ONCE", "BOUND", "BEGAN", "NODES DONE", "WAVE DONE", "UPDATED", "FAILED"}, rows); err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	rows = nil
	for _, g := range r.Groups {
		rows = append(rows, []string{cli.Cell(g.Group), fmt.Sprint(g.Nodes), fmt.Sprint(g.Slots), fmt.Sprint(g.PeakOut)})
	}
	return cli.Table(a.out, []string{"GROUP", "HOSTS", "SLOTS", "MOST OUT"}, rows)
}

func are(n int) string {
	if n == 1 {
		return "1 was"
	}
	return fmt.Sprintf("%d were", n)
}
