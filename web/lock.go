package web

import (
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// The sizes at which a lock is drawn otherwise: hulls with names, then small
// hulls in rows, then a bar and a count.
const (
	namedBerths = 6
	tinyBerths  = 96
)

// lock is a group drawn as a canal lock.
type lock struct {
	Now   time.Time
	Stale bool
	Group api.Group
	Boats []boat
	Free  []struct{} // free berths
	Tiny  bool
	Bar   bool // too many to draw one by one
	Open  bool // the gate: somebody may enter now
	Note  look
	Next  string // node that is next in order
	Day   time.Time
	About time.Time // when that one probably goes, zero: nobody can say
	Hulls []struct{}
	Over  int // holds beyond the slots
}

// boat is a hold in its berth.
type boat struct {
	Now  time.Time
	Hold api.Hold
	Look look
	Late bool
}

// newBoat chooses what matters most about a hold.
func newBoat(h api.Hold, now time.Time) boat {
	b := boat{Now: now, Hold: h, Look: known(phaseLooks, api.Phase(h.Phase))}
	switch {
	case h.Failed:
		b.Look = look{"is-bad", "failed", "Failed"}
	case h.Revoked != nil:
		b.Look = look{"is-warn", "aborted", "Revoked"}
	case h.Overdue:
		b.Look, b.Late = look{"is-warn", "overdue", "Overdue"}, true
	case h.Phase == "" || h.Phase == string(api.PhaseIdle) || h.Phase == string(api.PhaseWaiting):
		// The node has not reported since it was granted; FleetLock never does.
		b.Look = look{"is-busy", "holding", "Holding"}
	}
	return b
}

func newLock(g api.Group, stale bool, now time.Time) lock {
	l := lock{Now: now, Stale: stale, Group: g, Next: firstInOrder(g)}
	berths := max(g.Status.Slots, len(g.Holds))
	l.Tiny, l.Bar = berths > namedBerths, berths > tinyBerths
	if !l.Bar {
		for _, h := range g.Holds {
			l.Boats = append(l.Boats, newBoat(h, now))
		}
		l.Free = make([]struct{}, max(0, g.Status.Slots-len(g.Holds)))
	}
	l.Over = max(0, len(g.Holds)-g.Status.Slots)
	l.Hulls = make([]struct{}, min(3, g.Status.Waiting))
	l.Open = g.Status.Free > 0 && g.Status.Frozen == nil && g.Status.Shut == "" && !stale
	l.Note = lockNote(l)
	return l
}

func firstInOrder(g api.Group) string {
	if len(g.Queue) == 0 {
		return ""
	}
	return g.Queue[0].Node
}

// lockNote says why the gate is open or shut.
func lockNote(l lock) look {
	s := l.Group.Status
	n := look{"", "shut", ""}
	switch {
	case l.Stale:
		n.Class, n.Word = "is-bad", "Shut"
	case s.Frozen != nil:
		n.Class, n.Icon, n.Word = "is-warn", "frozen", "Frozen"
	case s.Slots == 0:
		n.Word = "No slots"
	case s.Shut != "":
		n.Icon, n.Word = "scheduled", shutWord(s)
	case l.Open:
		n.Icon, n.Word = "open", fmt.Sprintf("%d free", s.Free)
	case l.Over > 0:
		n.Class, n.Word = "is-warn", fmt.Sprintf("%d over", l.Over)
	case s.Held >= s.Slots:
		n.Word = "Full"
	default:
		n.Word = "Shut"
	}
	if s.Stuck > 0 && s.Frozen == nil && !l.Stale {
		n.Class = "is-warn"
		n.Word += fmt.Sprintf(", %d stuck", s.Stuck)
	}
	return n
}

// shutWord says in a word what a clock keeps the gate shut by.
func shutWord(s api.GroupStatus) string {
	switch {
	case s.Blackout != nil:
		return "Blackout"
	case s.Window != nil && !s.Window.Open:
		return "No window"
	case !s.NextGrant.IsZero():
		return "Interval"
	}
	return "Shut"
}

// lockOf is the lock of a group as a page shows it: the one of the overview or of
// the group tells when the next probably goes.
func lockOf(f *Frame, g api.Group) lock {
	l := newLock(g, f.Status.Stale, f.Now)
	l.Day = f.Day
	switch d := f.Data.(type) {
	case overviewData:
		l.About = d.Nexts[g.Name]
	case groupData:
		l.About = toTheMinute(d.Turns[l.Next])
	}
	return l
}

// eachLock are the locks of the overview. The list as a whole goes out when
// groups come or go; otherwise only the locks that changed.
func eachLock(f *Frame) []item {
	key := "locks"
	var locks []item
	for _, g := range f.Status.Groups {
		key += "/" + g.Name
		locks = append(locks, item{id: "lock-" + g.Name, within: "locks", template: "lock", data: lockOf(f, g)})
	}
	return append([]item{{id: "locks", template: "locks", data: *f, key: key}}, locks...)
}

// bigLock is a lock drawn large, with the phases of each boat: its berths are
// the lanes of the history below it.
type bigLock struct {
	lock
	Berths []bigBerth
	Wait   []struct{} // hulls above the gate
}

// Plain is the same lock in its small form.
func (b bigLock) Plain() lock { return b.lock }

type bigBerth struct {
	Number int
	Boat   *boat // nil: free
	Steps  []bool
}

// bigBerths is how many slots are drawn large.
const bigBerths = 12

// bigWait is how many boats are drawn above the gate.
const bigWait = 15

// stepsOf are the phases that a hold's boat shows.
var stepsOf = []api.Phase{api.PhaseDraining, api.PhaseApplying, api.PhaseRebooting, api.PhaseVerifying, api.PhaseReleasing}

func newBigLock(l lock, lanes [][]stay) bigLock {
	b := bigLock{lock: l, Wait: make([]struct{}, min(bigWait, l.Group.Status.Waiting))}
	if l.Group.Status.Slots > bigBerths || len(l.Group.Holds) > bigBerths {
		return b
	}
	boats := map[string]*boat{}
	for i := range l.Boats {
		boats[l.Boats[i].Hold.Node] = &l.Boats[i]
	}
	for i, lane := range lanes {
		last := lane[len(lane)-1]
		boat := boats[last.Node]
		if last.Hold == nil || boat == nil {
			boat = nil
		}
		if boat != nil || i < l.Group.Status.Slots {
			b.Berths = append(b.Berths, bigBerth{Number: i + 1, Boat: boat, Steps: stepsDone(boat)})
		}
	}
	for n := len(lanes); n < l.Group.Status.Slots; n++ {
		b.Berths = append(b.Berths, bigBerth{Number: n + 1})
	}
	// A hold in a lane beyond the slots takes the place of a free berth.
	for over := len(b.Berths) - max(l.Group.Status.Slots, len(l.Boats)); over > 0; over-- {
		for i, berth := range b.Berths {
			if berth.Boat == nil {
				b.Berths = append(b.Berths[:i], b.Berths[i+1:]...)
				break
			}
		}
	}
	return b
}

// stepsDone says of each of the five steps whether it is done or under way.
func stepsDone(b *boat) []bool {
	if b == nil {
		return nil
	}
	out := make([]bool, len(stepsOf))
	at := slices.Index(stepsOf, api.Phase(b.Hold.Phase))
	if api.Phase(b.Hold.Phase) == api.PhaseFailed {
		at = len(stepsOf) - 2 // it got as far as being verified, and did not pass
	}
	for i := range out {
		out[i] = i <= at
	}
	return out
}
