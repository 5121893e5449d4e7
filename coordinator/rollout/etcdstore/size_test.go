package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// longNames are nodes with ids of 1000 bytes, which take six times as many in JSON,
// so that few fill what a store takes.
func longNames(nodes int) []rollout.Selected {
	list := make([]rollout.Selected, nodes)
	for i := range list {
		list[i] = rollout.Selected{Node: fmt.Sprintf("n%03d%s", i, strings.Repeat("<", 996)), Group: "web"}
	}
	return list
}

// have makes the nodes a part of the fleet. Nobody answers for them.
func (w *world) have(nodes []rollout.Selected, bundle string) {
	for _, n := range nodes {
		w.nodes[n.Node] = api.Node{
			ID: n.Node, Group: n.Group, Via: "agent", LastHeard: time.Now(),
			Report: api.Report{Phase: api.PhaseIdle, Healthy: true, Bundle: bundle},
		}
	}
}

func ids(nodes []rollout.Selected) (out []string) {
	for _, n := range nodes {
		out = append(out, n.Node)
	}
	return out
}

// listing is a new rollout of a list of nodes.
func listing(id string, nodes []rollout.Selected) rollout.Creation {
	head := rollout.Head{
		ID: id, Spec: api.RolloutSpec{Bundle: newBundle, Nodes: ids(nodes)}, State: api.RolloutRunning, By: "ann", CreatedAt: time.Now(), EventSeq: 1,
	}
	return rollout.Creation{Head: head, Nodes: nodes, Event: semaphore.Event{Scope: "rollout/" + id, Seq: 1, Kind: rollout.EventCreated, Rollout: id}}
}

// most is the greatest number that fits, of those up to a bound that does not.
func most(bound int, fits func(n int) error) int {
	return sort.Search(bound, func(n int) bool { return fits(n) != nil }) - 1
}

// answered asks again as long as a busy machine does not answer in time.
func answered(ask func() error) error {
	for late := time.Now().Add(time.Minute); ; {
		err := ask()
		unknown := errors.Is(err, semaphore.ErrNoQuorum) || errors.Is(err, context.DeadlineExceeded)
		if !unknown || time.Now().After(late) {
			return err
		}
	}
}

func (w *world) mustCreate(s *Store, c rollout.Creation) {
	w.t.Helper()
	err := answered(func() error {
		catalog, err := s.get(w.t.Context(), s.catalogKey())
		if err != nil {
			return err
		}
		for _, kv := range catalog.Kvs {
			c.Catalog = kv.ModRevision
		}
		err = s.Create(w.t.Context(), c)
		if errors.Is(err, rollout.ErrChanged) { // perhaps it was made by a try before
			_, err = s.ReadHead(w.t.Context(), c.Head.ID)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// What passes the count of a transaction's bytes is what etcd takes, be they in one
// value or spread over many.
func TestCommit_WhatIsCountedAsFittingEtcdTakes(t *testing.T) {
	s := New(Config{Client: etcd.Client(), Prefix: "/size/"})
	for _, small := range []int{0, 500} {
		var ifs []clientv3.Cmp
		var then []clientv3.Op
		for i := range small {
			key := fmt.Sprint("/size/k", i)
			ifs = append(ifs, clientv3.Compare(clientv3.ModRevision(key), "<", 1<<62))
			then = append(then, clientv3.OpPut(key, ""))
		}
		room := maxRequest - size(ifs, append(then, clientv3.OpPut("/size/large", "")))
		large := func(n int) []clientv3.Op {
			return append(then[:small:small], clientv3.OpPut("/size/large", strings.Repeat("x", n)))
		}
		err := answered(func() error { _, err := s.commit(t.Context(), ifs, large(room)); return err })
		if err != nil {
			t.Errorf("beside %d small ones: %v", small, err)
		}
		if _, err := s.commit(t.Context(), ifs, large(room+1)); !errors.Is(err, rollout.ErrTooMuch) {
			t.Errorf("one byte more, beside %d small ones: %v", small, err)
		}
	}
	_, err := etcd.Client().Put(t.Context(), "/size/large", strings.Repeat("x", maxRequest))
	if err := outcome(t.Context(), t.Context(), err); !errors.Is(err, rollout.ErrTooMuch) || errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("what etcd itself finds too large: %v", err)
	}
}

// A list of nodes is written twice, with the rollout and as its selection: more
// than a store takes at once is refused as that, and what is taken can be ended.
func TestCreate_TheLongestListIsRefusedAsTooLargeOrCanBeEnded(t *testing.T) {
	w := newWorld(t, 0, 1)
	nodes := longNames(150)
	w.have(nodes, oldBundle)
	s := w.store()
	e := w.engine(s)
	for i := range nodes {
		nodes[i].Before = oldBundle // as it will find
	}
	longest := most(len(nodes), func(n int) error { return s.Fits(listing("ro-00000000000000000000000000", nodes[:n])) })
	if longest < 110 {
		t.Errorf("%d nodes fit: want some 120", longest)
	}
	spec := api.RolloutSpec{Bundle: newBundle, Nodes: ids(nodes[:longest+1])}
	err := answered(func() error { _, _, err := e.Create(t.Context(), spec, "ann", ""); return err })
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Kind != api.TooLarge || !strings.Contains(refused.Detail, "bytes") {
		t.Errorf("one node more than fits: %v", err)
	}
	r := w.create(e, func(s *api.RolloutSpec) { s.Group, s.Nodes = "", spec.Nodes[:longest-1] }) // it has a name of its bundle
	w.act(e, r.ID, rollout.ActPause)
	w.act(e, r.ID, rollout.ActAbort)
	if n := len(e.List()); n != 1 {
		t.Errorf("%d rollouts, want the one that was taken", n)
	}
}

// One transaction ends the others and creates the new one: it fits, or nothing
// is changed.
func TestCreate_SupersedesTwentyLongListsOrNothing(t *testing.T) {
	t.Parallel()
	const each = 7
	w := newWorld(t, 0, 1)
	nodes := longNames(20 * each)
	w.have(nodes, oldBundle)
	s := started(t, w.store())
	var old []rollout.Change
	for i := range 20 {
		c := listing(fmt.Sprintf("ro-%02d", i), nodes[i*each:][:each])
		w.mustCreate(s, c)
		old = append(old, rollout.Change{Head: c.Head})
	}
	e := w.engine(w.store())
	firsts := func(n int) (list []rollout.Selected) { // of each of the twenty one, and so on
		for i := range n {
			list = append(list, nodes[i%20*each+i/20])
		}
		return list
	}
	longest := most(len(nodes), func(n int) error {
		c := listing("ro-00000000000000000000000000", firsts(n))
		c.Supersedes = old
		return s.Fits(c)
	})
	if longest < 40 {
		t.Errorf("%d nodes fit beside what they supersede", longest)
	}
	spec := api.RolloutSpec{Bundle: newBundle, Nodes: ids(firsts(longest + 2)), Conflict: api.ConflictSupersede}
	err := answered(func() error { _, _, err := e.Create(t.Context(), spec, "ann", ""); return err })
	_, planned := e.Plan(spec)
	for _, err := range []error{err, planned} {
		var refused *api.Error
		if !errors.As(err, &refused) || refused.Kind != api.TooLarge {
			t.Fatalf("more than fits: %v", err)
		}
		for _, part := range []string{"20 rollouts (ro-00, ", "bytes", "abort some of them"} {
			if !strings.Contains(refused.Detail, part) {
				t.Errorf("%q does not say %q", refused.Detail, part)
			}
		}
	}
	for _, o := range old {
		var h rollout.Head
		err := answered(func() (err error) { h, err = s.ReadHead(t.Context(), o.Head.ID); return err })
		if err != nil || h.State != api.RolloutRunning {
			t.Errorf("of what was refused, %s came to be %s, %v", o.Head.ID, h.State, err)
		}
	}
	// What ends the others tells why, of which the estimate above knows nothing.
	newer := w.create(e, func(s *api.RolloutSpec) {
		s.Group, s.Nodes, s.Conflict = "", spec.Nodes[:longest-4], api.ConflictSupersede
	})
	for _, o := range old {
		var h rollout.Head
		err := answered(func() (err error) { h, err = s.ReadHead(t.Context(), o.Head.ID); return err })
		if err != nil || h.State != api.RolloutAborted || h.SupersededBy != newer.ID {
			t.Errorf("%s is %s, superseded by %q, %v", o.Head.ID, h.State, h.SupersededBy, err)
		}
	}
}

// halted puts a rollout that the failure of its last node has halted, and whose
// nodes are to be brought back. When they were selected nobody knew what they had.
func (w *world) halted(s *Store, nodes []rollout.Selected, had func(i int) string) string {
	w.t.Helper()
	c := listing("ro-long", nodes)
	c.Head.Spec.Nodes, c.Head.Spec.Group = nil, "web"
	c.Head.State, c.Head.Undo, c.Head.Why = api.RolloutHalted, api.RollbackAll, "halted"
	c.Head.Stopped = rollout.Stop{At: time.Now(), Seq: 1}
	w.mustCreate(s, c)
	w.have(nodes, newBundle)
	w.have(nodes[len(nodes)-1:], oldBundle)
	for done := 0; done < len(nodes); done += 40 {
		results := rollout.Change{Head: c.Head}
		for i := done; i < min(done+40, len(nodes)); i++ {
			r := rollout.Result{Node: nodes[i].Node, State: api.NodeUpdated, Attempt: 1, At: time.Now(), Before: had(i)}
			if i == len(nodes)-1 {
				r.State, r.Failure, results.Head.Failures = api.NodeBroken, 1, 1
			}
			results.Results = append(results.Results, r)
		}
		err := answered(func() error {
			st, err := s.Read(w.t.Context(), c.Head.ID)
			if err != nil {
				return err
			}
			results.Revision = st.Revision
			return s.Write(w.t.Context(), results)
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}
	return c.Head.ID
}

// The selection of an undo says of each node what it had, which the undone one's
// may not: it is made all the same.
func TestUndo_OfTheLongestSelectionIsMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 1)
	s := started(t, w.store())
	fits := func(nodes []rollout.Selected) error {
		c := listing("ro-long", nodes)
		c.Head.Spec.Nodes = nil
		return s.Fits(c)
	}
	nodes := longNames(200)
	nodes = nodes[:most(len(nodes), func(n int) error { return fits(nodes[:n]) })]
	last := most(1000, func(n int) error {
		return fits(append(nodes[:len(nodes):len(nodes)], rollout.Selected{Node: "z" + strings.Repeat("<", n), Group: "web"}))
	})
	nodes = append(nodes, rollout.Selected{Node: "z" + strings.Repeat("<", last), Group: "web"})
	id := w.halted(s, nodes, func(int) string { return oldBundle })
	e := w.engine(w.store())
	var r api.Rollout
	w.eventually("the nodes to be brought back", func() bool { r, _ = e.Get(id); return r.Rollback != "" })
	if back, _ := e.Get(r.Rollback); len(back.Nodes) != len(nodes) || len(nodes) < 150 {
		t.Errorf("%d of %d nodes are brought back", len(back.Nodes), len(nodes))
	}
}

// small is a store that takes at once one rollout of an undo, without what its
// nodes have.
type small struct{ *Store }

func (s small) Write(ctx context.Context, c rollout.Change) error {
	if len(c.Creates) > 1 || len(c.Creates) == 1 && c.Creates[0].Nodes[0].Before != "" {
		return rollout.ErrTooMuch
	}
	return s.Store.Write(ctx, c)
}

// An undo that is too large at once is no reason to try the same for ever: as much
// as fits is brought back, and the rollout says what is not.
func TestUndo_ThatIsTooLargeIsMadeSmaller(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 0, 1)
	nodes := longNames(3)
	s := started(t, w.store())
	third := strings.Repeat("c", 64)
	id := w.halted(s, nodes, func(i int) string { return []string{oldBundle, oldBundle, third}[i] })
	w.bundles = []string{third}
	e := w.engine(small{w.store()})
	var r api.Rollout
	w.eventually("the nodes to be brought back", func() bool { r, _ = e.Get(id); return r.Rollback != "" })
	if back, _ := e.Get(r.Rollback); len(back.Nodes) != 2 || back.Spec.Bundle != oldBundle {
		t.Errorf("brought back: %+v", back.Nodes)
	}
	if !strings.Contains(r.Why, "1 node with bundle cccccccccccc before: more than is written at once") {
		t.Errorf("of the other it says %q", r.Why)
	}
}
