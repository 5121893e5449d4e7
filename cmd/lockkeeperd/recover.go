package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
)

// recoverFlags are the settings of `serve` that say where a store is.
var recoverFlags = []string{"data-dir", "log-level", "log-format"}

func newRecover() *cobra.Command {
	cfg := coordinator.DefaultConfig()
	var file string
	var opts coordinator.RecoverOptions
	cmd := &cobra.Command{
		Use:   "recover --lost NAME…",
		Short: "Go on with one member when the majority is lost for good",
		Long: `Make of the data dir of a member that is left a cluster of this one member, when
so many of the others are lost for good that no majority will come back.

Every other member is named with --lost, and none may be there any more: while one
takes connections nothing is done. Of several that are left take the one whose log
has the higher term, then the higher index, as --dry-run shows it.

The cluster keeps its id and begins a new incarnation, as after a restore: fences
go on above all that were given, the fleet is frozen, and running rollouts are
paused. Members of before can join it anew, with empty data dirs, and never
otherwise. If this is cut off, run it again.`,
		Args: cobra.NoArgs,
		Example: `  lockkeeperd recover --data-dir /var/lib/lockkeeper --lost lock-2 --lost lock-3 --dry-run
  lockkeeperd recover --data-dir /var/lib/lockkeeper --lost lock-2 --lost lock-3`,
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "config", "", "YAML config `FILE`, the one of serve")
	flags.StringSliceVar(&opts.Lost, "lost", nil, "`NAME` or id of a member that is lost for good (repeatable; all others of the cluster)")
	flags.BoolVar(&opts.DryRun, "dry-run", false, "say what would be done and what may be lost, and change nothing")
	cli.NoEnv(cmd, "lost", "dry-run")
	all := pflag.NewFlagSet("", pflag.ContinueOnError)
	bindConfig(all, &cfg)
	for _, name := range recoverFlags {
		flags.AddFlag(all.Lookup(name))
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		merged, err := mergeConfig(file, cfg, flags)
		if err != nil {
			return &exitError{exitUsage, nameSources(err, flags)}
		}
		if merged.Etcd.External() {
			return &exitError{exitUsage, errors.New("the store is an existing etcd: recover it there, with etcd's own tools, then run `lockkeeperd restore` without a file")}
		}
		out := cmd.OutOrStdout()
		opts.Begin = func(r etcdnode.Recovery) { found(out, merged, r) }
		done, err := coordinator.Recover(cmd.Context(), merged, opts, coordinator.NewLogger(merged.Log, os.Stderr))
		switch {
		case coordinator.IsLostNotNamed(err):
			return &exitError{exitUsage, fmt.Errorf("--lost: %w", err)}
		case err != nil:
			return &exitError{exitFailed, err}
		case opts.DryRun:
			fmt.Fprintln(out, "Nothing was changed. Without --dry-run this is done.")
			return nil
		case done.Resumed:
			fmt.Fprintln(out, "Done.")
		default:
			reportMarked(out, done.Restored)
		}
		fmt.Fprintln(out, "Next: start the coordinator, wait until the nodes have reported, look at `lockkeeper status`, then `lockkeeper unfreeze`. Members more join with empty data dirs.")
		return nil
	}
	return cmd
}

// found says what is there, what will be done, and what may be lost.
func found(w io.Writer, cfg coordinator.Config, r etcdnode.Recovery) {
	if r.Resumed {
		fmt.Fprintf(w, "The recovery of %s was cut off in its last step, which is finished now; what was there before is kept in %s.\n", cfg.DataDir, r.Aside)
		return
	}
	var lost []string
	for _, p := range r.Lost {
		lost = append(lost, fmt.Sprintf("%s (%s, no answer)", p.Called(), p.PeerURL))
	}
	log := fmt.Sprintf("term %d, index %d", r.Term, r.Last)
	if r.Unsure > 0 {
		log += fmt.Sprintf("; of the last %d entries it did not know that a majority has them: they are kept", r.Unsure)
	}
	fmt.Fprintf(w, "Member       %s (%s)\n", r.Member.Called(), r.Member.ID)
	fmt.Fprintf(w, "Log          %s\n", log)
	fmt.Fprintf(w, "Lost         %s\n", strings.Join(lost, ", "))
	fmt.Fprintf(w, "Result       a cluster of this one member, the same cluster in a new incarnation, frozen\n")
	fmt.Fprintf(w, "May be lost  what only the lost members had: the last changes, if they agreed on them without this one\n")
	fmt.Fprintf(w, "Kept         the data as they are now, in %s\n", filepath.Base(r.Aside))
}
