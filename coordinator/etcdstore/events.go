package etcdstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// FleetScope is the scope of events that belong to no group and no rollout.
const FleetScope = "fleet"

// Append puts an event of the fleet's scope.
func (d *DB) Append(ctx context.Context, e semaphore.Event) error {
	_, err := d.withEvent(ctx, e, nil, nil)
	return err
}

// withEvent commits a change together with the event that tells of it, in the
// fleet's scope. It reports false when the caller's comparison failed. The event's
// key is free before the change and has this very event behind it: so it is made
// once, however often it is sent, and is known to be made.
func (d *DB) withEvent(ctx context.Context, e semaphore.Event, ifs []clientv3.Cmp, then []clientv3.Op) (bool, error) {
	defer d.turn(ctx)()
	e.V, e.Scope = schema, FleetScope
	if e.At.IsZero() {
		e.At = d.cfg.Now().UTC()
	}
	for range attempts {
		last, err := d.lastEvent(ctx)
		if err != nil {
			return false, err
		}
		e.Seq = last + 1
		value, err := json.Marshal(e)
		if err != nil {
			return false, err
		}
		key := d.eventKey(e.Seq)
		txn, lost, err := d.insist(ctx,
			append(slices.Clone(ifs), absent(key)),
			append(slices.Clone(then), clientv3.OpPut(key, string(value))),
			[]clientv3.Op{clientv3.OpGet(key)})
		if err != nil {
			return false, err
		}
		if txn.Succeeded {
			return true, nil
		}
		found := txn.Responses[0].GetResponseRange().Kvs
		switch {
		case len(found) == 0:
			return false, nil // the event's key was free: it was the caller's comparison
		case lost && string(found[0].Value) == string(value):
			return true, nil // by an earlier try
		}
	}
	return false, fmt.Errorf("%w: others kept writing events", semaphore.ErrNoQuorum)
}

// turn waits until nobody here writes an event, since only one gets the next key:
// of many at once some would never get one. It does not wait for long: a store that
// is slow to answer would make the last wait for the time of all.
func (d *DB) turn(ctx context.Context) (over func()) {
	late := time.NewTimer(turnTimeout)
	defer late.Stop()
	select {
	case d.telling <- struct{}{}:
		return func() { <-d.telling }
	case <-late.C:
	case <-ctx.Done():
	}
	return func() {}
}

func (d *DB) eventKey(seq int64) string {
	return fmt.Sprintf("%sevents/%s/%016d", d.prefix, FleetScope, seq)
}

func (d *DB) lastEvent(ctx context.Context) (int64, error) {
	resp, err := d.get(ctx, d.prefix+"events/"+FleetScope+"/", clientv3.WithPrefix(), clientv3.WithKeysOnly(),
		clientv3.WithSort(clientv3.SortByKey, clientv3.SortDescend), clientv3.WithLimit(1))
	if err != nil || len(resp.Kvs) == 0 {
		return 0, err
	}
	key := string(resp.Kvs[0].Key)
	return strconv.ParseInt(key[strings.LastIndexByte(key, '/')+1:], 10, 64)
}

// Events is a page of the audit trail, merged over all scopes in the order of
// revisions, as last seen by the watch. A page ends at the end of a revision.
func (d *DB) Events(ctx context.Context, q api.EventQuery) (api.EventList, error) {
	limit := q.Limit
	if q.Last {
		return d.newest(ctx, q, limit)
	}
	events, reaches, _ := d.feed.after(q.After)
	if reaches {
		return page(events, q, limit), nil
	}
	events, err := d.read(ctx, q.After, 0)
	if err != nil {
		return api.EventList{}, err
	}
	return page(events, q, limit), nil
}

// Revision is the store's revision at a moment after the call.
func (d *DB) Revision(ctx context.Context) (int64, error) {
	resp, err := d.get(ctx, d.eventKey(0), clientv3.WithCountOnly())
	if err != nil {
		return 0, err
	}
	return resp.Header.Revision, nil
}

// NewestEvent is when the newest event happened that the watch has brought, zero
// when there is none.
func (d *DB) NewestEvent() time.Time {
	events, _ := d.feed.all()
	if len(events) == 0 {
		return time.Time{}
	}
	return events[len(events)-1].At.UTC()
}

func (d *DB) newest(ctx context.Context, q api.EventQuery, limit int) (api.EventList, error) {
	events, complete := d.feed.all()
	pick := func() []api.Event {
		var list []api.Event
		for _, e := range slices.Backward(events) {
			if len(list) == limit {
				break
			}
			if matches(e, q) {
				list = append(list, e)
			}
		}
		slices.Reverse(list)
		return list
	}
	list := pick()
	if len(list) < limit && !complete {
		all, err := d.read(ctx, 0, 0)
		if err != nil {
			return api.EventList{}, err
		}
		events = all
		list = pick()
	}
	out := api.EventList{Events: append([]api.Event{}, list...)}
	if len(events) > 0 {
		out.Next = events[len(events)-1].Revision
	}
	return out, nil
}

func page(events []api.Event, q api.EventQuery, limit int) api.EventList {
	out := api.EventList{Events: []api.Event{}, Next: q.After}
	for _, e := range events {
		if len(out.Events) >= limit && e.Revision != out.Next {
			break
		}
		out.Next = e.Revision
		if matches(e, q) {
			out.Events = append(out.Events, e)
		}
	}
	return out
}

func matches(e api.Event, q api.EventQuery) bool {
	return (q.Group == "" || e.Group == q.Group) && (q.Node == "" || e.Node == q.Node) &&
		(q.Rollout == "" || e.Rollout == q.Rollout) &&
		(q.Before == 0 || e.Revision < q.Before) &&
		(q.From.IsZero() || !e.At.Before(q.From)) && (q.Until.IsZero() || e.At.Before(q.Until)) &&
		(q.Kind == "" || ofKind(e.Kind, q.Kind)) && (q.Text == "" || tells(e, strings.ToLower(q.Text)))
}

// ofKind reports whether a kind is one of those asked for: "hold" asks for
// hold.granted and its like.
func ofKind(kind, asked string) bool {
	for want := range strings.SplitSeq(asked, ",") {
		if rest, ok := strings.CutPrefix(kind, strings.TrimSpace(want)); ok && (rest == "" || rest[0] == '.') {
			return true
		}
	}
	return false
}

// tells reports whether a text, in lower case, is in what a person reads of an event.
func tells(e api.Event, text string) bool {
	return slices.ContainsFunc([]string{e.Node, e.Group, e.Rollout, e.Actor, e.Detail},
		func(s string) bool { return strings.Contains(strings.ToLower(s), text) })
}

// read gets events behind a revision from this member's own copy; limit 0 is
// all of them.
func (d *DB) read(ctx context.Context, after int64, limit int64) ([]api.Event, error) {
	opts := []clientv3.OpOption{
		clientv3.WithPrefix(), clientv3.WithSerializable(), clientv3.WithMinModRev(after + 1),
		clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortAscend),
	}
	if limit > 0 {
		opts = append(opts, clientv3.WithLimit(limit))
	}
	prefix := d.prefix + "events/"
	resp, err := d.client.Get(ctx, prefix, opts...)
	if err != nil {
		return nil, outcome(ctx, err)
	}
	kvs := make([]kv, len(resp.Kvs))
	for i, k := range resp.Kvs {
		kvs[i] = kv{key: string(k.Key)[len(prefix):], value: k.Value, revision: k.ModRevision}
	}
	return d.decodeEvents(kvs), nil
}

func (d *DB) decodeEvents(kvs []kv) []api.Event {
	list := make([]api.Event, 0, len(kvs))
	for _, k := range kvs {
		if k.deleted {
			continue
		}
		var e semaphore.Event
		if err := json.Unmarshal(k.value, &e); err != nil {
			d.cfg.Logger.Error("unreadable value", "key", "events/"+k.key, "error", err)
			continue
		}
		list = append(list, api.Event{
			Revision: k.revision, Scope: e.Scope, Seq: e.Seq, At: e.At, Kind: e.Kind, Actor: e.Actor,
			Group: e.Group, Node: e.Node, Rollout: e.Rollout, Fence: e.Fence, Held: e.Held, Slots: e.Slots, Detail: e.Detail, Before: e.Before, After: e.After,
		})
	}
	// etcd sorts by revision only, and one transaction tells of several events:
	// a release and the grant that it made room for.
	slices.SortStableFunc(list, func(a, b api.Event) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Seq, b.Seq))
	})
	return list
}

func (d *DB) eventTable() table {
	d.feed.decode = d.decodeEvents
	return table{
		prefix: d.prefix + "events/",
		opts: []clientv3.OpOption{
			clientv3.WithSort(clientv3.SortByModRevision, clientv3.SortDescend), clientv3.WithLimit(feedKept),
		},
		reload: func(kvs []kv, _ int64) {
			slices.Reverse(kvs)
			from := int64(0)
			if len(kvs) == feedKept {
				from = kvs[0].revision // that revision may not be here as a whole
				for len(kvs) > 0 && kvs[0].revision == from {
					kvs = kvs[1:]
				}
			}
			d.feed.renew(kvs, from)
		},
		apply: d.feed.add,
	}
}

// WatchEvents sends the events behind a revision, then every new one, until
// ctx or the DB ends, or the events wanted cannot be read; then it closes the
// channel. Who reads slowly gets every event all the same, later.
func (d *DB) WatchEvents(ctx context.Context, after int64) <-chan api.Event {
	out := make(chan api.Event)
	d.wg.Go(func() {
		defer close(out)
		for {
			events, reaches, more := d.feed.after(after)
			if !reaches {
				var err error
				if events, err = d.read(ctx, after, feedKept); err != nil {
					return
				}
				events = wholeRevisions(events, feedKept)
			}
			for _, e := range events {
				select {
				case out <- e:
					after = e.Revision
				case <-ctx.Done():
					return
				case <-d.life.Done():
					return
				}
			}
			if len(events) > 0 {
				continue
			}
			if !reaches { // nothing between here and the feed's beginning was kept
				d.feed.mu.Lock()
				after = d.feed.from
				d.feed.mu.Unlock()
				continue
			}
			select {
			case <-more:
			case <-ctx.Done():
				return
			case <-d.life.Done():
				return
			}
		}
	})
	return out
}

// wholeRevisions drops the last revision of a page that was cut by its limit.
func wholeRevisions(events []api.Event, limit int) []api.Event {
	if len(events) < limit {
		return events
	}
	last := events[len(events)-1].Revision
	cut := len(events)
	for cut > 0 && events[cut-1].Revision == last {
		cut--
	}
	return events[:cut]
}
