package service

import (
	"context"
	"log/slog"
	"sync/atomic"
	"testing"
	"testing/synctest"
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

	lost := time.Now()
	b.member.lose(true)
	for range waits {
		select {
		case e := <-ends:
			mustRefuse(t, e.err, api.NoQuorum)
			if took := time.Since(lost); took < lostAfter {
				t.Errorf("%s was sent away after %s, want after %s", e.what, took, lostAfter)
			}
		case <-time.After(time.Minute):
			t.Fatal("somebody still waits")
		}
	}
	mustRefuse(t, waits["a long poll"](), api.NoQuorum) // who comes then, with a minute to wait
	if took := time.Since(lost); took > time.Minute {
		t.Errorf("all were refused %s after the loss, want before the time they wait", took)
	}

	b.member.lose(false)
	b.eventually("it serves again", func() bool {
		_, err := b.Poll(b.as("waiter"), "waiter", poll("default"))
		return err == nil
	})
}

func TestQuorum_AnElectionSendsNobodyAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		member := &elected{}
		s := &Service{node: member, logger: slog.New(slog.DiscardHandler)}
		s.quorum.begin()
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		go s.monitorQuorum(ctx)
		stands := func() bool { synctest.Wait(); return s.quorum.until().Err() == nil }

		time.Sleep(lostEvery / 2) // between two looks
		member.lost.Store(true)
		time.Sleep(lostAfter)
		if !stands() {
			t.Error("who waits is sent away before nobody has led for long")
		}
		member.lost.Store(false)
		time.Sleep(lostEvery)
		member.lost.Store(true)
		time.Sleep(lostAfter)
		if !stands() {
			t.Error("what an election took counts for the next")
		}
		time.Sleep(lostEvery)
		if stands() {
			t.Errorf("nobody is sent away after %s without a leader", lostAfter+lostEvery)
		}
		member.lost.Store(false)
		time.Sleep(lostEvery)
		if !stands() {
			t.Error("nobody may wait although there is a leader again")
		}
	})
}

// elected is a member that has a leader, or none.
type elected struct {
	ClusterInfo
	lost atomic.Bool
}

func (e *elected) HasLeader() bool { return !e.lost.Load() }
