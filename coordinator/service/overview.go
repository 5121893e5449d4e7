package service

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/coordinator/spacing"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

const (
	// overviewPause is the longest pause between two overviews of a fleet that
	// changes all the time; a small one is looked over more often. Overviews that
	// changes ask for take one part in overviewParts of the time as far as that
	// allows, and overviewAhead of it may be owed: an engine's answer to a change
	// comes close behind it, and is shown as soon.
	overviewPause = 200 * time.Millisecond
	overviewParts = 20
	overviewAhead = time.Second
	// overviewLasts is how long an overview is good when nothing changed: what
	// depends on time alone (overdue, unreachable) is seen at the latest then.
	overviewLasts = 2 * time.Second
	// overviewTries is how often an overview is made anew that something changed
	// under, so that one half of it would tell of the change and the other not; one
	// that took longer than overviewQuick is left as it is.
	overviewTries = 3
	overviewQuick = 20 * time.Millisecond
	// queueShown is how much of a queue the lists of groups show.
	queueShown = 100
	// versionsShown is how many versions of agents are told apart.
	versionsShown = 20
)

// overview is the whole fleet from one pass. Nothing in it may be changed.
type overview struct {
	at        time.Time
	asOf      time.Time  // at, or without quorum the last moment with it
	nodes     []api.Node // by id
	groups    []api.Group
	figures   api.Figures
	frozen    *api.Freeze
	rollouts  []api.Rollout
	attention []api.Attention
	sentence  string
	ok        bool
	stale     bool
}

// viewCache makes one pass serve every request between two changes.
type viewCache struct {
	mu    sync.Mutex
	last  *overview
	made  time.Time // monotonic
	next  time.Time // before it no change asks for another
	looks spacing.Looks
	// current is when quorum was seen last, zero for not since the start.
	current time.Time
	signs   [4]<-chan struct{}
	members string // as they were, which no sign tells of
	stale   bool
}

// overview is the fleet as it was at most overviewPause ago, with all that was
// changed through this service by a person, and with the first change after quiet.
func (s *Service) overview() *overview {
	c := &s.view
	c.mu.Lock()
	defer c.mu.Unlock()
	stale := s.Stale()
	if !stale {
		c.current = s.now().UTC()
	}
	members := ""
	if s.cfg.Members != nil {
		members = s.membersNow()
	}
	changed := c.last != nil && (c.changed() || members != c.members)
	if c.last != nil && stale == c.stale {
		age := time.Since(c.made)
		if !changed && age < overviewLasts || changed && time.Now().Before(c.next) {
			return c.last
		}
	}
	c.stale, c.members = stale, members
	began := time.Now()
	for try := 1; ; try++ {
		one := time.Now()
		// The signs first: a change during the pass is seen by the next.
		c.signs = [4]<-chan struct{}{s.store.Changed(), s.fleet.Changed(), s.roll.Changed(), s.db.ClusterChanged()}
		c.last = s.lookOver(stale, c.current)
		c.made = time.Now()
		if !c.changed() || try == overviewTries || c.made.Sub(one) > overviewQuick {
			break
		}
	}
	c.next = c.made
	if changed {
		c.next = c.made.Add(c.looks.Pause(began, c.made))
	}
	return c.last
}

// wrote makes the next overview one of what was just written: whoever changes
// something and then looks sees it.
func (s *Service) wrote() {
	s.view.mu.Lock()
	defer s.view.mu.Unlock()
	s.view.last = nil
}

func (c *viewCache) changed() bool { return slices.ContainsFunc(c.signs[:], closed) }

// lookOver makes one pass over everything. Without quorum that is the fleet as it
// was when there was one last; in a coordinator that has not seen one yet, when the
// newest event happened that it knows.
func (s *Service) lookOver(stale bool, current time.Time) *overview {
	o := &overview{
		at: s.now().UTC(), nodes: s.fleet.Nodes(), stale: stale, rollouts: s.roll.List(),
		frozen: freezeOf(s.store.FleetFreeze(), ""), groups: []api.Group{},
	}
	o.asOf = o.at
	if stale {
		if o.asOf = current; current.IsZero() {
			o.asOf = s.db.NewestEvent()
		}
	}
	known := make(map[string]bool, len(o.nodes))
	for i := range o.nodes {
		known[o.nodes[i].ID] = true
	}
	states := map[string]semaphore.State{}
	for _, name := range s.store.Groups() {
		st, found := s.store.View(name)
		if !found || !st.Exists() {
			continue
		}
		states[name] = st
		o.groups = append(o.groups, s.group(&st, queueShown))
		o.count(&st)
		o.nodes = append(o.nodes, s.guests(&st, known)...)
	}
	slices.SortFunc(o.nodes, func(a, b api.Node) int { return strings.Compare(a.ID, b.ID) })
	o.figures.Nodes = len(o.nodes)
	o.figures.ByState = make(map[api.NodeState]int, len(api.NodeStates))
	for i := range o.nodes {
		o.figures.ByState[o.nodes[i].State]++
	}
	o.figures.ByVersion = byVersion(o.nodes)
	s.markDrift(o)
	for i := range o.groups {
		o.figures.Stuck += o.groups[i].Status.Stuck
	}
	o.figures.Wanted, o.figures.AtWanted = wanted(o.rollouts)
	o.attention = s.attention(o, states)
	o.ok = len(o.attention) == 0 && !stale
	o.sentence = sentence(o)
	return o
}

func (o *overview) count(st *semaphore.State) {
	f := &o.figures
	f.Slots += st.SlotCount()
	f.Held += len(st.Holds)
	f.Waiting += len(st.Queue)
	for i := range st.Queue {
		if w := &st.Queue[i]; f.OldestWait.IsZero() || w.Since.Before(f.OldestWait) {
			f.OldestWait, f.OldestNode = w.Since, w.Node
		}
	}
}

// byVersion counts the agents by version. An agent may call itself anything, so
// the number of versions is bounded: the rarest are counted together.
func byVersion(nodes []api.Node) map[string]int {
	counts := map[string]int{}
	for i := range nodes {
		n := &nodes[i]
		if n.Via != string(semaphore.ViaAgent) || n.FirstSeen.IsZero() {
			continue // no agent has reported for it
		}
		counts[cmp.Or(n.Report.Version, "unknown")]++
	}
	if len(counts) <= versionsShown {
		return counts
	}
	versions := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), strings.Compare(a, b))
	})
	out := map[string]int{}
	for i, v := range versions {
		if i < versionsShown {
			out[v] = counts[v]
		} else {
			out["other"] += counts[v]
		}
	}
	return out
}

// wanted counts the nodes of the rollouts under way, else of the last one, and
// those of them that have their bundle.
func wanted(rollouts []api.Rollout) (total, there int) {
	for _, r := range rollouts {
		if r.State.Active() {
			total += r.Progress.Total
			there += r.Progress.Updated
		}
	}
	if total == 0 && len(rollouts) > 0 {
		return rollouts[0].Progress.Total, rollouts[0].Progress.Updated
	}
	return total, there
}

// guests are the nodes of a group that no agent reports for.
func (s *Service) guests(st *semaphore.State, known map[string]bool) []api.Node {
	var list []api.Node
	var waiting map[string]bool
	add := func(m semaphore.Member) {
		if known[m.Node] {
			return
		}
		if waiting == nil {
			waiting = make(map[string]bool, len(st.Queue))
			for i := range st.Queue {
				waiting[st.Queue[i].Node] = true
			}
		}
		known[m.Node] = true
		list = append(list, s.guestNode(st, m, waiting[m.Node]))
	}
	for _, m := range st.Members {
		add(m)
	}
	for node := range st.Holds {
		add(semaphore.Member{Node: node})
	}
	return list
}

func (s *Service) guestNode(st *semaphore.State, m semaphore.Member, waiting bool) api.Node {
	n := api.Node{
		ID: m.Node, Group: st.Group, Labels: m.Labels(), Declared: m.Declared, Via: string(semaphore.ViaFleetLock),
		Duplicate: m.Duplicate, LastHeard: s.guestHeard(m.Node), State: api.NodeIdle,
		Report: api.Report{Group: st.Group}, Revision: m.Revision,
	}
	h, holds := st.Holds[m.Node]
	if holds {
		n.Hold = fleet.HoldOf(st.Group, h, st.Deadlines(s.now()))
		n.Via = string(h.Via)
		if h.OtherPeer != "" && n.Duplicate == "" {
			n.Duplicate = "addresses " + h.Peer + " and " + h.OtherPeer + " ask under this id"
		}
	}
	if n.Duplicate == "" {
		n.Duplicate = s.peers.duplicate(m.Node)
	}
	switch {
	case holds && n.Hold.Overdue:
		n.State = api.NodeOverdue
	case n.Duplicate != "":
		n.State = api.NodeDuplicate
	case holds:
		n.State = api.NodeOut
	case waiting:
		n.State = api.NodeWaiting
	}
	return n
}

func sortHolds(list []api.Hold) { slices.SortFunc(list, oldestFirst) }
