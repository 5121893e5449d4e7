package main

import (
	"time"

	"github.com/spf13/cobra"
)

// following is whether a command follows a rollout, and for how long.
type following struct {
	on      bool
	timeout time.Duration
}

func (w *following) flags(c *cobra.Command) {
	c.Flags().BoolVar(&w.on, "wait", false, "follow it to its end; exit code 1 unless it succeeds")
	c.Flags().DurationVar(&w.timeout, "timeout", 0, "with --wait: follow it for so long at most; exit code 3 then")
}

func (w *following) check() error {
	switch {
	case w.timeout < 0:
		return usagef("--timeout %s: want more than 0, such as 2h", w.timeout)
	case w.timeout > 0 && !w.on:
		return usagef("--timeout goes with --wait")
	}
	return nil
}

func (a *app) rolloutWatchCommand() *cobra.Command {
	wait := following{on: true}
	c := &cobra.Command{
		Use:   "watch ROLLOUT",
		Short: "Follow a rollout live: waves, nodes, gates, budget and time to go",
		Long: `Follow a rollout live: waves, nodes, gates, budget and time to go.

On a terminal one block is drawn again in place, with a mark for each node of a
wave: █ updated, ▒ updating, ◌ waiting for a slot, · pending, ✗ failed. Into a
file or pipe goes a line for each change; with -o json or yaml the rollout as it
ended. It ends when the rollout has ended, or halted and needs a person: with
exit code 0 when it succeeded, 1 when it failed, halted or was aborted, and 3
when it had not ended within --timeout. Ctrl-C ends the watching, never the
rollout.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := wait.check(); err != nil {
				return err
			}
			c, id, err := a.namedRollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return a.follow(cmd.Context(), c, id, wait.timeout)
		},
	}
	c.Flags().DurationVar(&wait.timeout, "timeout", 0, "watch for so long at most; exit code 3 then")
	c.ValidArgsFunction = a.completeRollouts
	return c
}
