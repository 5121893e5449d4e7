package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// locker is a host that takes and returns its slot by FleetLock again and again.
type locker struct {
	url, id string
	mu      sync.Mutex
	taken   []time.Time // when each 200 of a lock was here
}

func (l *locker) run(ctx context.Context, t *testing.T) {
	for ctx.Err() == nil {
		asked, cancel := context.WithTimeout(ctx, 3*time.Second)
		status, _ := fleetLock(asked, t, l.url, "/v1/pre-reboot", params(l.id, "plain"))
		cancel()
		if status != http.StatusOK {
			sleepFor(ctx, 50*time.Millisecond)
			continue
		}
		l.mu.Lock()
		l.taken = append(l.taken, time.Now())
		l.mu.Unlock()
		sleepFor(ctx, 200*time.Millisecond)
		for ctx.Err() == nil { // a release is repeated until it is done
			if status, _ := fleetLock(ctx, t, l.url, "/v1/steady-state", params(l.id, "plain")); status == http.StatusOK {
				break
			}
			sleepFor(ctx, 50*time.Millisecond)
		}
	}
}

func (l *locker) since(at time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, got := range l.taken {
		if got.After(at) {
			n++
		}
	}
	return n
}

func sleepFor(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// begun are the grants and first confirms after a revision of the store.
func begunAfter(t *testing.T, server string, revision int64) (list []string) {
	t.Helper()
	var events api.EventList
	getJSON(t, fmt.Sprintf("%s/api/v1/events?limit=10000&after=%d", server, revision), &events)
	for _, e := range events.Events {
		if e.Kind == "hold.granted" || e.Kind == "hold.confirmed" {
			list = append(list, fmt.Sprintf("%s %s of %s at %s", e.Kind, e.Node, e.Group, e.At))
		}
	}
	return list
}

// answered is when the last host has heard of a grant from before a freeze: an
// answer goes out within 2 s of its commit, or not at all.
const answered = 3 * time.Second

// One command stops a fleet in the middle of a rollout, at both coordinators and
// for hosts of both kinds, until it is lifted: then it goes on by itself.
func TestFreeze_OneCommandStopsTheWholeFleetWithinASecondUntilItIsLifted(t *testing.T) {
	t.Parallel()
	p, w := startTwins(t), newWitness(t)
	hosts := names("host", 16) // enough that most still wait when the freeze comes
	must(t, p.a.url, "group", "set", "default", "--slots", "4")
	must(t, p.a.url, "group", "set", "plain", "--slots", "2")
	startHerd(t, "near-a", herd{Servers: []string{p.a.url}, Nodes: hosts[:8], Group: "default", Witness: string(w), Reboot: 300 * time.Millisecond})
	startHerd(t, "near-b", herd{Servers: []string{p.b.url}, Nodes: hosts[8:], Group: "default", Witness: string(w), Reboot: 300 * time.Millisecond})
	allReport(t, p.b.url, len(hosts)) // where the rollout is started

	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	var lockers []*locker
	for i := range 4 {
		l := &locker{url: []string{p.a.url, p.b.url}[i%2], id: fmt.Sprintf("plain-%d", i)}
		lockers = append(lockers, l)
		running.Go(func() { l.run(ctx, t) })
	}
	id := startRollout(t, p.b.url, pushBundle(t, p.a.url, "1", ""))
	eventually(t, "it is under way", func() bool {
		r := rolloutOf(t, p.b.url, id)
		return r.Progress.Updated >= 2 && !slices.ContainsFunc(lockers, func(l *locker) bool { return l.since(time.Time{}) == 0 })
	})

	must(t, p.a.url, "freeze", "smoke in the hall")
	frozen := time.Now()
	stopped := int64(0) // a revision
	eventually(t, "the audit trail has the freeze", func() bool {
		var events api.EventList
		getJSON(t, p.a.url+"/api/v1/events?limit=10000", &events)
		for _, e := range events.Events {
			if strings.Contains(e.Detail, "smoke in the hall") {
				stopped = e.Revision
			}
		}
		return stopped > 0
	})
	// Who had confirmed before has its hold until it is back, also one that has not
	// heard of it yet, or of which the coordinator that is looked at has not.
	sleepFor(t.Context(), time.Until(frozen.Add(answered)))
	confirmed := func(h api.Hold) bool { return h.State == "confirmed" }
	eventually(t, "the hosts that are out have come back", func() bool {
		return !slices.ContainsFunc(holdsIn(t, p.a.url, "default"), confirmed) && len(w.out(t)) == 0
	})
	before := len(w.lines(t))
	sleepFor(t.Context(), time.Until(frozen.Add(2*answered)))
	if later := w.lines(t)[before:]; len(later) > 0 {
		t.Errorf("though the fleet is frozen: %s", strings.Join(later, ", "))
	}
	for _, url := range []string{p.a.url, p.b.url} {
		for _, line := range begunAfter(t, url, stopped) {
			t.Errorf("after the freeze at %s, by %s: %s", frozen, url, line)
		}
	}
	for _, l := range lockers {
		if n := l.since(frozen.Add(answered)); n > 0 {
			t.Errorf("%s was given a slot %d times at %s, later than %s after the freeze", l.id, n, l.url, answered)
		}
	}
	if r := rolloutOf(t, p.b.url, id); r.Progress.Updated+r.Progress.Failed >= len(hosts) || r.State != api.RolloutRunning {
		t.Errorf("the rollout is %s with %+v: it should stand", r.State, r.Progress)
	}

	must(t, p.b.url, "unfreeze")
	lifted := time.Now()
	eventually(t, "the rollout has succeeded, and the other hosts have slots again", func() bool {
		return rolloutOf(t, p.a.url, id).State == api.RolloutSucceeded &&
			!slices.ContainsFunc(lockers, func(l *locker) bool { return l.since(lifted) == 0 })
	})
	if most := w.most(t); most > 4 {
		t.Errorf("%d hosts were out at once, with 4 slots", most)
	}
}
