package notify

import (
	"errors"
	"time"
)

const (
	firstPause = 5 * time.Second
	maxPause   = 30 * time.Minute
	// GiveUpAfter is how long after its event a message is tried for.
	GiveUpAfter = 12 * time.Hour
)

// Again says when to try a message again that failed tries times, and false
// when not to: the pauses grow from 5 s to 30 min, each half to all of its
// length as jitter, from 0 to 1, has it, and never shorter than the other side
// asked for. at is when the message came to be.
func Again(at time.Time, tries int, err error, now time.Time, jitter float64) (time.Time, bool) {
	var f *Failure
	if !errors.As(err, &f) {
		f = &Failure{}
	}
	if f.Final || now.Sub(at) >= GiveUpAfter {
		return time.Time{}, false
	}
	pause := maxPause
	if n := tries - 1; n < 9 {
		pause = min(maxPause, firstPause<<max(0, n))
	}
	pause = pause/2 + time.Duration(jitter*float64(pause/2))
	return now.Add(max(pause, f.After)), true
}
