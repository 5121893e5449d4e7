package etcdstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Create implements rollout.Store.
func (s *Store) Create(ctx context.Context, c rollout.Creation) error {
	if err := s.cfg.Floor(); err != nil {
		return err
	}
	ifs, then, err := s.creation(c)
	if err != nil {
		return err
	}
	txn, err := s.commit(ctx, ifs, then)
	if err != nil {
		return err
	}
	if !txn.Succeeded {
		return rollout.ErrChanged
	}
	s.waitFor(ctx, txn.Header.Revision)
	return nil
}

// creation is the transaction of a new rollout, of a size that etcd takes.
func (s *Store) creation(c rollout.Creation) (ifs []clientv3.Cmp, then []clientv3.Op, err error) {
	isNew, then, err := s.creates(c)
	if err != nil {
		return nil, nil, err
	}
	head, selection := len(then[0].ValueBytes()), len(then[1].ValueBytes())
	if head > maxHead || selection > maxSelection || size(isNew, then) > maxRequest-spare {
		return nil, nil, fmt.Errorf("%w: its list of nodes takes %d bytes (at most %d) and the rest of it %d (at most %d), together at most %d",
			rollout.ErrTooLarge, selection, maxSelection, head, maxHead, maxRequest-spare)
	}
	ifs = append(isNew, clientv3.Compare(clientv3.ModRevision(s.catalogKey()), "=", c.Catalog))
	then = append(then, clientv3.OpPut(s.catalogKey(), catalogValue(c.Head.ID)))
	for _, over := range c.Supersedes {
		guards, err := s.guards(nil, over.Head.ID, over.Revision)
		if err != nil {
			return nil, nil, err
		}
		puts, err := s.puts(over)
		if err != nil {
			return nil, nil, err
		}
		ifs, then = append(ifs, guards...), append(then, puts...)
	}
	if c.Key != "" {
		r := rollout.Request{V: semaphore.BaseSchema, ID: c.Head.ID, Digest: c.Digest, At: s.cfg.Now().UTC()}
		value, err := json.Marshal(r)
		if err != nil {
			return nil, nil, err
		}
		ifs = append(ifs, clientv3.Compare(clientv3.CreateRevision(s.requestKey(c.Key)), "=", 0))
		then = append(then, clientv3.OpPut(s.requestKey(c.Key), string(value)))
	}
	return ifs, then, fits(ifs, then)
}

// floor is the disk's for a change: one that makes rollouts, takes nodes in or
// brings an ended rollout back to life needs more room than one that tells what
// became of nodes, or stops.
func (s *Store) floor(c rollout.Change) error {
	if len(c.Creates) > 0 || c.Catalog != 0 || c.Selected != nil {
		return s.cfg.Floor()
	}
	return s.cfg.WriteFloor()
}

// Write implements rollout.Store.
func (s *Store) Write(ctx context.Context, c rollout.Change) error {
	if err := s.floor(c); err != nil {
		return err
	}
	ifs, err := s.guards(c.Term, c.Head.ID, c.Revision)
	if err != nil {
		return err
	}
	then, err := s.puts(c)
	if err != nil {
		return err
	}
	for _, made := range c.Creates {
		isNew, puts, err := s.creates(made)
		if err != nil {
			return err
		}
		ifs, then = append(ifs, isNew...), append(then, puts...)
	}
	if c.Bundle != "" {
		ifs = append(ifs, s.stored(c.Bundle)...)
	}
	if c.Catalog != 0 {
		ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(s.catalogKey()), "=", c.Catalog))
	}
	if c.Catalog != 0 || len(c.Creates) > 0 {
		then = append(then, clientv3.OpPut(s.catalogKey(), catalogValue(c.Head.ID)))
	}
	return s.guarded(ctx, c.Term, ifs, then)
}

// creates are the keys of a new rollout, and that there is none of its id and its
// bundle is stored.
func (s *Store) creates(c rollout.Creation) (isNew []clientv3.Cmp, puts []clientv3.Op, err error) {
	selection, err := rollout.Selection{Nodes: c.Nodes}.Encode(s.writes())
	if err != nil {
		return nil, nil, err
	}
	head, err := c.Head.Encode(s.writes())
	if err != nil {
		return nil, nil, err
	}
	event, err := json.Marshal(c.Event)
	if err != nil {
		return nil, nil, err
	}
	key := s.key(c.Head.ID, "head")
	isNew = append(s.stored(c.Head.Spec.Bundle), clientv3.Compare(clientv3.CreateRevision(key), "=", 0))
	return isNew, []clientv3.Op{
		clientv3.OpPut(key, string(head)),
		clientv3.OpPut(s.key(c.Head.ID, "selection"), string(selection)),
		clientv3.OpPut(s.eventKey(c.Event), string(event)),
	}, nil
}

// stored compares that a bundle is: who deletes one compares the catalog, which
// every rollout that comes to need one puts, so that one of both loses.
func (s *Store) stored(digest string) []clientv3.Cmp {
	if s.cfg.BundleKey == nil {
		return nil
	}
	return []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(s.cfg.BundleKey(digest)), ">", 0)}
}

// puts are the keys of a change.
func (s *Store) puts(c rollout.Change) ([]clientv3.Op, error) {
	head, err := c.Head.Encode(s.writes())
	if err != nil {
		return nil, err
	}
	then := []clientv3.Op{clientv3.OpPut(s.key(c.Head.ID, "head"), string(head))}
	if c.Selected != nil {
		selection, err := c.Selected.Encode(s.writes())
		if err != nil {
			return nil, err
		}
		if len(selection) > maxSelection {
			return nil, fmt.Errorf("%w: its list of nodes takes %d bytes: at most %d", rollout.ErrTooLarge, len(selection), maxSelection)
		}
		then = append(then, clientv3.OpPut(s.key(c.Head.ID, "selection"), string(selection)))
	}
	for _, r := range c.Results {
		value, err := r.Encode(s.writes())
		if err != nil {
			return nil, err
		}
		then = append(then, clientv3.OpPut(s.key(c.Head.ID, "nodes/"+semaphore.EscapeID(r.Node)), string(value)))
	}
	for _, e := range c.Events {
		value, err := json.Marshal(e)
		if err != nil {
			return nil, err
		}
		then = append(then, clientv3.OpPut(s.eventKey(e), string(value)))
	}
	for _, n := range c.Settles() {
		value, err := n.Encode(s.writes())
		if err != nil {
			return nil, err
		}
		then = append(then, clientv3.OpPut(s.settledKey(n.Node), string(value)))
	}
	for _, n := range c.Notices() {
		value, err := n.Encode(s.writes())
		if err != nil {
			return nil, err
		}
		then = append(then, clientv3.OpPut(s.noticeKey(n.Rollout, n.Seq), string(value)))
	}
	return then, nil
}

// ForgetSettled implements rollout.Store.
func (s *Store) ForgetSettled(ctx context.Context, node string) error {
	key := s.settledKey(node)
	txn, err := s.commit(ctx, []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), ">", 0)}, []clientv3.Op{clientv3.OpDelete(key)})
	if err == nil && txn.Succeeded { // else the view has no revision to wait for
		s.waitFor(ctx, txn.Header.Revision)
	}
	return err
}

// WriteNotice implements rollout.Store.
func (s *Store) WriteNotice(ctx context.Context, n rollout.Notice, t rollout.Term) error {
	mine, ok := t.(*term)
	if !ok {
		return errors.New("a term of another store")
	}
	key := s.noticeKey(n.Rollout, n.Seq)
	then := clientv3.OpDelete(key)
	if len(n.To) > 0 {
		if err := s.cfg.WriteFloor(); err != nil {
			return err
		}
		value, err := n.Encode(s.writes())
		if err != nil {
			return err
		}
		then = clientv3.OpPut(key, string(value))
	}
	return s.guarded(ctx, t, []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", n.Revision), mine.isElected()}, []clientv3.Op{then})
}

// Delete implements rollout.Store.
func (s *Store) Delete(ctx context.Context, id string, revision int64, term rollout.Term) error {
	ifs, err := s.guards(term, id, revision)
	if err != nil {
		return err
	}
	return s.guarded(ctx, term, ifs, []clientv3.Op{clientv3.OpDelete(s.prefix+"rollouts/"+id+"/", clientv3.WithPrefix())})
}

// guards are the comparisons of a change: the head is as it was read, and the
// engine that decided is still the elected one.
func (s *Store) guards(t rollout.Term, id string, revision int64) ([]clientv3.Cmp, error) {
	ifs := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(s.key(id, "head")), "=", revision)}
	if t == nil {
		return ifs, nil
	}
	mine, ok := t.(*term)
	if !ok {
		return nil, errors.New("a term of another store")
	}
	return append(ifs, mine.isElected()), nil
}

// guarded commits a change and tells a lost comparison of the head from a lost
// election.
func (s *Store) guarded(ctx context.Context, t rollout.Term, ifs []clientv3.Cmp, then []clientv3.Op) error {
	txn, err := s.commit(ctx, ifs, then)
	switch {
	case err != nil:
		return err
	case txn.Succeeded:
		s.waitFor(ctx, txn.Header.Revision)
		return nil
	case t == nil:
		return rollout.ErrChanged
	}
	check, err := s.commit(ctx, []clientv3.Cmp{t.(*term).isElected()}, nil)
	if err != nil {
		return err
	}
	if !check.Succeeded {
		return rollout.ErrNotElected
	}
	return rollout.ErrChanged
}
