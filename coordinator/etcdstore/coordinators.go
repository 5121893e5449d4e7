package etcdstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// announceEvery is how often a coordinator says that it is here, and what
	// time it has.
	announceEvery = 10 * time.Second
	// MaxClockOff is how far a coordinator's clock may be off its peers'.
	MaxClockOff = 30 * time.Second
)

// Coordinator is what one says of itself.
type Coordinator struct {
	V         int       `json:"v"`
	ID        string    `json:"id"` // random, new at each start
	Name      string    `json:"name"`
	URL       string    `json:"url,omitempty"`
	Version   string    `json:"version,omitempty"`
	MaxV      int       `json:"max_v"` // highest schema of stored values that it reads
	StartedAt time.Time `json:"started_at"`
	At        time.Time `json:"at"` // its clock when it wrote this
	Figures
}

// Figures are of the member of the store that a coordinator embeds, if it does.
type Figures struct {
	Member   string `json:"member,omitempty"`  // its id
	Applied  uint64 `json:"applied,omitempty"` // index in the log that it has come to
	DBSize   int64  `json:"db_size,omitempty"` // bytes
	DBInUse  int64  `json:"db_size_in_use,omitempty"`
	DiskFree int64  `json:"disk_free,omitempty"`
	// Fingerprints of the authorities of the members: which one vouches for it,
	// and which ones its process believes; unsettled, when a restart changes that.
	Shows     string   `json:"shows,omitempty"`
	Believes  []string `json:"believes,omitempty"`
	Unsettled bool     `json:"unsettled,omitempty"`
}

// Peer is a coordinator as this one sees it.
type Peer struct {
	Coordinator
	Self bool
	// ClockOff is how far its clock is ahead of this one's; it is known once
	// it was heard here.
	ClockOff      time.Duration
	ClockOffKnown bool
	found         time.Time // when its word was first seen here, by the clock of this one
}

// Announce says that this coordinator is here, again and again until Stop. To
// be called once the cluster has its identity.
func (d *DB) Announce() {
	d.wg.Go(d.monitorSchema)
	d.wg.Go(func() {
		ticker := time.NewTicker(announceEvery)
		defer ticker.Stop()
		said := true
		for {
			err := d.announce(d.life)
			if err != nil && said && d.life.Err() == nil {
				d.cfg.Logger.Warn("the other coordinators cannot be told that this one is here; trying again", "error", err)
			}
			said = err == nil
			wait := ticker.C
			if err != nil {
				wait = time.After(time.Second)
			}
			select {
			case <-d.life.Done():
				return
			case <-wait:
			case <-d.again:
			}
		}
	})
}

// AnnounceAgain says now what this coordinator is, since that has changed.
func (d *DB) AnnounceAgain() {
	select {
	case d.again <- struct{}{}:
	default:
	}
}

func (d *DB) announce(ctx context.Context) error {
	self := d.cfg.Self
	self.V, self.At = schema, d.cfg.Now().UTC()
	if d.cfg.Figures != nil {
		self.Figures = d.cfg.Figures()
	}
	value, err := json.Marshal(self)
	if err != nil {
		return err
	}
	var tell []clientv3.Op
	var outage *Outage
	if d.tellsTime() {
		var op clientv3.Op
		if op, outage, err = d.aliveOp(self.At); err != nil {
			return err
		}
		tell = []clientv3.Op{op}
	}
	txn, err := d.leased(ctx, func(id clientv3.LeaseID) []clientv3.Op {
		return append(tell[:len(tell):len(tell)], clientv3.OpPut(d.prefix+"coordinators/"+self.ID, string(value), clientv3.WithLease(id)))
	})
	if err == nil && outage != nil && txn.Responses[0].GetResponseTxn().Succeeded {
		d.cfg.Logger.Warn("there was no quorum, or no coordinator ran; deadlines stood still meanwhile", "from", outage.From, "for", outage.To.Sub(outage.From).Round(time.Second))
	}
	return err
}

// Coordinators lists those that are present, by name.
func (d *DB) Coordinators() []Peer {
	d.mu.RLock()
	defer d.mu.RUnlock()
	list := make([]Peer, 0, len(d.peers))
	for _, p := range d.peers {
		list = append(list, p)
	}
	slices.SortFunc(list, func(a, b Peer) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), a.StartedAt.Compare(b.StartedAt), cmp.Compare(a.ID, b.ID))
	})
	return list
}

// ClockOff is how far this coordinator's clock is ahead of the median of its
// peers', and how many those are. One without peers has nothing to compare with.
func (d *DB) ClockOff() (ahead time.Duration, peers int) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var off []time.Duration
	for _, p := range d.peers {
		if !p.Self && p.ClockOffKnown {
			off = append(off, p.ClockOff)
		}
	}
	return ClockAhead(0, off), len(off)
}

// ClockAhead is how far a clock is ahead of the median of others, 0 with none. Of
// an even number any time between the two in the middle is a median: with one of
// two others an hour off, it is not this one's clock that is.
func ClockAhead(own time.Duration, others []time.Duration) time.Duration {
	if len(others) == 0 {
		return 0
	}
	off := slices.Sorted(slices.Values(others))
	least, most := off[(len(off)-1)/2], off[len(off)/2]
	return own - min(max(own, least), most)
}

// ClockSkewed returns an error while this coordinator's clock is more than
// MaxClockOff off the median of its peers': what depends on the time of day is
// not for it to judge.
func (d *DB) ClockSkewed() error {
	ahead, peers := d.ClockOff()
	if ahead.Abs() <= MaxClockOff {
		return nil
	}
	how := "behind"
	if ahead > 0 {
		how = "ahead of"
	}
	others := "the other coordinator's"
	if peers > 1 {
		others = fmt.Sprintf("the median of the %d other coordinators'", peers)
	}
	return fmt.Errorf("the clock of coordinator %s is %s %s %s", d.cfg.Self.Name, ahead.Abs().Round(time.Second), how, others)
}

func (d *DB) coordinatorTable() table {
	return table{
		prefix: d.prefix + "coordinators/",
		reload: func(kvs []kv, _ int64) {
			d.mu.Lock()
			old := d.peers
			d.peers = make(map[string]Peer, len(kvs))
			d.mu.Unlock()
			for _, k := range kvs {
				d.setPeer(k, old[k.key])
			}
		},
		apply: func(kvs []kv) {
			for _, k := range kvs {
				d.mu.RLock()
				old := d.peers[k.key]
				d.mu.RUnlock()
				if d.setPeer(k, old) {
					d.heardPeer(k.key)
				}
			}
		},
	}
}

// setPeer takes over one key, and reports whether that coordinator is here. Its
// clock is as was known: what is read may be old.
func (d *DB) setPeer(k kv, old Peer) bool {
	p := Peer{ClockOff: old.ClockOff, ClockOffKnown: old.ClockOffKnown, Self: k.key == d.cfg.Self.ID, found: old.found}
	if p.found.IsZero() {
		p.found = d.cfg.Now()
	}
	if !k.deleted {
		if err := json.Unmarshal(k.value, &p.Coordinator); err != nil {
			d.cfg.Logger.Error("unreadable value", "key", "coordinators/"+k.key, "error", err)
			k.deleted = true
		}
	}
	d.mu.Lock()
	_, was := d.peers[k.key]
	if k.deleted {
		delete(d.peers, k.key)
	} else {
		d.peers[k.key] = p
	}
	d.mu.Unlock()
	if was == k.deleted { // one came or went; that one is still here is no news
		d.bumpCluster()
		d.bump()
	}
	return !k.deleted
}

// heardPeer compares clocks: a change that the watch brings was just made.
func (d *DB) heardPeer(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	p := d.peers[key]
	p.ClockOff, p.ClockOffKnown = p.At.Sub(d.cfg.Now()), true
	d.peers[key] = p
}
