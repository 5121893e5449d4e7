package etcdstore

import (
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

// Bounds of what is written, in bytes.
const (
	// maxRequest is what an etcd takes in one transaction unless it is told
	// otherwise.
	maxRequest = 3 << 19
	// maxSelection bounds the value that lists a rollout's nodes, and maxHead the
	// one that has its spec, when it is created.
	maxSelection = 1 << 20
	maxHead      = 1 << 20
	// spare is kept free beside both, for what is written with them later: what
	// became of waves and gates, nodes that join, the rollouts of an undo.
	spare = 128 << 10
)

// perOp is more than what etcd writes of an operation or a comparison beside its
// keys and value.
const perOp = 64

// size is what a transaction takes, and a little more.
func size(ifs []clientv3.Cmp, then []clientv3.Op) int {
	n := perOp
	for _, c := range ifs {
		n += perOp + len(c.KeyBytes())
	}
	for _, op := range then {
		n += perOp + len(op.KeyBytes()) + len(op.RangeBytes()) + len(op.ValueBytes())
	}
	return n
}

// fits refuses a transaction that is too large, before etcd does.
func fits(ifs []clientv3.Cmp, then []clientv3.Op) error {
	if n := size(ifs, then); n > maxRequest {
		return fmt.Errorf("%w: %d bytes, at most %d", rollout.ErrTooMuch, n, maxRequest)
	}
	return nil
}

// Fits implements rollout.Store.
func (s *Store) Fits(c rollout.Creation) error {
	_, _, err := s.creation(c)
	return err
}
