package etcdnode

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	bolt "go.etcd.io/bbolt"
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
			err = fmt.Errorf("%w: %s: %v; put a copy of the data folder in its place", ErrCorrupt, path, r)
		}
	}()
	file, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("data folder %s cannot be read: %w", dir, err)
	}
	if err := walk(path, file.Size()); err != nil {
		if os.IsPermission(err) {
			return fmt.Errorf("data folder %s cannot be read: %w", dir, err)
		}
		return fmt.Errorf("%w: %s: %w; put a copy of the data folder in its place", ErrCorrupt, path, err)
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
