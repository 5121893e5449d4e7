package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// attempt is a transaction whose outcome is unknown: it may have committed,
// and until the head changes it may commit still.
type attempt struct {
	st    semaphore.State
	d     semaphore.Decision
	key   string // of its first event
	value string // what it puts there: found there, it has committed
}

// transact decides op and commits the outcome, again and again until it is
// known or ctx ends. The group's turn is held.
func (s *Store) transact(ctx context.Context, g *group, op semaphore.Op) (semaphore.Answer, error) {
	var tried []attempt // with unknown outcome
	for {
		if err := s.ready(ctx); err != nil {
			s.abandon(g, op, tried)
			return semaphore.Answer{}, err
		}
		st := s.state(g)
		low := s.cfg.Floor()
		if low != nil {
			st.Queue = nobodyPresent(st.Queue)
		}
		d := semaphore.Decide(&st, op, s.cfg.Now())
		won, rev, err := s.outcome(ctx, g, &st, d, low, tried)
		switch {
		case err == nil && won != nil:
			return s.commit(g, won, rev), nil
		case err == nil:
			s.abandon(g, op, tried)
			d.Answer.At = time.Now()
			return d.Answer, nil
		case errors.Is(err, errLost):
			continue
		case errors.As(err, new(unknown)):
			if a := newAttempt(s.keys, st, d); a.key != "" {
				tried = append(tried, *a)
			}
			won, rev, again := s.resolve(ctx, g, tried)
			if won != nil {
				return s.commit(g, won, rev), nil
			}
			if again == nil && errors.Is(err, rpctypes.ErrNoSpace) {
				return semaphore.Answer{}, fmt.Errorf("%w: %w", semaphore.ErrDiskLow, err)
			}
		default:
			return semaphore.Answer{}, err
		}
	}
}

// outcome commits the decision, or verifies what needs no commit. It returns
// the attempt that committed: this one, or an earlier one that was thought
// lost. errLost means that st was not current, and is now.
func (s *Store) outcome(ctx context.Context, g *group, st *semaphore.State, d semaphore.Decision, low error, tried []attempt) (*attempt, int64, error) {
	if !d.Writes() {
		return s.verify(ctx, g, st, tried)
	}
	if low != nil && (grants(st, d) || joins(st, d)) {
		return nil, 0, low
	}
	if err := s.cfg.WriteFloor(); err != nil {
		return nil, 0, err
	}
	cmps, puts, err := s.writes(g, st, d)
	if err != nil {
		return nil, 0, err
	}
	return s.exchange(ctx, g, cmps, puts, newAttempt(s.keys, *st, d), d, tried)
}

func newAttempt(k keys, st semaphore.State, d semaphore.Decision) *attempt {
	a := &attempt{st: st, d: d}
	if len(d.Events) > 0 {
		// It was encoded before without an error.
		value, _ := semaphore.EncodeEvent(d.Events[0])
		a.key, a.value = k.event(d.Events[0].Scope, d.Events[0].Seq), string(value)
	}
	return a
}

// grants reports whether the decision makes a hold that was not there.
func grants(st *semaphore.State, d semaphore.Decision) bool {
	for _, c := range d.Changes {
		if c.Hold != nil {
			if _, held := st.Holds[c.Hold.Node]; !held {
				return true
			}
		}
	}
	return false
}

// joins reports whether the decision makes a member that was not there.
func joins(st *semaphore.State, d semaphore.Decision) bool {
	for _, c := range d.Changes {
		if c.Member != nil {
			if _, known := st.Members[c.Member.Node]; !known {
				return true
			}
		}
	}
	return false
}

// nobodyPresent keeps a decision from granting to waiters on the way.
func nobodyPresent(queue []semaphore.Waiter) []semaphore.Waiter {
	absent := make([]semaphore.Waiter, len(queue))
	for i, w := range queue {
		w.Present, w.Elsewhere = false, false
		absent[i] = w
	}
	return absent
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

// writes are the comparisons and changes of a decision. The head is compared
// and put in every one.
func (s *Store) writes(g *group, st *semaphore.State, d semaphore.Decision) (cmps []clientv3.Cmp, ops []clientv3.Op, err error) {
	head := s.keys.group(g.name, headKey)
	cmps = append(cmps, unchanged(head, st.HeadRev))
	if d.GuardFreeze {
		cmps = append(cmps, unchanged(s.keys.freeze(), st.FreezeRev))
	}
	put := func(key string, value []byte, e error) {
		err = errors.Join(err, e)
		ops = append(ops, clientv3.OpPut(key, string(value)))
	}
	value, e := semaphore.EncodeHead(d.Head)
	put(head, value, e)
	for _, c := range d.Changes {
		switch {
		case c.Hold != nil:
			value, e := semaphore.EncodeHold(*c.Hold)
			put(s.keys.node(g.name, holdKeys, c.Hold.Node), value, e)
		case c.Member != nil:
			value, e := semaphore.EncodeMember(*c.Member)
			put(s.keys.node(g.name, memberKeys, c.Member.Node), value, e)
		case c.Spec != nil:
			value, e := semaphore.EncodeSpec(*c.Spec)
			put(s.keys.group(g.name, specKey), value, e)
		case c.DeleteHold != "":
			ops = append(ops, clientv3.OpDelete(s.keys.node(g.name, holdKeys, c.DeleteHold)))
		case c.DeleteMember != "":
			ops = append(ops, clientv3.OpDelete(s.keys.node(g.name, memberKeys, c.DeleteMember)))
		case c.DeleteSpec:
			ops = append(ops, clientv3.OpDelete(s.keys.group(g.name, specKey)))
		case c.DeleteWaiter != "":
			key := s.keys.node(g.name, queueKeys, c.DeleteWaiter)
			if c.Ticket != 0 {
				cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(key), "=", c.Ticket))
			}
			ops = append(ops, clientv3.OpDelete(key))
		}
	}
	for _, event := range d.Events {
		value, e := semaphore.EncodeEvent(event)
		put(s.keys.event(event.Scope, event.Seq), value, e)
	}
	return cmps, ops, err
}

func unchanged(key string, rev int64) clientv3.Cmp {
	return clientv3.Compare(clientv3.ModRevision(key), "=", rev)
}

// verify is the linearizable read behind an answer that writes nothing: head
// and freeze are where the decision saw them. errLost: they were not, and the
// group's state is current now.
func (s *Store) verify(ctx context.Context, g *group, st *semaphore.State, tried []attempt) (*attempt, int64, error) {
	head := s.keys.group(g.name, headKey)
	cmps := []clientv3.Cmp{unchanged(head, st.HeadRev), unchanged(s.keys.freeze(), st.FreezeRev)}
	// The read makes the transaction linearizable.
	then := []clientv3.Op{clientv3.OpGet(head, clientv3.WithCountOnly())}
	return s.exchange(ctx, g, cmps, then, nil, semaphore.Decision{}, tried)
}

// exchange runs one transaction. On a lost comparison it takes over what the
// Else branch read, and finds out about earlier attempts.
func (s *Store) exchange(ctx context.Context, g *group, cmps []clientv3.Cmp, then []clientv3.Op, now *attempt, d semaphore.Decision, tried []attempt) (*attempt, int64, error) {
	otherwise, waiters := s.reads(g, d, tried)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	begin := time.Now()
	resp, err := s.cfg.Client.Txn(ctx).If(cmps...).Then(then...).Else(otherwise...).Commit()
	s.metrics.txn.Observe(time.Since(begin).Seconds())
	if err != nil {
		return nil, 0, classify(err)
	}
	if resp.Succeeded {
		return now, resp.Header.Revision, nil
	}
	s.metrics.conflicts.Inc()
	if won, rev := s.takeOver(g, resp.Responses, resp.Header.Revision, waiters, tried); won != nil {
		return won, rev, nil
	}
	return nil, 0, errLost
}

// resolve reads the group after an unknown outcome, and finds out whether an
// attempt has committed.
func (s *Store) resolve(ctx context.Context, g *group, tried []attempt) (*attempt, int64, error) {
	if err := s.rest(ctx, nil); err != nil {
		return nil, 0, err
	}
	ops, _ := s.reads(g, semaphore.Decision{}, tried)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	resp, err := s.cfg.Client.Txn(ctx).Then(ops...).Commit()
	if err != nil {
		return nil, 0, classify(err)
	}
	won, rev := s.takeOver(g, resp.Responses, resp.Header.Revision, nil, tried)
	return won, rev, nil
}

// seal finds out about attempts and prevents those that have not committed: it
// puts the head again, so that their comparison is lost.
func (s *Store) seal(g *group, tried []attempt) (*attempt, int64, error) {
	if won, rev, err := s.resolve(s.ctx, g, tried); won != nil || err != nil {
		return won, rev, err
	}
	st := s.state(g)
	if st.HeadRev == 0 {
		return nil, 0, nil
	}
	if st.NewerSchema != "" {
		return nil, 0, fmt.Errorf("%s: %w", st.NewerSchema, semaphore.ErrNewerSchema)
	}
	d := semaphore.Decision{Head: st.Head}
	cmps, ops, err := s.writes(g, &st, d)
	if err != nil {
		return nil, 0, err
	}
	now := &attempt{st: st, d: d}
	won, rev, err := s.exchange(s.ctx, g, cmps, ops, now, d, tried)
	if err == nil && won == now {
		s.commit(g, now, rev)
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
	return pause(ctx, retryPause)
}

// reads are the reads of a group, in the order in which takeOver takes them:
// all but the queue, of which it reads the waiters that d admits.
func (s *Store) reads(g *group, d semaphore.Decision, tried []attempt) (ops []clientv3.Op, waiters []string) {
	ops = []clientv3.Op{
		clientv3.OpGet(s.keys.freeze()),
		clientv3.OpGet(s.keys.group(g.name, headKey)),
		clientv3.OpGet(s.keys.group(g.name, specKey)),
		clientv3.OpGet(s.keys.nodes(g.name, holdKeys), clientv3.WithPrefix()),
		clientv3.OpGet(s.keys.nodes(g.name, memberKeys), clientv3.WithPrefix()),
	}
	for _, a := range tried {
		ops = append(ops, clientv3.OpGet(a.key))
	}
	for _, c := range d.Changes {
		if c.DeleteWaiter != "" {
			waiters = append(waiters, c.DeleteWaiter)
			ops = append(ops, clientv3.OpGet(s.keys.node(g.name, queueKeys, c.DeleteWaiter)))
		}
	}
	return ops, waiters
}

// takeOver makes the answers to reads the group's state. It returns the
// attempt that has committed, if one has.
func (s *Store) takeOver(g *group, responses []*etcdserverpb.ResponseOp, rev int64, waiters []string, tried []attempt) (*attempt, int64) {
	kvs := func(i int) []*mvccpb.KeyValue { return responses[i].GetResponseRange().GetKvs() }
	s.mu.Lock()
	defer s.mu.Unlock()
	var freeze *mvccpb.KeyValue
	if found := kvs(0); len(found) > 0 {
		freeze = found[0]
	}
	s.setFreeze(freeze, rev)
	var core []*mvccpb.KeyValue
	for i := 1; i <= 4; i++ {
		core = append(core, kvs(i)...)
	}
	s.replaceCore(g, core, rev)
	for i, node := range waiters {
		if found := kvs(5 + len(tried) + i); len(found) > 0 {
			s.putWaiter(g, node, found[0])
		} else if s.removeWaiter(g, node, rev) {
			g.lostPlace(node)
		}
	}
	s.wakeLocked()
	g.wake()
	for i := range tried {
		if found := kvs(5 + i); len(found) > 0 && string(found[0].Value) == tried[i].value {
			return &tried[i], found[0].ModRevision
		}
	}
	return nil, 0
}

// commit takes over what an attempt committed at rev, and answers.
func (s *Store) commit(g *group, a *attempt, rev int64) semaphore.Answer {
	at := time.Now()
	s.mu.Lock()
	if rev > g.rev {
		next := a.st.Apply(a.d)
		g.head, g.headRev, g.spec = next.Head, rev, next.Spec
		g.holds, g.members = next.Holds, next.Members
		for _, c := range a.d.Changes {
			switch {
			case c.Spec != nil:
				g.specRev = rev
			case c.DeleteSpec:
				g.specRev = 0
			}
		}
		g.rev = rev
	}
	for _, c := range a.d.Changes {
		if c.DeleteWaiter != "" {
			s.removeWaiter(g, c.DeleteWaiter, rev)
		}
	}
	s.deliver(g, a.d, rev, at)
	for _, c := range a.d.Changes {
		switch {
		case c.Hold != nil:
			g.concern(holdKeys, c.Hold.Node, false)
		case c.Member != nil:
			g.concern(memberKeys, c.Member.Node, false)
		case c.DeleteMember != "":
			g.concern(memberKeys, c.DeleteMember, true)
		case c.DeleteSpec:
			g.concern(specKey, "", true)
		}
	}
	s.wakeLocked()
	g.wake()
	s.mu.Unlock()

	s.metrics.committed(&a.st, a.d)
	answer := a.d.Answer
	answer.Revision, answer.At = rev, at
	return answer
}
