// Package snapshotfile writes files of snapshots and checks that they are whole.
// It needs nothing of etcd: a snapshot is the database, of whole pages, and then
// the SHA-256 of it.
package snapshotfile

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// Errors of Verify, wrapped with the file and what to do.
var (
	// ErrNoSnapshot: the file is something else, or was cut short.
	ErrNoSnapshot = errors.New("no snapshot, or one that was cut short")
	// ErrDamaged: the contents are not those that were written.
	ErrDamaged = errors.New("the snapshot is damaged")
)

// Suffix of the files' names.
const Suffix = ".snapshot"

// sector is what the size of a database is a multiple of, in bytes.
const sector = 512

// Info is a file that was found whole.
type Info struct {
	Path    string    `json:"path"`
	Size    int64     `json:"size"`   // bytes
	SHA256  string    `json:"sha256"` // of the database, in hexadecimal: the one that the file ends with
	Written time.Time `json:"written"`
}

// Verify reads the whole file and compares it with the SHA-256 at its end.
func Verify(path string) (Info, error) {
	f, err := os.Open(path)
	if err != nil {
		return Info{}, fmt.Errorf("snapshot: %w", err)
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return Info{}, fmt.Errorf("snapshot: %w", err)
	}
	if !st.Mode().IsRegular() {
		return Info{}, fmt.Errorf("%s: %w: want a file", path, ErrNoSnapshot)
	}
	data := st.Size() - sha256.Size
	if data < sector || data%sector != 0 {
		return Info{}, fmt.Errorf("%s: %w: its size is %d bytes, that of a snapshot is %d more than a multiple of %d; take another copy",
			path, ErrNoSnapshot, st.Size(), sha256.Size, sector)
	}
	sum := sha256.New()
	if _, err := io.CopyN(sum, f, data); err != nil {
		return Info{}, fmt.Errorf("%s cannot be read: %w", path, err)
	}
	end := make([]byte, sha256.Size)
	if _, err := io.ReadFull(f, end); err != nil {
		return Info{}, fmt.Errorf("%s cannot be read: %w", path, err)
	}
	got, want := hex.EncodeToString(sum.Sum(nil)), hex.EncodeToString(end)
	if got != want {
		return Info{}, fmt.Errorf("%s: %w, or is none: its contents have the SHA-256 %s, at its end stands %s; take another copy",
			path, ErrDamaged, got, want)
	}
	return Info{Path: path, Size: st.Size(), SHA256: got, Written: st.ModTime()}, nil
}

// Write makes the file of what src gives: all of it, checked and on the disk,
// or none. A file that is there already is an error.
func Write(path string, src io.Reader) (info Info, err error) {
	if _, err := os.Lstat(path); err == nil {
		return Info{}, fmt.Errorf("%s is there already: give another name", path)
	}
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, tempPattern)
	if err != nil {
		return Info{}, fmt.Errorf("folder %s cannot be written: %w", dir, err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = io.Copy(f, src)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		return Info{}, fmt.Errorf("the snapshot did not arrive as a whole, nothing is kept: %w", err)
	}
	if info, err = Verify(f.Name()); err != nil {
		return Info{}, fmt.Errorf("the snapshot did not arrive as a whole, nothing is kept: %w", err)
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return Info{}, err
	}
	info.Path = path
	return info, syncDir(dir)
}

// tempPattern of files that are being written.
const tempPattern = ".snapshot-*.part"

// RemoveParts deletes what writes that were cut off left in a folder, if it is
// older than age.
func RemoveParts(dir string, age time.Duration) error {
	parts, err := filepath.Glob(filepath.Join(dir, tempPattern))
	if err != nil {
		return err
	}
	var errs []error
	for _, path := range parts {
		if st, err := os.Stat(path); err == nil && time.Since(st.ModTime()) > age {
			errs = append(errs, os.Remove(path))
		}
	}
	return errors.Join(errs...)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
