package simulate

import (
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// series is how many hosts were out of service, over time.
type series struct {
	start time.Time
	now   map[string]int // by group
	total int
	peaks map[string]int
	peak  int
	at    []point
	last  time.Time
	slots int
}

// point is a number that holds from a moment on.
type point struct {
	at time.Time
	n  int
}

func newSeries(groups []semaphore.State, start time.Time) *series {
	s := &series{start: start, now: map[string]int{}, peaks: map[string]int{}, at: []point{{start, 0}}}
	for i := range groups {
		s.slots += groups[i].SlotCount()
	}
	return s
}

func (s *series) note(at time.Time, group string, n int) {
	s.total += n - s.now[group]
	s.now[group] = n
	s.peaks[group] = max(s.peaks[group], n)
	s.peak = max(s.peak, s.total)
	if last := &s.at[len(s.at)-1]; last.at.Equal(at) {
		last.n = s.total
	} else if last.n != s.total {
		s.at = append(s.at, point{at, s.total})
	}
}

func (s *series) end(at time.Time) { s.last = at }

// most is the greatest number in each of so many equal pieces of a time.
func (s *series) most(from, to time.Time, pieces int) []int {
	out := make([]int, pieces)
	span := to.Sub(from)
	if span <= 0 {
		return out
	}
	piece := func(t time.Time) int {
		return max(0, min(pieces-1, int(float64(pieces)*float64(t.Sub(from))/float64(span))))
	}
	for i, p := range s.at {
		until := to
		if i+1 < len(s.at) {
			until = s.at[i+1].at
		}
		if until.Before(from) || p.at.After(to) {
			continue
		}
		for k := piece(p.at); k <= piece(until); k++ {
			out[k] = max(out[k], p.n)
		}
	}
	return out
}
