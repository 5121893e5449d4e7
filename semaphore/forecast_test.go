package semaphore_test

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestEarliest_IsTheFirstMomentThatClocksAllow(t *testing.T) {
	b := newBench(t)
	earliest := func(want time.Time) {
		t.Helper()
		if got, known := semaphore.Earliest(&b.State, "a", b.now); !known || !got.Equal(want) {
			t.Errorf("earliest %s (known %t), want %s", got, known, want)
		}
	}
	earliest(now)
	b.spec(semaphore.Spec{
		Slots:   semaphore.Slots{N: 9},
		Windows: []semaphore.Window{{Start: "22:00", Duration: hours(2)}},
		Blackouts: []semaphore.Blackout{
			{Name: "tonight", Start: now, End: at(t, "2026-11-24T23:00:00Z")},
			{Name: "then", Start: at(t, "2026-11-24T23:00:00Z"), End: at(t, "2026-11-25T12:00:00Z")},
		},
	})
	earliest(at(t, "2026-11-25T22:00:00Z"))
	h := b.Holds
	b.Holds = map[string]semaphore.Hold{"b": {Node: "b"}} // slots do not matter
	earliest(at(t, "2026-11-25T22:00:00Z"))
	b.Holds = h
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 9}})
	hold := b.take(agent("a"))
	earliest(now) // it holds
	b.ok(semaphore.Expire{Node: "a", Fence: hold.Fence})
	earliest(now.Add(time.Minute))
	b.ok(semaphore.SetDuplicate{Node: "a", Why: "two"})
	for _, node := range []string{"a", "stranger"} {
		if got, known := semaphore.Earliest(&b.State, node, b.now); known {
			t.Errorf("%s: earliest %s, and no clock lets it go", node, got)
		}
	}
}

func TestForecast_SaysNothingWhenNobodyCan(t *testing.T) {
	for name, prepare := range map[string]func(b *bench){
		"no slots":        func(b *bench) { b.spec(semaphore.Spec{}) },
		"frozen":          func(b *bench) { b.freeze(false) },
		"a duplicate":     func(b *bench) { b.ok(semaphore.SetDuplicate{Node: "a", Why: "two"}) },
		"an overdue hold": func(b *bench) { b.take(agent("b")); b.now = now.Add(semaphore.DefaultHold + time.Second) },
		"a clock that is off": func(b *bench) {
			b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 1}, Windows: []semaphore.Window{{Start: "00:00", Duration: hours(24)}}})
			b.ClockOff = "it is 41s off"
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			prepare(b)
			if when, known := semaphore.Forecast(&b.State, "a", b.now, time.Minute); known {
				t.Errorf("forecast %s", when)
			}
		})
	}
}

// Whoever asks for a forecast is told what the rules would then do.
func TestForecast_IsWhatTheRulesDo(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const hold = 3 * time.Minute
		s := semaphore.State{Group: "g", Revision: 1}
		do := func(op semaphore.Op, at time.Time) semaphore.Decision {
			d := semaphore.Decide(&s, op, at)
			s = s.Apply(d)
			return d
		}
		for i := range rapid.IntRange(1, 8).Draw(t, "members") {
			zone := rapid.SampledFrom(zones).Draw(t, "zone")
			if s.Members == nil {
				s.Members = map[string]semaphore.Member{}
			}
			node := fmt.Sprint("n", i)
			s.Members[node] = semaphore.Member{V: 1, Node: node, Registered: map[string]string{"zone": zone}}
		}
		spec := drawSpec(t)
		spec.CountUnreachable = false
		do(semaphore.PutSpec{Spec: spec}, now)
		ends := map[string]time.Time{}
		t0 := now
		for i := range len(s.Members) {
			node := fmt.Sprint("n", i)
			if rapid.Bool().Draw(t, "asks first") && do(agent(node), t0).Answer.Kind == semaphore.OK {
				ends[node] = t0.Add(hold)
				t0 = t0.Add(time.Duration(rapid.IntRange(0, 30).Draw(t, "seconds")) * time.Second)
				continue
			}
			s.Queue = append(s.Queue, semaphore.Waiter{
				V: 1, Node: node, Via: semaphore.ViaAgent, Instance: "i-" + node, Since: t0, Present: true,
				CreateRevision: int64(i + 1), Priority: rapid.IntRange(-1, 1).Draw(t, "priority"),
			})
		}
		semaphore.SortQueue(s.Queue, t0)
		want := map[string]time.Time{}
		start := s
		// Something can happen when a hold ends and when a clock lets go.
		next := func(clock time.Time) time.Time {
			later := t0.Add(2 * time.Hour)
			if opens, isShut := s.ShutUntil(clock); isShut {
				later = opens
			}
			for _, end := range ends {
				if end.Before(later) {
					later = end
				}
			}
			return later
		}
		for clock := t0; clock.Before(t0.Add(2 * time.Hour)); clock = next(clock) {
			for node, end := range ends {
				if !clock.Before(end) {
					h := s.Holds[node]
					for _, g := range do(releaseOf(h), clock).Granted {
						want[g.Node], ends[g.Node] = clock, clock.Add(hold)
					}
					delete(ends, node)
				}
			}
			for _, g := range do(semaphore.Admit{}, clock).Granted {
				want[g.Node], ends[g.Node] = clock, clock.Add(hold)
			}
		}
		for _, w := range start.Queue {
			got, known := semaphore.Forecast(&start, w.Node, t0, hold)
			if when, goes := want[w.Node]; known != goes || !got.Equal(when) {
				t.Fatalf("%s: forecast %s (%t), and the rules let it go at %s (%t)", w.Node, got, known, when, goes)
			}
		}
	})
}

func BenchmarkForecast_TheLastOf10000(b *testing.B) {
	for name, limits := range map[string][]semaphore.Limit{"free": nil, "limited": spread} {
		b.Run(name, func(b *testing.B) {
			s := semaphore.State{
				Group: "g", Revision: 1, HeadRev: 1, Members: map[string]semaphore.Member{},
				Spec: semaphore.Spec{Slots: semaphore.Slots{N: 10}, Limits: limits},
			}
			for i := range 10_000 {
				node := fmt.Sprint("n", i)
				zone := fmt.Sprint("z", i%20)
				s.Members[node] = semaphore.Member{V: 1, Node: node, Registered: map[string]string{"zone": zone}}
				s.Queue = append(s.Queue, semaphore.Waiter{V: 1, Node: node, Since: now, CreateRevision: int64(i + 1)})
			}
			s.Keep(now)
			for b.Loop() {
				if _, known := semaphore.Forecast(&s, "n9999", now, time.Minute); !known {
					b.Fatal("nothing is known")
				}
			}
		})
	}
}

func BenchmarkWindow_ThatOpensEachMinute(b *testing.B) {
	w := semaphore.Window{Cron: "* * * * *", Duration: hours(168)}
	for b.Loop() {
		if _, open := w.At(now); !open {
			b.Fatal("it is shut")
		}
	}
}
