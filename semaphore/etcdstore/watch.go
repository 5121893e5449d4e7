package etcdstore

import (
	"context"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// loadFirst is load, or a read of the member's own copy where it need not be
// current.
func (s *Store) loadFirst(ctx context.Context, current bool) (int64, error) {
	if current {
		return s.load(ctx)
	}
	return s.load(ctx, clientv3.WithSerializable())
}

// load reads everything under the watched range at one revision.
func (s *Store) load(ctx context.Context, opts ...clientv3.OpOption) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, 5*attemptTimeout)
	defer cancel()
	from, end := s.keys.watched()
	resp, err := s.cfg.Client.Get(ctx, from, append(opts, clientv3.WithRange(end))...)
	if err != nil {
		return 0, err
	}
	rev := resp.Header.Revision

	s.mu.Lock()
	defer s.mu.Unlock()
	byGroup := map[string][]*mvccpb.KeyValue{}
	var freeze, froze *mvccpb.KeyValue
	for _, kv := range resp.Kvs {
		switch string(kv.Key) {
		case s.keys.freeze():
			freeze = kv
			continue
		case s.keys.froze():
			froze = kv
			continue
		}
		if name, _, _, ok := s.keys.parse(string(kv.Key)); ok {
			byGroup[name] = append(byGroup[name], kv)
		}
	}
	s.setFreeze(freeze, rev)
	s.setFroze(froze)
	for name := range byGroup {
		s.groupLocked(name)
	}
	for name, g := range s.groups {
		s.replaceCore(g, byGroup[name], rev)
		s.replaceQueue(g, byGroup[name], rev)
		g.wake()
	}
	s.rev = max(s.rev, rev)
	s.wakeLocked()
	return rev, nil
}

// replaceCore takes over head, spec, holds and members as of rev.
func (s *Store) replaceCore(g *group, kvs []*mvccpb.KeyValue, rev int64) {
	if rev <= g.rev {
		return
	}
	g.rev = 0
	g.newer = map[string]bool{}
	fresh := newState(g.name, s.cfg.Now())
	g.st.Head, g.st.HeadRev, g.st.Spec, g.st.SpecRev = semaphore.Head{}, 0, semaphore.Spec{}, 0
	g.st.TakeHoldsAndMembers(&fresh)
	for _, kv := range kvs {
		_, t, node, ok := s.keys.parse(string(kv.Key))
		if !ok || t == queueKeys {
			continue
		}
		s.put(g, t, node, kv)
	}
	g.rev = rev
	defer s.reserve(g)
	for node, w := range g.waiters {
		if _, holds := g.st.Hold(node); holds {
			w.wakeAll()
		}
	}
}

func (s *Store) replaceQueue(g *group, kvs []*mvccpb.KeyValue, rev int64) {
	there := map[string]bool{}
	for _, kv := range kvs {
		if _, t, node, ok := s.keys.parse(string(kv.Key)); ok && t == queueKeys {
			there[node] = true
			s.putWaiter(g, node, kv)
		}
	}
	for node := range g.places {
		if !there[node] && s.removeWaiter(g, node, rev) {
			g.lostPlace(node)
		}
	}
}

// setFreeze takes over the freeze key, nil when it is absent, as of rev.
func (s *Store) setFreeze(kv *mvccpb.KeyValue, rev int64) {
	if rev <= s.freezeAt {
		return
	}
	if was := s.freeze; was != nil && kv == nil {
		// What is written of it may come a moment later.
		s.froze = append(slices.Clone(s.froze), semaphore.Span{Start: was.At, End: s.cfg.Now()})
	}
	s.freeze, s.freezeRev, s.freezeAt, s.freezeNew = nil, 0, rev, false
	if kv == nil {
		return
	}
	f, err := semaphore.DecodeFreeze(kv.Value)
	if err != nil {
		s.log.Error("the fleet-wide freeze cannot be read: groups only take releases", "error", err)
	}
	s.freeze, s.freezeRev, s.freezeNew = &f, kv.ModRevision, err != nil
}

// setFroze takes over when the fleet was frozen.
func (s *Store) setFroze(kv *mvccpb.KeyValue) {
	if kv == nil || kv.ModRevision <= s.frozeRev {
		return
	}
	f, err := semaphore.DecodeFroze(kv.Value)
	if err != nil {
		s.log.Error("when the fleet was frozen cannot be read: deadlines may seem to have passed", "error", err)
		return
	}
	s.froze, s.frozeRev = f.Spans, kv.ModRevision
}

// monitorWatch follows the watched range; when the watch is lost, it reads
// everything anew.
func (s *Store) monitorWatch(rev int64) {
	for {
		s.follow(rev)
		for {
			if s.ctx.Err() != nil {
				return
			}
			var err error
			if rev, err = s.load(s.ctx); err == nil {
				break
			}
			s.log.Warn("the groups cannot be read", "error", err)
			if sleep.For(s.ctx, time.Second) != nil {
				return
			}
		}
	}
}

func (s *Store) follow(rev int64) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	from, end := s.keys.watched()
	for resp := range s.cfg.Client.Watch(ctx, from, clientv3.WithRange(end), clientv3.WithRev(rev+1)) {
		if err := resp.Err(); err != nil {
			if s.ctx.Err() == nil {
				s.log.Warn("the watch was lost, reading anew", "error", err)
			}
			return
		}
		s.apply(resp.Events, resp.Header.Revision)
	}
}

// apply takes over the events of one answer of the watch, which never ends
// inside a revision.
func (s *Store) apply(events []*clientv3.Event, rev int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	touched := map[*group]int64{}
	news := false
	for _, e := range events {
		key, at := string(e.Kv.Key), e.Kv.ModRevision
		if key == s.keys.freeze() {
			kv := e.Kv
			if e.Type == clientv3.EventTypeDelete {
				kv = nil
			}
			s.setFreeze(kv, at)
			for _, g := range s.groups {
				g.wake()
			}
			news = true
			continue
		}
		if key == s.keys.froze() {
			s.setFroze(e.Kv)
			continue
		}
		name, t, node, ok := s.keys.parse(key)
		if !ok {
			continue
		}
		g := s.groupLocked(name)
		var fresh bool
		if e.Type == clientv3.EventTypeDelete {
			fresh = s.remove(g, t, node, key, at)
		} else {
			fresh = s.put(g, t, node, e.Kv)
		}
		if t != queueKeys {
			touched[g] = max(touched[g], at)
		}
		if fresh {
			news = true
			g.wake()
			g.concern(t, node, e.Type == clientv3.EventTypeDelete)
		}
	}
	for g, at := range touched {
		g.rev = max(g.rev, at)
		s.reserve(g)
	}
	for _, g := range s.groups {
		for node, at := range g.gone {
			if at <= rev {
				delete(g.gone, node)
			}
		}
	}
	s.rev = max(s.rev, rev)
	if news {
		s.wakeLocked()
	}
}
