package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// completeWithin is how long the shell's prompt may wait for a coordinator.
const completeWithin = 2 * time.Second

// complete gives a flag's values to the shell. It panics when c lacks the flag.
func complete(c *cobra.Command, flag string, f cobra.CompletionFunc) {
	if err := c.RegisterFlagCompletionFunc(flag, f); err != nil {
		panic(err)
	}
}

// completion asks a coordinator for names; without an answer it offers none.
func (a *app) completion(cmd *cobra.Command, list func(context.Context, coordinator) ([]cobra.Completion, error)) ([]cobra.Completion, cobra.ShellCompDirective) {
	const noFiles = cobra.ShellCompDirectiveNoFileComp
	if err := cli.ReadEnv(cmd); err != nil {
		return nil, noFiles
	}
	c, err := a.client()
	if err != nil {
		return nil, noFiles
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	found, err := list(ctx, c)
	if err != nil {
		cobra.CompDebugln(errorLine(err), false)
	}
	return found, noFiles
}

func (a *app) completeGroups(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completion(cmd, func(ctx context.Context, c coordinator) (found []cobra.Completion, err error) {
		groups, err := c.Groups(ctx)
		for _, g := range groups {
			found = append(found, g.Name)
		}
		return found, err
	})
}

// completeNodes asks for what begins like the word: a fleet may be large.
func (a *app) completeNodes(cmd *cobra.Command, args []string, word string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completion(cmd, func(ctx context.Context, c coordinator) (found []cobra.Completion, err error) {
		list, err := c.Nodes(ctx, api.NodeQuery{Text: word, Limit: 1000})
		for _, n := range list.Nodes {
			found = append(found, cobra.CompletionWithDesc(n.ID, string(n.State)))
		}
		return found, err
	})
}

func (a *app) completeHolders(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completion(cmd, func(ctx context.Context, c coordinator) (found []cobra.Completion, err error) {
		holds, err := allHolds(ctx, c, "")
		for _, h := range holds {
			found = append(found, cobra.CompletionWithDesc(h.Node, h.State+" for "+cli.Age(h.Since, a.now())))
		}
		return found, err
	})
}

func (a *app) completeRollouts(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return a.completeRolloutsThat(func(api.Rollout) bool { return true }, cmd, args)
}

// completeRolloutsThat leaves out those to which an action can do nothing.
func (a *app) completeRolloutsThat(may func(api.Rollout) bool, cmd *cobra.Command, args []string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completion(cmd, func(ctx context.Context, c coordinator) (found []cobra.Completion, err error) {
		rollouts, err := c.Rollouts(ctx)
		for _, r := range rollouts {
			if may(r) {
				found = append(found, cobra.CompletionWithDesc(r.ID, string(r.State)+" "+rolloutName(r)))
			}
		}
		return found, err
	})
}

// eventKinds are the first words of the kinds of events: each is one too.
var eventKinds = []string{"bundle", "cluster", "freeze", "group", "hold", "node", "queue", "rollout", "snapshot", "token"}

func completeKinds(c *cobra.Command) {
	complete(c, "kind", cobra.FixedCompletions(eventKinds, cobra.ShellCompDirectiveNoFileComp))
}

func (a *app) completeBundles(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completion(cmd, func(ctx context.Context, c coordinator) (found []cobra.Completion, err error) {
		bundles, err := c.Bundles(ctx)
		for _, b := range bundles {
			found = append(found, cobra.CompletionWithDesc(short(b.Digest), b.Name))
		}
		return found, err
	})
}

func (a *app) completeTokens(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completion(cmd, func(ctx context.Context, c coordinator) (found []cobra.Completion, err error) {
		tokens, err := c.Tokens(ctx)
		for _, t := range tokens {
			found = append(found, cobra.CompletionWithDesc(t.ID, string(t.Role)+" "+t.Description))
		}
		return found, err
	})
}

func completeFolders(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return nil, cobra.ShellCompDirectiveFilterDirs
}

func (a *app) completeMembers(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.completion(cmd, func(ctx context.Context, c coordinator) (found []cobra.Completion, err error) {
		cl, err := c.Cluster(ctx)
		for _, m := range cl.Members {
			name := m.Name
			if name == "" { // one that never ran
				name = m.ID
			}
			found = append(found, cobra.CompletionWithDesc(name, m.Role))
		}
		return found, err
	})
}
