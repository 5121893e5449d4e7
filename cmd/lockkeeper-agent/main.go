// Command lockkeeper-agent brings one host to the bundle that is wanted of it,
// while it holds one of its group's slots.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/agent/host"
	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
)

// Exit codes, as `lockkeeper-agent --help` states them.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

// failure is an error behind the flags: exit code 1.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

func main() {
	// Not a command for people: the agent starts itself so, to look after what
	// it runs.
	if len(os.Args) > 1 && os.Args[1] == host.SuperviseArg {
		os.Exit(host.Supervise(os.Args[2:]))
	}
	os.Exit(run(os.Args[1:]))
}

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(os.Stderr, "lockkeeper-agent:", err)
	var f *failure
	if errors.As(err, &f) {
		return exitFailed
	}
	return exitUsage
}

const defaultStateDir = "/var/lib/lockkeeper-agent"

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "lockkeeper-agent",
		Short: "Applies bundles and reboots this host while it holds a slot",
		Long: `lockkeeper-agent runs on every host. It applies a bundle and reboots only while
it holds one of its group's slots, and does nothing while no coordinator answers.

Every flag is also an environment variable: --state-dir is LOCKKEEPER_STATE_DIR.
A flag wins over the environment, that over the default.

Exit codes: 0 stopped on request, 1 could not start or failed, 2 wrong flags.`,
		Version:       cli.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.PersistentFlags().String("state-dir", defaultStateDir, "folder of journal, instance id and pinned cluster")
	root.AddCommand(newRun(), newReboot(), newTrust(), newStatus(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "lockkeeper-agent", cli.Version())
		},
	})
	cli.BindEnv(root)
	cli.PlainErrors(root, func(err error) error { return err })
	return root
}

func stateDir(cmd *cobra.Command) string {
	dir, _ := cmd.Flags().GetString("state-dir") // defined on the root
	return dir
}
