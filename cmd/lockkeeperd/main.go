// Command lockkeeperd is the coordinator: it keeps the semaphores of a fleet
// in etcd, embedded or not, and serves the API, FleetLock, metrics and the dashboard.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // windows name time zones, and a host need not have them

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
)

// Exit codes, as `lockkeeperd --help` states them.
const (
	exitOK     = 0
	exitFailed = 1 // could not start, or stopped on an error
	exitUsage  = 2 // flags, environment or config file, an address, a certificate, a data dir or a disk that cannot be: do not start it again
	exitStore  = 3 // the store ended for good, or another one is in its place; start it again
)

// exitError carries the exit code of an error.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(os.Stderr, "lockkeeperd:", err)
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return exitUsage
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "lockkeeperd",
		Short: "The coordinator of a fleet: reboot slots in etcd",
		Long: `lockkeeperd keeps the reboot slots of a fleet in an embedded etcd, or in one
that you run already.

Every flag is also an environment variable: --data-dir is LOCKKEEPER_DATA_DIR.
A flag wins over the environment, that over the config file, that over the default.

Exit codes: 0 stopped on request, 1 could not start or failed, 2 wrong flags or
config, or what a person has to mend first, such as an address that is none, a
certificate or another file of the config that cannot be used, a data dir of
something else, damaged data or a disk that fails: starting again does not help,
3 the store ended for good or was replaced (start the program again).`,
		Version:       cli.Version(),
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.AddCommand(newServe(), newDev(), newRestore(), newRecover(), newSnapshot(), &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  cobra.NoArgs,
		Run: func(cmd *cobra.Command, _ []string) {
			fmt.Fprintln(cmd.OutOrStdout(), "lockkeeperd", cli.Version())
		},
	})
	cli.BindEnv(root)
	cli.PlainErrors(root, func(err error) error { return err })
	return root
}
