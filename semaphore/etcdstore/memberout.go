package etcdstore

import (
	"context"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Which coordinator's host is out is one key for all groups. What is known of it
// may be behind: every grant to a host compares it.

// Wake looks at all that waits again, since what Config.Coordinators says has
// changed.
func (s *Store) Wake() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, g := range s.groups {
		g.wake()
	}
	s.wakeLocked()
}

// MemberOut is the coordinator's host that is out of service, nil for none.
func (s *Store) MemberOut() *semaphore.MemberOut {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.out
}

// setOut takes over the key, nil when it is absent, as of rev. A value that
// cannot be read keeps all hosts in. s.mu is held.
func (s *Store) setOut(kv *mvccpb.KeyValue, rev int64) {
	if rev <= s.outAt {
		return
	}
	s.out, s.outRev, s.outAt = nil, 0, rev
	if kv == nil {
		return
	}
	out, err := semaphore.DecodeMemberOut(kv.Value)
	if err != nil {
		s.log.Error("which coordinator's host is out cannot be read: none may go", "key", string(kv.Key), "error", err)
	}
	s.out, s.outRev = &out, kv.ModRevision
}

// tookOut takes over what was committed at rev. s.mu is held.
func (s *Store) tookOut(out *semaphore.MemberOut, rev int64) {
	if rev <= s.outAt {
		return
	}
	s.out, s.outRev, s.outAt = out, 0, rev
	if out != nil {
		s.outRev = rev
	}
	for _, g := range s.groups {
		g.wake()
	}
}

// monitorOut follows the key.
func (s *Store) monitorOut() {
	for s.ctx.Err() == nil {
		if err := s.followOut(); err != nil && s.ctx.Err() == nil {
			s.log.Debug("which coordinator's host is out cannot be followed; trying again", "error", err)
		}
		_ = sleep.For(s.ctx, time.Second)
	}
}

func (s *Store) followOut() error {
	read, end := context.WithTimeout(s.ctx, attemptTimeout)
	resp, err := s.cfg.Client.Get(read, s.keys.memberOut())
	end()
	if err != nil {
		return err
	}
	s.outIs(first(resp.Kvs), resp.Header.Revision)
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	for resp := range s.cfg.Client.Watch(ctx, s.keys.memberOut(), clientv3.WithRev(resp.Header.Revision+1)) {
		if err := resp.Err(); err != nil {
			return err
		}
		for _, e := range resp.Events {
			kv := e.Kv
			if e.Type == clientv3.EventTypeDelete {
				kv = nil
			}
			s.outIs(kv, e.Kv.ModRevision)
		}
	}
	return nil
}

func (s *Store) outIs(kv *mvccpb.KeyValue, rev int64) {
	s.mu.Lock()
	s.setOut(kv, rev)
	s.mu.Unlock()
	s.Wake()
}
