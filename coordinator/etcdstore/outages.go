package etcdstore

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Nobody can write down that there is no quorum while there is none. But each
// coordinator says every announceEvery that it is here: where nobody did for
// longer than outageAfter, nobody could, or none ran.
const (
	outageAfter = 30 * time.Second
	// outageKept is how long one is remembered after its end.
	outageKept = 7 * 24 * time.Hour
	// outagesKept bounds how many are.
	outagesKept = 100
	// settledAfter is how long after its end a hold is overdue at the earliest,
	// as the elected engine has it.
	settledAfter = 2 * time.Minute
)

// Outage is a time without quorum, exact to announceEvery.
type Outage struct {
	V    int       `json:"v"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

const (
	aliveKey   = "alive"    // when a coordinator wrote last
	outageKeys = "outages/" // by when they began
)

func (d *DB) quorumTable() table {
	prefix := d.prefix + "quorum/"
	return table{
		prefix: prefix,
		reload: func(kvs []kv, _ int64) {
			d.mu.Lock()
			clear(d.outages)
			d.mu.Unlock()
			for _, k := range kvs {
				if k.key == aliveKey {
					if at, err := time.Parse(time.RFC3339Nano, string(k.value)); err == nil {
						d.mu.Lock()
						d.alive = at // between two reads others may have written
						d.mu.Unlock()
					}
					continue
				}
				d.setOutage(k)
			}
		},
		apply: func(kvs []kv) {
			for _, k := range kvs {
				if k.key != aliveKey {
					d.setOutage(k)
				} else if at, err := time.Parse(time.RFC3339Nano, string(k.value)); err == nil {
					d.isAlive(at)
				}
			}
		},
	}
}

func (d *DB) setOutage(k kv) {
	if name, ok := strings.CutPrefix(k.key, outageKeys); ok {
		take(d, d.outages, name, k)
	}
}

// isAlive takes in when a coordinator wrote. All find the same outage, and the
// first of them writes it down.
func (d *DB) isAlive(at time.Time) {
	d.mu.Lock()
	before := d.alive
	if at.After(before) {
		d.alive = at
	}
	full := len(d.outages) >= outagesKept
	d.mu.Unlock()
	if before.IsZero() || at.Sub(before) <= outageAfter || full {
		return
	}
	value, err := json.Marshal(Outage{V: schema, From: before.UTC(), To: at.UTC()})
	if err != nil {
		return
	}
	key := fmt.Sprintf("%squorum/%s%d", d.prefix, outageKeys, before.Unix())
	d.wg.Go(func() {
		for d.life.Err() == nil {
			if _, err := d.commit(d.life, []clientv3.Cmp{absent(key)}, []clientv3.Op{clientv3.OpPut(key, string(value))}, nil); err == nil {
				d.cfg.Logger.Warn("there was no quorum, or no coordinator ran; deadlines stood still meanwhile", "from", before.UTC(), "for", at.Sub(before).Round(time.Second))
				return
			}
			pause(d.life)
		}
	})
}

// Outages are the times without quorum that are remembered, oldest first.
func (d *DB) Outages() []Outage {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]Outage, 0, len(d.outages))
	for _, o := range d.outages {
		list = append(list, o)
	}
	slices.SortFunc(list, func(a, b Outage) int { return a.From.Compare(b.From) })
	return list
}

// tellsTime reports whether what this coordinator says of the time may be held
// against others: one whose clock is off would make an outage of the difference.
// That is known once it has heard those that are here. Of two nobody knows which
// one is right, and one has to tell.
func (d *DB) tellsTime() bool {
	ahead, heard := d.ClockOff()
	d.mu.RLock()
	defer d.mu.RUnlock()
	others := 0
	for _, p := range d.peers {
		if !p.Self {
			others++
		}
	}
	if others < 2 {
		return heard == others
	}
	return heard > 1 && ahead.Abs() <= MaxClockOff
}

// Still are the times in which deadlines stood still for want of a quorum: until
// some time after one was back, and now if there is none. They are not in order.
func (d *DB) Still() []semaphore.Span {
	now := d.cfg.Now()
	led := d.cfg.HasLeader()
	d.mu.RLock()
	defer d.mu.RUnlock()
	var spans []semaphore.Span
	end := now
	if !d.alive.IsZero() && d.alive.Before(now) && (!led || now.Sub(d.alive) > outageAfter) {
		// There is none now, or it is not written down yet.
		end = d.alive
		spans = append(spans, semaphore.Span{Start: end, End: now})
	}
	for _, o := range d.outages {
		to := o.To
		if to.Add(settledAfter).After(end) {
			to = end
		}
		spans = append(spans, semaphore.Span{Start: o.From, End: to})
	}
	return spans
}
