package agent

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// maxPrevious is the largest file that is replaced, in bytes: it is kept.
const maxPrevious = bundle.MaxLinked

// tree is the host's files below its root. Nothing is read or written through
// a symbolic link, whoever makes one and whenever: each folder is opened below
// the one before it, and compared with what was looked at.
type tree struct {
	root *os.Root
	step func(name string) error
}

func openTree(root string, step func(string) error) (*tree, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	return &tree{root: r, step: step}, nil
}

// folder opens the folder that a file is in; the caller closes it. With make it
// and those above are made where they are missing.
func (t *tree) folder(file string, make bool) (*os.Root, error) {
	dir, err := t.root.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	names := strings.Split(path.Dir(file), "/")
	for i, name := range names {
		if name == "." {
			continue
		}
		below, err := enter(dir, name, make)
		dir.Close()
		if err != nil {
			return nil, fmt.Errorf("/%s: %w", path.Join(names[:i+1]...), err)
		}
		dir = below
	}
	return dir, nil
}

// enter opens the folder of that name in dir.
func enter(dir *os.Root, name string, make bool) (*os.Root, error) {
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) && make {
		if err := dir.Mkdir(name, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, cause(err)
		}
		if err := dir.Chmod(name, 0o755); err != nil { // whatever the umask
			return nil, cause(err)
		}
		info, err = dir.Lstat(name)
	}
	if err != nil {
		return nil, cause(err)
	}
	if !info.IsDir() {
		if to, err := dir.Readlink(name); err == nil {
			return nil, refuse("path", "it is a symbolic link to %q; accepted: folders, so name the file by the path that the link leads to", to)
		}
		return nil, refuse("path", "it is a %s; accepted: a folder", kind(info.Mode()))
	}
	below, err := dir.OpenRoot(name)
	if err != nil {
		return nil, cause(err)
	}
	if now, err := below.Stat("."); err != nil || !os.SameFile(info, now) {
		below.Close()
		return nil, refuse("path", "it was replaced while it was opened; accepted: a folder that stays")
	}
	return below, nil
}

// cause is the error without the name that it was found under, which is only a
// part of the path.
func cause(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// present is a file as it is now. The zero one is not there.
type present struct {
	file     *os.File // open for reading; the caller closes it
	size     int64
	mode     fs.FileMode
	uid, gid int
	attrs    attributes
}

func (p *present) exists() bool { return p.file != nil }

func (p *present) Close() {
	if p.file != nil {
		p.file.Close()
	}
}

// look opens a file and says what it is.
func (t *tree) look(p string) (present, error) {
	dir, err := t.folder(p, false)
	if errors.Is(err, fs.ErrNotExist) {
		return present{}, nil
	}
	if err != nil {
		return present{}, err
	}
	defer dir.Close()
	now, err := lookIn(dir, path.Base(p))
	if err != nil {
		return present{}, fmt.Errorf("/%s: %w", p, err)
	}
	return now, nil
}

func lookIn(dir *os.Root, name string) (out present, err error) {
	info, err := dir.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return present{}, nil
	}
	if err != nil {
		return present{}, cause(err)
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case !ok || !info.Mode().IsRegular():
		return present{}, refuse("path", "it is a %s; accepted: a regular file, or nothing", kind(info.Mode()))
	case st.Nlink > 1:
		return present{}, refuse("path", "it has %d names (hard links), of which one would be replaced; accepted: a file with one name", st.Nlink)
	case info.Size() > maxPrevious:
		return present{}, refuse("path", "it has %d bytes; accepted: files of at most %d, because they are kept", info.Size(), int64(maxPrevious))
	}
	// Not to wait for whoever writes a named pipe, should it be one by now.
	f, err := dir.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return present{}, cause(err)
	}
	defer func() {
		if err != nil {
			f.Close()
		}
	}()
	if now, err := f.Stat(); err != nil || !os.SameFile(info, now) {
		return present{}, refuse("path", "it was replaced while it was opened; accepted: a file that stays")
	}
	out = present{file: f, size: info.Size(), uid: int(st.Uid), gid: int(st.Gid)}
	out.mode = info.Mode().Perm() | fs.FileMode(st.Mode)&0o7000 // set-user-id and the like, as chmod counts them
	if out.attrs, err = attributesOf(f); err != nil {
		return present{}, err
	}
	return out, nil
}

func kind(m fs.FileMode) string {
	switch {
	case m.IsDir():
		return "folder"
	case m&fs.ModeSymlink != 0:
		return "symbolic link"
	}
	return "special file"
}

// is reports whether the file is as the target wants it.
func (p *present) is(t target) (bool, error) {
	if !p.exists() || p.mode != t.mode || p.size != t.size || t.uid >= 0 && (p.uid != t.uid || p.gid != t.gid) {
		return false, nil
	}
	if t.attrs != nil && !p.attrs.equal(t.attrs) {
		return false, nil
	}
	sum := sha256.New()
	if _, err := io.Copy(sum, p.file); err != nil {
		return false, err
	}
	return hex.EncodeToString(sum.Sum(nil)) == t.sum, nil
}

// diff lists the targets that are not yet as they should be.
func (t *tree) diff(all []target) ([]target, error) {
	var out []target
	for _, want := range all {
		same, err := t.has(want)
		if err != nil {
			return nil, err
		}
		if !same {
			out = append(out, want)
		}
	}
	return out, nil
}

func (t *tree) has(want target) (bool, error) {
	now, err := t.look(want.path)
	if err != nil {
		return false, err
	}
	defer now.Close()
	return now.is(want)
}
