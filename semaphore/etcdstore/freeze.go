package etcdstore

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// fleetScope is the scope of events that belong to no group.
const fleetScope = "fleet"

// Freeze implements semaphore.Store. Without an id it makes one.
func (s *Store) Freeze(ctx context.Context, asked semaphore.Freeze) (semaphore.Freeze, error) {
	if asked.ID == "" {
		b := make([]byte, 8)
		rand.Read(b) // never fails
		asked.ID = hex.EncodeToString(b)
	}
	if asked.At.IsZero() {
		asked.At = s.cfg.Now().UTC()
	}
	var inForce semaphore.Freeze
	err := s.changeFreeze(ctx, func(old *semaphore.Freeze) (*semaphore.Freeze, semaphore.Event, bool) {
		f, changed := semaphore.MergeFreeze(old, asked)
		inForce = f
		e := semaphore.Event{Kind: "freeze.set", Actor: asked.By, Detail: asked.Reason}
		return &f, e.Changed(semaphore.FreezeValue(old), f), changed
	})
	return inForce, err
}

// Unfreeze implements semaphore.Store.
func (s *Store) Unfreeze(ctx context.Context, id, by string) (semaphore.Answer, error) {
	var answer semaphore.Answer
	err := s.changeFreeze(ctx, func(old *semaphore.Freeze) (*semaphore.Freeze, semaphore.Event, bool) {
		answer = semaphore.Answer{}
		switch {
		case old == nil:
			answer.Detail = "the fleet is not frozen"
		case old.ID != id:
			answer.Kind, answer.Freeze = semaphore.Conflict, old
			answer.Detail = fmt.Sprintf("another freeze is in force: %s by %s since %s", old.ID, old.By, old.At.UTC().Format(time.RFC3339))
		default:
			e := semaphore.Event{Kind: "freeze.lifted", Actor: by, Detail: old.Reason}
			return nil, e.Changed(*old, nil), true
		}
		return old, semaphore.Event{}, false
	})
	if err != nil {
		return semaphore.Answer{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	answer.Revision, answer.At = s.freezeAt, time.Now()
	return answer, nil
}

// changeFreeze reads the freeze, lets change say what should be instead, and
// commits that with its event, until the outcome is known. The event's key has
// to be free: so a transaction thought lost cannot set the freeze again later,
// after it was lifted.
func (s *Store) changeFreeze(ctx context.Context, change func(old *semaphore.Freeze) (*semaphore.Freeze, semaphore.Event, bool)) error {
	if err := s.take(ctx, s.freezing); err != nil {
		return err
	}
	defer func() { <-s.freezing }()
	for {
		if err := s.ready(ctx); err != nil {
			return err
		}
		err := s.tryFreeze(ctx, change)
		if err == nil {
			return nil
		}
		if err := s.rest(ctx, err); err != nil {
			return err
		}
	}
}

func (s *Store) tryFreeze(ctx context.Context, change func(*semaphore.Freeze) (*semaphore.Freeze, semaphore.Event, bool)) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	key := s.keys.freeze()
	resp, err := s.cfg.Client.Txn(ctx).Then(
		clientv3.OpGet(key),
		clientv3.OpGet(s.keys.events(fleetScope), clientv3.WithPrefix(), clientv3.WithKeysOnly(),
			clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(1)),
		clientv3.OpGet(s.keys.froze()),
	).Commit()
	if err != nil {
		return classify(err)
	}
	old, rev, err := readFreeze(resp.Responses[0].GetResponseRange().GetKvs())
	if err != nil {
		return err
	}
	f, event, changed := change(old)
	if !changed {
		return nil
	}
	if err := s.cfg.WriteFloor(); err != nil {
		return err
	}
	seq, err := lastSeq(resp.Responses[1].GetResponseRange().GetKvs())
	if err != nil {
		return err
	}
	event.V, event.Scope, event.Seq, event.At = semaphore.BaseSchema, fleetScope, seq+1, s.cfg.Now()
	told, err := semaphore.EncodeEvent(event)
	if err != nil {
		return err
	}
	eventKey := s.keys.event(fleetScope, event.Seq)
	then := []clientv3.Op{clientv3.OpPut(eventKey, string(told))}
	var value []byte
	if f != nil {
		if value, err = semaphore.EncodeFreeze(*f); err != nil {
			return err
		}
		then = append(then, clientv3.OpPut(key, string(value)))
	} else {
		froze, err := s.lifted(resp.Responses[2].GetResponseRange().GetKvs(), *old, event.At)
		if err != nil {
			return err
		}
		then = append(then, clientv3.OpDelete(key), clientv3.OpPut(s.keys.froze(), froze))
	}
	txn, err := s.cfg.Client.Txn(ctx).If(unchanged(key, rev), unchanged(eventKey, 0)).Then(then...).Commit()
	switch {
	case err != nil:
		return classify(err)
	case !txn.Succeeded:
		s.metrics.conflicts.Inc()
		return errLost
	}
	s.frozen(value, txn.Header.Revision)
	return nil
}

// lifted is when the fleet was frozen, with the freeze that is lifted now.
func (s *Store) lifted(kvs []*mvccpb.KeyValue, f semaphore.Freeze, now time.Time) (string, error) {
	froze := semaphore.Froze{V: semaphore.BaseSchema}
	if kv := first(kvs); kv != nil {
		var err error
		if froze, err = semaphore.DecodeFroze(kv.Value); err != nil {
			return "", fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	froze.Spans = semaphore.KeepFroze(froze.Spans, f, now, s.eachHold)
	value, err := semaphore.EncodeFroze(froze)
	return string(value), err
}

// eachHold yields the holds of all groups.
func (s *Store) eachHold(yield func(string, *semaphore.Hold) bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for _, g := range s.groups {
		for node, h := range g.st.EachHold() {
			if !yield(node, h) {
				return
			}
		}
	}
}

// frozen takes over what was committed at rev.
func (s *Store) frozen(value []byte, rev int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var kv *mvccpb.KeyValue
	if value != nil {
		kv = &mvccpb.KeyValue{Value: value, ModRevision: rev}
	}
	s.setFreeze(kv, rev)
	for _, g := range s.groups {
		g.wake()
	}
	s.wakeLocked()
}

func readFreeze(kvs []*mvccpb.KeyValue) (*semaphore.Freeze, int64, error) {
	if len(kvs) == 0 {
		return nil, 0, nil
	}
	f, err := semaphore.DecodeFreeze(kvs[0].Value)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", kvs[0].Key, err)
	}
	return &f, kvs[0].ModRevision, nil
}

func lastSeq(kvs []*mvccpb.KeyValue) (int64, error) {
	if len(kvs) == 0 {
		return 0, nil
	}
	key := string(kvs[0].Key)
	seq, err := strconv.ParseInt(key[strings.LastIndexByte(key, '/')+1:], 10, 64)
	if err != nil {
		return 0, errors.Join(fmt.Errorf("key %s", key), err)
	}
	return seq, nil
}
