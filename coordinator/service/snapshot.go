package service

import (
	"context"
	"errors"
	"io"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Snapshots are those that this coordinator can take, and has taken.
type Snapshots interface {
	// Snapshot streams the store as it is now, followed by its SHA-256.
	Snapshot(ctx context.Context) (io.ReadCloser, error)
	// Snapshots lists the scheduled ones, and says what is wrong with them.
	Snapshots() api.SnapshotList
}

// Snapshot streams a snapshot of the store, also without quorum. It holds
// everything, the digests of the tokens too. The caller closes it.
func (s *Service) Snapshot(ctx context.Context) (io.ReadCloser, error) {
	p, err := need(ctx, api.RoleAdmin)
	if err != nil {
		return nil, err
	}
	if s.cfg.Snapshots == nil {
		return nil, api.Errorf(api.Conflict, "this coordinator takes no snapshots")
	}
	r, err := s.cfg.Snapshots.Snapshot(ctx)
	switch {
	case errors.Is(err, etcdnode.ErrExternalSnapshot):
		return nil, api.Errorf(api.Conflict, "%v", err)
	case err != nil:
		return nil, s.problem(ctx, err)
	}
	// Without quorum it cannot be told, and is needed most.
	if err := s.db.Append(ctx, semaphore.Event{Kind: "snapshot.taken", Actor: p.Name}); err != nil {
		s.logger.Warn("a snapshot that was taken could not be put on the audit trail", "by", p.Name, "error", err)
	}
	return r, nil
}

// Snapshots lists what the coordinator that answers keeps.
func (s *Service) Snapshots(ctx context.Context) (api.SnapshotList, error) {
	if _, err := need(ctx, api.RoleOperator); err != nil {
		return api.SnapshotList{}, err
	}
	if s.cfg.Snapshots == nil {
		return api.SnapshotList{Snapshots: []api.Snapshot{}}, nil
	}
	return s.cfg.Snapshots.Snapshots(), nil
}
