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
	"syscall"
)

// install puts targets in place: all are written beside first, so that a full
// disk changes nothing, and then each is renamed. It may be called again.
func (t *tree) install(id string, all []target) error {
	err := t.writeTemps(id, all)
	if err == nil {
		err = t.renameTemps(id, all)
	}
	switch {
	case err == nil:
		return t.sync(all)
	case !ends(err): // a crash cleans nothing up
		_ = t.removeTemps(id, all) // whatever is left is overwritten by the next try
	}
	return err
}

func (t *tree) writeTemps(id string, all []target) error {
	for _, want := range all {
		if err := t.writeTemp(id, want); err != nil {
			return fmt.Errorf("/%s: %w", want.path, err)
		}
		if err := t.step("temp " + want.path); err != nil {
			return err
		}
	}
	return nil
}

func (t *tree) renameTemps(id string, all []target) error {
	for _, want := range all {
		dir, err := t.folder(want.path, false)
		if err != nil {
			return err
		}
		err = dir.Rename(tempName(id, want.path), path.Base(want.path))
		dir.Close()
		if err != nil {
			return fmt.Errorf("/%s: %w", want.path, cause(err))
		}
		if err := t.step("rename " + want.path); err != nil {
			return err
		}
	}
	return nil
}

// removeTemps removes what an install that did not end has left.
func (t *tree) removeTemps(id string, all []target) error {
	var errs []error
	for _, want := range all {
		errs = append(errs, t.remove(path.Join(path.Dir(want.path), tempName(id, want.path))))
	}
	return errors.Join(errs...)
}

// remove removes a file; one that is not there is removed.
func (t *tree) remove(file string) error {
	dir, err := t.folder(file, false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	// Looked at before: what is not there can be removed from a disk that takes
	// no writes, too.
	name := path.Base(file)
	if _, err := dir.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("/%s: %w", file, cause(err))
	}
	return nil
}

// tempName is the name beside the file under which it is written, the same for
// each try.
func tempName(id, p string) string { return ".lockkeeper-" + id + "-" + digest([]byte(p))[:12] }

// writeTemp writes a file beside the one that it is to replace, with the mode,
// the owner and the attributes that it is to have, and makes it durable.
func (t *tree) writeTemp(id string, want target) error {
	dir, err := t.folder(want.path, true)
	if err != nil {
		return err
	}
	defer dir.Close()
	name := tempName(id, want.path)
	if err := dir.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return cause(err)
	}
	old, err := lookIn(dir, path.Base(want.path))
	if err != nil {
		return err
	}
	defer old.Close()
	f, err := dir.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return cause(err)
	}
	defer f.Close()
	if err := fill(f, want); err != nil {
		return err
	}
	uid, gid := want.uid, want.gid
	if uid < 0 && old.exists() {
		uid, gid = old.uid, old.gid
	}
	if uid >= 0 && (uid != os.Geteuid() || gid != os.Getegid()) {
		if err := f.Chown(uid, gid); err != nil {
			return cause(err)
		}
	}
	// By number: fs.FileMode has the special bits elsewhere.
	if err := syscall.Fchmod(int(f.Fd()), uint32(want.mode)); err != nil {
		return err
	}
	if err := want.labels(&old).setOn(f, want.attrs != nil); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return cause(err)
	}
	return cause(f.Close())
}

// fill writes the content and compares it with what was verified.
func fill(to io.Writer, want target) error {
	from, err := want.open()
	if err != nil {
		return err
	}
	defer from.Close()
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(to, sum), from)
	if err != nil {
		return cause(err)
	}
	if n != want.size || hex.EncodeToString(sum.Sum(nil)) != want.sum {
		return errors.New("its content changed since it was verified")
	}
	return nil
}

// sync makes what happened in the targets' folders durable, and in those above
// them, which may have been made.
func (t *tree) sync(all []target) error {
	done := map[string]bool{}
	for _, want := range all {
		for dir := path.Dir(want.path); !done[dir]; dir = path.Dir(dir) {
			done[dir] = true
			if err := t.syncDir(dir); err != nil {
				return fmt.Errorf("/%s: %w", dir, cause(err))
			}
		}
	}
	return nil
}

func (t *tree) syncDir(dir string) error {
	in, err := t.folder(path.Join(dir, "x"), false)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed on the way back
	}
	if err != nil {
		return err
	}
	defer in.Close()
	d, err := in.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
