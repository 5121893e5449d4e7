// Package spacing says how often something is looked at that changes in bursts and
// costs processor time to look at.
package spacing

import "time"

// Looks keeps looking to a share of the time, by putting the next look off. What
// one change leads to comes close behind it, so after quiet some looks follow each
// other sooner and are paid for later. It is not for use by several goroutines.
type Looks struct {
	// Least lies between the end of a look and the next, Most at most.
	Least, Most time.Duration
	// Looks take one part in Parts of the time, as far as Most allows.
	Parts int
	// Ahead is how much of that time may be owed.
	Ahead time.Duration

	paid time.Time // when all looks so far are paid for
}

// Pause is how long after now, at which a look ended that began before, there is
// to be no other.
func (l *Looks) Pause(began, now time.Time) time.Duration {
	took := now.Sub(began)
	if l.paid.Before(now) {
		l.paid = now
	}
	l.paid = l.paid.Add(time.Duration(l.Parts) * took)
	if most := now.Add(l.Ahead + l.Most); l.paid.After(most) {
		l.paid = most
	}
	return min(l.Most, max(l.Least, l.paid.Sub(now)-l.Ahead))
}
