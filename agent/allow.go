package agent

import (
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"slices"
	"strings"
)

// never are folders of the kernel's, in which nothing stays.
var never = []string{"/proc", "/sys", "/dev"}

// allowed refuses a path that is not for bundles on this host: outside
// Config.Paths, in one of the kernel's folders, or among the agent's own state.
func (c *Config) allowed(p string) error {
	if !slices.ContainsFunc(c.Paths, func(dir string) bool { return within(p, dir) }) {
		return refuse("path", "%s is outside of what this agent may write; accepted: paths below %s", p, strings.Join(c.Paths, ", "))
	}
	for _, dir := range never {
		if within(p, dir) {
			return refuse("path", "%s is in %s, which is the kernel's; accepted: paths on a file system that keeps files", p, dir)
		}
	}
	if rel, err := filepath.Rel(c.Host.Root(), c.StateDir); err == nil && filepath.IsLocal(rel) && within(p, "/"+rel) {
		return refuse("path", "%s is in %s, where this agent keeps its own state; accepted: any other folder", p, "/"+rel)
	}
	return nil
}

// within reports whether p is dir or below it; both are clean and absolute.
func within(p, dir string) bool {
	return dir == "/" || p == dir || strings.HasPrefix(p, dir+"/")
}

// checkPaths completes and checks Paths.
func (c *Config) checkPaths() error {
	if len(c.Paths) == 0 {
		c.Paths = []string{"/"}
	}
	for _, p := range c.Paths {
		if !path.IsAbs(p) || path.Clean(p) != p {
			return fmt.Errorf("allowed path %q: want an absolute path without . or .. or // in it, and without / at its end, such as /etc", p)
		}
	}
	if c.StateDir != "" && !filepath.IsAbs(c.StateDir) {
		return errors.New("agent: StateDir must be absolute")
	}
	return nil
}
