package etcdstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Bounds of the audit trail.
const (
	eventsPerScope = 50_000
	eventsInAll    = 200_000
	// eventsBetween is how many events may come before the trail is cut without
	// waiting for Prune: a fleet under load makes millions in a few minutes.
	eventsBetween = 10_000
	// eventsAtOnce is the most events that one request deletes, so that no other
	// request waits for long.
	eventsAtOnce = 1_000
)

// Prune deletes what is past its bound: the oldest events of each scope,
// idempotency keys after a day, tokens that have expired, and outages of long
// ago. To be called
// every few minutes, by any coordinator.
func (d *DB) Prune(ctx context.Context) error {
	if err := d.pruneEvents(ctx, eventsPerScope, eventsInAll); err != nil {
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
		if err := d.pruneEvents(ctx, eventsPerScope, eventsInAll); err != nil && ctx.Err() == nil {
			d.cfg.Logger.Warn("old events could not be deleted; trying again after more of them", "error", err)
		}
	}
}

// span is the events of one scope: their sequences follow one another.
type span struct {
	prefix string // of the keys, with the slash
	first  int64
	count  int64
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
