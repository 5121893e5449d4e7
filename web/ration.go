package web

import "time"

// ration keeps a topic to two renderings a second that differ, after a first one.
type ration struct {
	last time.Time
	two  [2]time.Time // the last that were no first ones after quiet, older first
}

// sent says how long after one at a time there is to be no other. One that came
// while changes follow each other is spaced evenly with the next; one that had to be
// waited for may be followed as soon as the ration allows.
func (r *ration) sent(at time.Time, waited bool) time.Duration {
	quiet := at.Sub(r.last) >= 2*renderGap
	r.last = at
	if quiet {
		r.two = [2]time.Time{}
		return lookGap
	}
	r.two = [2]time.Time{r.two[1], at}
	if r.two[0].IsZero() {
		return lookGap
	}
	gap := renderGap
	if waited {
		gap = lookGap
	}
	return max(gap, 2*renderGap-at.Sub(r.two[0]))
}
