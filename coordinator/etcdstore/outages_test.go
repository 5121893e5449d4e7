package etcdstore

import (
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// An hour in which nobody wrote is remembered by all, also by one that starts
// behind it; a coordinator that is slow to say that it is here makes none.
func TestOutages_ATimeInWhichNobodyWroteIsRemembered(t *testing.T) {
	c, prefix := client(t)
	a, b := present(t, prefix, "a", 0), present(t, prefix, "b", 20*time.Second)
	tell(t, a, b)
	if got := a.Outages(); len(got) != 0 {
		t.Fatalf("outages are %+v", got)
	}
	a.Stop()
	b.Stop()
	late := present(t, prefix, "c", time.Hour)
	soon(t, "it is remembered", func() bool { return len(late.Outages()) == 1 })
	if o := late.Outages()[0]; o.To.Sub(o.From).Round(10*time.Minute) != time.Hour {
		t.Errorf("it was from %s to %s", o.From, o.To)
	}
	// Nobody can see the word that ends it without it.
	written, err := c.Get(t.Context(), prefix+"quorum/", clientv3.WithPrefix())
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range written.Kvs {
		if kv.ModRevision != written.Kvs[0].ModRevision {
			t.Errorf("%s is of revision %d, and %s of %d", kv.Key, kv.ModRevision, written.Kvs[0].Key, written.Kvs[0].ModRevision)
		}
	}
	tell(t, late)
	// One that has not seen that somebody else writes again makes none.
	late.mu.Lock()
	late.alive, late.aliveRevision = time.Now().Add(-time.Hour), 1
	late.mu.Unlock()
	tell(t, late)
	last := openAt(t, Config{Client: c, Prefix: prefix, Now: time.Now, Self: Coordinator{Name: "d"}})
	soon(t, "one that starts later knows", func() bool { return len(last.Outages()) == 1 })

	week := present(t, prefix, "e", time.Hour+outageKept+time.Minute)
	if err := week.Prune(t.Context()); err != nil {
		t.Fatal(err)
	}
	soon(t, "the old one is forgotten", func() bool {
		for _, o := range week.Outages() {
			if o.To.Sub(o.From) < 2*time.Hour {
				return false
			}
		}
		return true
	})
}

// A coordinator that was killed leaves a word that says for half a minute that it is
// here. One that started since has never heard it, and tells the time all the same:
// that nobody did for so long would be an outage.
func TestOutages_NoneIsMadeOfACoordinatorThatWasKilled(t *testing.T) {
	c, prefix := client(t)
	present(t, prefix, "killed", 0) // and says nothing any more
	var ahead atomic.Int64
	b := openAt(t, Config{Client: c, Prefix: prefix, Self: Coordinator{Name: "b"}, Now: func() time.Time {
		return time.Now().Add(time.Duration(ahead.Load()))
	}})
	alive := func() time.Time {
		b.mu.RLock()
		defer b.mu.RUnlock()
		return b.alive
	}
	first := alive()
	for _, at := range []time.Duration{0, announceEvery, 2 * announceEvery, 3 * announceEvery, 4 * announceEvery} {
		ahead.Store(int64(at))
		if err := b.announce(t.Context()); err != nil {
			t.Fatal(err)
		}
		if at < muteAfter {
			continue // the other may be about to speak, and its clock another
		}
		soon(t, "it tells the time", func() bool { return alive().Sub(first) > at-time.Second })
	}
	if got := b.Outages(); len(got) != 0 {
		t.Errorf("outages are %+v", got)
	}
}

// What began before a time without quorum has that time on top, and is judged
// some time after it at the earliest.
func TestDeadlinesAt_StandStillWithoutAQuorum(t *testing.T) {
	began := time.Date(2026, 11, 27, 8, 0, 0, 0, time.UTC)
	at := func(minutes float64) time.Time { return began.Add(time.Duration(minutes * float64(time.Minute))) }
	past := map[string]Outage{"a": {From: at(5), To: at(15)}, "b": {From: at(20), To: at(30)}}
	for _, c := range []struct {
		what    string
		now     float64
		since   float64
		alive   float64
		leads   bool
		outages map[string]Outage
		want    float64 // how far deadlines have come that began then
	}{
		{"none", 40, 0, 40, true, nil, 40},
		{"two that are long over", 40, 0, 40, true, past, 20},
		{"one began before it did", 40, 10, 40, true, past, 25},
		{"both before it did", 40, 35, 40, true, past, 40},
		{"one is just over", 31, 0, 31, true, past, 10},
		{"one that is not written down yet", 20, 0, 5, true, nil, 5},
		{"there is none now", 5.2, 0, 5, false, nil, 5},
		{"a moment without a word", 5.2, 0, 5, true, nil, 5.2},
		{"there is none again, soon after the last", 31.5, 0, 31, false, past, 10},
		{"there is none now, and it began after the last word", 8, 5.1, 5, false, nil, 5.1},
	} {
		d := &DB{cfg: Config{Now: func() time.Time { return at(c.now) }, HasLeader: func() bool { return c.leads }}, alive: at(c.alive), outages: c.outages}
		for _, moment := range []time.Duration{-time.Second, time.Second} {
			h := semaphore.Hold{Since: at(c.since), Deadline: at(c.want).Add(-moment)}
			st := semaphore.State{Outages: d.Still}
			if got := st.Deadlines(at(c.now)).Overdue(h); got != (moment > 0) && h.Deadline.After(h.Since) {
				t.Errorf("%s: they have come to minute %.1f, and one that ends %s before is overdue: %t", c.what, c.want-c.since, moment, got)
			}
		}
	}
}

// A coordinator whose clock is an hour off makes no outage of that hour.
func TestOutages_AClockThatIsOffMakesNone(t *testing.T) {
	_, prefix := client(t)
	a, b := present(t, prefix, "a", 0), present(t, prefix, "b", 0)
	tell(t, a, b)
	c, _ := client(t)
	for range 20 { // else it would tell the time as one that is alone
		if got := len(openAt(t, Config{Client: c, Prefix: prefix}).Coordinators()); got != 2 {
			t.Fatalf("one that starts knows of %d others, want 2", got)
		}
	}
	off := present(t, prefix, "c", time.Hour)
	tell(t, a, b, off)
	tell(t, off, a, b)
	if got := a.Outages(); len(got) != 0 {
		t.Errorf("outages are %+v", got)
	}
	if got := a.Still(); len(got) != 0 {
		t.Errorf("deadlines stood still: %v", got)
	}
}
