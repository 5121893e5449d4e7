package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// benchHands is how many connections make and delete nodes.
const benchHands = 32

// maxWait is how long a request may be parked at most.
const maxWait = 25 * time.Minute

// benchWorld is a group of the benchmark's own, with simulated nodes.
type benchWorld struct {
	r     *benchRun
	group string
	nodes []string
}

// world makes a group with slots and nodes, runs measure, and deletes all of
// it again, whatever became of it.
func (r *benchRun) world(ctx context.Context, name string, slots, nodes int, measure func(*benchWorld) error) (err error) {
	w := &benchWorld{r: r, group: benchPrefix + name}
	r.progress("group %s: %s, %s", w.group, count(slots, "slot", "slots"), count(nodes, "simulated node", "simulated nodes"))
	// "*": it must not be there, so that two benchmarks never share one.
	spec := api.GroupSpec{Slots: api.Slots(strconv.Itoa(slots)), Timeouts: api.GroupTimeouts{Hold: "24h"}}
	if _, err := r.c.PutGroup(ctx, w.group, spec, "*"); err != nil {
		return err
	}
	defer func() {
		cleanup, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanWithin)
		defer cancel()
		r.progress("group %s: cleaning up", w.group)
		if e := cleanBench(cleanup, r.c, w.group, w.nodes); e != nil {
			err = errors.Join(err, fmt.Errorf("cleaning up (`lockkeeper bench clean` does it again): %w", e))
		}
	}()
	for i := range nodes {
		w.nodes = append(w.nodes, fmt.Sprintf("%s-%05d", w.group, i))
	}
	if err := w.hear(ctx, 1); err != nil {
		return err
	}
	return measure(w)
}

// hear has each node report, which makes it a member at the first time.
func (w *benchWorld) hear(ctx context.Context, seq uint64) error {
	return eachNode(ctx, w.r.c, w.nodes, func(wire *client.Wire, node string) error {
		_, err := wire.Poll(node, w.poll(seq))
		return err
	})
}

// poll is what a node says that has nothing to do.
func (w *benchWorld) poll(seq uint64) api.PollRequest {
	return api.PollRequest{
		Instance: w.r.instance, BootID: w.r.instance,
		Report: api.Report{Seq: seq, Group: w.group, Phase: api.PhaseIdle, Healthy: true, Simulated: true, Message: "simulated by lockkeeper bench"},
	}
}

// eachNode does something for every node, over a few connections.
func eachNode(ctx context.Context, c benchCoordinator, nodes []string, do func(*client.Wire, string) error) error {
	g, ctx := errgroup.WithContext(ctx)
	var next atomic.Int64
	for range min(benchHands, len(nodes)) {
		g.Go(func() error {
			wire, err := c.Wire(ctx)
			if err != nil {
				return err
			}
			defer wire.Close()
			for {
				i := int(next.Add(1)) - 1
				if i >= len(nodes) {
					return nil
				}
				if err := patiently(ctx, func() error { return do(wire, nodes[i]) }); err != nil {
					return cause(ctx, err)
				}
			}
		})
	}
	return g.Wait()
}

// patiently asks again when the coordinator has too much to do, as it may under
// the load of the benchmark itself, or got no answer from its store in time.
func patiently(ctx context.Context, ask func() error) error {
	for {
		err := ask()
		var refused *api.Error
		if !errors.As(err, &refused) || refused.Kind != api.Rate && refused.Kind != api.NoQuorum || ctx.Err() != nil {
			return err
		}
		pause(ctx, max(refused.RetryAfter, 100*time.Millisecond))
	}
}

// cause is why a request ended: what ended the context, if that did.
func cause(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// cleanBench returns every hold in the group, forgets its nodes and deletes it.
func cleanBench(ctx context.Context, c benchCoordinator, group string, nodes []string) error {
	var holds []api.Hold
	err := patiently(ctx, func() (err error) {
		holds, err = c.Holds(ctx, group)
		return err
	})
	if err != nil {
		return err
	}
	for _, h := range holds {
		err := patiently(ctx, func() error { return c.Release(ctx, group, h.Node, h.Fence, h.Instance) })
		if err != nil {
			return err
		}
	}
	err = eachNode(ctx, c, nodes, func(wire *client.Wire, node string) error {
		err := wire.DeleteNode(node)
		if refused := (*api.Error)(nil); errors.As(err, &refused) && refused.Kind == api.InUse {
			// Granted while the holds were listed: its client had just gone.
			err = releaseOf(ctx, c, group, node)
			if err == nil {
				err = wire.DeleteNode(node)
			}
		}
		if refused := (*api.Error)(nil); errors.As(err, &refused) && refused.Kind == api.NotFound {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return patiently(ctx, func() error { return c.DeleteGroup(ctx, group, "") })
}

func releaseOf(ctx context.Context, c benchCoordinator, group, node string) error {
	holds, err := c.Holds(ctx, group)
	for _, h := range holds {
		if h.Node == node && err == nil {
			err = c.Release(ctx, group, node, h.Fence, h.Instance)
		}
	}
	return err
}

func (a *app) benchCleanCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "clean",
		Short: "Delete what a benchmark that was killed left behind",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx := cmd.Context()
			c, err := a.benchClient()
			if err != nil {
				return err
			}
			groups, err := c.Groups(ctx)
			if err != nil {
				return err
			}
			left := benchGroups(groups)
			for _, group := range left {
				nodes, err := nodesOf(ctx, c, group)
				if err != nil {
					return err
				}
				if err := cleanBench(ctx, c, group, nodes); err != nil {
					return err
				}
				a.say("deleted group %s and %s", group, count(len(nodes), "node", "nodes"))
			}
			if len(left) == 0 {
				a.say("nothing was left behind")
			}
			return nil
		},
	}
}

// nodesOf lists the simulated nodes of a benchmark's group.
func nodesOf(ctx context.Context, c benchCoordinator, group string) ([]string, error) {
	var ids []string
	q := api.NodeQuery{Group: group, Limit: 1000}
	for {
		page, err := c.Nodes(ctx, q)
		if err != nil {
			return nil, err
		}
		for _, n := range page.Nodes {
			if strings.HasPrefix(n.ID, benchPrefix) {
				ids = append(ids, n.ID)
			}
		}
		if page.Next == "" {
			return ids, nil
		}
		q.After = page.Next
	}
}
