package agent

import (
	"bufio"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

// required refuses a bundle that is not for a host like this one.
func (c *Config) required(r *bundle.Requires) error {
	if r == nil {
		return nil
	}
	if len(r.Arch) > 0 && !slices.Contains(r.Arch, runtime.GOARCH) {
		return refuse("requires", "the bundle is for %s, and this host is %s", strings.Join(r.Arch, ", "), runtime.GOARCH)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Labels)) {
		value, ok := c.Labels[name]
		if err := oneOf("label "+name, value, ok, r.Labels[name]); err != nil {
			return err
		}
	}
	if len(r.OSRelease) == 0 {
		return nil
	}
	os, err := osRelease(c.Host.Root())
	if err != nil {
		return refuse("requires", "what system this host has is not known: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(r.OSRelease)) {
		value, ok := os[name]
		if err := oneOf(name+" of os-release", value, ok, r.OSRelease[name]); err != nil {
			return err
		}
	}
	return nil
}

func oneOf(what, value string, ok bool, accepted []string) error {
	switch {
	case slices.Contains(accepted, value) && ok:
		return nil
	case !ok:
		return refuse("requires", "the bundle is for hosts with %s %s, and this host has none", what, strings.Join(accepted, " or "))
	}
	return refuse("requires", "the bundle is for hosts with %s %s, and this host has %s", what, strings.Join(accepted, " or "), value)
}

// osRelease reads os-release(5) below root.
func osRelease(root string) (map[string]string, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	f, err := r.Open("etc/os-release")
	if errors.Is(err, fs.ErrNotExist) {
		f, err = r.Open("usr/lib/os-release")
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	out := map[string]string{}
	lines := bufio.NewScanner(io.LimitReader(f, 64<<10))
	for lines.Scan() {
		name, value, ok := strings.Cut(strings.TrimSpace(lines.Text()), "=")
		if ok && !strings.HasPrefix(name, "#") {
			out[name] = unquote(value)
		}
	}
	return out, lines.Err()
}

// unquote reads a value as a shell would, as far as os-release(5) goes.
func unquote(v string) string {
	if u, err := strconv.Unquote(v); err == nil {
		return u
	}
	return strings.Trim(v, `'"`)
}
