package semaphore

import (
	"fmt"
	"slices"
	"time"
)

// HostLabel names the coordinator that runs on a node. Without it a node is the
// host of the coordinator that has the node's id as its name; NoCoordinator says
// that it is of none.
const (
	HostLabel     = "coordinator"
	NoCoordinator = "none"
)

// Coordinator is a member of the store that the coordinators keep together.
type Coordinator struct {
	Name string
	// Leads: it leads the store, and another could.
	Leads bool
}

// MemberOut says whose host is out of service. There is one at a time in all
// groups: while it is there no other coordinator's host is granted a slot.
type MemberOut struct {
	V      int       `json:"v"`
	Member string    `json:"member"` // the coordinator's name
	Group  string    `json:"group"`
	Node   string    `json:"node"`
	At     time.Time `json:"at"`
	Extra  Extra     `json:"-"`
}

// hosts is the coordinator that runs on a member of the group.
func (s *State) hosts(m *Member) (Coordinator, bool) {
	if len(s.Coordinators) == 0 {
		return Coordinator{}, false
	}
	name := m.label(HostLabel)
	if name == "" {
		name = m.Node
	}
	for _, c := range s.Coordinators {
		if c.Name == name {
			return c, true
		}
	}
	return Coordinator{}, false
}

// HostOf is the name of the coordinator that runs on a member of the group, ""
// for none.
func (s *State) HostOf(node string) string {
	m, ok := s.Member(node)
	if !ok {
		return ""
	}
	c, _ := s.hosts(&m)
	return c.Name
}

// memberOut is the coordinator's host that is out now. One of this group that
// holds no slot any more is not.
func (s *State) memberOut() *MemberOut {
	if out := s.Out; out != nil && out.Group == s.Group {
		if _, holds := s.Hold(out.Node); !holds {
			return nil
		}
	}
	return s.Out
}

// hostBlocker says why a coordinator's own host may not go now: all that have a
// vote must be well without it, none other be out, and it must not lead.
func (t *tally) hostBlocker(m *Member) *Blocker {
	c, is := t.s.hosts(m)
	if !is {
		return nil
	}
	why := ""
	switch {
	case t.hostTaken:
		why = "the host of another coordinator takes a slot now"
	case t.hostOut != nil && (t.hostOut.Node != m.Node || t.hostOut.Group != t.s.Group):
		why = fmt.Sprintf("node %s in group %s, the host of coordinator %s, is out of service", t.hostOut.Node, t.hostOut.Group, t.hostOut.Member)
	case t.s.Unwell != "":
		why = t.s.Unwell
	case c.Leads:
		why = "it leads, and another has to lead first"
	default:
		return nil
	}
	return &Blocker{Kind: CoordinatorHost, Detail: fmt.Sprintf("coordinator %s runs on this host, and one of them may be out at a time: %s", c.Name, why)}
}

// MayGoUnlessLeading reports whether the node may not go now, and could if the
// coordinator that runs on it did not lead.
func MayGoUnlessLeading(s *State, node string, now time.Time) bool {
	follows := *s
	leads := false
	follows.Coordinators = slices.Clone(s.Coordinators)
	name := s.HostOf(node)
	for i := range follows.Coordinators {
		if c := &follows.Coordinators[i]; c.Name == name && c.Leads {
			leads, c.Leads = true, false
		}
	}
	return leads && len(blockers(&follows, node, now, true)) == 0
}

// takeOut notes that a coordinator's host goes out of service with the hold that
// is made.
func (b *draft) takeOut(m *Member) {
	c, is := b.s.hosts(m)
	if !is {
		return
	}
	b.d.GuardOut = true
	b.change(Change{Out: &MemberOut{V: BaseSchema, Member: c.Name, Group: b.s.Group, Node: m.Node, At: b.now}})
}

// bringBack notes that a host is not out any more, with its hold gone: whichever
// coordinator its label names by now, the key goes with the hold. Where others
// write it as well, what is known of it may be behind, and it is compared.
func (b *draft) bringBack(node string) {
	b.d.GuardOut = b.d.GuardOut || len(b.s.Coordinators) > 1
	if out := b.s.Out; out != nil && out.Group == b.s.Group && out.Node == node {
		b.d.GuardOut = true
		b.change(Change{DeleteOut: true})
	}
}
