package web

import (
	"fmt"
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

// eachLock are the locks of the overview. The list as a whole goes out when
// groups come or go; otherwise only the locks that changed.
func eachLock(f *Frame) []item {
	key := "locks"
	var locks []item
	for _, g := range f.Status.Groups {
		key += "/" + g.Name
		locks = append(locks, item{id: "lock-" + g.Name, template: "lock", data: newLock(g, f.Status.Stale, f.Now)})
	}
	return append([]item{{id: "locks", template: "locks", data: *f, key: key}}, locks...)
}
