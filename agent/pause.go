package agent

import (
	"math/rand/v2"
	"time"
)

// pause is how long an act that did not succeed rests.
type pause struct {
	next  time.Duration
	until time.Time
}

func (p *pause) left() time.Duration {
	if p == nil {
		return 0
	}
	return time.Until(p.until)
}

// rest makes an act rest, longer each time: from Retry, doubled, up to most,
// and at least for what the coordinator asked, within reason.
func (a *Agent) rest(do Do, least, most time.Duration) {
	p := a.pauses[do]
	if p == nil {
		p = &pause{next: a.cfg.Retry}
		a.pauses[do] = p
	}
	d := min(p.next, most)
	p.next = min(2*p.next, most)
	// A fleet that lost its coordinator must not come back all at once.
	d += rand.N(d/4 + 1)
	p.until = time.Now().Add(max(d, min(least, 5*time.Minute)))
}
