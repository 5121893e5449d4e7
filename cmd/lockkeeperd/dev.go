package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

type devOptions struct {
	nodes, slots int
	groups       []string
	listen       string
	once         bool
	start        time.Duration
	work, reboot time.Duration
	logLevel     string
}

func newDev() *cobra.Command {
	var o devOptions
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Run a whole fleet on this machine: a coordinator and simulated hosts",
		Long: `dev runs a coordinator and simulated hosts in one process, with the agent's own
code on every host; only the hosts are simulated. It starts a rollout after a
few seconds, says what happens, and runs until Ctrl-C. Its data go when it ends.

With --once it does one rollout, prints a summary and ends: with 0 when every
node has the bundle, no grant exceeded the slots by the audit trail, and no more
hosts were really out of service than slots by an observer outside; else with 1.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.validate(); err != nil {
				return &exitError{exitUsage, err}
			}
			return dev(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	flags := cmd.Flags()
	flags.IntVar(&o.nodes, "nodes", 12, "simulated hosts, shared out over the groups")
	flags.IntVar(&o.slots, "slots", 2, "slots of each group")
	flags.StringSliceVar(&o.groups, "groups", []string{"default"}, "`NAMES` of the groups")
	flags.StringVar(&o.listen, "listen", "127.0.0.1:8080", "`HOST:PORT` of the dashboard; port 0 takes a free one")
	flags.BoolVar(&o.once, "once", false, "do one rollout, judge it, and end")
	flags.DurationVar(&o.start, "start-after", 3*time.Second, "when the rollout starts (not with --once); for one of your own 24h")
	flags.DurationVar(&o.work, "work-time", 500*time.Millisecond, "how long a simulated host takes to apply")
	flags.DurationVar(&o.reboot, "reboot-time", 4*time.Second, "how long a simulated host takes to reboot")
	flags.StringVar(&o.logLevel, "log-level", "error", "debug, info, warn or error")
	return cmd
}

func (o *devOptions) validate() error {
	switch {
	case o.nodes < 1 || o.nodes > 1000:
		return fmt.Errorf("--nodes %d: want 1 to 1000", o.nodes)
	case o.slots < 1 || o.slots > 1000:
		return fmt.Errorf("--slots %d: want 1 to 1000", o.slots)
	case len(o.groups) == 0:
		return errors.New("--groups: name at least one group")
	case len(o.groups) > o.nodes:
		return fmt.Errorf("--groups: %d groups for %d nodes: want a node for each at least", len(o.groups), o.nodes)
	case o.work < 0 || o.reboot < 0 || o.start < 0:
		return errors.New("--work-time, --reboot-time and --start-after must not be negative")
	}
	for i, g := range o.groups {
		if err := semaphore.ValidGroup(g); err != nil {
			return fmt.Errorf("--groups: %w", err)
		}
		if slices.Contains(o.groups[:i], g) {
			return fmt.Errorf("--groups: %q is named twice", g)
		}
	}
	return nil
}

// dev is the fleet of one machine.
func dev(ctx context.Context, o devOptions, out io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "lockkeeper-dev-")
	if err != nil {
		return &exitError{exitFailed, err}
	}
	defer os.RemoveAll(dir)

	cfg := coordinator.DefaultConfig()
	cfg.DataDir, cfg.Listen, cfg.Log.Level = filepath.Join(dir, "coordinator"), o.listen, o.logLevel
	if o.once {
		cfg.Listen = "127.0.0.1:0"
	}
	if err := cfg.Validate(); err != nil {
		return &exitError{exitUsage, err}
	}
	c, err := coordinator.New(cfg, coordinator.Options{Logger: coordinator.NewLogger(cfg.Log, os.Stderr), Version: cli.Version()})
	if err != nil {
		return &exitError{exitFailed, err}
	}
	if err := c.Start(ctx); err != nil {
		return &exitError{exitFailed, err}
	}
	defer func() { err = errors.Join(err, c.Stop()) }()

	operator, err := client.New(client.Config{Servers: []string{c.URL()}, UserAgent: "lockkeeperd-dev"})
	if err != nil {
		return &exitError{exitFailed, err}
	}
	defer operator.Close()
	f := &devFleet{devOptions: o, client: operator, url: c.URL(), dir: dir, out: out, observer: newObserver()}
	err = f.run(ctx)
	if ctx.Err() != nil && !o.once {
		fmt.Fprintln(out, "Stopped; everything that ran here is gone.")
		return nil
	}
	if err != nil {
		return &exitError{exitFailed, err}
	}
	return nil
}

// devFleet is what dev runs beside the coordinator.
type devFleet struct {
	devOptions
	client   *client.Client
	url, dir string
	observer *observer

	mu  sync.Mutex
	out io.Writer
}

func (f *devFleet) say(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fmt.Fprintf(f.out, format+"\n", args...)
}

func (f *devFleet) run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var agents sync.WaitGroup
	defer agents.Wait()
	defer cancel()

	f.say("Lockkeeper %s: a fleet on this machine.", cli.Version())
	f.say("Dashboard: %s/", f.url)
	if err := f.makeGroups(ctx); err != nil {
		return err
	}
	failed := make(chan error, f.nodes)
	for i := range f.nodes {
		agents.Go(func() {
			if err := f.runHost(ctx, i); err != nil && ctx.Err() == nil {
				failed <- err
			}
		})
	}
	if err := f.waitForNodes(ctx, failed); err != nil {
		return err
	}
	f.say("%s up, in %s of %s each. The agents are real; the hosts are not.",
		count(f.nodes, "simulated host is", "simulated hosts are"), count(len(f.groups), "group", "groups"), count(f.slots, "slot", "slots"))
	if !f.once {
		f.say("Beside it: lockkeeper --server %s watch", f.url)
		f.say("A rollout starts in %s. Ctrl-C ends everything.", f.start)
		agents.Go(func() { f.tell(ctx) })
		if err := sleep.For(ctx, f.start); err != nil {
			return err
		}
	}
	started := time.Now()
	rollout, err := f.startRollout(ctx)
	if err != nil {
		return err
	}
	f.say("Rollout %s started: %s/rollouts/%s", rollout.ID, f.url, rollout.ID)
	rollout, err = f.waitForRollout(ctx, rollout.ID, failed)
	if err != nil {
		return err
	}
	if err := f.judge(ctx, rollout, time.Since(started)); f.once || ctx.Err() != nil {
		return err
	}
	f.say("The fleet keeps running. Try: lockkeeper --server %s explain %s", f.url, f.nodeName(0))
	select {
	case <-ctx.Done():
		return ctx.Err()
	case err := <-failed:
		return err
	}
}

// count is a number of things.
func count(n int, one, many string) string {
	if n == 1 {
		many = one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func (f *devFleet) groupOf(i int) string { return f.groups[i%len(f.groups)] }
func (f *devFleet) nodeName(i int) string {
	return fmt.Sprintf("%s-%02d", f.groupOf(i), i/len(f.groups)+1)
}
func (f *devFleet) sizeOf(group string) (n int) {
	for i := range f.nodes {
		if f.groupOf(i) == group {
			n++
		}
	}
	return n
}

func (f *devFleet) makeGroups(ctx context.Context) error {
	for _, g := range f.groups {
		spec := api.GroupSpec{Slots: api.Slots(fmt.Sprint(f.slots))}
		if _, err := f.client.PutGroup(ctx, g, spec, ""); err != nil {
			return fmt.Errorf("group %s: %w", g, err)
		}
	}
	return nil
}

func (f *devFleet) waitForNodes(ctx context.Context, failed <-chan error) error {
	for {
		list, err := f.client.Nodes(ctx, api.NodeQuery{Limit: 1})
		if err == nil && list.Total >= f.nodes {
			return nil
		}
		select {
		case err := <-failed:
			return err
		default:
		}
		if err := sleep.For(ctx, 50*time.Millisecond); err != nil {
			return err
		}
	}
}

func (f *devFleet) startRollout(ctx context.Context) (api.Rollout, error) {
	body, err := bundle.Encode(bundle.Manifest{
		Name:           "demo-" + time.Now().UTC().Format("20060102-150405"),
		Files:          []bundle.File{{Path: "/etc/motd", Mode: "0644", Interrupt: bundle.InterruptReboot}},
		MinHealthyTime: bundle.Duration(time.Second),
	}, map[string][]byte{"/etc/motd": []byte("Updated by Lockkeeper at " + time.Now().UTC().Format(time.RFC3339) + "\n")})
	if err != nil {
		return api.Rollout{}, err
	}
	b, _, err := f.client.CreateBundle(ctx, bytes.NewReader(body), bundle.Digest(body))
	if err != nil {
		return api.Rollout{}, err
	}
	spec := api.RolloutSpec{Bundle: b.Digest, Selector: "fleet=dev", Reason: "lockkeeperd dev"}
	r, _, err := f.client.CreateRollout(ctx, spec, "dev-"+b.Digest)
	return r, err
}

func (f *devFleet) waitForRollout(ctx context.Context, id string, failed <-chan error) (api.Rollout, error) {
	for {
		r, err := f.client.Rollout(ctx, id)
		if err == nil && !r.State.Active() {
			return r, nil
		}
		if err == nil && r.State == api.RolloutHalted && f.once {
			return r, nil
		}
		select {
		case err := <-failed:
			return r, err
		default:
		}
		if err := sleep.For(ctx, 100*time.Millisecond); err != nil {
			return r, err
		}
	}
}

// judge says how the rollout went, and returns an error when anything that
// must hold did not.
func (f *devFleet) judge(ctx context.Context, r api.Rollout, took time.Duration) error {
	var wrong []string
	if r.State != api.RolloutSucceeded || r.Progress.Updated != f.nodes {
		wrong = append(wrong, fmt.Sprintf("the rollout is %s with %d of %d nodes updated: %s", r.State, r.Progress.Updated, f.nodes, r.Why))
	}
	events, err := f.allEvents(ctx)
	if err != nil {
		return err
	}
	wrong = append(wrong, judgeEvents(events)...)
	most, longest := map[string]int{}, time.Duration(0)
	for _, g := range f.groups {
		most[g] = f.observer.largest(g)
		if most[g] > f.slots {
			wrong = append(wrong, fmt.Sprintf("%s: %d hosts were out of service at once, %d slots", g, most[g], f.slots))
		}
		longest = max(longest, ideal(f.sizeOf(g), f.slots, f.observer.meanOut()))
	}
	f.say("")
	f.say("Nodes updated:              %d of %d", r.Progress.Updated, f.nodes)
	f.say("Duration:                   %s", took.Round(10*time.Millisecond))
	f.say("Ideal duration:             %s (every slot always busy; a host is out for %s)", longest.Round(10*time.Millisecond), f.observer.meanOut().Round(10*time.Millisecond))
	f.say("Largest number out at once: %s (%d slots each, seen by an observer outside)", joinGroups(most), f.slots)
	f.say("Grants beyond the slots:    %s", verdict(judgeEvents(events)))
	if len(wrong) > 0 {
		for _, w := range wrong {
			f.say("WRONG: %s", w)
		}
		return fmt.Errorf("%d things went wrong", len(wrong))
	}
	return nil
}

func verdict(wrong []string) string {
	if len(wrong) == 0 {
		return "none (counted from the audit trail)"
	}
	return fmt.Sprint(len(wrong))
}

func (f *devFleet) allEvents(ctx context.Context) ([]api.Event, error) {
	var all []api.Event
	for after := int64(0); ; {
		page, err := f.client.Events(ctx, api.EventQuery{After: after, Limit: 1000})
		if err != nil {
			return nil, err
		}
		all = append(all, page.Events...)
		if len(page.Events) == 0 || page.Next <= after {
			return all, nil
		}
		after = page.Next
	}
}

// tell prints events as they happen.
func (f *devFleet) tell(ctx context.Context) {
	for after := int64(0); ctx.Err() == nil; {
		events, err := f.client.WatchEvents(ctx, after)
		if err != nil {
			_ = sleep.For(ctx, time.Second)
			continue
		}
		for e := range events {
			after = e.Revision
			if line := sentence(e); line != "" {
				f.say("%s  %s", e.At.Local().Format(time.TimeOnly), line)
			}
		}
	}
}

// sentence tells of the events that a reader of dev wants to see.
func sentence(e api.Event) string {
	what := map[string]string{
		"hold.confirmed":       "takes a slot of",
		"hold.released":        "returns its slot of",
		"hold.expired":         "did not confirm its slot of",
		"hold.revoked":         "had its slot revoked in",
		"hold.freed":           "had its slot freed in",
		"freeze.set":           "is frozen:",
		"freeze.lifted":        "is not frozen any more",
		"rollout.paused":       "is paused",
		"rollout.resumed":      "goes on",
		"rollout.halted":       "halted:",
		"rollout.aborted":      "was aborted",
		"rollout.succeeded":    "succeeded:",
		"rollout.failed":       "failed:",
		"rollout.node.updated": "is updated",
		"rollout.node.failed":  "failed:",
	}[e.Kind]
	switch {
	case what == "":
		return ""
	case strings.HasPrefix(e.Kind, "hold."):
		return fmt.Sprintf("%s %s %s (%d of %d out)", e.Node, what, e.Group, e.Held, e.Slots)
	case e.Node != "":
		return strings.TrimSpace(e.Node + " " + what + " " + e.Detail)
	case e.Rollout != "":
		return strings.TrimSpace("Rollout " + what + " " + e.Detail)
	case e.Group != "":
		return strings.TrimSpace(e.Group + " " + what + " " + e.Detail)
	}
	return strings.TrimSpace("The fleet " + what + " " + e.Detail)
}
