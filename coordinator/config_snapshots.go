package coordinator

import (
	"path/filepath"
	"strings"
	"time"
)

// SnapshotsConfig says where snapshots of the embedded store are kept.
type SnapshotsConfig struct {
	Dir   string        `yaml:"dir"`   // folder, made when absent; empty takes none
	Every time.Duration `yaml:"every"` // default 1h
	Keep  int           `yaml:"keep"`  // how many of this coordinator's, default 48
}

const maxSnapshotsKept = 10_000

// validate names what cannot be. A snapshot inside the data folder would be
// lost with it.
func (c *SnapshotsConfig) validate(dataDir string, external bool, bad func(field, format string, args ...any)) {
	if c.Every < time.Second || c.Every > 7*24*time.Hour {
		bad("snapshots.every", "%s: want 1s to 168h", c.Every)
	}
	if c.Keep < 1 || c.Keep > maxSnapshotsKept {
		bad("snapshots.keep", "%d: want 1 to %d", c.Keep, maxSnapshotsKept)
	}
	if c.Dir == "" {
		return
	}
	if external {
		bad("snapshots.dir", "is only for an embedded store: back an existing etcd up there, with `etcdctl snapshot save`")
		return
	}
	dir, err := filepath.Abs(c.Dir)
	if err != nil {
		bad("snapshots.dir", "%v", err)
		return
	}
	if data, err := filepath.Abs(dataDir); err == nil && (dir == data || strings.HasPrefix(dir, data+string(filepath.Separator))) {
		bad("snapshots.dir", "%s lies in the data folder, with which the snapshots would be lost: give a folder elsewhere, best on another disk", c.Dir)
	}
}
