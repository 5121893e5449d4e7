package cli

import (
	"runtime/debug"
	"sync"
)

// release is the version of a program that was built from no repository:
// -ldflags "-X github.com/lockkeeper/lockkeeper/cmd/internal/cli.release=v1.2.3".
var release string

// Version is the version of this program as it was linked with, or else as the
// Go command recorded it: a tag, or a pseudo-version with the commit; "devel" when
// built without either.
var Version = sync.OnceValue(func() string {
	if release != "" {
		return release
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "devel"
	}
	return version(info)
})

func version(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	revision, dirty := "", ""
	for _, s := range info.Settings {
		switch {
		case s.Key == "vcs.revision":
			revision = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if revision == "" {
		return "devel"
	}
	return "devel-" + revision[:min(12, len(revision))] + dirty
}
