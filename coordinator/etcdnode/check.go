package etcdnode

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.uber.org/zap"
)

// checkDatabase reads the whole database before etcd does: etcd opens it in a
// goroutine of its own, where a damaged page ends the process without a word
// that a program could catch.
func checkDatabase(dir string) (err error) {
	path := filepath.Join(dir, etcdDir, "member", "snap", "db")
	// A page beyond the end of the file faults in the memory map.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %s: %v", ErrCorrupt, path, r)
		}
	}()
	file, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("data folder %s cannot be read: %w", dir, err)
	}
	if err := walk(path, file.Size()); err != nil {
		if says(err, syscall.EACCES, syscall.EPERM, syscall.EIO) {
			return fmt.Errorf("data folder %s cannot be read: %w", dir, err)
		}
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, path, err)
	}
	return nil
}

// checkLog reads the whole log, and finds out that it goes as far as the database:
// a member that forgot what it had told the others that it has would end again
// and again, or let them lose it.
func checkLog(dir string, log *slog.Logger) error {
	etcd := filepath.Join(dir, etcdDir)
	var l raftLog
	err := apart(log, func(lg *zap.Logger) (err error) {
		l, err = readLog(lg, etcd)
		return err
	})
	if says(err, syscall.EACCES, syscall.EPERM, syscall.EIO, syscall.EMFILE) {
		return fmt.Errorf("data folder %s cannot be read: %w", dir, err)
	}
	if err != nil {
		return fmt.Errorf("%w: the log in %s: %w", ErrCorrupt, walDir(etcd), err)
	}
	_, applied, err := membersIn(filepath.Join(etcd, "member", "snap", "db"))
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrCorrupt, etcd, err)
	}
	last := l.start.GetIndex()
	if n := len(l.entries); n > 0 {
		last = l.entries[n-1].GetIndex()
	}
	if need := max(applied, l.state.GetCommit()); last < need {
		return fmt.Errorf("%w: the log in %s ends at entry %d, and its member had %d: its end is missing", ErrCorrupt, walDir(etcd), last, need)
	}
	return nil
}

// walk reads every page of a database that is in use, of a file of so many
// bytes. It panics on a damaged one.
func walk(path string, size int64) (err error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: 5 * time.Second})
	if err != nil {
		return err
	}
	defer func() {
		if e := db.Close(); err == nil {
			err = e
		}
	}()
	return db.View(func(tx *bolt.Tx) error {
		if want := tx.Size(); size < want {
			return fmt.Errorf("it has %d bytes of %d", size, want)
		}
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error {
			return b.ForEach(func(_, _ []byte) error { return nil })
		})
	})
}
