package main

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// maxBenchWaiters is as many as a coordinator parks.
const maxBenchWaiters = 10_000

// arrivals is how many waiters come in a tenth of a second.
const arrivals = 200

func (a *app) benchHandoverCommand(f *benchFlags) *cobra.Command {
	var waiting int
	var hold time.Duration
	c := &cobra.Command{
		Use:   "handover",
		Short: "From a release being sent to the next waiter's grant being there, with one slot",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRelay(hold, waiting); err != nil {
				return err
			}
			return a.bench(cmd.Context(), f, "handover", func(ctx context.Context, r *benchRun) error {
				return r.handover(ctx, "handover", waiting, hold, 0)
			})
		},
	}
	c.Flags().IntVar(&waiting, "waiting", 64, "how many wait")
	c.Flags().DurationVar(&hold, "hold", 5*time.Millisecond, holdUsage)
	return c
}

const holdUsage = "how long each keeps the slot; in that time the one before it gets back in line"

func checkRelay(hold time.Duration, waiting ...int) error {
	if err := checkCounts("waiting", maxBenchWaiters, waiting...); err != nil {
		return err
	}
	if hold < 0 || hold > time.Minute {
		return usagef("--hold %s: want 0s to 1m", hold)
	}
	return nil
}

func (a *app) benchWaitersCommand(f *benchFlags) *cobra.Command {
	var waiting []int
	var hold, idle time.Duration
	c := &cobra.Command{
		Use:   "waiters",
		Short: "What parked waiters cost the coordinator while nothing happens, then handover among them",
		Long: `What parked waiters cost the coordinator while nothing happens, then handover among them.

The process is looked at through its /metrics or, with --pid, through /proc on
this machine, which costs the coordinator nothing.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkRelay(hold, waiting...); err != nil {
				return err
			}
			if err := f.checkWatch(idle); err != nil {
				return err
			}
			return a.bench(cmd.Context(), f, "waiters", func(ctx context.Context, r *benchRun) error {
				for _, n := range slices.Sorted(slices.Values(waiting)) {
					if err := r.handover(ctx, "waiters", n, hold, idle); err != nil {
						return err
					}
				}
				return nil
			})
		},
	}
	c.Flags().IntSliceVar(&waiting, "waiting", []int{10, 100, 1000, 10000}, "how many wait, one after the other")
	c.Flags().DurationVar(&hold, "hold", 5*time.Millisecond, holdUsage)
	c.Flags().DurationVar(&idle, "idle", 10*time.Second, "how long to watch them wait")
	c.Flags().IntVar(&f.pid, "pid", 0, "the coordinator's process on this machine")
	return c
}

// handover parks n waiters behind a holder, watches the coordinator for a while
// in which nothing happens, and lets the slot go round.
func (r *benchRun) handover(ctx context.Context, name string, n int, hold, idle time.Duration) error {
	row := benchRow{Waiting: n}
	err := r.world(ctx, name, 1, n+1, func(w *benchWorld) error {
		relay := &relay{w: w, hold: hold, born: time.Now()}
		return relay.run(ctx, n, idle, &row)
	})
	if row.Raw != nil {
		r.report.Runs = append(r.report.Runs, row)
	}
	return err
}

// relay is one slot that goes from hand to hand.
type relay struct {
	w    *benchWorld
	hold time.Duration
	born time.Time

	released atomic.Int64             // when the last release was sent, in ns since born; 0 while it is held
	rec      atomic.Pointer[recorder] // nil while nothing is measured
	stop     sync.RWMutex             // held by run while nobody may release
}

func (y *relay) run(ctx context.Context, n int, idle time.Duration, row *benchRow) error {
	r := y.w.r
	holder, err := r.c.Wire(ctx)
	if err != nil {
		return err
	}
	defer holder.Close()
	fence, err := y.w.keep(holder, y.w.nodes[n])
	if err != nil {
		return err
	}
	y.stop.Lock()
	waiters, leave := context.WithCancel(ctx)
	defer leave()
	g, gctx := errgroup.WithContext(waiters)
	r.progress("%s in line", count(n, "waiter gets", "waiters get"))
	for i := range n {
		if i%arrivals == arrivals-1 {
			pause(gctx, time.Second/10)
		}
		g.Go(func() error { return y.take(gctx, waiters, y.w.nodes[i]) })
	}
	err = y.everybodyWaits(gctx, n)
	if err == nil && idle > 0 {
		// A node that was not heard for a while is something that happens.
		if err = y.w.hear(gctx, 2); err == nil {
			row.Idle, err = r.watchIdle(gctx, idle)
		}
	}
	if err == nil {
		y.sent()
		err = holder.Release(y.w.group, y.w.nodes[n], fence, r.instance)
	}
	if err == nil {
		rested := newRecorder()
		err = r.besides(gctx, 1, row, func(span time.Duration, rec *recorder) error {
			// A slot goes from hand to hand now and then; so does this put.
			if err := r.yardstickWith(gctx, 1, y.hold, rested); err != nil {
				return err
			}
			y.stop.Unlock()
			defer y.stop.Lock() // the next yardstick has the machine for itself
			r.progress("handover for %s", span)
			pause(gctx, min(time.Second/2, span/4))
			y.rec.Store(rec)
			began := time.Now()
			pause(gctx, span)
			y.rec.Store(nil)
			rec.over(time.Since(began))
			return nil
		})
		m := rested.measured()
		row.Rested = &m
	}
	y.stop.Unlock()
	leave()
	if e := g.Wait(); e != nil {
		err = e
	}
	return cause(ctx, err)
}

// take waits for the slot, keeps it and gives it back, again and again, until
// the waiters leave.
func (y *relay) take(ctx, waiters context.Context, node string) error {
	c, err := y.w.r.c.Wire(ctx)
	if err != nil {
		return err
	}
	defer c.Close()
	for request := 1; ; request++ {
		fence, err := c.Acquire(y.w.group, node, y.w.asking(request), maxWait)
		if err == nil {
			got := time.Since(y.born)
			if sent, rec := y.released.Swap(0), y.rec.Load(); sent > 0 && rec != nil {
				rec.add(got - time.Duration(sent))
			}
			pause(ctx, y.hold)
			y.mayRelease()
			err = c.Release(y.w.group, node, fence, y.w.r.instance)
		}
		switch {
		case waiters.Err() != nil:
			return nil
		case err != nil:
			return err
		}
	}
}

// mayRelease returns when no yardstick is being taken: the slot is kept then.
func (y *relay) mayRelease() {
	y.stop.RLock()
	defer y.stop.RUnlock()
	y.sent()
}

func (y *relay) sent() { y.released.Store(int64(time.Since(y.born))) }

// everybodyWaits returns when the coordinator says so.
func (y *relay) everybodyWaits(ctx context.Context, n int) error {
	for {
		var groups []api.Group
		err := patiently(ctx, func() (err error) {
			groups, err = y.w.r.c.Groups(ctx)
			return err
		})
		if err != nil {
			return cause(ctx, err)
		}
		if slices.ContainsFunc(groups, func(g api.Group) bool { return g.Name == y.w.group && g.Status.Waiting == n }) {
			return nil
		}
		pause(ctx, 100*time.Millisecond)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
}

func (a *app) benchRefusedCommand(f *benchFlags) *cobra.Command {
	clients := 64
	c := &cobra.Command{
		Use:   "refused",
		Short: "Ask for a slot while all are taken: nothing may be written for it",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCounts("clients", api.MaxBenchCallers, clients); err != nil {
				return err
			}
			return a.bench(cmd.Context(), f, "refused", func(ctx context.Context, r *benchRun) error {
				return r.world(ctx, "refused", 1, clients+1, func(w *benchWorld) error { return w.refused(ctx, clients) })
			})
		},
	}
	c.Flags().IntVar(&clients, "clients", clients, "how many clients at once")
	return c
}

func (w *benchWorld) refused(ctx context.Context, n int) error {
	row := benchRow{Clients: n}
	err := w.holdAll(ctx, w.nodes[n:])
	raw, rec := newRecorder(), newRecorder()
	if err == nil {
		err = w.r.yardstick(ctx, n, raw)
	}
	if err != nil {
		return err
	}
	before, err := w.r.c.Cluster(ctx)
	if err != nil {
		return err
	}
	w.r.progress("refusals to %s for %s", count(n, "client", "clients"), w.r.duration)
	err = w.load(ctx, n, w.r.duration, rec, func(c *client.Wire, node string, request int) error {
		_, err := c.Acquire(w.group, node, w.asking(request), 0)
		return isRefusal(err)
	})
	if err != nil {
		return err
	}
	after, err := w.r.c.Cluster(ctx)
	if err != nil {
		return err
	}
	row.set(rec, raw)
	writes := after.Store.Revision - before.Store.Revision
	row.Writes = &writes
	w.r.report.Runs = append(w.r.report.Runs, row)
	return nil
}
