package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// selection is the part of a rollout that start and plan share.
type selection struct {
	spec api.RolloutSpec
	dir  string
}

func (s *selection) flags(a *app, c *cobra.Command) {
	flags := c.Flags()
	flags.StringVar(&s.spec.Bundle, "bundle", "", "digest of a bundle, or its beginning")
	flags.StringVar(&s.dir, "dir", "", "folder to build the bundle from, and upload")
	flags.StringVar(&s.spec.Group, "group", "", "the nodes of this group")
	flags.StringVar(&s.spec.Selector, "selector", "", "the nodes with these labels: zone=a,role=web")
	flags.StringSliceVar(&s.spec.Nodes, "node", nil, "this node (repeatable)")
	flags.StringVar((*string)(&s.spec.MaxFailures), "max-failures", "0", "so many nodes, or percent of them (5%), may fail before the rollout halts")
	// A variable that is left set would choose what the next rollout changes.
	cli.NoEnv(c, "bundle", "dir", "group", "selector", "node", "max-failures")
	complete(c, "bundle", a.completeBundles)
	complete(c, "group", a.completeGroups)
	complete(c, "node", a.completeNodes)
	if err := c.MarkFlagDirname("dir"); err != nil {
		panic(err)
	}
}

func (s *selection) check() error {
	switch {
	case s.spec.Bundle == "" && s.dir == "":
		return usagef("want --bundle DIGEST, or --dir with the folder to build the bundle from")
	case s.spec.Bundle != "" && s.dir != "":
		return usagef("--bundle and --dir both name a bundle: want one of them")
	case s.spec.Group == "" && s.spec.Selector == "" && len(s.spec.Nodes) == 0:
		return usagef("want the nodes to update: --group, --selector or --node")
	}
	if _, err := semaphore.ParseSlots(string(s.spec.MaxFailures)); err != nil {
		return usagef("--max-failures %q: want a number of nodes, or percent such as 5%%", s.spec.MaxFailures)
	}
	if s.spec.Group != "" {
		if err := semaphore.ValidGroup(s.spec.Group); err != nil {
			return usageError{err}
		}
	}
	return nil
}

// resolve names the bundle by its whole digest, after an upload if need be.
func (s *selection) resolve(ctx context.Context, a *app, c coordinator) error {
	if s.dir == "" {
		digest, err := fullDigest(ctx, c, s.spec.Bundle)
		s.spec.Bundle = digest
		return err
	}
	text, _, err := buildBundle(s.dir)
	if err != nil {
		return err
	}
	b, err := a.upload(ctx, c, text, bundle.Digest(text))
	s.spec.Bundle = b.Digest
	return err
}

func (a *app) rolloutStartCommand() *cobra.Command {
	var s selection
	var wait bool
	var key string
	c := &cobra.Command{
		Use:   "start --bundle DIGEST --group GROUP",
		Short: "Start to bring nodes to a bundle",
		Example: `  lockkeeper rollout start --dir ./motd --group web --wait
  lockkeeper rollout start --bundle 3fa9c1 --selector zone=a --max-failures 1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := s.check(); err != nil {
				return err
			}
			c, err := a.client()
			if err != nil {
				return err
			}
			ctx := cmd.Context()
			if err := s.resolve(ctx, a, c); err != nil {
				return err
			}
			if key == "" {
				key = rand.Text()
			}
			a.more("Idempotency key %s", key)
			r, created, err := c.CreateRollout(ctx, s.spec, key)
			if errors.Is(err, client.ErrUnreachable) {
				return fmt.Errorf("%w; whether it started is not known: run the same command with --idempotency-key %s", err, key)
			}
			if err != nil {
				return err
			}
			if wait {
				a.hint("Rollout %s.", cli.Cell(r.ID))
				return a.follow(ctx, c, r.ID)
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
	flags.StringVar(&s.spec.Name, "name", "", "a name for people")
	flags.StringVar(&s.spec.Reason, "reason", "", "why, for the audit trail")
	flags.BoolVar(&wait, "wait", false, "follow it to its end; exit code 1 unless it succeeds")
	flags.StringVar(&key, "idempotency-key", "", "of an earlier start whose outcome is not known (default: a new one)")
	cli.NoEnv(c, "name", "reason", "idempotency-key")
	return c
}
