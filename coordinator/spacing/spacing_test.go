package spacing_test

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/spacing"
)

const ms = time.Millisecond

func TestPause_AfterQuietSomeLooksFollowSoonThenTheShareHolds(t *testing.T) {
	l := spacing.Looks{Least: 50 * ms, Most: 500 * ms, Parts: 10, Ahead: 600 * ms}
	now := time.Now()
	looks := func(n int, took time.Duration) (looking, all time.Duration, pauses []time.Duration) {
		from := now
		for range n {
			began := now
			now = now.Add(took)
			p := l.Pause(began, now)
			looking += took
			now = now.Add(p)
			pauses = append(pauses, p)
		}
		return looking, now.Sub(from), pauses
	}
	_, _, p := looks(3, 30*ms)
	for i := range 2 {
		if p[i] != 50*ms {
			t.Errorf("look %d is followed by a pause of %v, want the least", i+1, p[i])
		}
	}
	if looking, all, _ := looks(100, 30*ms); looking*10 > all {
		t.Errorf("%v of %v were spent on looking, want at most a tenth", looking, all)
	}
	now = now.Add(time.Second) // quiet
	if _, _, p = looks(1, 30*ms); p[0] != 50*ms {
		t.Errorf("after quiet the pause is %v, want the least", p[0])
	}
}

func TestPause_NeverLeavesItsBounds(t *testing.T) {
	l := spacing.Looks{Least: 50 * ms, Most: 500 * ms, Parts: 10, Ahead: 200 * ms}
	now := time.Now()
	for _, took := range []time.Duration{0, ms, time.Hour, time.Hour, -time.Hour, 0} {
		if p := l.Pause(now.Add(-took), now); p < l.Least || p > l.Most {
			t.Errorf("a look of %v is followed by a pause of %v, want %v to %v", took, p, l.Least, l.Most)
		}
	}
	now = now.Add(l.Most + l.Ahead)
	if p := l.Pause(now, now); p != l.Least {
		t.Errorf("looks that took hours are still being paid for: a pause of %v", p)
	}
}
