package agent

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// attributes are a file's extended attributes: its SELinux label, its access
// list, its capabilities and what users have put there.
type attributes map[string][]byte

// seLinux labels belong to a place, not to a content: a file that replaces
// another one has its label, or its services may not read it.
const seLinux = "security.selinux"

func (a attributes) equal(b attributes) bool { return maps.EqualFunc(a, b, bytes.Equal) }

// attributesOf reads them all. A file system without them has none; one that
// this process may not read is left out.
func attributesOf(f *os.File) (attributes, error) {
	out := attributes{}
	names, err := grow(func(b []byte) (int, error) { return unix.Flistxattr(int(f.Fd()), b) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("extended attributes: %w", err)
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(names), "\x00"), "\x00") {
		if name == "" {
			continue
		}
		value, err := grow(func(b []byte) (int, error) { return unix.Fgetxattr(int(f.Fd()), name, b) })
		switch {
		case errors.Is(err, unix.ENODATA), errors.Is(err, unix.EPERM), errors.Is(err, unix.EOPNOTSUPP):
			continue
		case err != nil:
			return nil, fmt.Errorf("extended attribute %s: %w", name, err)
		}
		out[name] = value
	}
	return out, nil
}

// grow calls get with a buffer that is large enough.
func grow(get func([]byte) (int, error)) ([]byte, error) {
	for {
		n, err := get(nil)
		if err != nil || n == 0 {
			return nil, err
		}
		b := make([]byte, n)
		switch n, err = get(b); {
		case err == nil:
			return b[:n], nil
		case !errors.Is(err, unix.ERANGE):
			return nil, err
		}
	}
}

// labels are the attributes that the target is to have in place of old.
func (t *target) labels(old *present) attributes {
	if t.attrs != nil {
		return t.attrs
	}
	if label, ok := old.attrs[seLinux]; ok {
		return attributes{seLinux: label}
	}
	return nil
}

// setOn gives a file these attributes, and with all no others.
func (a attributes) setOn(f *os.File, all bool) error {
	if len(a) == 0 && !all {
		return nil
	}
	has, err := attributesOf(f)
	if err != nil {
		return err
	}
	if all {
		for name := range has {
			if _, keep := a[name]; keep {
				continue
			}
			if err := unix.Fremovexattr(int(f.Fd()), name); err != nil && !errors.Is(err, unix.ENODATA) {
				return fmt.Errorf("extended attribute %s: %w", name, err)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(a)) {
		if now, ok := has[name]; ok && bytes.Equal(now, a[name]) {
			continue
		}
		if err := unix.Fsetxattr(int(f.Fd()), name, a[name], 0); err != nil {
			return fmt.Errorf("extended attribute %s: %w", name, err)
		}
	}
	return nil
}
