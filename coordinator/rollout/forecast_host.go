package rollout

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Where a host is in virtual time.
const (
	hostFree    = iota
	hostAsking  // about to ask for a slot
	hostWaiting // has a place in the queue
	hostOut     // holds a confirmed slot
	hostSettles // has returned its slot, and does not count as updated yet
	hostKeeps   // holds a slot and is not expected back
	hostBarred  // the rules refuse it for good
)

// playedHost is a host in virtual time.
type playedHost struct {
	node     string
	group    *playedGroup // nil: of a group that is not there
	known    int          // in player.nodes, -1 for a node that never reported
	rolls    []hostRole
	rollout  *playedRollout // that it works for, nil for none
	at       int            // in its nodes
	state    int
	attempt  int
	course   Course
	began    time.Time // of this turn
	returned time.Time // in service with the bundle since
	late     bool
	open     bool // counted in its rollout's under
	via      semaphore.Via
	instance string
	fence    int64
}

// hostRole is a host's place in a rollout.
type hostRole struct {
	rollout *playedRollout
	at      int
}

// instance is that of an agent which has none yet.
const playedInstance = "forecast"

// host is the number of a node's host.
func (p *player) host(node string) (int, bool) {
	i, ok := p.numbers[node]
	return i, ok
}

func (p *player) addHost(node, group string) int {
	if i, ok := p.numbers[node]; ok {
		return i
	}
	h := playedHost{node: node, group: p.byName[group], known: -1, via: semaphore.ViaAgent, instance: playedInstance}
	if k, ok := p.byNode[node]; ok {
		n := &p.nodes[k]
		h.known = k
		if n.Group != "" {
			h.group = p.byName[n.Group]
		}
		if n.Instance != "" {
			h.instance = n.Instance
		}
		if inFlight[n.Report.Phase] && n.Report.Phase != api.PhaseHolding {
			h.began = n.ChangedAt
		}
	}
	p.hosts = append(p.hosts, h)
	p.numbers[node] = len(p.hosts) - 1
	return len(p.hosts) - 1
}

// begin puts everybody where they are at the start.
func (p *player) begin() {
	for _, r := range p.rolls {
		for i, n := range r.st.Nodes {
			h := p.addHost(n.Node, n.Group)
			r.hosts[i] = int32(h)
			p.hosts[h].rolls = append(p.hosts[h].rolls, hostRole{r, i})
		}
	}
	for _, g := range p.groups {
		for node, hold := range g.state.EachHold() {
			p.holds(g, p.addHost(node, g.state.Group), hold)
		}
		p.queued(g)
		p.rouse(g)
		g.touched = true
		p.out = append(p.out, g)
	}
	for i := range p.hosts { // at work, and the hold was not seen yet
		if h := &p.hosts[i]; h.state == hostFree && h.known >= 0 && h.group != nil && h.began.After(time.Time{}) {
			if role, ok := h.role(); ok && p.worksFor(h, role.rollout) {
				p.startWork(h, role)
				h.state, h.course = hostOut, p.course(h)
				p.comesBack(h, i)
			}
		}
	}
	for _, r := range p.rolls {
		p.lookSoon(r)
	}
}

// holds is a host that holds a slot at the start.
func (p *player) holds(g *playedGroup, number int, hold *semaphore.Hold) {
	h := &p.hosts[number]
	h.group, h.via, h.instance, h.fence = g, hold.Via, hold.Instance, hold.Fence
	h.state, h.began = hostOut, hold.Since
	if role, ok := h.role(); ok && p.worksFor(h, role.rollout) {
		h.attempt = max(1, role.rollout.st.Results[h.node].Attempt)
		p.startWork(h, role)
	}
	if p.keeps(h, hold) {
		p.keep(h)
		return
	}
	h.course = p.course(h)
	if h.course.Hangs {
		p.until(h.group.state.Deadlines(p.now).Of(*hold).Add(time.Nanosecond), hostOverdue, number)
		return
	}
	p.comesBack(h, number)
}

// comesBack notes when a host that is out since before the start is done. One
// that takes longer than usual may be back any moment.
func (p *player) comesBack(h *playedHost, number int) {
	p.in(max(h.began.Add(h.course.Takes).Sub(p.now), h.course.Takes/10), hostOver, number)
}

// worksFor reports whether what a host does, or holds a slot for, is a rollout's.
func (p *player) worksFor(h *playedHost, r *playedRollout) bool {
	if h.known < 0 {
		return false
	}
	id := p.nodes[h.known].Report.Rollout
	return id == r.st.Head.ID || id == "" && h.via == semaphore.ViaAgent
}

// keeps reports whether a holder is not expected back.
func (p *player) keeps(h *playedHost, hold *semaphore.Hold) bool {
	if p.w.Overdue != nil {
		h.late = p.w.Overdue(h.group.state.Group, h.node, h.fence)
	} else {
		h.late = h.group.state.Deadlines(p.now).Overdue(*hold)
	}
	if h.late || h.known < 0 {
		return h.late
	}
	n := &p.nodes[h.known].Report
	return n.Phase == api.PhaseFailed || n.Failure != nil && !n.Healthy && n.Phase == api.PhaseIdle
}

// keep leaves a host out of service for good.
func (p *player) keep(h *playedHost) {
	h.state = hostKeeps
	if h.late {
		p.late[holdKey{h.group.state.Group, h.node, h.fence}] = true
	}
	if h.rollout != nil {
		p.settle(h.rollout, h.at)
	}
	p.close(h)
	for _, r := range p.rolls { // it may have been the last slot that was left
		p.lookSoon(r)
	}
}

// queued makes the waiters of the start ones that are here; those whose client
// is gone do not go.
func (p *player) queued(g *playedGroup) {
	var all []semaphore.Waiter
	for w := range g.state.EachWaiter {
		all = append(all, *w)
	}
	for _, w := range all {
		h := &p.hosts[p.addHost(w.Node, g.state.Group)]
		if !w.Present && !w.Elsewhere || h.state != hostFree {
			g.state.DropWaiter(w.Node)
			continue
		}
		w.Present, w.Elsewhere = true, false
		g.state.SetWaiter(w, p.now)
		p.ticket = max(p.ticket, w.CreateRevision)
		h.group, h.via, h.instance, h.state = g, w.Via, w.Instance, hostWaiting
		if role, ok := h.role(); ok && w.Via == semaphore.ViaAgent {
			p.startWork(h, role)
		}
	}
}

// role is the newest rollout that has begun and selects the host.
func (h *playedHost) role() (hostRole, bool) {
	var found hostRole
	for _, role := range h.rolls {
		head := &role.rollout.st.Head
		if head.State.Active() && head.begun() &&
			(found.rollout == nil || head.CreatedAt.After(found.rollout.st.Head.CreatedAt)) {
			found = role
		}
	}
	return found, found.rollout != nil
}

// course is how the host's turn goes.
func (p *player) course(h *playedHost) Course {
	s := Step{Node: h.node, Rollout: -1, Attempt: h.attempt, At: p.numbers[h.node]}
	if h.group != nil {
		s.Group = h.group.state.Group
	}
	if h.rollout != nil {
		s.Rollout, s.At = h.rollout.number, h.at
	}
	c := p.w.Course(s)
	c.Takes = max(c.Takes, time.Millisecond)
	return c
}

// ask has a host ask for a slot.
func (p *player) ask(h *playedHost) {
	if h.state != hostAsking {
		return // not wanted any more
	}
	d := p.do(h.group, semaphore.Acquire{Node: h.node, Instance: h.instance, Via: h.via, Reason: h.rollout.reason()})
	switch a := &d.Answer; {
	case a.Kind == semaphore.OK:
		h.fence, h.state = a.Hold.Fence, hostWaiting
		p.granted(h)
	case a.Kind.Passes():
		p.ticket++
		s := &h.group.state
		s.SetWaiter(semaphore.Waiter{
			V: semaphore.BaseSchema, Node: h.node, Via: h.via, Instance: h.instance, Since: p.now,
			Grants: s.Head.Grants, Ahead: s.Ahead(p.now), CreateRevision: p.ticket, Present: true,
		}, p.now)
		h.state = hostWaiting
		p.report(h, api.PhaseWaiting)
		p.rouse(h.group)
	case a.Kind == semaphore.RetryLater && len(a.Blockers) > 0 && a.Blockers[0].Until.After(p.now):
		p.until(a.Blockers[0].Until, hostAsks, p.numbers[h.node])
	default:
		p.stopWork(h, hostBarred)
	}
}

// granted has a host begin with the slot that it was given, or give it back
// when it may not begin any more.
func (p *player) granted(h *playedHost) {
	if h.state != hostWaiting {
		return
	}
	number := p.numbers[h.node]
	if h.rollout != nil {
		v := p.view(h.rollout, h.at)
		w := Wanted(&h.rollout.st, v, p.now)
		if w == nil {
			p.stopWork(h, hostFree)
			p.giveBack(h)
			return
		}
		h.attempt = w.Attempt
	}
	hold, _ := h.group.state.Hold(h.node)
	if hold.State == semaphore.Granted {
		p.do(h.group, semaphore.Confirm{Node: h.node, Instance: h.instance, Fence: h.fence})
	}
	h.state, h.began, h.course = hostOut, p.now, p.course(h)
	if h.course.Hangs {
		p.until(h.group.state.Deadlines(p.now).Of(hold).Add(time.Nanosecond), hostOverdue, number)
	} else {
		p.in(h.course.Takes, hostOver, number)
	}
	if r := h.rollout; r != nil {
		r.turns[h.at] = Turn{Began: p.now}
		p.report(h, api.PhaseDraining)
		p.settle(r, h.at)
		if limit := Duration(r.st.Head.Spec.HealthyDeadline); limit > 0 && (h.course.Hangs || h.course.Takes >= limit) {
			p.in(limit, hostTooLong, number)
		}
	}
}

// report is what a host says of itself while it works for a rollout.
func (p *player) report(h *playedHost, phase api.Phase) {
	if h.known < 0 || h.rollout == nil {
		return
	}
	n := &p.nodes[h.known]
	n.Report.Phase, n.Report.Rollout, n.Report.Attempt = phase, h.rollout.st.Head.ID, max(1, h.attempt)
	n.ChangedAt, n.LastHeard = p.now, p.now
}

// over ends a host's turn.
func (p *player) over(h *playedHost) {
	if h.state != hostOut {
		return
	}
	r := h.rollout
	if r == nil {
		h.state = hostFree
		p.giveBack(h)
		return
	}
	n := &p.nodes[h.known]
	n.Report.Healthy = true
	p.report(h, api.PhaseIdle)
	if h.course.Fails {
		n.Report.Failure = &api.Failure{
			Bundle: r.st.Head.Spec.Bundle, Rollout: r.st.Head.ID, Reason: "unhealthy",
			Detail: "it was rolled back", Healthy: true, At: p.now,
		}
		// Recorded before the slot is given back, as Engine.Settle does.
		p.record(r, decideFailure(r.st, h.node, n.Report, p.now))
	} else {
		n.Report.Bundle, n.Report.Failure = r.st.Head.Spec.Bundle, nil
		h.returned = p.now
	}
	r.turns[h.at].Ended = p.now
	p.giveBack(h)
	if h.course.Fails {
		p.stopWork(h, hostFree)
		return
	}
	h.state = hostSettles
	p.in(Duration(r.st.Head.Spec.MinHealthyTime), hostSettled, p.numbers[h.node])
}

// settled is a host that has been in service for long enough.
func (p *player) settled(h *playedHost) {
	p.settle(h.rollout, h.at)
	p.stopWork(h, hostFree)
}

// tooLong is a host that should have been updated by now.
func (p *player) tooLong(h *playedHost) {
	if h.state != hostOut || h.rollout == nil {
		return
	}
	p.settle(h.rollout, h.at)
	if h.rollout.st.Results[h.node].State == api.NodeBroken {
		p.close(h)
	}
}

// overdue is a host whose hold is past its deadline.
func (p *player) overdue(h *playedHost) {
	if h.state != hostOut {
		return
	}
	h.late = true
	p.keep(h)
}

func (p *player) giveBack(h *playedHost) {
	p.do(h.group, semaphore.Release{Node: h.node, Instance: h.instance, Via: h.via, Fence: h.fence})
	if h.group.state.Spec.Timed() {
		p.rouse(h.group)
	}
}

// startWork has a host work for a rollout.
func (p *player) startWork(h *playedHost, role hostRole) {
	h.rollout, h.at, h.open = role.rollout, role.at, true
	role.rollout.under++
}

// stopWork has a host work for its rollout no more.
func (p *player) stopWork(h *playedHost, state int) {
	h.state = state
	p.close(h)
	if state != hostFree {
		return
	}
	was := h.rollout
	h.rollout = nil
	if role, ok := h.role(); ok && role.rollout != was { // which waited for it
		p.lookSoon(role.rollout)
	}
}

// close counts a host as one that its rollout does not wait for any more.
func (p *player) close(h *playedHost) {
	if !h.open {
		return
	}
	h.open = false
	h.rollout.under--
	if h.rollout.under == 0 {
		p.lookSoon(h.rollout)
	}
}

// leave has a waiting host go, because nothing is wanted of it any more.
func (p *player) leave(h *playedHost) {
	if h.state == hostWaiting {
		if _, holds := h.group.state.Hold(h.node); holds {
			return // granted at this moment: it gives the slot back itself
		}
		h.group.state.DropWaiter(h.node)
	}
	p.report(h, api.PhaseIdle)
	p.stopWork(h, hostFree)
}
