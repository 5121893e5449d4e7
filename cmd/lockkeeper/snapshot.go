package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/snapshotfile"
)

func (a *app) snapshotCommand() *cobra.Command {
	return noun("snapshot", "Backups of the store", a.snapshotCreate(), a.snapshotList(), a.snapshotVerify())
}

func (a *app) snapshotCreate() *cobra.Command {
	return &cobra.Command{
		Use:   "create [FILE]",
		Short: "Take a snapshot of the store into a file here",
		Long: `Take a snapshot of the coordinator's store into a file on this host.

The file is whole and checked, or is not there at all. It holds everything that
the coordinator knows, the digests of the tokens too: only its owner may read
it. "lockkeeperd restore" puts it back. Without FILE it is named by cluster and
time.`,
		Example: `  lockkeeper snapshot create
  lockkeeper snapshot create /backup/before-the-move.snapshot`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			path := ""
			if len(args) > 0 {
				path = args[0]
			} else {
				cl, err := c.Cluster(cmd.Context())
				if err != nil {
					return err
				}
				path = fmt.Sprintf("lockkeeper-%s-%s%s", cl.ID, a.now().UTC().Format("20060102T150405Z"), snapshotfile.Suffix)
			}
			// What is known beforehand is nothing to ask the coordinator about.
			if _, err := os.Lstat(path); err == nil {
				return usagef("%s is there already: give another name", path)
			}
			if st, err := os.Stat(filepath.Dir(path)); err != nil || !st.IsDir() {
				return usagef("%s: there is no folder %s", path, filepath.Dir(path))
			}
			r, err := c.Snapshot(cmd.Context())
			if err != nil {
				return err
			}
			defer r.Close()
			info, err := snapshotfile.Write(path, r)
			if err != nil {
				return err
			}
			return a.print(info, func() error {
				a.say("%s: %s, whole", cli.Cell(info.Path), cli.Bytes(info.Size))
				return nil
			})
		},
	}
}

func (a *app) snapshotVerify() *cobra.Command {
	return &cobra.Command{
		Use:   "verify FILE",
		Short: "Find out whether a snapshot is whole",
		Long: `Find out whether a snapshot is whole: its contents are compared with the SHA-256
at its end. No coordinator is asked. "lockkeeperd snapshot verify" reads its
pages too, and finds out whether it can be restored.`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			info, err := snapshotfile.Verify(args[0])
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
				return usageError{err}
			}
			if err != nil {
				return err
			}
			return a.print(info, func() error {
				a.say("%s is whole: %s, SHA-256 %s", cli.Cell(info.Path), cli.Bytes(info.Size), info.SHA256)
				return nil
			})
		},
	}
}

func (a *app) snapshotList() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "The scheduled snapshots that the coordinator keeps",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			list, err := c.Snapshots(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(list, func() error { return a.printSnapshots(list) })
		},
	}
}

func (a *app) printSnapshots(list api.SnapshotList) error {
	if !list.Scheduled {
		a.say("This coordinator takes no snapshots by itself: give it --snapshots-dir.")
		return nil
	}
	err := a.facts("Folder", cli.Cell(list.Dir), "Every", cli.Cell(list.Every), "Keeps", strconv.Itoa(list.Keep), "Failure", cli.Cell(list.Failure))
	if err != nil {
		return err
	}
	fmt.Fprintln(a.out)
	rows := make([][]string, 0, len(list.Snapshots))
	for _, s := range list.Snapshots {
		rows = append(rows, []string{cli.Cell(s.Name), cli.Bytes(s.Size), ago(s.At, a.now())})
	}
	return a.table("None was taken yet.", []string{"FILE", "SIZE", "TAKEN"}, rows)
}
