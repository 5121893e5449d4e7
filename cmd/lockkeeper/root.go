package main

import (
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// app is what every command needs: where it reads and writes, and how it
// reaches a coordinator.
type app struct {
	in            io.Reader
	out, err      io.Writer
	inTTY, outTTY bool
	colour        bool
	every         time.Duration // pause between two looks when following
	now           func() time.Time
	connect       func(client.Config) (coordinator, error)

	servers   []string
	tokenFile string
	caFile    string
	pin       string
	format    string
	verbose   bool
}

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "lockkeeper",
		Short: "Let a fleet update and reboot a few hosts at a time",
		Long: `Let a fleet update and reboot a few hosts at a time.

A host may apply an update and reboot only while it holds one of its group's
slots. This program shows who holds, who waits and why, and changes it.

The token is read from LOCKKEEPER_TOKEN or --token-file; on the coordinator's
own host none is needed. Every flag can be given as a variable: --ca-file is
LOCKKEEPER_CA_FILE. See also: lockkeeper help exit-codes.`,
		Version:       cli.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRunE: func(*cobra.Command, []string) error {
			return checkFormat(a.format)
		},
	}
	root.SetIn(a.in)
	root.SetOut(a.out)
	root.SetErr(a.err)

	flags := root.PersistentFlags()
	flags.StringSliceVar(&a.servers, "server", []string{"http://127.0.0.1:8080"}, "coordinators, tried in turn: http(s)://HOST:PORT or unix:/PATH")
	flags.StringVar(&a.tokenFile, "token-file", "", "file that holds the token")
	flags.StringVar(&a.caFile, "ca-file", "", "PEM file of the authorities that vouch for the coordinators")
	flags.StringVar(&a.pin, "pin", "", "sha256:HEX of the coordinator's public key, as it printed at its start; of several with commas between them")
	flags.StringVarP(&a.format, "format", "o", formatTable, "table, json or yaml")
	flags.BoolVarP(&a.verbose, "verbose", "v", false, "say more on stderr")

	root.AddGroup(
		&cobra.Group{ID: "see", Title: "See:"},
		&cobra.Group{ID: "change", Title: "Change:"},
		&cobra.Group{ID: "admin", Title: "Administer:"},
	)
	in := func(group string, commands ...*cobra.Command) {
		for _, c := range commands {
			c.GroupID = group
			root.AddCommand(c)
		}
	}
	in("see", a.statusCommand(), a.watchCommand(), a.explainCommand(), a.eventsCommand(), a.planCommand(), a.simulateCommand(), a.clusterCommand())
	in("change", a.rolloutCommand(), a.bundleCommand(), a.groupCommand(), a.applyCommand(), a.nodeCommand(), a.holdCommand(), a.queueCommand(), a.freezeCommand(), a.unfreezeCommand(), a.blackoutCommand())
	in("admin", a.tokenCommand(), a.snapshotCommand(), a.benchCommand(), a.versionCommand())
	root.SetHelpCommandGroupID("admin")
	root.SetCompletionCommandGroupID("admin")
	root.AddCommand(exitCodesTopic())
	complete(root, "format", cobra.FixedCompletions([]string{formatTable, formatJSON, formatYAML}, cobra.ShellCompDirectiveNoFileComp))
	sayRoles(root)
	cli.BindEnv(root)
	cli.PlainErrors(root, func(err error) error { return usageError{err} })
	return root
}

// dial makes the client; it connects to nothing yet.
func dial(cfg client.Config) (coordinator, error) { return client.New(cfg) }

// client is the coordinators as the flags and the environment name them.
func (a *app) client() (coordinator, error) {
	cfg := client.Config{
		Servers:   a.servers,
		TokenFile: a.tokenFile,
		CAFile:    a.caFile,
		Pin:       a.pin,
		UserAgent: "lockkeeper/" + cli.Version(),
	}
	if cfg.TokenFile == "" {
		cfg.Token = os.Getenv(tokenVariable)
	}
	c, err := a.connect(cfg)
	if err != nil {
		return nil, usageError{err}
	}
	return c, nil
}

// tokenVariable holds the secret itself. It has no flag: the arguments of a
// process are for everybody to read.
const tokenVariable = cli.EnvPrefix + "TOKEN"

// hidden is a command under a second name, which help does not show.
func hidden(c *cobra.Command) *cobra.Command {
	c.Hidden = true
	return c
}

// noun is a command that only groups others; without one of them it says which
// there are.
func noun(use, short string, commands ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short, RunE: func(cmd *cobra.Command, _ []string) error {
		return usagef("want one of its commands: %s", cli.CommandNames(cmd))
	}}
	c.AddCommand(commands...)
	return c
}
