package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/version"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"

	"github.com/lockkeeper/lockkeeper/coordinator/snapshotfile"
)

// ErrExternalSnapshot: the store is an etcd that others run, which may hold
// other people's data too.
var ErrExternalSnapshot = errors.New("the store is an existing etcd: back it up there, with `etcdctl snapshot save`")

// ErrForeignSnapshot: the file is a whole snapshot, of something else.
var ErrForeignSnapshot = errors.New("not a snapshot of Lockkeeper")

// Snapshot streams the database as this member has it now, followed by its
// SHA-256; also without quorum. The caller closes it.
func (n *Node) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	n.use.RLock()
	defer n.use.RUnlock()
	if n.over.Load() {
		return nil, ErrStopped
	}
	return n.client.Snapshot(ctx)
}

// Snapshot is refused: who may administer Lockkeeper need not be the one who may
// read all of that etcd.
func (*External) Snapshot(context.Context) (io.ReadCloser, error) {
	return nil, ErrExternalSnapshot
}

// SnapshotInfo is what a snapshot holds.
type SnapshotInfo struct {
	snapshotfile.Info
	Revision    int64  `json:"revision"`
	Keys        int    `json:"keys"`
	EtcdVersion string `json:"etcd_version,omitempty"` // of the form of the data
}

// CheckSnapshot reads the file page by page, and finds out that it holds a
// cluster under the prefix, in a form that this program reads.
func CheckSnapshot(path, prefix string, log *slog.Logger) (SnapshotInfo, error) {
	var info SnapshotInfo
	var err error
	if info.Info, err = snapshotfile.Verify(path); err != nil {
		return info, err
	}
	var identity bool
	err = apart(log, func(lg *zap.Logger) error {
		// First of all in this goroutine: etcd's own check meets a damaged page in
		// one that a program cannot catch.
		if err := walk(path, info.Size); err != nil {
			return err
		}
		status, err := snapshot.NewV3(lg).Status(path)
		if err != nil {
			return err
		}
		info.Revision, info.Keys, info.EtcdVersion = status.Revision, status.TotalKey, status.Version
		identity, err = holds(path, prefix+"cluster/identity")
		return err
	})
	switch {
	case err != nil:
		return info, fmt.Errorf("%s: %w: %w; take another copy", path, snapshotfile.ErrDamaged, err)
	case !identity:
		return info, fmt.Errorf("%s: %w: it is whole, but there is no %scluster/identity in it", path, ErrForeignSnapshot, prefix)
	case newerThan(info.EtcdVersion, version.Version):
		return info, fmt.Errorf("%s: its data have the form of etcd %s, this program has etcd %s: restore it with the lockkeeperd that wrote it, or a newer one",
			path, info.EtcdVersion, version.Version)
	}
	return info, nil
}

// newerThan compares major and minor version. One that does not read is none.
func newerThan(a, b string) bool {
	var am, an, bm, bn int
	if _, err := fmt.Sscanf(a, "%d.%d", &am, &an); err != nil {
		return false
	}
	if _, err := fmt.Sscanf(b, "%d.%d", &bm, &bn); err != nil {
		return false
	}
	return am > bm || am == bm && an > bn
}

// apart runs a part of etcd that works on files in a goroutine of its own,
// since a message with which it would end the process blocks it for ever.
func apart(log *slog.Logger, work func(*zap.Logger) error) error {
	ended := make(chan error, 2)
	lg := newZapLogger(log, lastWords{func(message string) { ended <- errors.New(message) }}, new(sayings))
	go func() {
		// A page beyond the end of the file faults in the memory map.
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if r := recover(); r != nil {
				ended <- fmt.Errorf("etcd panicked: %v", r)
			}
		}()
		ended <- work(lg)
	}()
	return <-ended
}

// holds reports whether a database file has the key, at its last revision.
func holds(path, key string) (found bool, err error) {
	db, err := bolt.Open(path, 0o400, &bolt.Options{ReadOnly: true, Timeout: 5 * time.Second})
	if err != nil {
		return false, err
	}
	defer func() {
		if e := db.Close(); err == nil {
			err = e
		}
	}()
	err = db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("key"))
		if b == nil {
			return nil
		}
		c := b.Cursor()
		for k, v := c.Last(); k != nil; k, v = c.Prev() {
			var kv mvccpb.KeyValue
			if err := proto.Unmarshal(v, &kv); err != nil {
				return err
			}
			if string(kv.Key) == key {
				found = len(kv.Value) > 0 // a deletion has none
				return nil
			}
		}
		return nil
	})
	return found, err
}
