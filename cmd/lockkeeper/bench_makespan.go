package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// maxBenchNodes bounds a fleet of simulated hosts.
const maxBenchNodes = 10_000

func (a *app) benchMakespanCommand(f *benchFlags) *cobra.Command {
	var hosts, slots []int
	var hold time.Duration
	c := &cobra.Command{
		Use:   "makespan",
		Short: "How long a fleet of simulated hosts takes until each has had a slot",
		Long: `How long a fleet of simulated hosts takes until each has had a slot.

All ask at once; each confirms its slot, keeps it for a while as if it rebooted,
and returns it. The ideal is as many rounds of that while as there are hosts for
a slot, without a moment between them.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(checkCounts("hosts", maxBenchNodes, hosts...), checkCounts("slots", maxBenchNodes, slots...)); err != nil {
				return err
			}
			if len(hosts) != len(slots) {
				return usagef("--hosts has %d numbers and --slots %d: want as many, a fleet each", len(hosts), len(slots))
			}
			if hold < time.Millisecond || hold > time.Hour {
				return usagef("--hold %s: want 1ms to 1h", hold)
			}
			return a.bench(cmd.Context(), f, "makespan", func(ctx context.Context, r *benchRun) error {
				for i := range hosts {
					row := benchRow{Clients: hosts[i]}
					raw := newRecorder()
					if err := r.yardstick(ctx, 1, raw); err != nil {
						return err
					}
					err := r.world(ctx, "makespan", slots[i], hosts[i], func(w *benchWorld) error { return w.makespan(ctx, slots[i], hold, raw, &row) })
					if err != nil {
						return err
					}
					r.report.Runs = append(r.report.Runs, row)
				}
				r.report.note("The hosts are simulated: each only waits while it holds. The times above are those that a host was out.")
				return nil
			})
		},
	}
	c.Flags().IntSliceVar(&hosts, "hosts", []int{300, 30}, "how many hosts, one fleet after the other")
	c.Flags().IntSliceVar(&slots, "slots", []int{10, 1}, "how many slots each fleet has")
	c.Flags().DurationVar(&hold, "hold", 300*time.Millisecond, "how long each host is out")
	return c
}

func (w *benchWorld) makespan(ctx context.Context, slots int, hold time.Duration, raw *recorder, row *benchRow) error {
	rounds := (len(w.nodes) + slots - 1) / slots
	ideal := time.Duration(rounds) * hold
	w.r.progress("%s need a slot; ideal %s", count(len(w.nodes), "simulated host", "simulated hosts"), ideal)
	rec := newRecorder()
	g, _, began := w.together(ctx, len(w.nodes), func(ctx context.Context, c *client.Wire, node string) error {
		out, err := w.reboot(ctx, c, node, hold)
		rec.add(out)
		return cause(ctx, err)
	})
	if err := g.Wait(); err != nil {
		return cause(ctx, err)
	}
	took := time.Since(began)
	rec.over(took)
	row.set(rec, raw)
	row.Makespan = &makespan{
		Hosts: len(w.nodes), Slots: slots, Hold: hold.Seconds(), Ideal: ideal.Seconds(),
		Seconds: took.Seconds(), Ratio: took.Seconds() / ideal.Seconds(),
	}
	return nil
}

// reboot is one host's turn; it returns how long the host was out.
func (w *benchWorld) reboot(ctx context.Context, c *client.Wire, node string, hold time.Duration) (time.Duration, error) {
	fence, err := c.Acquire(w.group, node, w.asking(1), maxWait)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	err = c.Confirm(w.group, node, api.ConfirmRequest{Fence: fence, Instance: w.r.instance, BootID: w.r.instance})
	if err != nil {
		return 0, err
	}
	pause(ctx, hold)
	err = c.Release(w.group, node, fence, w.r.instance)
	return time.Since(began), err
}

func (a *app) benchHoldsCommand(f *benchFlags) *cobra.Command {
	var holds []int
	clients := 64
	c := &cobra.Command{
		Use:   "holds",
		Short: "Cycles in a group in which many others hold",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := errors.Join(checkCounts("holds", maxBenchNodes, holds...), checkCounts("clients", api.MaxBenchCallers, clients)); err != nil {
				return err
			}
			return a.bench(cmd.Context(), f, "holds", func(ctx context.Context, r *benchRun) error {
				for _, n := range slices.Sorted(slices.Values(holds)) {
					row := benchRow{Holds: n, Clients: clients}
					err := r.world(ctx, "holds", n+clients, n+clients, func(w *benchWorld) error {
						if err := w.holdAll(ctx, w.nodes[clients:]); err != nil {
							return err
						}
						return w.cycles(ctx, clients, &row)
					})
					if err != nil {
						return err
					}
					r.report.Runs = append(r.report.Runs, row)
				}
				r.report.note("By %s each.", count(clients, "client", "clients"))
				return nil
			})
		},
	}
	c.Flags().IntSliceVar(&holds, "holds", []int{10, 1000}, "how many slots others hold, one group after the other")
	c.Flags().IntVar(&clients, "clients", clients, "how many clients at once")
	return c
}

// holdAll takes a slot for each of the nodes.
func (w *benchWorld) holdAll(ctx context.Context, nodes []string) error {
	return eachNode(ctx, w.r.c, nodes, func(c *client.Wire, node string) error {
		_, err := w.keep(c, node)
		return err
	})
}

// keep takes a slot and confirms it, so that it is held for longer than 30 s.
func (w *benchWorld) keep(c *client.Wire, node string) (fence int64, err error) {
	if fence, err = c.Acquire(w.group, node, w.asking(0), 0); err != nil {
		return 0, err
	}
	return fence, c.Confirm(w.group, node, api.ConfirmRequest{Fence: fence, Instance: w.r.instance, BootID: w.r.instance})
}

// isRefusal is nil for the refusal of a slot because all are taken.
func isRefusal(err error) error {
	var refused *api.Error
	switch {
	case err == nil:
		return errors.New("a slot was granted although all are taken")
	case errors.As(err, &refused) && refused.Kind == api.Full:
		return nil
	}
	return fmt.Errorf("refused for another reason than that all slots are taken: %w", err)
}
