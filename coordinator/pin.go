package coordinator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
)

// pinFile is where a coordinator on an existing etcd remembers its cluster.
// Without it an etcd that was emptied would be taken for one that is new, and
// hosts would be given slots that others hold.
const pinFile = "cluster.json"

// errOtherCluster: the store does not hold the cluster that was served before.
var errOtherCluster = errors.New("this is not the cluster that this coordinator served before")

type pin struct {
	V       int    `json:"v"`
	Cluster string `json:"cluster"`
}

// checkPin refuses a store that does not hold the cluster which this
// coordinator served before.
func (c *Coordinator) checkPin(ctx context.Context, db *etcdstore.DB) error {
	if !c.cfg.Etcd.External() {
		return nil // what is beside an embedded store says that
	}
	path := filepath.Join(c.cfg.DataDir, pinFile)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var known pin
	if err := json.Unmarshal(text, &known); err != nil || known.Cluster == "" {
		return fmt.Errorf("%s cannot be read as what this coordinator wrote; delete it if the etcd is the right one", path)
	}
	id, err := db.ReadIdentity(ctx)
	if err != nil {
		return err
	}
	if id.ID != known.Cluster {
		what := "there is none"
		if id.ID != "" {
			what = "there is cluster " + id.ID
		}
		return fmt.Errorf("%w: that was %s, and under %s in the etcd %s; put the right endpoints, prefix or data back, or delete %s if another cluster is meant",
			errOtherCluster, known.Cluster, c.cfg.Etcd.prefix(), what, path)
	}
	return nil
}

// putPin remembers the cluster.
func (c *Coordinator) putPin(cluster string) error {
	if !c.cfg.Etcd.External() {
		return nil
	}
	text, err := json.Marshal(pin{V: 1, Cluster: cluster})
	if err != nil {
		return err
	}
	path := filepath.Join(c.cfg.DataDir, pinFile)
	if err := renameio.WriteFile(path, append(text, '\n'), 0o600, renameio.WithTempDir(c.cfg.DataDir)); err != nil {
		return fmt.Errorf("data folder %s cannot be written: %w", c.cfg.DataDir, err)
	}
	return nil
}
