package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// putEvents puts one event in each of these scopes, in one transaction.
func putEvents(t *testing.T, d *DB, seq int64, scopes ...string) int64 {
	t.Helper()
	var ops []clientv3.Op
	for _, scope := range scopes {
		value, err := json.Marshal(semaphore.Event{Scope: scope, Seq: seq, Kind: "k", Group: scope, At: d.cfg.Now()})
		if err != nil {
			t.Fatal(err)
		}
		ops = append(ops, clientv3.OpPut(fmt.Sprintf("%sevents/%s/%016d", d.prefix, scope, seq), string(value)))
	}
	resp, err := d.client.Txn(t.Context()).Then(ops...).Commit()
	if err != nil {
		t.Fatal(err)
	}
	return resp.Header.Revision
}

func all(t *testing.T, d *DB, q api.EventQuery) api.EventList {
	t.Helper()
	if q.Limit == 0 {
		q.Limit = 1000
	}
	list, err := d.Events(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return list
}

func TestEvents_OfAllScopesAreMergedInTheOrderOfRevisions(t *testing.T) {
	d, _ := open(t)
	putEvents(t, d, 1, "group/web")
	putEvents(t, d, 1, "fleet")
	last := putEvents(t, d, 2, "group/web")
	eventually(t, d, "all are seen", func() bool { return len(all(t, d, api.EventQuery{}).Events) == 3 })
	list := all(t, d, api.EventQuery{})
	for i, scope := range []string{"group/web", "fleet", "group/web"} {
		if list.Events[i].Scope != scope || i > 0 && list.Events[i].Revision <= list.Events[i-1].Revision {
			t.Errorf("event %d: %+v", i, list.Events[i])
		}
	}
	if list.Next != last || len(all(t, d, api.EventQuery{After: last}).Events) != 0 {
		t.Errorf("next %d, last %d", list.Next, last)
	}
	if got := all(t, d, api.EventQuery{Group: "group/web"}).Events; len(got) != 2 {
		t.Errorf("of one group: %+v", got)
	}
	if got := all(t, d, api.EventQuery{Last: true, Limit: 1}).Events; len(got) != 1 || got[0].Revision != last {
		t.Errorf("the last: %+v", got)
	}
}

func TestAppend_ManyAtOnceAllGetTheirTurn(t *testing.T) {
	d, _ := open(t)
	const n = 60
	var ended sync.WaitGroup
	for range n {
		ended.Go(func() {
			if err := d.Append(t.Context(), semaphore.Event{Kind: "k"}); err != nil {
				t.Error(err)
			}
		})
	}
	ended.Wait()
	eventually(t, d, "all are seen", func() bool { return len(all(t, d, api.EventQuery{}).Events) == n })
}

func TestEvents_AreFilteredByWhatAPersonAsksFor(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	e := api.Event{Revision: 10, Kind: "hold.granted", At: noon, Node: "Web-1", Group: "web", Rollout: "ro-1", Actor: "ann", Detail: "kernel"}
	for name, c := range map[string]struct {
		q    api.EventQuery
		want bool
	}{
		"kind":            {api.EventQuery{Kind: "hold.granted"}, true},
		"kinds of a hold": {api.EventQuery{Kind: "freeze, hold"}, true},
		"half a word":     {api.EventQuery{Kind: "hol"}, false},
		"another kind":    {api.EventQuery{Kind: "hold.released"}, false},
		"rollout":         {api.EventQuery{Rollout: "ro-1"}, true},
		"another rollout": {api.EventQuery{Rollout: "ro-2"}, false},
		"part of the id":  {api.EventQuery{Text: "EB-1"}, true},
		"actor":           {api.EventQuery{Text: "ann"}, true},
		"nowhere":         {api.EventQuery{Text: "bob"}, false},
		"since then":      {api.EventQuery{From: noon}, true},
		"too early":       {api.EventQuery{From: noon.Add(1)}, false},
		"until then":      {api.EventQuery{Until: noon}, false},
		"before after it": {api.EventQuery{Until: noon.Add(1)}, true},
		"older":           {api.EventQuery{Before: 11}, true},
		"not older":       {api.EventQuery{Before: 10}, false},
	} {
		if got := matches(e, c.q); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestEvents_APageNeverCutsATransaction(t *testing.T) {
	d, _ := open(t)
	putEvents(t, d, 1, "a")
	putEvents(t, d, 1, "b", "c", "e")
	putEvents(t, d, 2, "a")
	eventually(t, d, "all are seen", func() bool { return len(all(t, d, api.EventQuery{}).Events) == 5 })
	var seen []string
	q := api.EventQuery{Limit: 2}
	for range 10 {
		list := all(t, d, q)
		for _, e := range list.Events {
			seen = append(seen, fmt.Sprint(e.Scope, e.Seq))
		}
		if list.Next == q.After {
			break
		}
		q.After = list.Next
	}
	if len(seen) != 5 {
		t.Errorf("by pages: %v", seen)
	}
}

func TestWatchEvents_SendsWhatWasBeforeAndWhatFollowsOnceEach(t *testing.T) {
	d, _ := open(t)
	first := putEvents(t, d, 1, "a")
	putEvents(t, d, 1, "b", "c")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events := d.WatchEvents(ctx, first)
	got := []string{(<-events).Scope, (<-events).Scope}
	if err := d.Append(t.Context(), semaphore.Event{Kind: "after"}); err != nil {
		t.Fatal(err)
	}
	e := <-events
	if got[0]+got[1] != "bc" && got[0]+got[1] != "cb" || e.Kind != "after" || e.Scope != FleetScope {
		t.Errorf("%v, then %+v", got, e)
	}
	cancel()
	if _, open := <-events; open {
		t.Error("the channel is not closed")
	}
}

func TestWatchEvents_EndsWithTheDatabase(t *testing.T) {
	c, prefix := client(t)
	d := New(Config{Client: c, Prefix: prefix})
	if err := d.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	events := d.WatchEvents(t.Context(), 0)
	d.Stop()
	if _, open := <-events; open {
		t.Error("the channel is not closed")
	}
}

func TestAppend_ManyAtOnceLoseNoEvent(t *testing.T) {
	d, _ := open(t)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if err := d.Append(context.Background(), semaphore.Event{Kind: fmt.Sprint(i)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	eventually(t, d, "all are seen", func() bool { return len(all(t, d, api.EventQuery{}).Events) == 8 })
	seen := map[string]bool{}
	for i, e := range all(t, d, api.EventQuery{}).Events {
		seen[e.Kind] = true
		if e.Seq != int64(i)+1 {
			t.Errorf("event %d has the sequence %d", i, e.Seq)
		}
	}
	if len(seen) != 8 {
		t.Errorf("%d of 8", len(seen))
	}
}

func TestPrune_KeepsTheNewestOfEachScopeAndForgetsOldRequestsAndTokens(t *testing.T) {
	d, clock := open(t)
	for seq := range int64(5) {
		putEvents(t, d, seq+1, "busy")
	}
	putEvents(t, d, 1, "quiet")
	tok, _ := token(api.RoleViewer)
	tok.ExpiresAt = clock.now().Add(time.Hour)
	if _, _, err := d.CreateToken(t.Context(), tok, Request{Key: "k", Digest: "x"}, semaphore.Event{}); err != nil {
		t.Fatal(err)
	}
	if err := d.pruneEvents(t.Context(), 2, 100); err != nil {
		t.Fatal(err)
	}
	stored, err := d.read(t.Context(), 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range stored {
		left = append(left, fmt.Sprint(e.Scope, e.Seq))
	}
	if fmt.Sprint(left) != "[busy4 busy5 quiet1 fleet1]" {
		t.Errorf("left: %v", left)
	}
	clock.pass(25 * time.Hour)
	if err := d.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, found, err := d.FindRequest(t.Context(), Request{Key: "k", Digest: "x"}); err != nil || found {
		t.Errorf("the request is still known: %v %v", found, err)
	}
	eventually(t, d, "the expired token is gone", func() bool { return len(d.Tokens()) == 0 })
}

func TestFeed_ForgetsWholeRevisionsAndSaysHowFarItReaches(t *testing.T) {
	for name, look := range map[string]int{"that nobody looks at": 1 << 30, "that somebody follows": 700, "looked at late": feedKept} {
		var f feed
		f.init()
		f.decode = func(kvs []kv) []api.Event {
			list := make([]api.Event, len(kvs))
			for i, k := range kvs {
				list[i] = api.Event{Revision: k.revision}
			}
			return list
		}
		last := int64(0)
		for i := range 5 * feedKept { // two a revision, which arrive together
			last = int64(i + 1)
			f.add([]kv{{revision: last}, {revision: last}, {revision: last, deleted: true}})
			if i%look == look-1 {
				f.after(last)
			}
		}
		events, reaches, _ := f.after(f.from)
		if !reaches || len(events) > feedKept+feedKept/10 || len(events) < feedKept-1 {
			t.Fatalf("a feed %s: %d events, reaches back to %d: %v", name, len(events), f.from, reaches)
		}
		for i, e := range events {
			if want := f.from + 1 + int64(i/2); e.Revision != want {
				t.Fatalf("a feed %s: event %d is of revision %d, want %d", name, i, e.Revision, want)
			}
		}
		if events[len(events)-1].Revision != last {
			t.Errorf("a feed %s: it ends at %d, not %d", name, events[len(events)-1].Revision, last)
		}
		if _, reaches, _ := f.after(f.from - 1); reaches {
			t.Errorf("a feed %s: it claims to have what it forgot", name)
		}
	}
}
