package semaphore_test

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// A hold since noon lasts for 10 min. Times are minutes since noon.
func TestDeadlines_StandStillWhileFrozenAndWithoutQuorum(t *testing.T) {
	at := func(minute float64) time.Time { return now.Add(time.Duration(minute * float64(time.Minute))) }
	span := func(from, to float64) semaphore.Span { return semaphore.Span{Start: at(from), End: at(to)} }
	frozen := func(minute float64) *semaphore.Freeze { return &semaphore.Freeze{ID: "f", At: at(minute)} }
	for _, c := range []struct {
		what    string
		now     float64
		state   semaphore.State
		outages []semaphore.Span
		due     float64
		overdue bool
		still   string
	}{
		{"nothing happened", 5, semaphore.State{}, nil, 10, false, ""},
		{"at its end", 10, semaphore.State{}, nil, 10, false, ""},
		{"past it", 10.1, semaphore.State{}, nil, 10, true, ""},
		{"frozen before it began", 5, semaphore.State{Froze: []semaphore.Span{span(-20, -10)}}, nil, 10, false, ""},
		{"frozen as it began", 5, semaphore.State{Froze: []semaphore.Span{span(-20, 2)}}, nil, 12, false, ""},
		{"the fleet was", 20, semaphore.State{Froze: []semaphore.Span{span(3, 15)}}, nil, 22, false, ""},
		{"the group was", 20, semaphore.State{Head: semaphore.Head{Froze: []semaphore.Span{span(3, 15)}}}, nil, 22, false, ""},
		{"the fleet is", 60, semaphore.State{Freeze: frozen(4)}, nil, 66, false, semaphore.StillFrozen},
		{"the group is", 60, semaphore.State{Head: semaphore.Head{Freeze: frozen(4)}}, nil, 66, false, semaphore.StillFrozen},
		{"since before it began", 60, semaphore.State{Freeze: frozen(-4)}, nil, 70, false, semaphore.StillFrozen},
		{"both at once count once", 40, semaphore.State{
			Froze: []semaphore.Span{span(2, 20)}, Head: semaphore.Head{Froze: []semaphore.Span{span(1, 3), span(19, 21)}},
		}, nil, 30, true, ""},
		{"frozen and no quorum count once", 40, semaphore.State{Freeze: frozen(5)}, []semaphore.Span{span(2, 8), span(30, 40)}, 48, false, semaphore.StillFrozen},
		{"there is no quorum", 40, semaphore.State{}, []semaphore.Span{span(2, 40)}, 48, false, semaphore.StillNoQuorum},
		{"it was overdue when it was frozen", 40, semaphore.State{Freeze: frozen(12)}, nil, 10, true, semaphore.StillFrozen},
		{"it was overdue before a freeze that is over", 40, semaphore.State{Froze: []semaphore.Span{span(12, 30)}}, nil, 10, true, ""},
		{"by another clock the freeze has not begun", 5, semaphore.State{Freeze: frozen(5.5)}, nil, 10, false, semaphore.StillFrozen},
	} {
		if c.outages != nil {
			c.state.Outages = func() []semaphore.Span { return c.outages }
		}
		d := c.state.Deadlines(at(c.now))
		h := semaphore.Hold{Since: now, Deadline: at(10)}
		if got := d.Of(h); !got.Equal(at(c.due)) || d.Overdue(h) != c.overdue || d.Still != c.still {
			t.Errorf("%s: due at minute %.1f, overdue %t, still %q; want %.1f, %t, %q", c.what, got.Sub(now).Minutes(), d.Overdue(h), d.Still, c.due, c.overdue, c.still)
		}
		if none := (semaphore.Hold{Since: now}); !d.Of(none).IsZero() || d.Overdue(none) {
			t.Errorf("%s: a hold without a deadline has one: %s", c.what, d.Of(none))
		}
	}
}

// What is remembered of freezes is what a hold was out in, and not more than a
// bound; beyond, no deadline comes sooner.
func TestKeepFroze_RemembersWhatAHoldWasOutIn(t *testing.T) {
	at := func(minute int) time.Time { return now.Add(time.Duration(minute) * time.Minute) }
	lift := func(old []semaphore.Span, from, to int, since ...int) []semaphore.Span {
		st := semaphore.State{Holds: map[string]semaphore.Hold{}}
		for i, s := range since {
			st.Holds[string(rune('a'+i))] = semaphore.Hold{Since: at(s)}
		}
		return semaphore.KeepFroze(old, semaphore.Freeze{At: at(from)}, at(to), st.EachHold())
	}
	if got := lift(nil, 0, 5); got != nil {
		t.Errorf("with nobody out it remembers %v", got)
	}
	one := lift(nil, 0, 5, 3)
	two := lift(one, 10, 15, 7, 3)
	if len(one) != 1 || len(two) != 2 {
		t.Fatalf("it remembers %v, then %v", one, two)
	}
	if got := lift(two, 20, 25, 7); len(got) != 2 || !got[0].Start.Equal(at(10)) {
		t.Errorf("once the first has returned, it remembers %v", got)
	}
	var many []semaphore.Span
	for i := range 100 {
		many = lift(many, 10*i, 10*i+5, 0)
	}
	st := semaphore.State{Froze: many}
	h := semaphore.Hold{Since: at(0), Deadline: at(1000)}
	if got := st.Deadlines(at(1000)).Of(h); len(many) > 32 || got.Before(at(1500)) {
		t.Errorf("of 100 freezes it remembers %d, due after %s", len(many), got.Sub(now))
	}
}
