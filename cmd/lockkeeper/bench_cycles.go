package main

import (
	"context"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
)

func (a *app) benchCyclesCommand(f *benchFlags) *cobra.Command {
	var clients []int
	c := &cobra.Command{
		Use:   "cycles",
		Short: "Take a slot and return it, with slots free for all clients",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCounts("clients", api.MaxBenchCallers, clients...); err != nil {
				return err
			}
			return a.bench(cmd.Context(), f, "cycles", func(ctx context.Context, r *benchRun) error {
				most := slices.Max(clients)
				return r.world(ctx, "cycles", most, most, func(w *benchWorld) error {
					for _, n := range clients {
						row := benchRow{Clients: n}
						if err := w.cycles(ctx, n, &row); err != nil {
							return err
						}
						r.report.Runs = append(r.report.Runs, row)
					}
					r.report.note("A cycle is two requests, and two changes that were fsynced; a raw put is one.")
					return nil
				})
			})
		},
	}
	c.Flags().IntSliceVar(&clients, "clients", []int{1, 64, 256}, "how many clients at once, one after the other")
	return c
}

// cycles measures n clients, each of which takes a slot and returns it again
// and again, beside as many callers that put.
func (w *benchWorld) cycles(ctx context.Context, n int, row *benchRow) error {
	return w.r.besides(ctx, n, row, func(span time.Duration, rec *recorder) error {
		w.r.progress("cycles by %s for %s", count(n, "client", "clients"), span)
		return w.load(ctx, n, span, rec, w.cycle)
	})
}

func (w *benchWorld) cycle(c *client.Wire, node string, request int) error {
	fence, err := c.Acquire(w.group, node, w.asking(request), 0)
	if err != nil {
		return err
	}
	return c.Release(w.group, node, fence, w.r.instance)
}

func (w *benchWorld) asking(request int) api.AcquireRequest {
	return api.AcquireRequest{Instance: w.r.instance, Request: strconv.Itoa(request), BootID: w.r.instance, Reason: "benchmark"}
}

// together connects n nodes and, when all of them are, has each do its part. It
// returns when they began, and a context that ends when the first part fails.
func (w *benchWorld) together(ctx context.Context, n int, part func(ctx context.Context, c *client.Wire, node string) error) (*errgroup.Group, context.Context, time.Time) {
	g, gctx := errgroup.WithContext(ctx)
	ready := make(chan struct{}, n)
	start := make(chan struct{})
	for _, node := range w.nodes[:n] {
		g.Go(func() error {
			c, err := w.r.c.Wire(gctx)
			ready <- struct{}{}
			if err != nil {
				return err
			}
			defer c.Close()
			select {
			case <-start:
			case <-gctx.Done():
				return context.Cause(gctx)
			}
			return part(gctx, c, node)
		})
	}
	for range n {
		<-ready
	}
	began := time.Now()
	close(start)
	return g, gctx, began
}

// load has n clients do something again and again, for a warm-up that does not
// count and then for a span of time.
func (w *benchWorld) load(ctx context.Context, n int, span time.Duration, rec *recorder, do func(c *client.Wire, node string, request int) error) error {
	var counts, over atomic.Bool
	g, gctx, _ := w.together(ctx, n, func(ctx context.Context, c *client.Wire, node string) error {
		for request := 1; !over.Load(); request++ {
			began := time.Now()
			if err := do(c, node, request); err != nil {
				return cause(ctx, err)
			}
			if counts.Load() && !over.Load() { // ended within the span
				rec.add(time.Since(began))
			}
		}
		return nil
	})
	pause(gctx, min(time.Second/2, span/4))
	counts.Store(true)
	began := time.Now()
	pause(gctx, span)
	rec.over(time.Since(began))
	over.Store(true)
	return g.Wait()
}

// pause waits, at most until ctx ends.
func pause(ctx context.Context, d time.Duration) { _ = sleep.For(ctx, d) }
