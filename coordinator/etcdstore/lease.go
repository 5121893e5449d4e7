package etcdstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// leaseTTL is how long what this coordinator says of itself outlives it.
const leaseTTL = 30 * time.Second

// lease is the one under which this coordinator says who is heard here, and
// that it is here itself. When it was lost, because this process stood still
// or there was no leader for long, the next use makes a new one.
type lease struct {
	mu sync.Mutex
	id clientv3.LeaseID
}

// leased runs a transaction whose puts are under the lease. A lease that turns
// out to be lost is replaced once.
func (d *DB) leased(ctx context.Context, ops func(clientv3.LeaseID) []clientv3.Op) (*clientv3.TxnResponse, error) {
	for retried := false; ; retried = true {
		id, err := d.ownLease(ctx)
		if err != nil {
			return nil, err
		}
		resp, err := d.commit(ctx, nil, ops(id), nil)
		if !errors.Is(err, rpctypes.ErrLeaseNotFound) || retried {
			return resp, err
		}
		d.loseLease(id)
	}
}

func (d *DB) ownLease(ctx context.Context) (clientv3.LeaseID, error) {
	d.lease.mu.Lock()
	defer d.lease.mu.Unlock()
	if d.lease.id != 0 {
		return d.lease.id, nil
	}
	if !d.cfg.HasLeader() {
		return 0, semaphore.ErrNoQuorum
	}
	c, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	resp, err := d.client.Grant(c, int64(leaseTTL/time.Second))
	if err != nil {
		return 0, outcome(ctx, err)
	}
	d.lease.id = resp.ID
	d.wg.Go(func() {
		if alive, err := d.client.KeepAlive(d.life, resp.ID); err == nil {
			for range alive {
				continue
			}
		}
		d.loseLease(resp.ID)
	})
	return resp.ID, nil
}

func (d *DB) loseLease(id clientv3.LeaseID) {
	d.lease.mu.Lock()
	defer d.lease.mu.Unlock()
	if d.lease.id == id {
		d.lease.id = 0
	}
}

// endLease takes back, at an orderly end, all that was said under it. A failure
// leaves that to time.
func (d *DB) endLease(id clientv3.LeaseID) {
	if id == 0 || !d.cfg.HasLeader() {
		return
	}
	c, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	if _, err := d.client.Revoke(c, id); err != nil {
		d.cfg.Logger.Debug("the lease could not be taken back", "error", err)
	}
}
