package semaphore

import (
	"slices"
	"time"
)

// Earliest is the first moment, now or later, at which nothing that a clock
// decides keeps the node from starting: windows, blackouts, the grant interval,
// the wait after unconfirmed grants. Slots, limits, freezes and those who stand
// before it may keep it longer. False when no clock ends what is in its way, or
// it is no member.
func Earliest(s *State, node string, now time.Time) (time.Time, bool) {
	m, member := s.Member(node)
	if !member || s.NewerSchema != "" || !s.Exists() {
		return time.Time{}, false
	}
	if _, holds := s.Hold(node); holds {
		return now, true
	}
	t := now
	// Each turn gets past a blackout, or to the next opening.
	for range MaxBlackouts + horizon {
		found := shut(s, t)
		if b := barred(m, t); b != nil {
			found = append(found, *b)
		}
		if len(found) == 0 {
			return t, true
		}
		for _, b := range found {
			if b.Until.IsZero() {
				return time.Time{}, false
			}
			if b.Until.After(t) {
				t = b.Until
			}
		}
	}
	return time.Time{}, false
}

// forecastLooks bounds the work of one Forecast, in waiters looked at.
const forecastLooks = 1_000_000

// Forecast is when the node would be granted if it asked now, or waits, every
// hold lasted for so long, and nobody else came: the queue played through by
// the rules. Holds past their deadline are taken to stay. False when it would
// never be granted so, or that is too much to find out.
func Forecast(s *State, node string, now time.Time, hold time.Duration) (time.Time, bool) {
	if _, holds := s.Hold(node); holds {
		return now, true
	}
	m, member := s.Member(node)
	if !member || s.NewerSchema != "" || !s.Exists() || s.Frozen() != nil || m.Duplicate != "" || hold <= 0 {
		return time.Time{}, false
	}
	f := newForecast(s, node, now, hold)
	for looks := 0; looks < forecastLooks; {
		if opens, isShut := f.s.ShutUntil(f.t); isShut {
			if opens.IsZero() {
				return time.Time{}, false
			}
			f.advance(opens)
			continue
		}
		granted, looked := f.grantNext()
		looks += looked
		if granted == node {
			return f.t, true
		}
		if granted == "" && !f.nextReturn() {
			return time.Time{}, false
		}
	}
	return time.Time{}, false
}

// forecast is a group on its way into the future.
type forecast struct {
	s     State
	t     time.Time
	hold  time.Duration
	tally *tally
	queue []*Member   // in order; nil who has gone
	first int         // all before it have gone
	ends  []ending    // of holds, in order
	may   []time.Time // when waiters may ask again, in order
}

type ending struct {
	at   time.Time
	node string
	of   map[string]string // labels
}

func newForecast(s *State, node string, now time.Time, hold time.Duration) *forecast {
	f := &forecast{s: *s, t: now, hold: hold, tally: newTally(s, "")}
	deadlines := s.Deadlines(now)
	for holder, h := range s.EachHold() {
		if deadlines.Overdue(*h) {
			continue
		}
		end := h.Since.Add(hold)
		if end.Before(now) {
			end = now
		}
		f.ends = append(f.ends, ending{end, holder, h.Labels})
	}
	slices.SortFunc(f.ends, func(a, b ending) int { return a.at.Compare(b.at) })
	f.queue = make([]*Member, 0, s.Waiting()+1)
	_, queued := s.Waiter(node)
	for w := range s.EachWaiter {
		// A newcomer comes with rank 0, behind all that wait with the same.
		if !queued && w.Rank(now) < 0 {
			f.join(node)
			queued = true
		}
		f.join(w.Node)
	}
	if !queued {
		f.join(node)
	}
	slices.SortFunc(f.may, time.Time.Compare)
	return f
}

// join puts a node at the end of the queue, unless it can never be granted.
func (f *forecast) join(node string) {
	m, member := f.s.Member(node)
	if _, holds := f.s.Hold(node); !member || holds || m.Duplicate != "" {
		return
	}
	f.queue = append(f.queue, &m)
	if m.RetryAfter.After(f.t) {
		f.may = append(f.may, m.RetryAfter)
	}
}

// advance lets the time pass, and the holds end that end by then.
func (f *forecast) advance(to time.Time) {
	f.t = to
	for len(f.ends) > 0 && !f.ends[0].at.After(to) {
		f.tally.free(f.ends[0].node, f.ends[0].of)
		f.ends = f.ends[1:]
	}
	for len(f.may) > 0 && !f.may[0].After(to) {
		f.may = f.may[1:]
	}
}

// nextReturn goes on to the moment at which the next hold ends, or a waiter
// may ask again.
func (f *forecast) nextReturn() bool {
	var next time.Time
	if len(f.ends) > 0 {
		next = f.ends[0].at
	}
	if len(f.may) > 0 && (next.IsZero() || f.may[0].Before(next)) {
		next = f.may[0]
	}
	if next.IsZero() {
		return false
	}
	f.advance(next)
	return true
}

// grantNext gives a slot to the first who may go, and says to whom.
func (f *forecast) grantNext() (node string, looked int) {
	for i := f.first; i < len(f.queue); i++ {
		m := f.queue[i]
		if m == nil {
			if i == f.first {
				f.first++
			}
			continue
		}
		looked++
		if m.RetryAfter.After(f.t) || !f.tally.fits(m) {
			if f.tally.out >= f.tally.slots && !f.s.Spec.CountUnreachable {
				return "", looked // nobody fits
			}
			continue
		}
		f.tally.take(*m)
		f.queue[i] = nil
		f.ends = append(f.ends, ending{f.t.Add(f.hold), m.Node, m.Labels()})
		f.s.Head.LastGrant = f.t
		return m.Node, looked
	}
	return "", looked
}
