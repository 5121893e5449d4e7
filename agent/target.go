package agent

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os/user"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// target is a file as it is to be on this host.
type target struct {
	path     string // below the root, without the leading slash
	open     func() (io.ReadCloser, error)
	size     int64
	sum      string // SHA-256 of the content, in hex
	mode     fs.FileMode
	uid, gid int // -1: as they are
	// attrs are all extended attributes that the file is to have. Nil is what a
	// bundle says of them: the SELinux label of the file that it replaces.
	attrs attributes
}

// text makes a target's content of a text in memory.
func (t *target) text(b []byte) {
	t.open = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(b)), nil }
	t.size, t.sum = int64(len(b)), digest(b)
}

// refusal is why a bundle is not for this host, found before anything is done.
type refusal struct {
	reason string // api.Failure.Reason
	err    error
}

func (r *refusal) Error() string { return r.err.Error() }
func (r *refusal) Unwrap() error { return r.err }

func refuse(reason, format string, args ...any) error {
	return &refusal{reason, fmt.Errorf(format, args...)}
}

// targets are the files of a bundle as this host is to have them.
func (c *Config) targets(b *bundle.Bundle) ([]target, error) {
	out := make([]target, 0, len(b.Manifest.Files))
	for _, f := range b.Manifest.Files {
		if err := c.allowed(f.Path); err != nil {
			return nil, err
		}
		t := target{path: strings.TrimPrefix(f.Path, "/"), size: f.Size, sum: f.SHA256, uid: -1, gid: -1}
		t.open = func() (io.ReadCloser, error) { return b.Open(f.Path) }
		mode, err := strconv.ParseUint(f.Mode, 8, 32)
		if err != nil {
			return nil, err
		}
		t.mode = fs.FileMode(mode)
		if f.Render {
			if err := c.renderTarget(&t, b, f.Path); err != nil {
				return nil, err
			}
		}
		if f.Owner != "" {
			if t.uid, t.gid, err = owner(f.Owner); err != nil {
				return nil, refuse("plan", "%s: %w", f.Path, err)
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// renderTarget makes the target's content what it is on this host. It is made
// again for each reading, so that one file at most is in memory.
func (c *Config) renderTarget(t *target, b *bundle.Bundle, path string) error {
	make := func() ([]byte, error) {
		text, err := b.Content(path)
		if err != nil {
			return nil, err
		}
		return c.render(path, text)
	}
	text, err := make()
	if err != nil {
		return err
	}
	t.size, t.sum = int64(len(text)), digest(text)
	t.open = func() (io.ReadCloser, error) {
		text, err := make()
		return io.NopCloser(bytes.NewReader(text)), err
	}
	return nil
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
