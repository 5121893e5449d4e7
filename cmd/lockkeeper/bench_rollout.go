package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// rolloutLook is how often the rollout that is measured is looked at.
const rolloutLook = 200 * time.Millisecond

// rolloutCost is what one rollout took and cost.
type rolloutCost struct {
	makespan
	Waves  []int   `json:"waves"` // nodes in each
	CPU    float64 `json:"cpu"`   // of one processor, of the coordinator meanwhile
	RSS    int64   `json:"rss"`   // bytes, at the end
	Events int64   `json:"events"`
	Rate   float64 `json:"events_per_second"` // of the audit trail
	Asked  int64   `json:"requests"`          // that agents made
}

func (a *app) benchRolloutCommand(f *benchFlags) *cobra.Command {
	var agents, slots int
	var waves []int
	var hold, soak time.Duration
	c := &cobra.Command{
		Use:   "rollout",
		Short: "How long a rollout of several waves takes over simulated agents",
		Long: `How long a rollout of several waves takes over simulated agents.

Each agent keeps a poll parked, learns of the rollout as an agent does, reports,
waits for a slot, confirms it, keeps it for a while as if it rebooted, returns it
and reports that it has the bundle. The ideal is, for each wave, as many rounds
of that while as there are nodes for a slot, and the soak, without a moment
between them. The coordinator's process is looked at through its /metrics or,
with --pid, through /proc on this machine, which costs it nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(checkCounts("agents", maxBenchNodes, agents), checkCounts("slots", maxBenchNodes, slots), checkCounts("waves", maxBenchNodes, waves...)); err != nil {
				return err
			}
			if !slices.IsSorted(waves) || waves[len(waves)-1] >= agents {
				return usagef("--waves %v: want growing numbers below --agents %d, up to how many nodes are done with each wave but the last", waves, agents)
			}
			if hold < time.Millisecond || hold > time.Hour || soak < 0 || soak > time.Hour {
				return usagef("--hold %s, --soak %s: want 1ms to 1h, and at most 1h", hold, soak)
			}
			if err := f.checkWatch(time.Second); err != nil {
				return err
			}
			return a.bench(cmd.Context(), f, "rollout", func(ctx context.Context, r *benchRun) error {
				row := benchRow{Clients: agents}
				err := r.world(ctx, "rollout", slots, agents, func(w *benchWorld) error { return w.rollout(ctx, slots, waves, hold, soak, &row) })
				if row.Rollout != nil {
					r.report.Runs = append(r.report.Runs, row)
					r.report.note("The agents are simulated: each only waits while it holds. They take a part of this machine's processors, if they run on the coordinator's.")
				}
				return err
			})
		},
	}
	c.Flags().IntVar(&agents, "agents", 1000, "how many agents")
	c.Flags().IntVar(&slots, "slots", 50, "how many may be out at once")
	c.Flags().IntSliceVar(&waves, "waves", []int{50, 250}, "up to how many nodes are done with each wave; the last has the rest")
	c.Flags().DurationVar(&hold, "hold", 5*time.Second, "how long each agent is out")
	c.Flags().DurationVar(&soak, "soak", 2*time.Second, "after each wave")
	c.Flags().IntVar(&f.pid, "pid", 0, "the coordinator's process on this machine")
	return c
}

func (w *benchWorld) rollout(ctx context.Context, slots int, waves []int, hold, soak time.Duration, row *benchRow) (err error) {
	digest, err := w.bundle(ctx)
	if err != nil {
		return err
	}
	cost := &rolloutCost{makespan: makespan{Hosts: len(w.nodes), Slots: slots, Hold: hold.Seconds()}}
	spec := api.RolloutSpec{Bundle: digest, Group: w.group, Name: w.group, Reason: "lockkeeper bench"}
	done := 0
	for _, upTo := range append(slices.Clone(waves), len(w.nodes)) {
		wave := api.WaveSpec{Count: upTo, Soak: soak.String()}
		if upTo == len(w.nodes) {
			wave.Count = 0
		}
		spec.Waves = append(spec.Waves, wave)
		cost.Waves = append(cost.Waves, upTo-done)
		cost.Ideal += (time.Duration((upTo-done+slots-1)/slots)*hold + soak).Seconds()
		done = upTo
	}
	living, over := context.WithCancel(ctx)
	defer over()
	g, gctx := errgroup.WithContext(living)
	var asked atomic.Int64
	w.r.progress("%s a poll; ideal %.1f s", count(len(w.nodes), "agent parks", "agents park"), cost.Ideal)
	for i, node := range w.nodes {
		if i%arrivals == arrivals-1 {
			pause(gctx, time.Second/10)
		}
		g.Go(func() error {
			err := w.agent(gctx, node, hold, &asked)
			if living.Err() != nil {
				return nil
			}
			return err
		})
	}
	pause(gctx, parkedAfter)
	err = w.follow(gctx, spec, cost, &asked)
	over()
	if e := g.Wait(); e != nil {
		err = e
	}
	if err == nil {
		row.Rollout = cost
	}
	return cause(ctx, err)
}

// follow starts the rollout, waits for its end and says what it cost.
func (w *benchWorld) follow(ctx context.Context, spec api.RolloutSpec, cost *rolloutCost, asked *atomic.Int64) error {
	before, err := w.r.serverCost(ctx)
	if err != nil {
		return err
	}
	was := asked.Load()
	r, _, err := w.r.c.CreateRollout(ctx, spec, w.group+before.at.String())
	if err != nil {
		return err
	}
	defer func() {
		if r.State.Active() { // cut short: nothing is to be wanted of nodes that go
			aborting, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
			defer cancel()
			_, _ = w.r.c.RolloutAction(aborting, r.ID, "abort", api.RolloutActionRequest{Reason: "the benchmark was cut short"})
		}
	}()
	for r.State.Active() {
		if r.State == api.RolloutHalted {
			return fmt.Errorf("the rollout was halted: %s", r.Why)
		}
		if pause(ctx, rolloutLook); ctx.Err() != nil {
			return context.Cause(ctx)
		}
		all, err := w.r.c.Rollouts(ctx)
		if err != nil {
			return err
		}
		if i := slices.IndexFunc(all, func(o api.Rollout) bool { return o.ID == r.ID }); i >= 0 {
			r = all[i]
		}
	}
	after, err := w.r.serverCost(ctx)
	if err != nil {
		return err
	}
	if r.State != api.RolloutSucceeded {
		return fmt.Errorf("the rollout is %s: %s", r.State, r.Why)
	}
	span := after.at.Sub(before.at).Seconds()
	cost.Seconds = r.EndedAt.Sub(r.CreatedAt).Seconds()
	cost.Ratio = cost.Seconds / cost.Ideal
	cost.CPU, cost.RSS, cost.Asked = (after.cpu-before.cpu).Seconds()/span, after.rss, asked.Load()-was
	cost.Events, err = w.events(ctx, r.CreatedAt, r.EndedAt)
	cost.Rate = float64(cost.Events) / cost.Seconds
	return err
}

// events counts those of the audit trail in a span of time.
func (w *benchWorld) events(ctx context.Context, from, to time.Time) (n int64, err error) {
	const page = 5000
	q := api.EventQuery{After: 1, Limit: page, From: from, Until: to.Add(time.Millisecond)}
	for {
		list, err := w.r.c.Events(ctx, q)
		if err != nil {
			return n, err
		}
		n += int64(len(list.Events))
		if len(list.Events) < page {
			return n, nil
		}
		q.After = list.Next
	}
}

// bundle stores one that changes nothing, since the agents are not real.
func (w *benchWorld) bundle(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", benchPrefix)
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "files", "etc", "lockkeeper-bench")
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return "", err
	}
	for name, text := range map[string]string{filepath.Join(dir, "bundle.yaml"): "name: " + w.group + "\n", file: w.group + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			return "", err
		}
	}
	text, _, err := buildBundle(dir)
	if err != nil {
		return "", err
	}
	digest := bundle.Digest(text)
	_, _, err = w.r.c.CreateBundle(ctx, bytes.NewReader(text), digest)
	return digest, err
}

// agent does what is wanted of its node, until ctx ends.
func (w *benchWorld) agent(ctx context.Context, node string, hold time.Duration, asked *atomic.Int64) error {
	c, err := w.r.c.Wire(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	req := w.poll(1)
	tell := func(change func(*api.Report)) (answer api.PollResponse, err error) {
		if change != nil {
			change(&req.Report)
		}
		req.Report.Seq++
		asked.Add(1)
		err = patiently(ctx, func() (err error) {
			answer, err = c.PollAnswer(node, req)
			return err
		})
		return answer, err
	}
	for {
		req.WaitS = int(agentPoll / time.Second)
		answer, err := tell(nil)
		if err != nil {
			return err
		}
		req.Seen = answer.Tag
		if want := answer.Wanted; want != nil && want.Bundle != req.Report.Bundle {
			req.WaitS = 0
			if err := w.update(ctx, c, node, want, hold, tell); err != nil {
				return err
			}
			asked.Add(3)
			req.Seen = ""
		}
	}
}

// update is an agent's way through one update.
func (w *benchWorld) update(ctx context.Context, c *client.Wire, node string, want *api.Wanted, hold time.Duration, tell func(func(*api.Report)) (api.PollResponse, error)) error {
	if _, err := tell(func(r *api.Report) {
		r.Phase, r.Rollout, r.Attempt = api.PhaseWaiting, want.Rollout, want.Attempt
	}); err != nil {
		return err
	}
	fence, err := c.Acquire(w.group, node, w.asking(want.Attempt), maxWait)
	if err != nil {
		return err
	}
	if err := c.Confirm(w.group, node, api.ConfirmRequest{Fence: fence, Instance: w.r.instance, BootID: w.r.instance}); err != nil {
		return err
	}
	began := time.Now()
	if _, err := tell(func(r *api.Report) { r.Phase, r.Fence = api.PhaseRebooting, fence }); err != nil {
		return err
	}
	pause(ctx, hold-time.Since(began))
	if err := c.Release(w.group, node, fence, w.r.instance); err != nil {
		return err
	}
	_, err = tell(func(r *api.Report) { r.Phase, r.Fence, r.Bundle = api.PhaseIdle, 0, want.Bundle })
	return err
}

func rolloutRows(runs []benchRow) (rows [][]string) {
	for _, b := range runs {
		c := b.Rollout
		var waves []string
		for _, n := range c.Waves {
			waves = append(waves, strconv.Itoa(n))
		}
		rows = append(rows, []string{
			strconv.Itoa(c.Hosts), strings.Join(waves, "+"), strconv.Itoa(c.Slots), fmt.Sprintf("%.1f s", c.Hold),
			fmt.Sprintf("%.1f s", c.Ideal), fmt.Sprintf("%.1f s", c.Seconds), fmt.Sprintf("%.3f", c.Ratio),
			fmt.Sprintf("%.1f %%", 100*c.CPU), cli.Bytes(c.RSS), rate(c.Rate), rate(float64(c.Asked) / c.Seconds),
		})
	}
	return rows
}
