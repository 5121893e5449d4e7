package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// board is a PresenceStore for several coordinators.
type board struct {
	mu     sync.Mutex
	rev    int64
	said   map[string]Sighting
	writes int // ids written
	fail   error
	follow []chan []SightingChange
}

// at is the board as one coordinator sees it.
type at struct {
	*board
	owner string
}

func (a at) Owner() string { return a.owner }

func (b *board) PutSightings(_ context.Context, _ Kind, list []Sighting) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.fail != nil {
		return 0, b.fail
	}
	if len(list) > MaxSightings {
		return 0, errors.New("too many")
	}
	b.rev++
	b.writes += len(list)
	var changes []SightingChange
	for _, s := range list {
		s.Revision = b.rev
		b.said[s.ID] = s
		changes = append(changes, SightingChange{ID: s.ID, Sighting: s})
	}
	b.tell(changes...)
	return b.rev, nil
}

func (b *board) GetSighting(_ context.Context, _ Kind, id string) (Sighting, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.said[id], b.fail
}

func (b *board) DropSighting(_ context.Context, _ Kind, id string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.said, id)
	b.tell(SightingChange{ID: id, Deleted: true})
	return b.fail
}

func (b *board) tell(changes ...SightingChange) {
	for _, ch := range b.follow {
		ch <- changes
	}
}

func (b *board) FollowSightings(ctx context.Context, _ Kind) <-chan []SightingChange {
	b.mu.Lock()
	defer b.mu.Unlock()
	ch := make(chan []SightingChange, 1000)
	list := []SightingChange{{Reset: true}}
	for id, s := range b.said {
		list = append(list, SightingChange{ID: id, Sighting: s})
	}
	ch <- append(list, SightingChange{Synced: true})
	b.follow = append(b.follow, ch)
	out := make(chan []SightingChange)
	go func() {
		defer close(out)
		for {
			select {
			case c := <-ch:
				select {
				case out <- c:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// die is the end of a coordinator's lease.
func (b *board) die(owner string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for id, s := range b.said {
		if s.Owner == owner {
			delete(b.said, id)
			b.tell(SightingChange{ID: id, Deleted: true})
		}
	}
}

func (b *board) written() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.writes
}

// join is a coordinator that is there until its test ends.
func (b *board) join(t *testing.T, name string) *Presence {
	t.Helper()
	p := NewPresence(PresenceConfig{Store: at{b, name}, Kind: Agents})
	p.Start()
	t.Cleanup(p.Stop)
	return p
}

// settle lets what is on its way arrive.
func settle() {
	time.Sleep(sayPause + time.Millisecond)
	synctest.Wait()
}

// pair runs a test with two coordinators, in virtual time.
func pair(t *testing.T, test func(t *testing.T, b *board, a, other *Presence)) {
	synctest.Test(t, func(t *testing.T) {
		b := &board{said: map[string]Sighting{}}
		one, two := b.join(t, "a"), b.join(t, "b")
		synctest.Wait()
		test(t, b, one, two)
	})
}

// since is how long ago the id was heard elsewhere; -1 for never.
func since(p *Presence, id string) time.Duration {
	heard, _ := p.Elsewhere(id)
	if heard.IsZero() {
		return -1
	}
	return time.Since(heard)
}

func TestPresence_WhoIsHeardAtOneCoordinatorIsHeardAtTheOther(t *testing.T) {
	pair(t, func(t *testing.T, _ *board, a, b *Presence) {
		if got := since(b, "n"); got != -1 {
			t.Fatalf("heard %s ago before it was", got)
		}
		a.Hear("n", "i1")
		settle()
		for range 20 {
			time.Sleep(30 * time.Second)
			a.Hear("n", "i1")
			if got := since(b, "n"); got != 0 {
				t.Fatalf("heard %s ago at the other, want now", got)
			}
		}
		if _, mark := b.Elsewhere("n"); mark != "i1" {
			t.Errorf("mark is %q", mark)
		}
		if got := since(a, "n"); got != -1 {
			t.Errorf("it counts as heard elsewhere where it is heard: %s ago", got)
		}
	})
}

func TestPresence_HeartbeatsWriteNothing(t *testing.T) {
	pair(t, func(t *testing.T, board *board, a, _ *Presence) {
		for range 100 {
			for i := range 250 {
				a.Hear(fmt.Sprintf("n%d", i), "i")
			}
			time.Sleep(30 * time.Second)
		}
		settle()
		if got := board.written(); got != 250 {
			t.Errorf("%d writes for 250 ids in 50 minutes, want one each", got)
		}
	})
}

// The other must neither call a live host silent nor a silent one live: 60 s of
// silence allow its slot to be freed, 2 min set it down.
func TestPresence_SilenceIsToldWithItsLength(t *testing.T) {
	pair(t, func(t *testing.T, board *board, a, b *Presence) {
		a.Hear("n", "i")
		time.Sleep(silentAfter - time.Second)
		synctest.Wait()
		if got := since(b, "n"); got != 0 {
			t.Errorf("called silent after %s", silentAfter-time.Second)
		}
		time.Sleep(scanEvery + 2*time.Second)
		synctest.Wait()
		want := silentAfter + scanEvery + time.Second
		if got := since(b, "n"); got < want-2*time.Second || got > want+time.Second {
			t.Errorf("heard %s ago at the other, want %s", got, want)
		}
		time.Sleep(time.Hour)
		if got := since(b, "n"); got < time.Hour {
			t.Errorf("heard %s ago after an hour more", got)
		}
		a.Hear("n", "i")
		settle()
		if got := since(b, "n"); got != 0 {
			t.Errorf("it is back, and heard %s ago at the other", got)
		}
		if got := board.written(); got != 3 {
			t.Errorf("%d writes for heard, silent, back: want 3", got)
		}
	})
}

func TestPresence_TheDeathOfACoordinatorIsWhenItsHostsWereLastHeard(t *testing.T) {
	pair(t, func(t *testing.T, board *board, a, b *Presence) {
		a.Hear("n", "i")
		settle()
		a.Stop()
		time.Sleep(30 * time.Second)
		board.die("a")
		settle()
		time.Sleep(time.Minute)
		if got := since(b, "n"); got < time.Minute || got > time.Minute+2*sayPause {
			t.Errorf("heard %s ago, want a minute", got)
		}
		// It moves over.
		third := board.join(t, "c")
		b.Hear("n", "i")
		settle()
		if got := since(third, "n"); got != 0 {
			t.Errorf("heard %s ago at a third, want now", got)
		}
	})
}

func TestPresence_AHostThatGoesBackAndForthCostsNothing(t *testing.T) {
	pair(t, func(t *testing.T, board *board, a, b *Presence) {
		for i := range 100 {
			[]*Presence{a, b}[i%2].Hear("n", "i")
			time.Sleep(20 * time.Second)
		}
		if got := board.written(); got > 1 {
			t.Errorf("%d writes", got)
		}
		// It stays at b, and what a said ends.
		for range 10 {
			b.Hear("n", "i")
			time.Sleep(20 * time.Second)
		}
		synctest.Wait()
		if got := since(a, "n"); got != 0 {
			t.Errorf("heard %s ago at a, want now", got)
		}
		if got := board.written(); got > 3 {
			t.Errorf("%d writes for one move", got)
		}
	})
}

func TestPresence_ALostLeaseIsSaidAgain(t *testing.T) {
	pair(t, func(t *testing.T, board *board, a, b *Presence) {
		for i := range 250 {
			a.Hear(fmt.Sprintf("n%d", i), "i")
		}
		settle()
		board.die("a") // it stood still for long
		for range 3 {
			settle()
		}
		for i := range 250 {
			if got := since(b, fmt.Sprintf("n%d", i)); got != 0 {
				t.Fatalf("n%d: heard %s ago, want now", i, got)
			}
		}
	})
}

func TestPresence_WithoutQuorumItIsSaidLater(t *testing.T) {
	pair(t, func(t *testing.T, board *board, a, b *Presence) {
		board.mu.Lock()
		board.fail = semaphore.ErrNoQuorum
		board.mu.Unlock()
		a.Hear("n", "i")
		time.Sleep(10 * time.Second)
		board.mu.Lock()
		board.fail = nil
		board.mu.Unlock()
		time.Sleep(2 * sayRetry)
		synctest.Wait()
		if got := since(b, "n"); got != 0 {
			t.Errorf("heard %s ago, want now", got)
		}
	})
}

// A coordinator that starts learns from the others who was heard.
func TestPresence_WhoStartsKnowsWhatTheOthersHear(t *testing.T) {
	pair(t, func(t *testing.T, board *board, a, _ *Presence) {
		a.Hear("live", "i")
		a.Hear("gone", "i")
		for range 10 {
			time.Sleep(30 * time.Second)
			a.Hear("live", "i")
		}
		late := board.join(t, "late")
		synctest.Wait()
		if got := since(late, "live"); got != 0 {
			t.Errorf("live: heard %s ago", got)
		}
		if got := since(late, "gone"); got < silentAfter {
			t.Errorf("gone: heard %s ago, want at least %s", got, silentAfter)
		}
	})
}

func TestObserve_TwoLiveHostsOfOneIDAtTwoCoordinatorsAreSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, b := newMemory(), &board{said: map[string]Sighting{}}
		open := func(name string) *Registry {
			r := New(Config{Store: store, Presence: b.join(t, name)})
			if err := r.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.Stop)
			return r
		}
		here, there := open("a"), open("b")
		first := Session{Instance: "i1", BootID: "b1"}
		for range 20 { // for so long that the record says nothing of now
			if err := here.Observe(t.Context(), "n", first); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
		}
		synctest.Wait()
		if got := time.Since(there.Heard("n")); got != 0 {
			t.Errorf("heard %s ago at the other, want now", got)
		}
		err := there.Observe(t.Context(), "n", Session{Instance: "i2", BootID: "b2"})
		var twice *Duplicate
		if !errors.As(err, &twice) {
			t.Fatalf("a second live host was taken in: %v", err)
		}
		// The same host may of course move over.
		if err := there.Observe(t.Context(), "n", first); err != nil {
			t.Error(err)
		}
	})
}

func TestNodes_WhoIsHeardElsewhereIsNotUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, b := newMemory(), &board{said: map[string]Sighting{}}
		open := func(name string) *Registry {
			r := New(Config{Store: store, Presence: b.join(t, name)})
			if err := r.Start(t.Context()); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(r.Stop)
			return r
		}
		here, there := open("a"), open("b")
		for range 20 {
			if err := here.Observe(t.Context(), "n", Session{Instance: "i", BootID: "b"}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(30 * time.Second)
		}
		synctest.Wait()
		if n, _ := there.Node("n"); n.State == "unreachable" {
			t.Errorf("the other calls it unreachable, last heard %s ago", time.Since(n.LastHeard))
		}
		time.Sleep(UnreachableAfter + time.Minute)
		synctest.Wait()
		for name, r := range map[string]*Registry{"its own": here, "the other": there} {
			if n, _ := r.Node("n"); n.State != "unreachable" {
				t.Errorf("silent for 3 min, %s coordinator calls it %s", name, n.State)
			}
		}
	})
}

// A host that changes its address asks at both for a while: what each heard
// before the other spoke is older news.
func TestPresence_TwoAddressesOfOneIDDoNotMakeTheCoordinatorsArgue(t *testing.T) {
	pair(t, func(t *testing.T, board *board, a, b *Presence) {
		a.Hear("n", "10.0.0.1")
		settle()
		b.Hear("n", "10.0.0.2")
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := board.written(); got != 2 {
			t.Errorf("%d writes for two contacts, want one each", got)
		}
		if _, mark := a.Elsewhere("n"); mark != "10.0.0.2" {
			t.Errorf("the last address is %q", mark)
		}
	})
}
