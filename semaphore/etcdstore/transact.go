package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// outcome commits an attempt, or verifies what needs no commit. It returns
// the attempt that committed: this one, or an earlier one that was thought
// lost. errLost means that the state was not current, and is now.
func (s *Store) outcome(g *group, a *attempt, tried []*attempt) (*attempt, int64, error) {
	if !a.writes() {
		return s.verify(g, a, tried)
	}
	if err := s.cfg.WriteFloor(); err != nil {
		return nil, 0, err
	}
	w := s.newWrites(g, a)
	if w.err != nil {
		return nil, 0, w.err
	}
	return s.exchange(g, w, a, tried)
}

var errLost = errors.New("the comparison was lost")

// unknown is an error after which a transaction may have committed or not.
type unknown struct{ error }

func (u unknown) Unwrap() error { return u.error }

// classify tells errors that name a definite refusal from those after which
// nothing is known.
func classify(err error) error {
	for _, definite := range []error{rpctypes.ErrDuplicateKey, rpctypes.ErrTooManyOps, rpctypes.ErrRequestTooLarge} {
		if errors.Is(err, definite) {
			return err
		}
	}
	return unknown{err}
}

// writes are the comparisons and changes of one transaction. A key is written
// once: the last change of it counts.
type writes struct {
	cmps    []clientv3.Cmp
	ops     []clientv3.Op
	at      map[string]int // index in ops by key
	waiters []string       // whose keys are compared
	err     error
}

func (w *writes) change(key string, op clientv3.Op) {
	if i, again := w.at[key]; again {
		w.ops[i] = op
		return
	}
	w.at[key] = len(w.ops)
	w.ops = append(w.ops, op)
}

func (w *writes) put(key string, value []byte, err error) {
	w.err = errors.Join(w.err, err)
	w.change(key, clientv3.OpPut(key, string(value)))
}

func (w *writes) remove(key string) { w.change(key, clientv3.OpDelete(key)) }

// newWrites writes down an attempt. The head is compared and put in every one.
func (s *Store) newWrites(g *group, a *attempt) *writes {
	w := &writes{at: make(map[string]int, a.changes+1), ops: make([]clientv3.Op, 0, a.changes+1)}
	head := s.keys.group(g.name, headKey)
	w.cmps = append(w.cmps, unchanged(head, a.base.HeadRev))
	if slices.ContainsFunc(a.parts, func(p part) bool { return p.d.GuardFreeze }) {
		w.cmps = append(w.cmps, unchanged(s.keys.freeze(), a.base.FreezeRev))
	}
	if slices.ContainsFunc(a.parts, func(p part) bool { return p.d.GuardOut }) {
		w.cmps = append(w.cmps, unchanged(s.keys.memberOut(), a.base.OutRev))
	}
	value, err := semaphore.EncodeHead(a.next.Head)
	w.put(head, value, err)
	for _, p := range a.parts {
		for _, c := range p.d.Changes {
			s.writeChange(w, g, c)
		}
		for _, event := range p.d.Events {
			key := s.keys.event(event.Scope, event.Seq)
			value, err := semaphore.EncodeEvent(event)
			w.put(key, value, err)
			if a.key == "" {
				a.key, a.value = key, string(value)
			}
		}
	}
	return w
}

func (s *Store) writeChange(w *writes, g *group, c semaphore.Change) {
	switch {
	case c.Hold != nil:
		value, err := semaphore.EncodeHold(*c.Hold)
		w.put(s.keys.node(g.name, holdKeys, c.Hold.Node), value, err)
	case c.Member != nil:
		value, err := semaphore.EncodeMember(*c.Member)
		w.put(s.keys.node(g.name, memberKeys, c.Member.Node), value, err)
	case c.Spec != nil:
		value, err := semaphore.EncodeSpec(*c.Spec)
		w.put(s.keys.group(g.name, specKey), value, err)
	case c.Out != nil:
		value, err := semaphore.EncodeMemberOut(*c.Out)
		w.put(s.keys.memberOut(), value, err)
	case c.DeleteOut:
		w.remove(s.keys.memberOut())
	case c.DeleteHold != "":
		w.remove(s.keys.node(g.name, holdKeys, c.DeleteHold))
	case c.DeleteMember != "":
		w.remove(s.keys.node(g.name, memberKeys, c.DeleteMember))
	case c.DeleteSpec:
		w.remove(s.keys.group(g.name, specKey))
	case c.DeleteWaiter != "":
		key := s.keys.node(g.name, queueKeys, c.DeleteWaiter)
		if c.Ticket != 0 {
			w.cmps = append(w.cmps, clientv3.Compare(clientv3.CreateRevision(key), "=", c.Ticket))
			w.waiters = append(w.waiters, c.DeleteWaiter)
		}
		w.remove(key)
	}
}

func unchanged(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", rev)
}

// verify is the linearizable read behind answers that write nothing: head and
// freeze are where the decisions saw them. errLost: they were not, and the
// group's state is current now.
func (s *Store) verify(g *group, a *attempt, tried []*attempt) (*attempt, int64, error) {
	head := s.keys.group(g.name, headKey)
	return s.exchange(g, &writes{
		cmps: []clientv3.Cmp{unchanged(head, a.base.HeadRev), unchanged(s.keys.freeze(), a.base.FreezeRev)},
		// A read makes the transaction linearizable.
		ops: []clientv3.Op{clientv3.OpGet(head, clientv3.WithCountOnly())},
	}, a, tried)
}

// exchange runs one transaction. When its comparison is lost it reads the
// group, and finds out about earlier attempts. That is a request of its own:
// few are lost, and what a transaction were to read then would be written to
// the log of every member with each that is won.
func (s *Store) exchange(g *group, w *writes, a *attempt, tried []*attempt) (*attempt, int64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	begin := time.Now()
	resp, err := s.cfg.Client.Txn(ctx).If(w.cmps...).Then(w.ops...).Commit()
	s.metrics.txn.Observe(time.Since(begin).Seconds())
	if err != nil {
		return nil, 0, classify(err)
	}
	if resp.Succeeded {
		return a, resp.Header.Revision, nil
	}
	s.metrics.conflicts.Inc()
	core := s.coreReads(g)
	if s.isLarge(g) {
		core = core[:1]
	}
	won, rev, head, err := s.read(ctx, g, core, w.waiters, tried)
	if err == nil && len(core) == 1 && !s.catchUp(g, head) {
		won, rev, err = s.resolve(g, tried)
	}
	if err == nil && won == nil {
		err = errLost
	}
	return won, rev, err
}

// read takes over what the group is now, and finds out about earlier attempts.
func (s *Store) read(ctx context.Context, g *group, core []clientv3.Op, waiters []string, tried []*attempt) (won *attempt, rev, head int64, err error) {
	resp, err := s.cfg.Client.Txn(ctx).Then(s.reads(g, core, waiters, tried)...).Commit()
	if err != nil {
		return nil, 0, 0, classify(err)
	}
	won, rev, head = s.takeOver(g, resp.Responses, resp.Header.Revision, len(core), waiters, tried)
	return won, rev, head, nil
}

// resolve reads the group after an unknown outcome, and finds out whether an
// attempt has committed.
func (s *Store) resolve(g *group, tried []*attempt) (*attempt, int64, error) {
	if err := sleep.For(s.ctx, retryPause); err != nil {
		return nil, 0, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
	defer cancel()
	won, rev, _, err := s.read(ctx, g, s.coreReads(g), nil, tried)
	return won, rev, err
}

// seal finds out about attempts and prevents those that have not committed: it
// puts the head again, so that their comparison is lost.
func (s *Store) seal(g *group, tried []*attempt) (*attempt, int64, error) {
	if won, rev, err := s.resolve(g, tried); won != nil || err != nil {
		return won, rev, err
	}
	st := s.state(g)
	if st.NewerSchema != "" {
		return nil, 0, fmt.Errorf("%s: %w", st.NewerSchema, semaphore.ErrNewerSchema)
	}
	now := &attempt{base: st, next: st}
	w := s.newWrites(g, now)
	if w.err != nil {
		return nil, 0, w.err
	}
	won, rev, err := s.exchange(g, w, now, tried)
	if err == nil && won == now {
		s.adopt(g, now, rev, time.Now(), true)
		return nil, 0, nil
	}
	return won, rev, err
}

// rest waits before the next attempt. It returns errors after which there
// must be none.
func (s *Store) rest(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, errLost):
		return nil
	case err != nil && !errors.As(err, new(unknown)):
		return err
	}
	return sleep.For(ctx, retryPause)
}

// coreReads are the reads of what a group's head guards; the head is the first.
func (s *Store) coreReads(g *group) []clientv3.Op {
	return []clientv3.Op{
		clientv3.OpGet(s.keys.group(g.name, headKey)),
		clientv3.OpGet(s.keys.group(g.name, specKey)),
		clientv3.OpGet(s.keys.nodes(g.name, holdKeys), clientv3.WithPrefix()),
		clientv3.OpGet(s.keys.nodes(g.name, memberKeys), clientv3.WithPrefix()),
	}
}

// other is how many keys of no group are read before the group's.
const other = 2

func first(kvs []*mvccpb.KeyValue) *mvccpb.KeyValue {
	if len(kvs) == 0 {
		return nil
	}
	return kvs[0]
}

// reads are the reads of a group, in the order in which takeOver takes them:
// all but the queue, of which it reads some waiters.
func (s *Store) reads(g *group, core []clientv3.Op, waiters []string, tried []*attempt) []clientv3.Op {
	ops := append([]clientv3.Op{clientv3.OpGet(s.keys.freeze()), clientv3.OpGet(s.keys.memberOut())}, core...)
	for _, a := range tried {
		ops = append(ops, clientv3.OpGet(a.key))
	}
	for _, node := range waiters {
		ops = append(ops, clientv3.OpGet(s.keys.node(g.name, queueKeys, node)))
	}
	return ops
}

// takeOver makes the answers to reads the group's state; with the head alone,
// of the core, only the rest of it. It returns the attempt that has committed,
// if one has, and the head's ModRevision.
func (s *Store) takeOver(g *group, responses []*etcdserverpb.ResponseOp, rev int64, cores int, waiters []string, tried []*attempt) (won *attempt, wonRev, head int64) {
	kvs := func(i int) []*mvccpb.KeyValue { return responses[i].GetResponseRange().GetKvs() }
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setFreeze(first(kvs(0)), rev)
	s.setOut(first(kvs(1)), rev)
	if found := kvs(other); len(found) > 0 {
		head = found[0].ModRevision
	}
	if cores > 1 {
		var core []*mvccpb.KeyValue
		for i := range cores {
			core = append(core, kvs(other+i)...)
		}
		s.replaceCore(g, core, rev)
	}
	for i := range tried {
		if found := kvs(other + cores + i); len(found) > 0 && string(found[0].Value) == tried[i].value {
			won, wonRev = tried[i], found[0].ModRevision
			break
		}
	}
	for i, node := range waiters {
		if found := kvs(other + cores + len(tried) + i); len(found) > 0 {
			s.putWaiter(g, node, found[0])
		} else if s.removeWaiter(g, node, rev) {
			g.lostPlace(node)
		}
	}
	s.wakeLocked()
	g.wake()
	return won, wonRev, head
}
