package etcdstore_test

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

var linBudget = flag.Duration("lin", 0, "how long the stores are troubled while their histories are recorded; each kind of trouble comes once at least")

// shortLease is below the time for which processes stand still.
const shortLease = time.Second

// trouble is a kind of fault that comes again and again while clients ask.
type trouble struct {
	name string
	do   func(l *lab)
}

// troubles leave everything running behind them.
var troubles = []trouble{
	{"a store is killed", func(l *lab) {
		p := l.stores[rand.IntN(len(l.stores))]
		p.kill()
		think(100 * time.Millisecond)
		p.again()
	}},
	{"a store stands still for a moment", func(l *lab) {
		l.stores[rand.IntN(len(l.stores))].stand(rand.N(400 * time.Millisecond))
	}},
	{"a store stands still for longer than an attempt and its lease", func(l *lab) {
		l.stores[rand.IntN(len(l.stores))].stand(2500 * time.Millisecond)
	}},
	{"etcd is killed", func(l *lab) {
		l.etcd.kill()
		think(50 * time.Millisecond)
		l.etcd.again()
	}},
	{"etcd stands still", func(l *lab) { l.etcd.stand(rand.N(500 * time.Millisecond)) }},
	{"etcd stands still for longer than an attempt", func(l *lab) { l.etcd.stand(2300 * time.Millisecond) }},
}

func (p *process) again() {
	if err := p.start(); err != nil {
		p.t.Error(err)
	}
}

// stand stops the process for a time.
func (p *process) stand(d time.Duration) {
	p.signal(syscall.SIGSTOP)
	time.Sleep(d)
	p.signal(syscall.SIGCONT)
}

// linTally counts what histories show.
type linTally struct {
	requests, unknown int
	done              map[string]int
}

func (c *linTally) count(h *linHistory) {
	for _, o := range h.ops {
		c.requests++
		switch out := o.Output.(linOutput); {
		case out.unknown && out.Answer.Kind == semaphore.OK:
			c.unknown++
		case out.Answer.Kind == semaphore.OK:
			c.done[kindOf(o.Input.(linInput).op)]++
		}
	}
}

// missing is what is to be shown, and was not done yet: how much clients get done
// in a round is up to the machine.
func (c *linTally) missing() (list []string) {
	for kind := range kinds {
		if kind != "PutMember" && kind != "SetDown" && c.done[kind] == 0 {
			list = append(list, kind)
		}
	}
	if c.unknown == 0 {
		list = append(list, "one of unknown outcome")
	}
	return list
}

// Whatever happens to the processes, each answer is true at one moment between
// its question and itself, as seen by those who asked.
func TestLinearizable_WhateverIsKilledStopsOrGetsLost(t *testing.T) {
	l := newLab(t, 2, envLease+"="+shortLease.String())
	ctx, cancel := context.WithTimeout(t.Context(), *linBudget+5*time.Minute)
	defer cancel()
	counts := linTally{done: map[string]int{}}
	var checks sync.WaitGroup
	room := make(chan struct{}, 2) // checks at a time
	began := time.Now()
	goesOn := func(round int) bool {
		return round < len(troubles) || time.Since(began) < *linBudget || len(counts.missing()) > 0 && round < 10*len(troubles)
	}
	for round := 0; goesOn(round) && !t.Failed(); round++ {
		kind := troubles[round%len(troubles)]
		histories, err := newRound(l, 2).run(ctx, 2500*time.Millisecond, func(ctx context.Context) {
			for ctx.Err() == nil {
				think(600 * time.Millisecond)
				kind.do(l)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, h := range histories {
			counts.count(h)
			checks.Go(func() {
				room <- struct{}{}
				defer func() { <-room }()
				if got := h.check(4 * time.Minute); got != porcupine.Ok {
					t.Errorf("round %d, group %d, while %s: %s", round, i, kind.name, got)
					h.show(t, fmt.Sprintf("%s-%d-%d", t.Name(), round, i), time.Minute)
				}
			})
		}
	}
	checks.Wait()
	t.Logf("%d requests, %d of unknown outcome, done: %v", counts.requests, counts.unknown, counts.done)
	for _, kind := range counts.missing() {
		t.Errorf("no %s was done: the test shows less than it should", kind)
	}
}

// short lets clients loose on a store for a moment, in which all is known: wrong
// histories take longer to search.
func short(t *testing.T, l *lab) (porcupine.CheckResult, *linHistory) {
	t.Helper()
	r := newRound(l, 1)
	r.most, r.calm, r.hangUp = 150, 8*time.Millisecond, 0
	// A broken store may never get to its end.
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	histories, err := r.run(ctx, time.Second, func(context.Context) {})
	if err != nil {
		return porcupine.Unknown, nil
	}
	return histories[0].check(2 * time.Second), histories[0]
}

// Each rule that is broken on purpose is found by the same clients and checker.
func TestLinearizable_FindsAStoreThat(t *testing.T) {
	for _, how := range []breakage{
		headNotCompared, freezeIgnored, readsFromMemory, confirmsMemory,
		releasesAny, saysYesTooEarly, repeatsBlindly, forgetsFences,
	} {
		t.Run(string(how), func(t *testing.T) {
			l := newLab(t, 2, envBreak+"="+string(how))
			for round := range 50 {
				got, h := short(t, l)
				if got != porcupine.Illegal {
					continue
				}
				t.Logf("found in round %d, of %d requests", round, len(h.ops))
				if os.Getenv(envOutput) != "" {
					h.show(t, t.Name(), time.Second)
				}
				return
			}
			t.Error("the checker found nothing")
		})
	}
}

// What it finds is not that the watch of those stores comes late.
func TestLinearizable_FindsNothingInAStoreWhoseWatchComesLate(t *testing.T) {
	l := newLab(t, 2, envBreak+"="+string(onlyLate))
	right := 0
	for round := 0; round < 4 || right == 0 && round < 20; round++ {
		switch got, h := short(t, l); got {
		case porcupine.Illegal:
			h.show(t, t.Name(), time.Minute)
			t.Error("a store that is not broken was found wrong")
		case porcupine.Ok:
			right++
		}
	}
	if right == 0 {
		t.Error("no history was checked to its end")
	}
}
