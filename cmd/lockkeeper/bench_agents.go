package main

import (
	"context"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

const (
	// agentPoll is how long an agent's poll waits for news.
	agentPoll = 30 * time.Second
	// parkedAfter is how long a coordinator takes to park a poll.
	parkedAfter = time.Second
)

func (a *app) benchAgentsCommand(f *benchFlags) *cobra.Command {
	var agents []int
	var idle time.Duration
	c := &cobra.Command{
		Use:   "agents",
		Short: "What agents that have nothing to do cost the coordinator",
		Long: `What agents that have nothing to do cost the coordinator.

Each keeps a poll parked, as an agent does, and makes the next one after 30 s.
The process is looked at through its /metrics or, with --pid, through /proc on
this machine, which costs the coordinator nothing. Of several coordinators ask
one that follows; what the one that leads does meanwhile is not counted.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCounts("agents", maxBenchWaiters, agents...); err != nil {
				return err
			}
			if err := f.checkWatch(idle); err != nil {
				return err
			}
			return a.bench(cmd.Context(), f, "agents", func(ctx context.Context, r *benchRun) error {
				for _, n := range slices.Sorted(slices.Values(agents)) {
					row := benchRow{Agents: n}
					err := r.world(ctx, "agents", 1, n, func(w *benchWorld) error { return w.agents(ctx, idle, &row) })
					if row.Idle != nil {
						r.report.Runs = append(r.report.Runs, row)
					}
					if err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().IntSliceVar(&agents, "agents", []int{1, 1000, 5000}, "how many agents, one after the other")
	c.Flags().DurationVar(&idle, "idle", 30*time.Second, "how long to watch them")
	c.Flags().IntVar(&f.pid, "pid", 0, "the coordinator's process on this machine")
	return c
}

// agents parks a poll for each node, and watches the coordinator meanwhile.
func (w *benchWorld) agents(ctx context.Context, idle time.Duration, row *benchRow) error {
	polling, over := context.WithCancel(ctx)
	defer over()
	g, gctx := errgroup.WithContext(polling)
	var answered atomic.Int64
	w.r.progress("%s a poll", count(len(w.nodes), "agent parks", "agents park"))
	hands := make(chan struct{}, benchHands)
	for _, node := range w.nodes {
		g.Go(func() error {
			err := w.pollOn(gctx, node, hands, &answered)
			if polling.Err() != nil {
				return nil
			}
			return err
		})
	}
	for answered.Load() < int64(len(w.nodes)) && gctx.Err() == nil {
		pause(gctx, time.Second/10)
	}
	pause(gctx, parkedAfter)
	before := answered.Load()
	var err error
	if row.Idle, err = w.r.watchIdle(gctx, idle); err == nil {
		row.Idle.Polls = answered.Load() - before
	}
	over()
	if e := g.Wait(); e != nil {
		err = e
	}
	return cause(ctx, err)
}

// pollOn polls as an agent does that has nothing to do, until ctx ends. The first
// poll, which does not wait, needs a hand.
func (w *benchWorld) pollOn(ctx context.Context, node string, hands chan struct{}, answered *atomic.Int64) error {
	select {
	case hands <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	c, err := w.r.c.Wire(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	req := w.poll(2)
	req.Seen, err = poll(ctx, c, node, req)
	<-hands
	for err == nil {
		answered.Add(1)
		req.Report.Seq, req.WaitS = req.Report.Seq+1, int(agentPoll/time.Second)
		req.Seen, err = poll(ctx, c, node, req)
	}
	return err
}

// poll asks again where the coordinator has too much to do.
func poll(ctx context.Context, c *client.Wire, node string, req api.PollRequest) (tag string, err error) {
	err = patiently(ctx, func() (err error) {
		tag, err = c.Poll(node, req)
		return err
	})
	return tag, err
}
