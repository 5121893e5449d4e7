package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
)

// restoreFlags are the settings of `serve` that say where a store is.
var restoreFlags = []string{
	"data-dir", "name", "etcd-endpoints", "etcd-prefix", "etcd-ca", "etcd-cert", "etcd-key",
	"etcd-username", "etcd-password-file", "etcd-insecure", "log-level", "log-format",
}

func newRestore() *cobra.Command {
	cfg := coordinator.DefaultConfig()
	var file string
	cmd := &cobra.Command{
		Use:   "restore [FILE]",
		Short: "Put a snapshot back into an empty data dir",
		Long: `Put a snapshot back into a data dir that holds nothing.

The file is checked first. The cluster keeps its id and begins a new
incarnation: fences go on above all that were given before, also after the
snapshot, the fleet is frozen, and running rollouts are paused. Start the
coordinator then, and lift the freeze when the nodes have been heard. Give the
--name that serve has, or its --config: the member is called by it.

With --etcd-endpoints there is no FILE: put the backup back with etcd's own
tools, with every coordinator stopped, then run this to begin the incarnation.`,
		Args: cobra.MaximumNArgs(1),
		Example: `  lockkeeperd restore /backup/lockkeeper-6f1e….snapshot --data-dir /var/lib/lockkeeper
  lockkeeperd restore --etcd-endpoints https://etcd-1.example.com:2379`,
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "YAML config `FILE`, the one of serve")
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	bindConfig(all, &cfg)
	for _, name := range restoreFlags {
		flags.AddFlag(all.Lookup(name))
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		merged, err := mergeConfig(file, cfg, flags)
		if err != nil {
			return &exitError{exitUsage, nameSources(err, flags)}
		}
		return restore(cmd, merged, args)
	}
	return cmd
}

func restore(cmd *cobra.Command, cfg coordinator.Config, args []string) error {
	log := coordinator.NewLogger(cfg.Log, os.Stderr)
	var done coordinator.Restored
	var err error
	switch external := cfg.Etcd.External(); {
	case external && len(args) > 0:
		return &exitError{exitUsage, errors.New("FILE: the data of an existing etcd are put back with etcd's own tools; run this without a file then")}
	case external:
		done, err = coordinator.MarkRestored(cmd.Context(), cfg, log)
	case len(args) == 0:
		return &exitError{exitUsage, errors.New("want the FILE of a snapshot, as `lockkeeper snapshot create` makes it")}
	default:
		done, err = coordinator.Restore(cmd.Context(), cfg, args[0], log)
	}
	var setting *etcdnode.FileError
	switch {
	case errors.As(err, &setting):
		return &exitError{exitUsage, err}
	case err != nil:
		return &exitError{exitFailed, err}
	}
	report(cmd.OutOrStdout(), cfg, done)
	return nil
}

// report says what was done, and what is next.
func report(w io.Writer, cfg coordinator.Config, r coordinator.Restored) {
	if s := r.Snapshot; s.Path != "" {
		fmt.Fprintf(w, "Restored %s (%s, %d keys) into %s.\n", s.Path, cli.Bytes(s.Size), s.Keys, cfg.DataDir)
	}
	reportMarked(w, r)
	fmt.Fprintln(w, "Next: start the coordinator, wait until the nodes have reported, look at `lockkeeper status`, then `lockkeeper unfreeze`.")
}

// reportMarked says what the data are now.
func reportMarked(w io.Writer, r coordinator.Restored) {
	fmt.Fprintf(w, "Cluster      %s, made %s\n", r.Is.ID, r.Is.CreatedAt.Format(time.RFC3339))
	fmt.Fprintf(w, "Incarnation  %d, was %d\n", r.Is.Incarnation, r.Was.Incarnation)
	fmt.Fprintf(w, "Fences       above %d; the next that was known was %d\n", r.Is.FenceFloor, r.HighestFence)
	fmt.Fprintf(w, "Kept         groups %d, holds %d; places in queues that ended %d\n", r.Groups, r.Holds, r.Places)
	paused := "none was running"
	if len(r.Paused) > 0 {
		paused = strings.Join(r.Paused, ", ")
	}
	fmt.Fprintf(w, "Paused       %s\n", paused)
	fmt.Fprintf(w, "Frozen       the fleet, id %s, until `lockkeeper unfreeze`\n", r.Freeze.ID)
}

func newSnapshot() *cobra.Command {
	var asJSON bool
	verify := &cobra.Command{
		Use:   "verify FILE",
		Short: "Read a snapshot page by page",
		Long: `Read a snapshot page by page, and find out that it is one of Lockkeeper that
this program can restore. ` + "`lockkeeper snapshot verify`" + ` compares its SHA-256 only.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			info, err := coordinator.CheckSnapshot(args[0], coordinator.NewLogger(coordinator.LogConfig{Level: "warn", Format: "text"}, os.Stderr))
			if err != nil {
				return &exitError{exitFailed, err}
			}
			if asJSON {
				return json.NewEncoder(cmd.OutOrStdout()).Encode(info)
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s is whole: %s, revision %d, %d keys, form of etcd %s\n",
				info.Path, cli.Bytes(info.Size), info.Revision, info.Keys, info.EtcdVersion)
			return nil
		},
	}
	verify.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	cli.NoEnv(verify, "json")
	cmd := &cobra.Command{Use: "snapshot", Short: "Look into a snapshot", Args: cobra.NoArgs}
	cmd.AddCommand(verify)
	return cmd
}
