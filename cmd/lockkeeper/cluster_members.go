package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func (a *app) clusterToken() *cobra.Command {
	var ttl string
	c := &cobra.Command{
		Use:   "token",
		Short: "Make a join token: it lets one coordinator more into the cluster, once",
		Long: `Make a join token. It is shown this once, alone on the standard output, lets one
coordinator into the cluster, and ends after an hour unless --ttl says otherwise.

The new coordinator needs it in a file, in LOCKKEEPER_JOIN_TOKEN or on its
standard input. It holds the fingerprint of the cluster's authority as well, by
which the new one knows that it is talking to this cluster.`,
		Example: `  lockkeeper cluster token >join.token
  lockkeeperd serve --peer-listen 10.0.0.2:2380 --join https://lock-1.example.com:8443 --join-token-file join.token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.joinToken(cmd.Context(), ttl, "") },
	}
	c.Flags().StringVar(&ttl, "ttl", "", "how long it is good for: 1m to 24h (default 1h)")
	return c
}

func (a *app) clusterReplace() *cobra.Command {
	var ttl string
	c := &cobra.Command{
		Use:   "replace MEMBER",
		Short: "Make a join token with which a new coordinator takes the place of a member",
		Long: `Make a join token with which a new coordinator takes the place of a member, such
as one whose host or data are lost. Nothing changes before the new one is there
and can be reached: then the old one is removed for good, and the new one joins.`,
		Example: `  lockkeeper cluster replace lock-2-6f1e22aa >join.token`,
		Args:    cobra.ExactArgs(1),
		RunE:    func(cmd *cobra.Command, args []string) error { return a.joinToken(cmd.Context(), ttl, args[0]) },
	}
	c.Flags().StringVar(&ttl, "ttl", "", "how long it is good for: 1m to 24h (default 1h)")
	c.ValidArgsFunction = a.completeMembers
	return c
}

func (a *app) joinToken(ctx context.Context, ttl, replaces string) error {
	req := api.JoinTokenRequest{Replaces: replaces}
	if ttl != "" {
		d, err := parseTTL(ttl)
		if err != nil {
			return err
		}
		req.TTL = d.String()
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	t, err := c.CreateJoinToken(ctx, req)
	if err != nil {
		return err
	}
	err = a.print(t, func() error {
		_, err := fmt.Fprintln(a.out, t.Token)
		return err
	})
	a.hint("Join token %s, for one coordinator, until %s. It is not shown again.", t.ID, t.ExpiresAt.Local().Format("15:04"))
	for _, w := range t.Warnings {
		a.hint("Note: %s.", cli.Cell(w))
	}
	return err
}

func (a *app) clusterPromote() *cobra.Command {
	c := &cobra.Command{
		Use:   "promote MEMBER",
		Short: "Give a new member its vote, also where the number of votes becomes even",
		Long: `Give a new member its vote. It gets one by itself when it has caught up, as long
as the number of votes stays odd; this does it all the same.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeMembers(func(c coordinator) (api.MemberChange, error) { return c.PromoteMember(cmd.Context(), args[0]) })
		},
	}
	c.ValidArgsFunction = a.completeMembers
	return c
}

func (a *app) clusterRemove() *cobra.Command {
	c := &cobra.Command{
		Use:   "remove MEMBER",
		Short: "Take a member out of the cluster for good",
		Long: `Take a member out of the cluster for good. Its coordinator stops by itself, and
does not start again on its old data. Refused where what is left would have no
quorum. One that leads hands that over first.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.changeMembers(func(c coordinator) (api.MemberChange, error) { return c.RemoveMember(cmd.Context(), args[0]) })
		},
	}
	c.ValidArgsFunction = a.completeMembers
	return c
}

func (a *app) clusterMoveLeader() *cobra.Command {
	c := &cobra.Command{
		Use:   "move-leader [MEMBER]",
		Short: "Have another member lead, before the host of the leader goes down",
		Args:  cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var req api.LeaderRequest
			if len(args) > 0 {
				req.Member = args[0]
			}
			return a.changeMembers(func(c coordinator) (api.MemberChange, error) { return c.MoveLeader(cmd.Context(), req) })
		},
	}
	c.ValidArgsFunction = a.completeMembers
	return c
}

// changeMembers does it, and says what was done and what to know now.
func (a *app) changeMembers(do func(coordinator) (api.MemberChange, error)) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	change, err := do(c)
	if err != nil {
		return err
	}
	err = a.print(change, func() error {
		a.say("%s", cli.Cell(change.Done))
		return nil
	})
	for _, w := range change.Warnings {
		a.hint("Note: %s.", cli.Cell(w))
	}
	return err
}
