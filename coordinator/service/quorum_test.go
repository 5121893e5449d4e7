package service

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Whoever waits at a coordinator that is cut off from the others waits for what
// comes elsewhere.
func TestQuorum_WhoWaitsIsSentAwayWhenItIsLostForLong(t *testing.T) {
	b := start(t)
	b.withGroup("default", "1")
	b.hello("holder", "default")
	b.acquire("default", "holder")
	seen := b.hello("waiter", "default").Tag

	waits := map[string]func() error{
		"a long poll": func() error {
			req := poll("default")
			req.Report.Seq, req.Seen, req.WaitS = 2, seen, 60
			_, err := b.Poll(b.as("waiter"), "waiter", req)
			return err
		},
		"an acquire": func() error {
			_, err := b.Acquire(b.as("waiter"), "default", "waiter", api.AcquireRequest{Instance: "i1", Request: "q1", BootID: "b1"}, time.Minute)
			return err
		},
		"an acquire of FleetLock": func() error {
			_, err := b.FleetLockAcquire(b.as("guest"), "default", "guest", "192.0.2.1:1", time.Minute)
			return err
		},
	}
	type end struct {
		what string
		err  error
	}
	ends := make(chan end)
	for what, wait := range waits {
		go func() { ends <- end{what, wait()} }()
	}
	b.eventually("all wait", func() bool {
		st, _ := b.sem.View("default")
		return len(b.polls.all()) == 1 && len(st.Queue) == 2
	})

	b.member.lose(true)
	time.Sleep(lostAfter / 2) // an election takes less than that
	b.member.lose(false)
	time.Sleep(2 * lostEvery)
	b.member.lose(true)
	lost := time.Now()
	for range waits {
		select {
		case e := <-ends:
			mustRefuse(t, e.err, api.NoQuorum)
			if took := time.Since(lost); took < lostAfter-lostEvery || took > lostAfter+2*time.Second {
				t.Errorf("%s was sent away after %s, want after %s", e.what, took, lostAfter)
			}
		case <-time.After(time.Minute):
			t.Fatal("somebody still waits")
		}
	}
	began := time.Now()
	mustRefuse(t, waits["a long poll"](), api.NoQuorum)
	if took := time.Since(began); took > time.Second {
		t.Errorf("who comes then is refused after %s, want at once", took)
	}

	b.member.lose(false)
	b.eventually("it serves again", func() bool {
		_, err := b.Poll(b.as("waiter"), "waiter", poll("default"))
		return err == nil
	})
}
