package main

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// benchPrefix begins the name of everything that a benchmark makes.
const benchPrefix = "bench-"

// cleanWithin bounds the cleaning up, which goes on after Ctrl-C.
const cleanWithin = 5 * time.Minute

// benchCoordinator is what a benchmark asks of a coordinator beside what the
// other commands do; *client.Client is one.
type benchCoordinator interface {
	coordinator
	Holds(ctx context.Context, group string) ([]api.Hold, error)
	Release(ctx context.Context, group, node string, fence int64, instance string) error
	Bench(ctx context.Context, req api.BenchRequest) (api.Measured, error)
	Wire(ctx context.Context) (*client.Wire, error)
	Metrics(ctx context.Context) ([]byte, error)
}

// benchFlags are those of every scenario.
type benchFlags struct {
	duration  time.Duration
	liveFleet bool
	pid       int
}

func (a *app) benchCommand() *cobra.Command {
	f := &benchFlags{}
	c := noun("bench", "Measure a running coordinator beside raw puts on its store",
		a.benchCyclesCommand(f), a.benchHandoverCommand(f), a.benchWaitersCommand(f), a.benchMakespanCommand(f), a.benchRolloutCommand(f),
		a.benchRefusedCommand(f), a.benchHoldsCommand(f), a.benchCommitsCommand(f), a.benchAgentsCommand(f), a.benchCleanCommand())
	c.Long = `Measure a running coordinator beside raw puts on its store.

Each scenario makes a group and simulated nodes of its own, whose names begin
with ` + benchPrefix + `, loads the coordinator, and deletes them again, also after Ctrl-C.
What it did stays in the audit trail. In the same run it has the coordinator put
values straight into its etcd, from as many callers: the yardstick, for which
the role admin is needed. A fleet is slowed down by it, so a coordinator that
has nodes or a rollout under way is refused.`
	flags := c.PersistentFlags()
	flags.DurationVar(&f.duration, "duration", 5*time.Second, "of each measurement, in 4 rounds; its yardstick takes as long")
	flags.BoolVar(&f.liveFleet, "beside-a-live-fleet", false, "measure although the coordinator has nodes or a rollout, which it slows down")
	cli.NoEnv(c, "beside-a-live-fleet")
	return c
}

// benchRun is one scenario under way.
type benchRun struct {
	*app
	*benchFlags
	c        benchCoordinator
	instance string
	report   benchReport
}

// bench runs a scenario against a coordinator that it may run against, and
// prints what was measured.
func (a *app) bench(ctx context.Context, f *benchFlags, scenario string, measure func(context.Context, *benchRun) error) error {
	if f.duration < 400*time.Millisecond || f.duration > time.Hour {
		return usagef("--duration %s: want 400ms to 1h", f.duration)
	}
	c, err := a.benchClient()
	if err != nil {
		return err
	}
	r := &benchRun{app: a, benchFlags: f, c: c, instance: "bench"}
	if err := r.mayRun(ctx); err != nil {
		return err
	}
	r.report = benchReport{
		Scenario: scenario, At: a.now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(),
		Version: cli.Version(), GoVersion: runtime.Version(),
	}
	err = measure(ctx, r)
	if len(r.report.Runs) == 0 {
		return err
	}
	// What was measured counts, even if what came behind it failed.
	return errors.Join(a.print(r.report, func() error { return r.report.tables(a) }), err)
}

func (a *app) benchClient() (benchCoordinator, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	bc, ok := c.(benchCoordinator)
	if !ok {
		return nil, errors.New("this client cannot measure")
	}
	return bc, nil
}

// mayRun refuses what would disturb others, or be disturbed by them.
func (r *benchRun) mayRun(ctx context.Context) error {
	groups, err := r.c.Groups(ctx)
	if err != nil {
		return err
	}
	if left := benchGroups(groups); len(left) > 0 {
		return api.Errorf(api.Conflict, "there is a group %s: another benchmark runs, or one was killed; if none runs, `lockkeeper bench clean` deletes what it left", left[0])
	}
	if r.liveFleet {
		return nil
	}
	nodes, err := r.c.Nodes(ctx, api.NodeQuery{Limit: 1})
	if err != nil {
		return err
	}
	if nodes.Total > 0 {
		return api.Errorf(api.Conflict, "the coordinator has %s, such as %s, which a benchmark would slow down: measure another coordinator, or give --beside-a-live-fleet",
			count(nodes.Total, "node", "nodes"), nodes.Nodes[0].ID)
	}
	rollouts, err := r.c.Rollouts(ctx)
	if err != nil {
		return err
	}
	if i := slices.IndexFunc(rollouts, func(ro api.Rollout) bool { return ro.State.Active() }); i >= 0 {
		return api.Errorf(api.Conflict, "rollout %s is under way: measure another coordinator, or give --beside-a-live-fleet", rollouts[i].ID)
	}
	return nil
}

func benchGroups(groups []api.Group) []string {
	var names []string
	for _, g := range groups {
		if strings.HasPrefix(g.Name, benchPrefix) {
			names = append(names, g.Name)
		}
	}
	return names
}

// benchRounds is how often yardstick and measurement take turns: what else the
// machine does changes from second to second, and should meet both alike.
const benchRounds = 4

// yardstick has the coordinator put values straight into its store for a round,
// and adds that to what it did before.
func (r *benchRun) yardstick(ctx context.Context, callers int, raw *recorder) error {
	return r.yardstickWith(ctx, callers, 0, raw)
}

// yardstickWith is yardstick by callers that rest between two puts.
func (r *benchRun) yardstickWith(ctx context.Context, callers int, rest time.Duration, raw *recorder) error {
	span := min(r.duration/benchRounds, api.MaxBenchSeconds*time.Second)
	r.progress("raw puts by %s for %s", count(callers, "caller", "callers"), span)
	m, err := r.c.Bench(ctx, api.BenchRequest{Callers: callers, Seconds: span.Seconds(), Pause: min(rest, time.Second).Seconds()})
	if err != nil {
		return cause(ctx, err)
	}
	return raw.merge(m)
}

// besides measures something in rounds, each behind one of the yardstick.
func (r *benchRun) besides(ctx context.Context, callers int, row *benchRow, measure func(span time.Duration, rec *recorder) error) error {
	raw, rec := newRecorder(), newRecorder()
	for range benchRounds {
		if err := r.yardstick(ctx, callers, raw); err != nil {
			return err
		}
		if err := measure(r.duration/benchRounds, rec); err != nil {
			return cause(ctx, err)
		}
	}
	row.set(rec, raw)
	return nil
}

// progress says on stderr what is done now.
func (r *benchRun) progress(format string, args ...any) {
	r.hint("%s  %s", r.now().Format("15:04:05"), fmt.Sprintf(format, args...))
}

// checkCounts wants whole numbers from 1 to most.
func checkCounts(flag string, most int, counts ...int) error {
	if len(counts) == 0 {
		return usagef("--%s: want at least one number", flag)
	}
	for _, n := range counts {
		if n < 1 || n > most {
			return usagef("--%s %d: want 1 to %d", flag, n, most)
		}
	}
	return nil
}
