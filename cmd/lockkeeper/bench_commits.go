package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// benchCommitClients is the load beside which commits are measured.
const benchCommitClients = 64

func (a *app) benchCommitsCommand(f *benchFlags) *cobra.Command {
	beside := benchCommitClients
	c := &cobra.Command{
		Use:   "commits",
		Short: "How long a commit of the coordinator's store takes, with and without load",
		Long: `How long a commit of the coordinator's store takes, with and without load.

One caller puts values straight into the store: first alone, then while clients
take slots and return them; then as many callers as clients put at once. Of
several coordinators ask the one that leads and one that follows.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkCounts("clients", api.MaxBenchCallers, beside); err != nil {
				return err
			}
			return a.bench(cmd.Context(), f, "commits", func(ctx context.Context, r *benchRun) error {
				return r.world(ctx, "commits", beside, beside, func(w *benchWorld) error { return w.commits(ctx, beside) })
			})
		},
	}
	c.Flags().IntVar(&beside, "clients", beside, "how many clients are the load")
	return c
}

func (w *benchWorld) commits(ctx context.Context, clients int) error {
	for _, row := range []benchRow{{Callers: 1}, {Callers: 1, Clients: clients}, {Callers: clients}} {
		rec := newRecorder()
		err := w.beside(ctx, row.Clients, func() error {
			for range benchRounds {
				if err := w.r.yardstick(ctx, row.Callers, rec); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
		row.Measured = rec.measured()
		w.r.report.Runs = append(w.r.report.Runs, row)
	}
	return nil
}

// beside measures while n clients take slots and return them.
func (w *benchWorld) beside(ctx context.Context, n int, measure func() error) error {
	if n == 0 {
		return measure()
	}
	load, over := context.WithCancel(ctx)
	defer over()
	w.r.progress("%s and return it", count(n, "client takes a slot", "clients take slots"))
	g, gctx, _ := w.together(load, n, func(_ context.Context, c *client.Wire, node string) error {
		for request := 1; ; request++ {
			err := w.cycle(c, node, request)
			switch {
			case load.Err() != nil:
				return nil
			case err != nil:
				return err
			}
		}
	})
	pause(gctx, time.Second/2)
	err := measure()
	over()
	return errors.Join(err, g.Wait())
}
