package fleet

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Where it was heard before, a host that moved seems silent until the time has
// come to say so; where it is heard it was left to the other.
func TestAsk_AHostThatMovedIsClaimedWhereItIsHeard(t *testing.T) {
	pair(t, func(t *testing.T, _ *board, a, b *Presence) {
		a.Hear("n", "i")
		settle()
		time.Sleep(semaphore.FreeUnheard + time.Second)
		b.Hear("n", "i")
		at, err := a.Ask(t.Context(), "n")
		if err != nil || time.Since(at) > answerWithin {
			t.Errorf("heard %s ago, %v; want now", time.Since(at), err)
		}
	})
}

func TestAsk_WhoIsHeardNowhereIsSilent(t *testing.T) {
	pair(t, func(t *testing.T, board *board, a, b *Presence) {
		silent := func(who string, p *Presence, id string) {
			if at, err := p.Ask(t.Context(), id); err != nil || time.Since(at) < semaphore.FreeUnheard {
				t.Errorf("%s: heard %s ago, %v", who, time.Since(at), err)
			}
		}
		a.Hear("n", "i")
		settle()
		time.Sleep(semaphore.FreeUnheard + time.Second)
		silent("its own", a, "n")
		silent("the other", b, "n")
		silent("its own, of one never heard", a, "never")
		time.Sleep(silentAfter) // it is not said again
		if got := board.written(); got != 2 {
			t.Errorf("%d writes for heard and silent", got)
		}
	})
}

// As in a process that stood still: what it knows is old, and what it has not
// read yet must not free a slot.
func TestAsk_AWatchThatIsBehindFreesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &board{said: map[string]Sighting{}}
		deaf := NewPresence(PresenceConfig{Store: at{b, "deaf"}, Kind: Agents}) // its watch never begins
		other := b.join(t, "b")
		for _, heard := range []bool{true, false} {
			if heard {
				other.Hear("n", "i")
				settle()
			} else {
				time.Sleep(silentAfter + scanEvery + time.Second)
			}
			at, err := deaf.Ask(t.Context(), "n")
			if err != nil || time.Since(at) != 0 {
				t.Errorf("heard there %v: called silent for %s, %v", heard, time.Since(at), err)
			}
		}
		b.mu.Lock()
		b.fail = semaphore.ErrNoQuorum
		b.mu.Unlock()
		if _, err := deaf.Ask(t.Context(), "n"); !errors.Is(err, semaphore.ErrNoQuorum) {
			t.Errorf("without quorum: %v", err)
		}
	})
}
