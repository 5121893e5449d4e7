package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

var roles = []string{string(api.RoleNode), string(api.RoleViewer), string(api.RoleDeployer), string(api.RoleOperator), string(api.RoleAdmin)}

func (a *app) tokenCommand() *cobra.Command {
	return noun("token", "Credentials, and what each may do",
		a.tokenCreateCommand(), a.tokenListCommand(), a.tokenRevokeCommand())
}

func (a *app) tokenCreateCommand() *cobra.Command {
	var req api.TokenRequest
	var role, ttl string
	c := &cobra.Command{
		Use:   "create --role ROLE",
		Short: "Make a token; its secret is shown this once, alone on the standard output",
		Long: `Make a token; its secret is shown this once, alone on the standard output.

  node      its own node: take and return its slot, fetch bundles
  viewer    read
  deployer  and bundles, rollouts
  operator  and groups, freezes, holds, nodes
  admin     and tokens, cluster`,
		Example: `  lockkeeper token create --role operator --ttl 30d >operator.token
  lockkeeper token create --role node --node web1 >web1.token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			req.Role = api.Role(role)
			switch {
			case !slices.Contains(roles, role):
				return usagef("--role %q: want one of %s", role, strings.Join(roles, ", "))
			case req.Role == api.RoleNode && req.Node == "":
				return usagef("--role node: want --node, the id that the token is bound to")
			case req.Role != api.RoleNode && req.Node != "":
				return usagef("--node goes with --role node only")
			}
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
			t, err := c.CreateToken(cmd.Context(), req)
			if err != nil {
				return err
			}
			if t.Secret == "" { // it was sent twice, and the first answer was lost
				return fmt.Errorf("token %s was made, and the answer with its secret was lost: revoke it with `lockkeeper token revoke %s`, and make another", t.ID, t.ID)
			}
			err = a.print(t, func() error {
				_, err := fmt.Fprintln(a.out, t.Secret)
				return err
			})
			a.hint("Token %s, role %s, %s. The secret is not shown again.", t.ID, t.Role, expiry(t.Token, a.now()))
			return err
		},
	}
	flags := c.Flags()
	flags.StringVar(&role, "role", "", strings.Join(roles, ", "))
	flags.StringVar(&req.Node, "node", "", "the node that a token of role node is bound to")
	flags.StringVar(&ttl, "ttl", "", "how long it is good for: 30d, 12h (default: does not end)")
	flags.StringVar(&req.Description, "description", "", "what it is for")
	cli.NoEnv(c, "role", "node", "description")
	complete(c, "role", cobra.FixedCompletions(roles, cobra.ShellCompDirectiveNoFileComp))
	complete(c, "node", a.completeNodes)
	return c
}

// parseTTL reads a Go duration, or whole days ("30d").
func parseTTL(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if days, ok := strings.CutSuffix(text, "d"); ok && err != nil {
		var n int
		n, err = strconv.Atoi(days)
		if n > 36500 {
			return 0, usagef("--ttl %q: want at most 36500d", text)
		}
		d = time.Duration(n) * 24 * time.Hour
	}
	if err != nil || d <= 0 {
		return 0, usagef("--ttl %q: want a duration such as 30d or 12h", text)
	}
	return d, nil
}

func expiry(t api.Token, now time.Time) string {
	switch {
	case t.ExpiresAt.IsZero():
		return "does not end"
	case t.ExpiresAt.Before(now):
		return "ended " + ago(t.ExpiresAt, now)
	}
	left := t.ExpiresAt.Sub(now)
	if left > time.Hour {
		left = left.Round(time.Minute) // what was made for 365d must not read 364d a second later
	}
	return "ends in " + cli.Span(left)
}

func (a *app) tokenListCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "List the tokens, without their secrets",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			tokens, err := c.Tokens(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(tokens, func() error {
				var rows [][]string
				for _, t := range tokens {
					rows = append(rows, []string{
						cli.Cell(t.ID), cli.Cell(string(t.Role)), orDash(t.Node), cli.Age(t.CreatedAt, a.now()),
						orDash(t.By), expiry(t, a.now()), cli.Cell(tokenDescription(t)),
					})
				}
				return a.table("There are no tokens.", []string{"TOKEN", "ROLE", "NODE", "AGE", "BY", "EXPIRY", "DESCRIPTION"}, rows)
			})
		},
	}
}

// tokenDescription is what a token is for. A join token says it by what became
// of it.
func tokenDescription(t api.Token) string {
	switch {
	case t.UsedBy != "":
		return "used by " + t.UsedBy
	case t.Replaces != "":
		return "in place of member " + t.Replaces
	}
	return t.Description
}

func (a *app) tokenRevokeCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "revoke TOKEN-ID",
		Short: "End a token now",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if err := c.DeleteToken(cmd.Context(), args[0]); err != nil {
				return err
			}
			a.say("token %s: revoked", cli.Cell(args[0]))
			return nil
		},
	}
	c.ValidArgsFunction = a.completeTokens
	return c
}
