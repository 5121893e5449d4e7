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
	// muteAfter is how long a coordinator of which only an old word was found may
	// say nothing more until it counts for none: it ended, and its word has its time.
	muteAfter = 2 * announceEvery
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
	return table{
		prefix: d.prefix + "quorum/",
		reload: func(kvs []kv, _ int64) {
			d.mu.Lock()
			defer d.mu.Unlock()
			clear(d.outages)
			d.alive = time.Time{}
			d.setQuorum(kvs)
		},
		apply: func(kvs []kv) {
			d.mu.Lock()
			defer d.mu.Unlock()
			d.setQuorum(kvs)
		},
	}
}

// setQuorum takes in what was written at one moment: between the word that ended
// an outage and the outage, deadlines would seem to have run. mu is held.
func (d *DB) setQuorum(kvs []kv) {
	for _, k := range kvs {
		name, outage := strings.CutPrefix(k.key, outageKeys)
		switch {
		case outage && k.deleted:
			delete(d.outages, name)
		case outage:
			var o Outage
			if json.Unmarshal(k.value, &o) == nil {
				d.outages[name] = o
			}
		case k.key == aliveKey && !k.deleted:
			d.aliveRevision = k.revision
			if at, err := time.Parse(time.RFC3339Nano, string(k.value)); err == nil && at.After(d.alive) {
				d.alive = at
			}
		}
	}
}

// aliveOp says that a coordinator writes at this moment and, if none did for so
// long that it was an outage, remembers that: unless another was first.
func (d *DB) aliveOp(at time.Time) (op clientv3.Op, outage *Outage, err error) {
	alive := clientv3.OpPut(d.prefix+"quorum/"+aliveKey, at.Format(time.RFC3339Nano))
	d.mu.RLock()
	before, revision, full := d.alive, d.aliveRevision, len(d.outages) >= outagesKept
	d.mu.RUnlock()
	if before.IsZero() || at.Sub(before) <= outageAfter || full {
		return alive, nil, nil
	}
	outage = &Outage{V: schema, From: before.UTC(), To: at.UTC()}
	value, err := json.Marshal(outage)
	if err != nil {
		return alive, nil, err
	}
	key := fmt.Sprintf("%squorum/%s%d", d.prefix, outageKeys, before.Unix())
	last := clientv3.Compare(clientv3.ModRevision(d.prefix+"quorum/"+aliveKey), "=", revision)
	return clientv3.OpTxn([]clientv3.Cmp{last}, []clientv3.Op{alive, clientv3.OpPut(key, string(value))}, []clientv3.Op{alive}), outage, nil
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
// one is right, and one has to tell. One that does not speak at all is not here:
// to wait for it until its word has passed would itself make an outage.
func (d *DB) tellsTime() bool {
	ahead, heard := d.ClockOff()
	d.mu.RLock()
	defer d.mu.RUnlock()
	others, now := 0, d.cfg.Now()
	for _, p := range d.peers {
		if !p.Self && (p.ClockOffKnown || now.Sub(p.found) < muteAfter) {
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
