package etcdstore

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// retryPause lies between two tries to read or watch.
const retryPause = 200 * time.Millisecond

// parts is a rollout of which perhaps not every key is here yet.
type parts struct {
	state     rollout.State
	head      bool
	selection bool
}

func newParts() *parts {
	return &parts{state: rollout.State{Results: map[string]rollout.Result{}, Notices: map[int64]rollout.Notice{}}}
}

// Start implements rollout.Store: it returns when the rollouts were read once,
// without quorum from a member's own copy.
func (s *Store) Start(ctx context.Context) error {
	life, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	loaded := make(chan struct{})
	s.wg.Go(func() { s.follow(life, loaded) })
	select {
	case <-loaded:
		return nil
	case <-ctx.Done():
		s.Stop()
		return ctx.Err()
	}
}

// Stop implements rollout.Store.
func (s *Store) Stop() {
	if s.cancel != nil {
		s.cancel()
	}
	s.wg.Wait()
}

// View implements rollout.Store.
func (s *Store) View() rollout.Snapshot {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.view
}

// Changed implements rollout.Store.
func (s *Store) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

// follow keeps the view current until ctx ends. A watch that ends (compaction,
// a member without leader) begins anew with a read; without quorum that is of a
// member's own copy.
func (s *Store) follow(ctx context.Context, loaded chan struct{}) {
	prefix := s.prefix + "rollout"
	for ctx.Err() == nil {
		c, cancel := context.WithTimeout(ctx, 30*time.Second)
		opts := []clientv3.OpOption{clientv3.WithPrefix()}
		if !s.cfg.HasLeader() {
			opts = append(opts, clientv3.WithSerializable())
		}
		resp, err := s.client.Get(c, prefix, opts...)
		cancel()
		if err != nil {
			s.warn(ctx, "reading the rollouts failed, trying again", err)
			pause(ctx)
			continue
		}
		s.mu.Lock()
		if resp.Header.Revision < s.seen { // a member that is behind
			s.mu.Unlock()
			pause(ctx)
			continue
		}
		s.raw = map[string]*parts{}
		s.view = rollout.Snapshot{Rollouts: map[string]rollout.State{}, Settled: map[string]rollout.Settled{}}
		for _, kv := range resp.Kvs {
			s.apply(kv, false)
		}
		s.publish(resp.Header.Revision, nil)
		s.mu.Unlock()
		if loaded != nil {
			close(loaded)
			loaded = nil
		}
		s.watch(ctx, prefix, resp.Header.Revision+1)
	}
}

func (s *Store) watch(ctx context.Context, prefix string, from int64) {
	w, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range s.client.Watch(w, prefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
		if err := resp.Err(); err != nil {
			s.warn(ctx, "the watch of the rollouts ended, reading them again", err)
			break
		}
		if len(resp.Events) == 0 {
			continue
		}
		s.mu.Lock()
		fresh := map[string]bool{} // rollouts whose results are copied already
		if slices.ContainsFunc(resp.Events, func(e *clientv3.Event) bool { return s.isSettled(string(e.Kv.Key)) }) {
			s.view.Settled = maps.Clone(s.view.Settled)
		}
		for _, e := range resp.Events {
			s.detach(string(e.Kv.Key), fresh)
			s.apply(e.Kv, e.Type == clientv3.EventTypeDelete)
		}
		s.publish(resp.Events[len(resp.Events)-1].Kv.ModRevision, fresh)
		s.mu.Unlock()
	}
	pause(ctx)
}

// detach gives a rollout that is about to change a copy of its results and
// notices, since the published ones belong to their readers.
func (s *Store) detach(key string, fresh map[string]bool) {
	id, _, ok := s.split(key)
	if !ok || fresh[id] {
		return
	}
	fresh[id] = true
	if p := s.raw[id]; p != nil {
		p.state.Results, p.state.Notices = maps.Clone(p.state.Results), maps.Clone(p.state.Notices)
	}
}

// split takes a key into the rollout's id and the part that it is.
func (s *Store) split(key string) (id, part string, ok bool) {
	rest, ok := strings.CutPrefix(key, s.prefix+"rollouts/")
	if !ok {
		return "", "", false
	}
	return strings.Cut(rest, "/")
}

func (s *Store) apply(kv *mvccpb.KeyValue, deleted bool) {
	if string(kv.Key) == s.catalogKey() {
		s.view.Catalog = kv.ModRevision
		return
	}
	if s.isSettled(string(kv.Key)) {
		s.settle(kv, deleted)
		return
	}
	id, part, ok := s.split(string(kv.Key))
	if !ok {
		return
	}
	p := s.raw[id]
	if notice, ok := strings.CutPrefix(part, "notices/"); ok && deleted {
		if seq, err := strconv.ParseInt(notice, 10, 64); err == nil && p != nil {
			delete(p.state.Notices, seq)
		}
		return
	}
	if deleted {
		delete(s.raw, id)
		return
	}
	if p == nil {
		p = newParts()
		s.raw[id] = p
	}
	s.read(p, part, kv)
}

func (s *Store) isSettled(key string) bool {
	return strings.HasPrefix(key, s.prefix+"rollout-settled/")
}

// settle takes over what a node was brought to. What cannot be read is not known:
// nothing depends on it but what is shown.
func (s *Store) settle(kv *mvccpb.KeyValue, deleted bool) {
	node := strings.TrimPrefix(string(kv.Key), s.prefix+"rollout-settled/")
	if id, err := semaphore.UnescapeID(node); err == nil {
		node = id
	}
	delete(s.view.Settled, node)
	if deleted {
		return
	}
	v, err := rollout.DecodeSettled(kv.Value)
	if err != nil {
		s.unreadable(kv, err)
		return
	}
	s.view.Settled[node] = v
}

// read takes one key's value over. One that is newer than this program, or
// does not read, makes the rollout one that is shown and not touched.
func (s *Store) read(p *parts, part string, kv *mvccpb.KeyValue) {
	var err error
	shows := func() bool { return err == nil || errors.Is(err, semaphore.ErrNewerSchema) }
	switch {
	case part == "head":
		p.state.Head, err = rollout.DecodeHead(kv.Value)
		p.state.Revision, p.head = kv.ModRevision, shows()
	case part == "selection":
		var sel rollout.Selection
		sel, err = rollout.DecodeSelection(kv.Value)
		p.state.Nodes, p.selection = sel.Nodes, shows()
		p.state.Selection = rollout.Selection{V: sel.V, Extra: sel.Extra}
	case strings.HasPrefix(part, "nodes/"):
		var r rollout.Result
		r, err = rollout.DecodeResult(kv.Value)
		if err == nil {
			p.state.Results[r.Node] = r
		}
	case strings.HasPrefix(part, "notices/"):
		var n rollout.Notice
		n, err = rollout.DecodeNotice(kv.Value)
		if err == nil {
			n.Revision = kv.ModRevision
			p.state.Notices[n.Seq] = n
		}
	}
	if err != nil {
		s.unreadable(kv, err)
		p.state.Newer = string(kv.Key)
	}
}

// unreadable logs a value that cannot be read. One of a later version is no
// fault, and the schema's own message tells of it.
func (s *Store) unreadable(kv *mvccpb.KeyValue, err error) {
	if errors.Is(err, semaphore.ErrNewerSchema) {
		s.cfg.Logger.Debug("a value of a later version", "key", string(kv.Key), "error", err)
		return
	}
	s.cfg.Logger.Error("unreadable value", "key", string(kv.Key), "error", err)
}

// publish makes a new view, with mu held.
func (s *Store) publish(revision int64, changed map[string]bool) {
	view := rollout.Snapshot{Catalog: s.view.Catalog, Settled: s.view.Settled}
	if changed == nil {
		view.Rollouts = make(map[string]rollout.State, len(s.raw))
		for id, p := range s.raw {
			if p.head && p.selection {
				view.Rollouts[id] = p.state
			}
		}
	} else {
		view.Rollouts = maps.Clone(s.view.Rollouts)
		for id := range changed {
			delete(view.Rollouts, id)
			if p := s.raw[id]; p != nil && p.head && p.selection {
				view.Rollouts[id] = p.state
			}
		}
	}
	view.Unread = unreadIn(s.raw)
	s.view = view
	s.seen = max(s.seen, revision)
	close(s.changed)
	close(s.progress)
	s.changed, s.progress = make(chan struct{}), make(chan struct{})
}

// waitFor returns when the view has reached a revision, or the deadline passed:
// then the view follows later, and the change is committed all the same.
func (s *Store) waitFor(ctx context.Context, revision int64) {
	c, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	for {
		s.mu.Lock()
		reached, more := s.seen >= revision, s.progress
		s.mu.Unlock()
		if reached {
			return
		}
		select {
		case <-more:
		case <-c.Done():
			return
		}
	}
}

// assemble makes rollouts of keys that were read at one revision.
func (s *Store) assemble(kvs []*mvccpb.KeyValue) rollout.Snapshot {
	raw := map[string]*parts{}
	for _, kv := range kvs {
		id, part, ok := s.split(string(kv.Key))
		if !ok {
			continue
		}
		if raw[id] == nil {
			raw[id] = newParts()
		}
		s.read(raw[id], part, kv)
	}
	out := rollout.Snapshot{Rollouts: make(map[string]rollout.State, len(raw)), Unread: unreadIn(raw)}
	for id, p := range raw {
		if p.head && p.selection {
			out.Rollouts[id] = p.state
		}
	}
	return out
}

// unreadIn is the first key that cannot be read here.
func unreadIn(raw map[string]*parts) (key string) {
	for _, p := range raw {
		if n := p.state.Newer; n != "" && (key == "" || n < key) {
			key = n
		}
	}
	return key
}

func (s *Store) warn(ctx context.Context, text string, err error) {
	if ctx.Err() == nil {
		s.cfg.Logger.Warn(text, "error", err)
	}
}

func pause(ctx context.Context) { _ = sleep.For(ctx, retryPause) }
