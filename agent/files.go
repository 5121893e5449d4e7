package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/user"
	"path"
	"strconv"
	"strings"
	"syscall"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// maxPrevious is the largest file that is replaced, in bytes: it is kept.
const maxPrevious = 64 << 20

// target is a file as a bundle wants it on this host.
type target struct {
	path     string // below the root, without the leading slash
	content  []byte
	mode     fs.FileMode
	uid, gid int // -1: as they are
}

// tree is the host's files below its root. os.Root sees to it that no
// symbolic link leads out.
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

// targets renders the files of a bundle for this host.
func (c *Config) targets(b *bundle.Bundle) ([]target, error) {
	var out []target
	for _, f := range b.Manifest.Files {
		t := target{path: strings.TrimPrefix(f.Path, "/"), uid: -1, gid: -1}
		var err error
		if t.content, err = b.Content(f.Path); err != nil {
			return nil, err
		}
		mode, err := strconv.ParseUint(f.Mode, 8, 32)
		if err != nil {
			return nil, err
		}
		t.mode = fs.FileMode(mode)
		if f.Render {
			if t.content, err = c.render(f.Path, t.content); err != nil {
				return nil, err
			}
		}
		if f.Owner != "" {
			if t.uid, t.gid, err = owner(f.Owner); err != nil {
				return nil, fmt.Errorf("%s: %w", f.Path, err)
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// owner finds the numbers of "user:group" on this host.
func owner(text string) (uid, gid int, err error) {
	u, g, _ := strings.Cut(text, ":")
	if uid, err = strconv.Atoi(u); err != nil {
		found, err := user.Lookup(u)
		if err != nil {
			return 0, 0, fmt.Errorf("owner %q: %w", text, err)
		}
		if uid, err = strconv.Atoi(found.Uid); err != nil {
			return 0, 0, err
		}
	}
	if gid, err = strconv.Atoi(g); err != nil {
		found, err := user.LookupGroup(g)
		if err != nil {
			return 0, 0, fmt.Errorf("owner %q: %w", text, err)
		}
		if gid, err = strconv.Atoi(found.Gid); err != nil {
			return 0, 0, err
		}
	}
	return uid, gid, nil
}

// present is a file as it is now; content nil and mode 0 when it is not there.
type present struct {
	exists   bool
	content  []byte
	mode     fs.FileMode
	uid, gid int
}

func (t *tree) look(p string) (present, error) {
	info, err := t.root.Lstat(p)
	if errors.Is(err, fs.ErrNotExist) {
		return present{}, nil
	}
	if err != nil {
		return present{}, err
	}
	if !info.Mode().IsRegular() {
		return present{}, fmt.Errorf("/%s is a %s; accepted: a regular file, or nothing", p, kind(info.Mode()))
	}
	if info.Size() > maxPrevious {
		return present{}, fmt.Errorf("/%s has %d bytes; accepted: files of at most %d, because they are kept", p, info.Size(), maxPrevious)
	}
	out := present{exists: true, mode: info.Mode().Perm()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		out.uid, out.gid = int(st.Uid), int(st.Gid)
		out.mode |= fs.FileMode(st.Mode) & 0o7000 // set-user-id and the like, as chmod counts them
	}
	f, err := t.root.Open(p)
	if err != nil {
		return present{}, err
	}
	defer f.Close()
	out.content, err = io.ReadAll(io.LimitReader(f, maxPrevious+1))
	return out, err
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
func (p *present) is(t target) bool {
	return p.exists && p.mode == t.mode && bytes.Equal(p.content, t.content) &&
		(t.uid < 0 || p.uid == t.uid && p.gid == t.gid)
}

// diff lists the targets that are not yet as they should be.
func (t *tree) diff(all []target) ([]target, error) {
	var out []target
	for _, want := range all {
		now, err := t.look(want.path)
		if err != nil {
			return nil, err
		}
		if !now.is(want) {
			out = append(out, want)
		}
	}
	return out, nil
}

// install puts targets in place: all are written beside first, so that a full
// disk changes nothing, and then each is renamed. It may be called again.
func (t *tree) install(id string, all []target) (err error) {
	temps := make([]string, len(all))
	defer func() {
		if err == nil {
			return
		}
		for _, name := range temps {
			if name != "" {
				_ = t.root.Remove(name) // whatever is left is overwritten by the next try
			}
		}
	}()
	for i, want := range all {
		dir := path.Dir(want.path)
		if err := t.root.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("/%s: %w", want.path, err)
		}
		temps[i] = tempName(id, want.path)
		if err := t.writeTemp(temps[i], want); err != nil {
			return fmt.Errorf("/%s: %w", want.path, err)
		}
		if err := t.step("temp " + want.path); err != nil {
			temps = nil // a crash cleans nothing up
			return err
		}
	}
	for i, want := range all {
		if err := t.root.Rename(temps[i], want.path); err != nil {
			return fmt.Errorf("/%s: %w", want.path, err)
		}
		temps[i] = ""
		if err := t.step("rename " + want.path); err != nil {
			temps = nil
			return err
		}
	}
	return t.sync(all)
}

// tempName is beside the file, and the same for each try.
func tempName(id, p string) string {
	return path.Join(path.Dir(p), ".lockkeeper-"+id+"-"+digest([]byte(p))[:12])
}

// ownerOf is whose the file is to be: as the target says, else as it is now;
// -1 is this process's own, where there is no file.
func (t *tree) ownerOf(want target) (uid, gid int, err error) {
	if want.uid >= 0 {
		return want.uid, want.gid, nil
	}
	info, err := t.root.Lstat(want.path)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, -1, nil
	}
	if err != nil {
		return -1, -1, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) == os.Geteuid() && int(st.Gid) == os.Getegid() {
		return -1, -1, nil
	}
	return int(st.Uid), int(st.Gid), nil
}

func (t *tree) writeTemp(name string, want target) error {
	if err := t.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := t.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(want.content); err != nil {
		return err
	}
	uid, gid, err := t.ownerOf(want)
	if err != nil {
		return err
	}
	if uid >= 0 {
		if err := f.Chown(uid, gid); err != nil {
			return err
		}
	}
	// By number: fs.FileMode has the special bits elsewhere.
	if err := syscall.Fchmod(int(f.Fd()), uint32(want.mode)); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return f.Close()
}

// sync makes what happened in the targets' folders durable, and in those above
// them, which may have been made.
func (t *tree) sync(all []target) error {
	done := map[string]bool{}
	for _, want := range all {
		for dir := path.Dir(want.path); !done[dir]; dir = path.Dir(dir) {
			done[dir] = true
			d, err := t.root.Open(dir)
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed on the way back
			}
			if err != nil {
				return err
			}
			err = d.Sync()
			d.Close()
			if err != nil {
				return err
			}
		}
	}
	return nil
}
