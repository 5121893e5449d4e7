package fleetlock

import (
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// refusedWith is what a host is told by an answer of those blockers.
func refusedWith(t *testing.T, place int, blockers ...semaphore.Blocker) (r reply, after int) {
	t.Helper()
	f := &fake{acquire: func(context.Context, int) (semaphore.Answer, error) {
		return semaphore.Answer{Kind: blockers[0].Kind, Detail: blockers[0].Detail, Blockers: blockers, Place: place, At: time.Now()}, nil
	}}
	r = ask(t, New(f, Options{}), "POST", PreReboot, good)
	after, err := strconv.Atoi(r.Header.Get("Retry-After"))
	if err != nil {
		t.Errorf("Retry-After %q: %v", r.Header.Get("Retry-After"), err)
	}
	return r, after
}

func TestRefusal_NamesEveryBlockerAndThePlace(t *testing.T) {
	r, _ := refusedWith(t, 3,
		semaphore.Blocker{Kind: semaphore.BlackedOut, Detail: `blackout "x" lasts until noon`, Until: time.Now().Add(time.Minute)},
		semaphore.Blocker{Kind: semaphore.Full, Detail: "1 of 1 slot is held"},
	)
	if r.StatusCode != 423 || r.Kind != "blackout" || r.Value != `blackout "x" lasts until noon; 1 of 1 slot is held (place 3 in the queue)` {
		t.Errorf("%d %s %q", r.StatusCode, r.Kind, r.Value)
	}
}

func TestRefusal_RetryAfterIsWhenTheLastBlockerEndsAtMostFiveMinutes(t *testing.T) {
	synctest.Test(t, retryAfterIsWhenTheLastBlockerEnds) // the clock stands
}

func retryAfterIsWhenTheLastBlockerEnds(t *testing.T) {
	in := func(d time.Duration) semaphore.Blocker {
		return semaphore.Blocker{Kind: semaphore.WindowShut, Detail: "no window is open", Until: time.Now().Add(d)}
	}
	for _, c := range []struct {
		blockers []semaphore.Blocker
		want     int
	}{
		{[]semaphore.Blocker{in(time.Minute), in(2 * time.Minute)}, 120},
		{[]semaphore.Blocker{in(48 * time.Hour)}, 300},
		{[]semaphore.Blocker{in(-time.Second)}, 10},
		{[]semaphore.Blocker{{Kind: semaphore.Full, Detail: "1 of 1 slot is held"}}, 10},
		{[]semaphore.Blocker{{Kind: semaphore.TooSoon, Detail: "too soon", Until: time.Now().Add(300 * time.Millisecond)}}, 1},
	} {
		r, after := refusedWith(t, 0, c.blockers...)
		if r.StatusCode != 423 || after != c.want {
			t.Errorf("%v: %d, Retry-After %d, want 423 and %d", c.blockers, r.StatusCode, after, c.want)
		}
	}
}

func TestRefusal_OneWaiterTooManyIs429WithRetryAfter(t *testing.T) {
	r, after := refusedWith(t, 0, semaphore.Blocker{Kind: semaphore.RetryLater, Detail: "10000 nodes wait already"})
	if r.StatusCode != 429 || r.Kind != "rate" || after != 10 {
		t.Errorf("%d %s, Retry-After %d", r.StatusCode, r.Kind, after)
	}
}
