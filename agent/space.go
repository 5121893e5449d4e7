package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"

	"golang.org/x/sys/unix"
)

// spare is what has to stay free on a file system beside what is written to
// it, in bytes: for the journal, and for whoever else writes there.
const spare = 64 << 10

// disk names a failure by the disk where it is the disk's.
func disk(err error, otherwise string) string {
	var r *refusal
	if errors.As(err, &r) {
		return r.reason
	}
	for _, e := range []error{syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EIO} {
		if errors.Is(err, e) {
			return "disk"
		}
	}
	return otherwise
}

// room refuses what a file system has no room for, or takes no writes for.
func room(of string, st *unix.Statfs_t, bytes, files int64) error {
	if st.Flags&unix.ST_RDONLY != 0 {
		return refuse("disk", "%s is on a file system that is mounted read-only for the agent", of)
	}
	if free := int64(st.Bavail) * st.Bsize; free < bytes+spare {
		return refuse("disk", "%s is on a file system with %d bytes free; needed: %d, and %d to spare", of, free, bytes, spare)
	}
	if st.Files > 0 && int64(st.Ffree) < files {
		return refuse("disk", "%s is on a file system with room for %d files more; needed: %d", of, st.Ffree, files)
	}
	return nil
}

// roomIn refuses what the file system of a folder has no room for.
func roomIn(dir string, bytes, files int64) error {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return room(dir, &st, bytes, files)
}

// room looks whether there is room for all targets beside what they replace,
// and in the folder state for what is kept of that. It changes nothing.
func (t *tree) room(all []target, state string) error {
	type need struct {
		of           string
		st           unix.Statfs_t
		bytes, files int64
	}
	needs := map[unix.Fsid]*need{}
	kept := int64(0)
	for _, want := range all {
		st, err := t.statfs(path.Dir(want.path))
		if err != nil {
			return err
		}
		n := needs[st.Fsid]
		if n == nil {
			n = &need{of: "/" + path.Dir(want.path), st: st}
			needs[st.Fsid] = n
		}
		n.bytes += blocks(want.size)
		n.files++
		if err := room("/"+want.path, &st, n.bytes, n.files); err != nil {
			return err
		}
		now, err := t.look(want.path)
		if err != nil {
			return err
		}
		kept += blocks(now.size)
		now.Close()
	}
	var st unix.Statfs_t
	if err := unix.Statfs(state, &st); err != nil {
		return fmt.Errorf("%s: %w", state, err)
	}
	files := int64(len(all)) + 1
	if n := needs[st.Fsid]; n != nil {
		kept, files = kept+n.bytes, files+n.files
	}
	return room(state, &st, kept, files)
}

func blocks(n int64) int64 { return (n + 4095) / 4096 * 4096 }

// statfs asks the file system of a folder, or of the one above it that is there.
func (t *tree) statfs(dir string) (st unix.Statfs_t, err error) {
	for ; ; dir = path.Dir(dir) {
		in, err := t.folder(path.Join(dir, "x"), false)
		if errors.Is(err, fs.ErrNotExist) && dir != "." {
			continue
		}
		if err != nil {
			return st, err
		}
		defer in.Close()
		f, err := in.OpenFile(".", os.O_RDONLY, 0)
		if err != nil {
			return st, err
		}
		defer f.Close()
		return st, unix.Fstatfs(int(f.Fd()), &st)
	}
}
