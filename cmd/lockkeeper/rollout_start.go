package main

import (
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/internal/shellword"
)

func (a *app) rolloutStartCommand() *cobra.Command {
	var s selection
	var wait following
	var key string
	c := &cobra.Command{
		Use:   "start -f FILE | --bundle BUNDLE --group GROUP",
		Short: "Start to bring nodes to a bundle",
		Long: `Start to bring nodes to a bundle.

The rollout is described by flags, by a file of YAML or JSON, or by both: a flag
adds to the file, and what both say is an error. A file has more than the flags:

  name: kernel-6.12
  bundle: base:6.12         # a digest, the beginning of one, NAME or NAME:VERSION
  group: web                # and, or instead, a selector; or nodes, a list
  waves:
    - name: canary
      count: 1
      soak: 10m
      gates:
        - name: error rate
          promql:
            query: sum(rate(http_requests_total{code=~"5.."}[5m]))
            compare: "<"
            value: 0.5
            for: 5m
    - percent: 25           # of all nodes, those before included
      soak: 10m
      gates:
        - approval: {role: operator}
    - {}                    # all that are left
  max_failures: 2%
  auto_rollback: failed_wave
  on_halt:
    - webhook: ops          # one of the coordinator's configuration

docs/rollout.schema.json is its schema. A wave as a flag is
` + waveForm + `.
What the waves leave over is a last one.`,
		Example: `  lockkeeper rollout start --dir ./motd --group web --wait
  lockkeeper rollout start --bundle base:6.12 --group web --wave "1 soak=10m approve" --wave 25% --max-failures 2%
  lockkeeper rollout start -f kernel.yaml --wait --timeout 2h`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			if err := wait.check(); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			err = s.resolve(ctx, a, c)
			if errors.Is(err, errNoDrift) {
				a.hint("No node has drifted: nothing to bring back.")
				return nil
			}
			if err != nil {
				return err
			}
			if key == "" {
				key = rand.Text()
			}
			a.more("Idempotency key %s", key)
			r, created, err := c.CreateRollout(ctx, s.spec, key)
			if errors.Is(err, client.ErrUnreachable) {
				return fmt.Errorf("%w; whether it started is not known: run the same command with --idempotency-key %s", err, shellword.Word(key))
			}
			if err != nil {
				return s.placed(err)
			}
			if wait.on {
				a.hint("Rollout %s.", cli.Cell(r.ID))
				return a.follow(ctx, c, r.ID, wait.timeout)
			}
			return a.print(r, func() error {
				verb := "started"
				if !created {
					verb = "was started before"
				}
				a.say("%s", cli.Cell(fmt.Sprintf("rollout %s: %s, %s to update", r.ID, verb, count(r.Progress.Total, "node", "nodes"))))
				return nil
			})
		},
	}
	s.flags(a, c)
	flags := c.Flags()
	flags.BoolVar(&s.drifted, "drifted", false, "the nodes that do not have any more what they were brought to, back to it")
	wait.flags(c)
	flags.StringVar(&key, "idempotency-key", "", "of an earlier start whose outcome is not known (default: a new one)")
	cli.NoEnv(c, "drifted", "idempotency-key")
	return c
}
