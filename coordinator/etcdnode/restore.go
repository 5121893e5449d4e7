package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
)

// RestoreConfig says what to restore, and where.
type RestoreConfig struct {
	// Config of the member that is made: DataDir, Name, Logger, Quota.
	Config
	File   string // the snapshot
	Prefix string // of the keys that make it one of Lockkeeper, "/lockkeeper/"
	// Prepare changes the restored data before anybody can be served from them.
	// It is called with a running member that nobody else can reach.
	Prepare func(ctx context.Context, n *Node) error
}

// revisionJump is the least by which a restore raises the store's revision.
const revisionJump = 1_000_000_000

// Restore makes a new cluster of one member in a folder that holds nothing, with
// the data of a snapshot. The file is checked first; nothing is written when it
// is not whole or the folder is not empty (ErrNotEmpty). The folder can be
// started only when all is done: one that was cut off is ErrRestoring there,
// and is begun anew by restoring into it again.
//
// Revisions go on above all that there were, so that nobody takes an old one
// for a new one, and watches of before begin anew.
func Restore(ctx context.Context, cfg RestoreConfig) (SnapshotInfo, error) {
	var err error
	if cfg.Config, err = cfg.withDefaults(); err != nil {
		return SnapshotInfo{}, err
	}
	info, err := CheckSnapshot(cfg.File, cfg.Prefix, cfg.Logger)
	if err != nil {
		return info, err
	}
	if err := checkRoom(cfg.DataDir, info.Size); err != nil {
		return info, err
	}
	lock, err := emptyFolder(ctx, cfg.DataDir)
	if err != nil {
		return info, err
	}
	defer lock.Close()

	m := newMarker(cfg.Name)
	m.Restoring = cfg.File
	if err := m.write(cfg.DataDir); err != nil {
		return info, err
	}
	dir := filepath.Join(cfg.DataDir, etcdDir)
	if err := os.RemoveAll(dir); err != nil { // of a restore that was cut off
		return info, fmt.Errorf("data folder %s cannot be written: %w", cfg.DataDir, err)
	}
	err = apart(cfg.Logger, func(lg *zap.Logger) error {
		return snapshot.NewV3(lg).Restore(snapshot.RestoreConfig{
			SnapshotPath: cfg.File, OutputDataDir: dir,
			Name: m.Name, PeerURLs: []string{peerURL}, InitialCluster: m.Name + "=" + peerURL, InitialClusterToken: m.Token,
			RevisionBump: bump(info.Revision, time.Now()), MarkCompacted: true,
		})
	})
	if err != nil {
		return info, fmt.Errorf("data folder %s: the snapshot cannot be put back: %w", cfg.DataDir, err)
	}
	if err := prepare(ctx, cfg, m); err != nil {
		return info, fmt.Errorf("data folder %s: %w", cfg.DataDir, err)
	}
	m.Restoring, m.Complete = "", true
	return info, m.write(cfg.DataDir)
}

// bump is what to add to a snapshot's revision. Two restores of one snapshot
// give different revisions, since time has passed, also after a change in
// between; see semaphore.RestoredFloor.
func bump(revision int64, now time.Time) uint64 {
	return uint64(max(revisionJump, now.UnixMicro()-revision))
}

// checkRoom refuses to begin what would not fit: the data twice, beside what
// etcd needs to run.
func checkRoom(dir string, size int64) error {
	for {
		free, err := diskFree(dir)
		if errors.Is(err, os.ErrNotExist) && dir != filepath.Dir(dir) {
			dir = filepath.Dir(dir)
			continue
		}
		if need := 2*size + GrantFloor; err == nil && free < need {
			return fmt.Errorf("folder %s: %d MB are free, a restore needs %d MB there", dir, free>>20, need>>20)
		}
		return err
	}
}

// emptyFolder makes and locks the folder, and makes sure that it holds nothing
// but an earlier restore that was cut off.
func emptyFolder(ctx context.Context, dir string) (*os.File, error) {
	if err := wantEmpty(dir); err != nil {
		return nil, err // without even a lock in it
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("data folder %s cannot be made: %w; give a folder that this user may write", dir, err)
	}
	lock, err := lockFolder(ctx, dir, lockWait)
	if err != nil {
		return nil, err
	}
	if err := wantEmpty(dir); err != nil { // another may have been here first
		return nil, errors.Join(err, lock.Close())
	}
	return lock, nil
}

func wantEmpty(dir string) error {
	others, err := contents(dir)
	if err != nil {
		return err
	}
	if len(others) > 0 && !cutOff(dir) {
		return fmt.Errorf("data folder %s: %w: it has %s; move it away, or give another folder", dir, ErrNotEmpty, strings.Join(others, ", "))
	}
	return nil
}

// contents names what a folder holds, beside what is in every one.
func contents(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("data folder %s cannot be read: %w", dir, err)
	}
	var names []string
	for _, e := range entries {
		if e.Name() != lockFile && e.Name() != "lost+found" {
			names = append(names, e.Name())
		}
	}
	return names, nil
}

// cutOff reports whether the folder holds a restore that did not come to its end.
func cutOff(dir string) bool {
	m, err := readMarker(dir)
	return err == nil && !m.Complete && m.Restoring != ""
}

// prepare runs the restored member for as long as Prepare takes.
func prepare(ctx context.Context, cfg RestoreConfig, m *marker) (err error) {
	n := &Node{cfg: cfg.Config, fatal: make(chan error, 1), changed: make(chan struct{})}
	if err := n.startEtcd(ctx, m); err != nil {
		return err
	}
	n.client = inProcess(n.etcd.Server)
	n.client.KV = guardedKV{KV: n.client.KV, over: &n.over}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	done := make(chan error, 1)
	go func() { done <- cfg.Prepare(ctx, n) }()
	select {
	case err = <-done:
	case err = <-n.fatal:
		// Nothing of a store that ended for good can be closed.
		cancel(err)
		return err
	}
	_ = n.client.Close() // says "context canceled" when all is well
	return errors.Join(err, n.close())
}
