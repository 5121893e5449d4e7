package service

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

const (
	// freshFor is how long after the commit or read that it rests on a grant
	// may be answered; later, look again.
	freshFor = 2 * time.Second
	// maxWait bounds how long an acquire is parked.
	maxWait = 25 * time.Minute
	// looks bounds the looks for a fresh answer.
	looks = 3
	// maxReason bounds a reason, in bytes.
	maxReason = 1000
)

// fresh asks until an answer comes back in time to be believed.
func (s *Service) fresh(ctx context.Context, ask func() (semaphore.Answer, error)) (semaphore.Answer, error) {
	for range looks {
		a, err := ask()
		if err != nil {
			return a, s.problem(ctx, err)
		}
		if believed(&a) {
			return a, nil
		}
	}
	return semaphore.Answer{}, noQuorum() // whatever it was, it came too late to be believed
}

// believed reports whether an answer came soon enough behind the commit or read
// that it rests on. Only a grant depends on that.
func believed(a *semaphore.Answer) bool {
	return a.Kind != semaphore.OK || time.Since(a.At) <= freshFor
}

// acquiring is one acquire on its way. It is kept off the stack of whoever
// waits, and ten thousand may.
type acquiring struct {
	s     *Service
	group string
	op    semaphore.Acquire
	wait  time.Duration

	answer semaphore.Answer
	err    error
}

// Acquire takes a slot for a node, waiting for it if need be.
func (s *Service) Acquire(ctx context.Context, group, node string, req api.AcquireRequest, wait time.Duration) (*api.AcquireResponse, error) {
	a, err := s.acquiring(ctx, group, node, req, wait)
	if err != nil {
		return nil, err
	}
	a.run(ctx)
	return a.granted()
}

// acquiring checks a request.
func (s *Service) acquiring(ctx context.Context, group, node string, req api.AcquireRequest, wait time.Duration) (*acquiring, error) {
	if _, err := needNode(ctx, node); err != nil {
		return nil, err
	}
	var v invalid
	v.check("group", semaphore.ValidGroup(group))
	v.check("node", semaphore.ValidNode(node))
	requireText(&v, "instance", req.Instance, 256)
	requireText(&v, "request", req.Request, 256)
	boundText(&v, "boot_id", req.BootID, 256)
	boundText(&v, "reason", req.Reason, maxReason)
	if wait < 0 || wait > maxWait {
		v.add("wait", "want 0s to "+maxWait.String())
	}
	if err := v.err(); err != nil {
		return nil, err
	}
	return &acquiring{s: s, group: group, wait: wait, op: semaphore.Acquire{
		Node: node, Instance: req.Instance, Request: req.Request, BootID: req.BootID,
		Reason: req.Reason, Via: semaphore.ViaAgent,
	}}, nil
}

// run is fresh for an acquire, without a closure's frames.
func (a *acquiring) run(ctx context.Context) {
	if a.wait > 0 { // else it is over before any of this could matter
		var end, stop context.CancelFunc
		ctx, end = whileValid(ctx)
		defer end()
		ctx, stop = a.s.whileQuorum(ctx)
		defer stop()
	}
	a.s.askedAnew(ctx, a.group, &a.op)
	for range looks {
		a.answer, a.err = a.s.store.Acquire(ctx, a.group, &a.op, a.wait)
		a.wait = 0 // what comes too late to be believed is looked at again, at once
		if a.err != nil {
			a.err = a.s.problem(ctx, a.err)
			return
		}
		if believed(&a.answer) {
			return
		}
	}
	a.err = noQuorum()
}

func (a *acquiring) granted() (*api.AcquireResponse, error) {
	if a.err == nil {
		a.err = a.s.refusal(a.answer)
	}
	if a.err != nil {
		return nil, a.err
	}
	return &api.AcquireResponse{Hold: *a.s.holdIn(a.group, *a.answer.Hold)}, nil
}

// Confirm is the agent's gate.
func (s *Service) Confirm(ctx context.Context, group, node string, req api.ConfirmRequest) (api.Hold, error) {
	if _, err := needNode(ctx, node); err != nil {
		return api.Hold{}, err
	}
	var v invalid
	requireText(&v, "instance", req.Instance, 256)
	requireText(&v, "boot_id", req.BootID, 256)
	boundText(&v, "rollout", req.Rollout, 256)
	requireFence(&v, req.Fence)
	if err := v.err(); err != nil {
		return api.Hold{}, err
	}
	s.showsAtGate(ctx, group, node, req)
	if req.Rollout != "" && !s.begun(group, node, req.Fence) {
		if err := s.roll.MayBegin(ctx, req.Rollout); err != nil {
			return api.Hold{}, s.problem(ctx, err)
		}
	}
	if err := s.hostGate(ctx, group, node); err != nil {
		return api.Hold{}, err
	}
	op := semaphore.Confirm{Node: node, Instance: req.Instance, BootID: req.BootID, Fence: req.Fence}
	a, err := s.fresh(ctx, func() (semaphore.Answer, error) { return s.store.Do(ctx, group, op) })
	if err == nil {
		err = s.refusal(a)
	}
	if err != nil {
		return api.Hold{}, err
	}
	return *s.holdIn(group, *a.Hold), nil
}

// begun reports whether the node has passed its first gate with the hold of
// that fence: then it finishes, whatever becomes of its rollout.
func (s *Service) begun(group, node string, fence int64) bool {
	st, _ := s.store.Look(group)
	h, holds := st.Hold(node)
	return holds && h.Fence == fence && h.State != semaphore.Granted
}

// Release returns a node's own slot. It is done too when there is nothing to
// return, or another hold is in place.
func (s *Service) Release(ctx context.Context, group, node string, fence int64, instance string) error {
	if _, err := needNode(ctx, node); err != nil {
		return err
	}
	var v invalid
	requireText(&v, "instance", instance, 256)
	requireFence(&v, fence)
	if err := v.err(); err != nil {
		return err
	}
	_, err := s.do(ctx, group, semaphore.Release{Node: node, Instance: instance, Via: semaphore.ViaAgent, Fence: fence})
	return err
}

// LeaveQueue gives a node's place up.
func (s *Service) LeaveQueue(ctx context.Context, group, node string) error {
	p, err := needEither(ctx, api.RoleOperator, node)
	if err != nil {
		return err
	}
	if p.Node == "" { // a person, who looks next
		defer s.wrote()
	}
	return s.problem(ctx, s.store.Leave(ctx, group, node))
}

// SetPriority reorders a waiter.
func (s *Service) SetPriority(ctx context.Context, group, node string, req api.PriorityRequest) error {
	p, err := need(ctx, api.RoleOperator)
	if err != nil {
		return err
	}
	var v invalid
	if req.Priority < -100 || req.Priority > 100 {
		v.add("priority", "want a whole number from -100 to 100")
	}
	if err := v.err(); err != nil {
		return err
	}
	defer s.wrote()
	err = s.store.SetPriority(ctx, group, node, req.Priority, p.Name)
	if isNoWaiter(err) {
		return api.Errorf(api.NotFound, "node %q does not wait in group %q", node, group)
	}
	return s.problem(ctx, err)
}

// Holds lists the holds of a group, or of all, oldest first.
func (s *Service) Holds(ctx context.Context, group string) ([]api.Hold, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return nil, err
	}
	names := s.store.Groups()
	if group != "" {
		names = []string{group}
	}
	list := []api.Hold{}
	for _, name := range names {
		st, found := s.store.View(name)
		if !found || !st.Exists() {
			if group != "" {
				return nil, s.unknownGroup(group)
			}
			continue
		}
		deadlines := st.Deadlines(s.now())
		for _, h := range st.Holds {
			list = append(list, *s.hold(name, h, deadlines))
		}
	}
	slices.SortFunc(list, oldestFirst)
	return list, nil
}

// Revoke marks a hold, the first step of freeing it by name.
func (s *Service) Revoke(ctx context.Context, group, node string, req api.RevokeRequest) (api.Hold, error) {
	p, err := need(ctx, api.RoleOperator)
	if err != nil {
		return api.Hold{}, err
	}
	var v invalid
	byName(&v, node, req.Name, req.Reason, req.Fence)
	if err := v.err(); err != nil {
		return api.Hold{}, err
	}
	defer s.wrote()
	op := semaphore.Revoke{Node: node, Name: req.Name, Fence: req.Fence, By: p.Name, Reason: req.Reason}
	a, err := s.do(ctx, group, op)
	if err != nil {
		return api.Hold{}, err
	}
	return *s.holdIn(group, *a.Hold), nil
}

// ForceRelease deletes a revoked hold, the second step.
func (s *Service) ForceRelease(ctx context.Context, group, node string, req api.ReleaseRequest) error {
	p, err := need(ctx, api.RoleOperator)
	if err != nil {
		return err
	}
	var v invalid
	byName(&v, node, req.Name, req.Reason, req.Fence)
	if err := v.err(); err != nil {
		return err
	}
	defer s.wrote()
	op := semaphore.ForceRelease{
		Node: node, Name: req.Name, Fence: req.Fence, By: p.Name, Reason: req.Reason,
		HostIsDown: req.HostIsDown, LastHeard: latest(s.fleet.Heard(node), s.guestHeard(node)),
	}
	st, err := s.store.Read(ctx, group)
	if err != nil {
		return s.problem(ctx, err)
	}
	st = st.Plain()
	if err := s.refusal(s.freeable(&st, op)); err != nil {
		return err
	}
	// Nothing that is known here stands in the way. Only now the others are
	// asked, since their answer takes a moment.
	if op.LastHeard, err = s.maybeHeard(ctx, node); err != nil {
		return s.problem(ctx, err)
	}
	_, err = s.do(ctx, group, op)
	return err
}

// maybeHeard is the last moment at which a node may have been heard, whichever
// way and by whichever coordinator. What was before the start of this one is
// not known.
func (s *Service) maybeHeard(ctx context.Context, node string) (time.Time, error) {
	agent, err := s.fleet.MaybeHeard(ctx, node)
	if err != nil {
		return time.Time{}, err
	}
	guest, err := s.cfg.Guests.Ask(ctx, node)
	if err != nil {
		return time.Time{}, err
	}
	return latest(latest(agent, guest), latest(s.peers.heard(node), s.started)), nil
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// holdIn is hold, for the only one of a group.
func (s *Service) holdIn(group string, h semaphore.Hold) *api.Hold {
	st, _ := s.store.Look(group)
	return s.hold(group, h, st.Deadlines(s.now()))
}

// hold is a hold as the API shows it, with what its node last said, by how the
// deadlines of its group stand.
func (s *Service) hold(group string, h semaphore.Hold, d semaphore.Deadlines) *api.Hold {
	out := fleet.HoldOf(group, h, d)
	if rec, found := s.fleet.Record(h.Node); found {
		out.Phase, out.Failed = string(rec.Report.Phase), fleet.Failed(&rec.Report)
		heard := s.fleet.Heard(h.Node)
		out.Heard = &heard
	} else if heard := s.guestHeard(h.Node); !heard.IsZero() {
		out.Heard = &heard
	}
	return out
}

func oldestFirst(a, b api.Hold) int {
	if c := a.Since.Compare(b.Since); c != 0 {
		return c
	}
	return strings.Compare(a.Node, b.Node)
}
