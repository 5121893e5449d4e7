package coordinator

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	rolloutstore "github.com/lockkeeper/lockkeeper/coordinator/rollout/etcdstore"
)

// restoreTimeout bounds the changes that a restore makes to the data, once they
// are in place.
const restoreTimeout = 2 * time.Minute

// Restored is what a restore did.
type Restored struct {
	etcdstore.Restored
	Snapshot etcdnode.SnapshotInfo // zero for an existing etcd
	Paused   []string              // rollouts that ran
}

// CheckSnapshot reads a snapshot page by page; a file that is none of an
// embedded store of Lockkeeper, or not whole, is an error that says so.
func CheckSnapshot(file string, log *slog.Logger) (etcdnode.SnapshotInfo, error) {
	var embedded EtcdConfig
	return etcdnode.CheckSnapshot(file, embedded.prefix(), log)
}

// Restore puts a snapshot back into the data folder, which must hold nothing,
// as the cluster that it was of in a new incarnation: with fences above all
// that were given, frozen, its rollouts paused. Nobody is served from the
// folder before all of that is done.
func Restore(ctx context.Context, cfg Config, file string, log *slog.Logger) (Restored, error) {
	cfg = cfg.withDefaults()
	var done Restored
	prefix := cfg.Etcd.prefix()
	info, err := etcdnode.Restore(ctx, etcdnode.RestoreConfig{
		Config: etcdnode.Config{DataDir: cfg.DataDir, Name: cfg.Name, Logger: log, Quota: cfg.Etcd.Quota},
		File:   file, Prefix: prefix,
		Prepare: func(ctx context.Context, n *etcdnode.Node) error {
			return done.markAlone(ctx, n, prefix, filepath.Base(file))
		},
	})
	done.Snapshot = info
	return done, err
}

// MarkRestored does to the data of an existing etcd, after they were put back
// there, what Restore does to those in a folder. Every coordinator must have
// been stopped.
func MarkRestored(ctx context.Context, cfg Config, log *slog.Logger) (done Restored, err error) {
	cfg = cfg.withDefaults()
	node, err := connect(ctx, cfg.Etcd, log)
	if err != nil {
		return done, err
	}
	defer func() {
		stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
		defer cancel()
		err = errors.Join(err, node.Stop(stop))
	}()
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	return done, done.mark(ctx, node, cfg.Etcd.prefix(), "a backup of the etcd")
}

// markAlone is mark in a folder that is locked, where no other coordinator can be
// present.
func (r *Restored) markAlone(ctx context.Context, node etcdnode.Etcd, prefix, source string) error {
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	if err := etcdstore.DropCoordinators(ctx, node.Client(), prefix); err != nil {
		return err
	}
	return r.mark(ctx, node, prefix, source)
}

func (r *Restored) mark(ctx context.Context, node etcdnode.Etcd, prefix, source string) error {
	var err error
	if r.Restored, err = etcdstore.MarkRestored(ctx, node.Client(), prefix, source, time.Now()); err != nil {
		return fmt.Errorf("begin a new incarnation: %w", err)
	}
	if r.Paused, err = rolloutstore.PauseAll(ctx, node.Client(), prefix, r.Freeze.By, r.Freeze.Reason); err != nil {
		return fmt.Errorf("pause the rollouts: %w", err)
	}
	return nil
}
