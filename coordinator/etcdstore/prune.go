package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Trail bounds the audit trail.
type Trail struct {
	MaxEvents int64         // in all; the newest stay. Default 200,000
	MaxAge    time.Duration // older ones go; default 400 days
}

// DefaultTrail keeps what a year's audit asks for.
var DefaultTrail = Trail{MaxEvents: 200_000, MaxAge: 400 * 24 * time.Hour}

const (
	// shareOfScope is the part of all events that one scope, such as a group, may
	// have, so that a busy one does not push out what others did.
	shareOfScope = 4
	// eventsBetween is how many events may come before the trail is cut without
	// waiting for Prune: a fleet under load makes millions in a few minutes.
	eventsBetween = 10_000
	// eventsAtOnce is the most events that one request deletes, so that no other
	// request waits for long.
	eventsAtOnce = 1_000
)

// Prune deletes what is past its bound: old events, idempotency keys after a day,
// tokens that have expired, and outages of long ago. To be called every few
// minutes, by one coordinator.
func (d *DB) Prune(ctx context.Context) error {
	if err := d.pruneTrail(ctx); err != nil {
		return err
	}
	now := d.cfg.Now()
	expired, err := d.pick(ctx, d.prefix+"requests/", func(value []byte) bool {
		var r Request
		return json.Unmarshal(value, &r) == nil && now.Sub(r.At) > requestKept
	})
	if err != nil {
		return err
	}
	tokens, err := d.pick(ctx, d.prefix+"tokens/", func(value []byte) bool {
		var t Token
		return json.Unmarshal(value, &t) == nil && !t.ExpiresAt.IsZero() && t.ExpiresAt.Before(now)
	})
	if err != nil {
		return err
	}
	outages, err := d.pick(ctx, d.prefix+"quorum/"+outageKeys, func(value []byte) bool {
		var o Outage
		return json.Unmarshal(value, &o) == nil && now.Sub(o.To) > outageKept
	})
	if err != nil {
		return err
	}
	return d.deleteKeys(ctx, slices.Concat(expired, tokens, outages))
}

// monitorTrail cuts the audit trail whenever many events have come.
func (d *DB) monitorTrail(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.feed.many:
		}
		for said := false; d.cfg.Prunes(); said = true {
			err := d.pruneTrail(ctx)
			if err == nil || ctx.Err() != nil {
				break
			}
			if !said {
				d.cfg.Logger.Warn("old events could not be deleted; trying again", "error", err)
			}
			pause(ctx)
		}
	}
}

// span is the events of one scope: their sequences follow one another.
type span struct {
	prefix string // of the keys, with the slash
	first  int64
	count  int64
}

// pruneTrail cuts what is past the bounds of the trail, the oldest first. Each
// request deletes the oldest that are left: one that is killed on the way leaves a
// trail without a hole, which the next goes on with.
func (d *DB) pruneTrail(ctx context.Context) error {
	if err := d.pruneOld(ctx, d.cfg.Now().Add(-d.cfg.Trail.MaxAge)); err != nil {
		return err
	}
	return d.pruneEvents(ctx, max(1, d.cfg.Trail.MaxEvents/shareOfScope), d.cfg.Trail.MaxEvents)
}

// Events kept in the store, as far as this member has them.
func (d *DB) CountEvents(ctx context.Context) (int64, error) {
	resp, err := d.client.Get(ctx, d.prefix+"events/", clientv3.WithPrefix(), clientv3.WithCountOnly(), clientv3.WithSerializable())
	if err != nil {
		return 0, outcome(ctx, err)
	}
	return resp.Count, nil
}

// pruneOld deletes the events of before a moment, except the last of the fleet's
// scope, which tells the next sequence. Of each scope it looks at as many keys as
// it takes to halve its length down to one.
func (d *DB) pruneOld(ctx context.Context, before time.Time) error {
	spans, err := d.spans(ctx)
	if err != nil {
		return err
	}
	for _, s := range spans {
		last := s.first + s.count // behind the newest
		if s.prefix == d.prefix+"events/"+FleetScope+"/" {
			last--
		}
		from, to := s.first, last // the first that stays lies between these
		for from < to {
			middle := from + (to-from)/2
			old, err := d.eventBefore(ctx, fmt.Sprintf("%s%016d", s.prefix, middle), before)
			if err != nil {
				return err
			}
			if old {
				from = middle + 1
			} else {
				to = middle
			}
		}
		if from == s.first {
			continue
		}
		if err := d.cutEvents(ctx, s, s.first+s.count-from); err != nil {
			return err
		}
	}
	return nil
}

// eventBefore reports whether the event is older than a moment. One that is not
// there counts as old: it was deleted meanwhile.
func (d *DB) eventBefore(ctx context.Context, key string, before time.Time) (bool, error) {
	resp, err := d.get(ctx, key)
	if err != nil || len(resp.Kvs) == 0 {
		return true, err
	}
	var e struct{ At time.Time }
	if err := json.Unmarshal(resp.Kvs[0].Value, &e); err != nil {
		return false, nil // kept: whoever can read it judges
	}
	return e.At.Before(before), nil
}

// pruneEvents keeps the newest of each scope; and where all together are too
// many, the scopes with the most give up their oldest. It reads one key of
// each scope, however many events there are.
func (d *DB) pruneEvents(ctx context.Context, perScope, inAll int64) error {
	count, err := d.get(ctx, d.prefix+"events/", clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil || count.Count <= min(perScope, inAll) {
		return err
	}
	spans, err := d.spans(ctx)
	if err != nil {
		return err
	}
	most := fairShare(spans, perScope, inAll)
	for _, s := range spans {
		if err := d.cutEvents(ctx, s, most); err != nil {
			return err
		}
	}
	return nil
}

// fairShare is the largest number of events that each scope may keep, at most
// perScope, for all to keep inAll together.
func fairShare(spans []span, perScope, inAll int64) int64 {
	counts := make([]int64, len(spans))
	for i, s := range spans {
		counts[i] = s.count
	}
	slices.Sort(counts)
	for i, n := range counts {
		share := inAll / int64(len(counts)-i)
		if n > share {
			return max(1, min(perScope, share)) // the last tells the next sequence
		}
		inAll -= n
	}
	return perScope
}

// spans finds the scopes, one after the other.
func (d *DB) spans(ctx context.Context) ([]span, error) {
	root := d.prefix + "events/"
	var spans []span
	for from := root; ; {
		first, err := d.get(ctx, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(root)), clientv3.WithLimit(1), clientv3.WithKeysOnly())
		if err != nil || len(first.Kvs) == 0 {
			return spans, err
		}
		key := string(first.Kvs[0].Key)
		scope := key[:strings.LastIndexByte(key, '/')+1]
		count, err := d.get(ctx, scope, clientv3.WithPrefix(), clientv3.WithCountOnly())
		if err != nil {
			return nil, err
		}
		from = clientv3.GetPrefixRangeEnd(scope)
		seq, err := strconv.ParseInt(key[len(scope):], 10, 64)
		if err != nil {
			d.cfg.Logger.Error("a key of the audit trail has no sequence", "key", key, "error", err)
			continue
		}
		spans = append(spans, span{scope, seq, count.Count})
	}
}

// cutEvents deletes all but the newest of a scope, some at a time.
func (d *DB) cutEvents(ctx context.Context, s span, keep int64) error {
	end := s.first + s.count - keep // the first that stays
	for from := s.first; from < end; from += eventsAtOnce {
		to := min(from+eventsAtOnce, end)
		cut := clientv3.OpDelete(fmt.Sprintf("%s%016d", s.prefix, from), clientv3.WithRange(fmt.Sprintf("%s%016d", s.prefix, to)))
		if _, err := d.commit(ctx, nil, []clientv3.Op{cut}, nil); err != nil {
			return err
		}
	}
	return nil
}

func (d *DB) pick(ctx context.Context, prefix string, which func(value []byte) bool) ([]string, error) {
	resp, err := d.get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, err
	}
	var keys []string
	for _, k := range resp.Kvs {
		if which(k.Value) {
			keys = append(keys, string(k.Key))
		}
	}
	return keys, nil
}

func (d *DB) deleteKeys(ctx context.Context, keys []string) error {
	for len(keys) > 0 {
		n := min(len(keys), batchOps)
		ops := make([]clientv3.Op, n)
		for i, key := range keys[:n] {
			ops[i] = clientv3.OpDelete(key)
		}
		if _, err := d.commit(ctx, nil, ops, nil); err != nil {
			return err
		}
		keys = keys[n:]
	}
	return nil
}
