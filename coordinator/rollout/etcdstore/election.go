package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/concurrency"

	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
)

// term is a time in office: it lasts while the election's key is the one that
// this campaign put.
type term struct {
	session  *concurrency.Session
	key      string
	revision int64
	cancel   context.CancelFunc
}

// Campaign implements rollout.Store. A candidate whose lease ended while it
// waited begins again, so a term never begins on a key that is gone.
func (s *Store) Campaign(ctx context.Context) (rollout.Term, error) {
	for {
		if s.cfg.HasLeader() {
			t, err := s.candidate(ctx)
			if err == nil {
				return t, nil
			}
			s.warn(ctx, "the campaign for the rollout engine failed, trying again", err)
		}
		pause(ctx)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
}

// candidate stands for election once: it puts a key on a lease of its own, and
// is elected when no older candidate is left.
func (s *Store) candidate(ctx context.Context) (*term, error) {
	grant, cancelGrant := context.WithTimeout(ctx, attemptTimeout)
	defer cancelGrant()
	lease, err := s.client.Grant(grant, int64(s.cfg.ElectionTTL/time.Second))
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	session, err := concurrency.NewSession(s.client, concurrency.WithLease(lease.ID), concurrency.WithContext(life))
	if err != nil {
		cancel()
		return nil, err
	}
	t := &term{session: session, cancel: cancel}
	if err := s.wait(ctx, t); err != nil {
		return nil, errors.Join(err, t.close(context.WithoutCancel(ctx)))
	}
	return t, nil
}

func (s *Store) wait(ctx context.Context, t *term) error {
	prefix := s.prefix + "rollout-engine/"
	t.key = fmt.Sprintf("%s%x", prefix, t.session.Lease())
	put, err := s.commit(ctx, nil, []clientv3.Op{clientv3.OpPut(t.key, s.cfg.Name, clientv3.WithLease(t.session.Lease()))})
	if err != nil {
		return err
	}
	t.revision = put.Header.Revision
	for {
		before, err := s.get(ctx, prefix, append(clientv3.WithLastCreate(), clientv3.WithMaxCreateRev(t.revision-1))...)
		if err != nil {
			return err
		}
		if len(before.Kvs) == 0 {
			break
		}
		if err := s.untilDeleted(ctx, t, string(before.Kvs[0].Key), before.Header.Revision+1); err != nil {
			return err
		}
	}
	held, err := s.commit(ctx, []clientv3.Cmp{t.isElected()}, nil)
	if err == nil && !held.Succeeded {
		err = errLeaseEnded
	}
	return err
}

// untilDeleted returns when the key is deleted, or may be.
func (s *Store) untilDeleted(ctx context.Context, t *term, key string, from int64) error {
	w, cancel := context.WithCancel(ctx)
	defer cancel()
	events := s.client.Watch(w, key, clientv3.WithRev(from), clientv3.WithFilterPut())
	select {
	case resp, ok := <-events:
		if !ok || resp.Err() != nil {
			pause(ctx) // the watch ended, which tells nothing: look again
		}
		return ctx.Err()
	case <-t.session.Done():
		return errLeaseEnded
	case <-ctx.Done():
		return ctx.Err()
	}
}

var errLeaseEnded = errors.New("the lease ended while waiting to be elected")

// isElected is the comparison that each write of the engine carries.
func (t *term) isElected() clientv3.Cmp {
	return clientv3.Compare(clientv3.CreateRevision(t.key), "=", t.revision)
}

// Done implements rollout.Term.
func (t *term) Done() <-chan struct{} { return t.session.Done() }

// Resign implements rollout.Term.
func (t *term) Resign(ctx context.Context) error {
	return t.close(ctx)
}

// close revokes the lease, and with it the election's key.
func (t *term) close(ctx context.Context) error {
	t.session.Orphan()
	t.cancel()
	c, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	_, err := t.session.Client().Revoke(c, t.session.Lease())
	return err
}
