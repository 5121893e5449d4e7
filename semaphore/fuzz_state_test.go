package semaphore_test

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// FuzzStoredState: whatever a broken hand, or another version, has written under a
// group's keys, every question and every operation on it gets an answer, and one
// that returns a slot never leaves more of them taken.
func FuzzStoredState(f *testing.F) {
	head, spec := stored["head"], stored["spec"]
	hold, member, waiter := stored["hold"], stored["member"], stored["waiter"]
	f.Add([]byte(head), []byte(spec), []byte(hold), []byte(member), []byte(waiter))
	f.Add([]byte(`{"v":1,"next_fence":-5,"event_seq":-1,"grants":-9223372036854775808}`), []byte(`{"v":1,"slots":1}`),
		[]byte(`{"v":1,"node":"a","state":"granted","via":"agent","fence":-1,"deadline":"0001-01-01T00:00:00Z"}`),
		[]byte(`{"v":1,"node":"a","unconfirmed":-7}`), []byte(`{"v":1,"node":"b","priority":-2147483648,"grants":9223372036854775807,"ahead":-9}`))
	f.Add([]byte(head), []byte(spec), []byte(hold), []byte(`{"v":1,"node":"a","unconfirmed":9223372036854775807}`), []byte(waiter))
	f.Add([]byte(`{"v":1,"froze":[{"start":"2026-11-25T00:00:00Z","end":"2026-11-24T00:00:00Z"}]}`),
		[]byte(`{"v":1,"slots":"100%","grant_interval":"-1h","limits":[{"by":"","max":0},{"by":"zone","max":"100%"}],"windows":[{"start":"22:00","duration":"-1h","cutoff":"999h","time_zone":"UTC"}],"timeouts":{"hold":"-1h"}}`),
		[]byte(hold), []byte(member), []byte(waiter))
	f.Fuzz(func(t *testing.T, head, spec, hold, member, waiter []byte) {
		for _, text := range [][]byte{head, spec, hold, member, waiter} {
			if len(text) > 2048 {
				return
			}
		}
		s := semaphore.State{Group: "web", Revision: 9, HeadRev: 9, SpecRev: 8, Schema: 1, Holds: map[string]semaphore.Hold{}, Members: map[string]semaphore.Member{}}
		var err error
		if s.Head, err = semaphore.DecodeHead(head); err != nil {
			return
		}
		if s.Spec, err = semaphore.DecodeSpec(spec); err != nil {
			return
		}
		// A value is kept under the node of its key, whatever it says itself.
		if h, err := semaphore.DecodeHold(hold); err == nil {
			h.Node = "a"
			s.Holds["a"] = h
		}
		if m, err := semaphore.DecodeMember(member); err == nil {
			for _, node := range []string{"a", "b"} {
				m.Node = node
				s.Members[node] = m
			}
		}
		if w, err := semaphore.DecodeWaiter(waiter); err == nil {
			w.Node, w.Present, w.CreateRevision = "b", true, 7
			s.Queue = append(s.Queue, w)
		}
		kept := s
		kept.Keep(noonOfAll)
		for _, st := range []semaphore.State{s, kept} {
			answersAll(t, &st)
		}
	})
}

var noonOfAll = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// answersAll asks everything that coordinators ask of a state.
func answersAll(t *testing.T, s *semaphore.State) {
	t.Helper()
	now := noonOfAll
	h, _ := s.Hold("a")
	semaphore.Blockers(s, "b", now)
	semaphore.Earliest(s, "b", now)
	semaphore.Forecast(s, "b", now, time.Minute)
	semaphore.Place(s, "b")
	s.ShutUntil(now)
	s.OutOfService()
	s.Deadlines(now).Overdue(h)
	s.EachWaiter(func(w *semaphore.Waiter) bool {
		w.Rank(now)
		semaphore.MayReserve(s, *w, 0)
		return true
	})
	for _, op := range []semaphore.Op{
		semaphore.Acquire{Node: "b", Instance: "i", Request: "r", Via: semaphore.ViaAgent},
		semaphore.Acquire{Node: "c", Via: semaphore.ViaFleetLock, Register: true, Overtake: true},
		semaphore.Confirm{Node: "a", Instance: h.Instance, BootID: "b", Fence: h.Fence},
		semaphore.Release{Node: "a", Instance: h.Instance, Via: h.Via, Fence: h.Fence},
		semaphore.Revoke{Node: "a", Name: "a", Fence: h.Fence, By: "ann"},
		semaphore.ForceRelease{Node: "a", Name: "a", Fence: h.Fence, By: "ann", HostIsDown: true},
		semaphore.Expire{Node: "a", Fence: h.Fence},
		semaphore.Admit{Via: semaphore.ViaAgent},
		semaphore.PutSpec{Spec: semaphore.Spec{Slots: semaphore.Slots{N: 1}}, IfMatch: -1, By: "ann"},
		semaphore.SetFreeze{Freeze: semaphore.Freeze{ID: "f", By: "ann"}},
		semaphore.LiftFreeze{ID: "f", By: "ann"},
		semaphore.PutMember{Node: "a", Declared: map[string]string{"zone": "a"}, By: "ann"},
		semaphore.SetDown{Node: "a", Down: true},
		semaphore.RemoveMember{Node: "b", By: "ann"},
		semaphore.Adopt{Node: "b", Instance: "i", Fence: 3},
	} {
		d := semaphore.Decide(s, op, now)
		next := s.Apply(d)
		if held, slots := next.Held(), max(next.SlotCount(), s.Held()); held > slots {
			if _, adopts := op.(semaphore.Adopt); !adopts {
				t.Fatalf("%T leaves %d of %d slots taken", op, held, next.SlotCount())
			}
		}
	}
}
