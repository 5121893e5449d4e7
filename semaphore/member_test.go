package semaphore_test

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestPutMember_OnlyAtTheRevisionThatWasSeen(t *testing.T) {
	for _, kept := range []bool{false, true} {
		now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
		st := semaphore.State{Group: "web", Revision: 1, HeadRev: 1, Head: semaphore.Head{V: 1, Next: 1}, Members: map[string]semaphore.Member{}}
		if kept {
			st.Keep(now)
		}
		put := func(labels map[string]string, ifMatch int64) semaphore.Kind {
			d := semaphore.Decide(&st, semaphore.PutMember{Node: "a", Declared: labels, IfMatch: ifMatch}, now)
			st = st.Apply(d)
			return d.Answer.Kind
		}
		if kind := put(map[string]string{"zone": "a"}, 7); kind != semaphore.ChangedSince {
			t.Errorf("one that is no member: %q", kind)
		}
		put(map[string]string{"zone": "a"}, 0)
		seen, _ := st.Member("a")
		if seen.Revision != st.Revision || seen.Revision == 0 {
			t.Fatalf("it was written at revision %d and has %d", st.Revision, seen.Revision)
		}
		if kind := put(map[string]string{"zone": "b"}, seen.Revision); kind != semaphore.OK {
			t.Errorf("as it was seen: %q", kind)
		}
		if kind := put(map[string]string{"zone": "c"}, seen.Revision); kind != semaphore.ChangedSince {
			t.Errorf("changed since it was seen: %q", kind)
		}
		if m, _ := st.Member("a"); m.Declared["zone"] != "b" {
			t.Errorf("labels %v", m.Declared)
		}
	}
}
