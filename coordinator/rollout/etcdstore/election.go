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
	election *concurrency.Election
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

func (s *Store) candidate(ctx context.Context) (*term, error) {
	grant, cancelGrant := context.WithTimeout(ctx, attemptTimeout)
	defer cancelGrant()
	ttl := int64(s.cfg.ElectionTTL / time.Second)
	lease, err := s.client.Grant(grant, ttl)
	if err != nil {
		return nil, err
	}
	life, cancel := context.WithCancel(context.WithoutCancel(ctx))
	session, err := concurrency.NewSession(s.client, concurrency.WithLease(lease.ID), concurrency.WithContext(life))
	if err != nil {
		cancel()
		return nil, err
	}
	t := &term{
		session: session, election: concurrency.NewElection(session, s.prefix+"rollout-engine"), cancel: cancel,
	}
	campaign, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-session.Done():
			stop()
		case <-campaign.Done():
		}
	}()
	if err := t.election.Campaign(campaign, s.cfg.Name); err != nil {
		t.close(context.WithoutCancel(ctx))
		return nil, err
	}
	t.key, t.revision = t.election.Key(), t.election.Rev()
	held, err := s.commit(ctx, []clientv3.Cmp{t.isElected()}, nil)
	if err == nil && !held.Succeeded {
		err = errors.New("the lease ended meanwhile")
	}
	if err != nil {
		t.close(context.WithoutCancel(ctx))
		return nil, fmt.Errorf("elected, but: %w", err)
	}
	return t, nil
}

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
