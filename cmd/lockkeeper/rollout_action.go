package main

import (
	"slices"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// rolloutActionCommand does something to a rollout; more are the flags of the
// action beside --reason.
func (a *app) rolloutActionCommand(action, short string, more ...string) *cobra.Command {
	var req api.RolloutActionRequest
	c := &cobra.Command{
		Use:   action + " ROLLOUT",
		Short: short,
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if req.Wave < 0 {
				return usagef("--wave %d: want the number of a wave, from 1", req.Wave)
			}
			c, id, err := a.namedRollout(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			was, err := c.Rollout(cmd.Context(), id)
			if err != nil {
				return err
			}
			if slices.Contains(more, "wave") && req.Wave == 0 {
				// Named, so that asked again it does not mean the next one.
				req.Wave = was.Wave
			}
			if action == "resume" {
				req.StoppedAt = was.StoppedAt // for the same reason
			}
			r, err := c.RolloutAction(cmd.Context(), id, action, req)
			if err != nil {
				return err
			}
			return a.print(r, func() error {
				a.say("%s", cli.Cell(actionAnswer(action, req, was, r)))
				return nil
			})
		},
	}
	c.Flags().StringVar(&req.Reason, "reason", "", "why, for the audit trail")
	if slices.Contains(more, "wave") {
		c.Flags().IntVar(&req.Wave, "wave", 0, "number of the wave, from 1 (default the current one)")
	}
	if slices.Contains(more, "gate") {
		c.Flags().StringVar(&req.Gate, "gate", "", "name of the gate, where several stand at one place")
	}
	cli.NoEnv(c, append(more, "reason")...)
	c.ValidArgsFunction = func(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		return a.completeRolloutsThat(func(r api.Rollout) bool {
			return r.State.Active() || action == "retry" && r.State == api.RolloutFailed
		}, cmd, args)
	}
	return c
}
