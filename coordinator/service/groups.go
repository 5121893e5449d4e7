package service

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Groups lists the groups by name, each with the first of its queue.
func (s *Service) Groups(ctx context.Context) ([]api.Group, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return nil, err
	}
	return s.overview().groups, nil
}

// Group is one group, with all of its queue.
func (s *Service) Group(ctx context.Context, name string) (api.Group, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return api.Group{}, err
	}
	st, found := s.store.View(name)
	if !found || !st.Exists() {
		return api.Group{}, s.unknownGroup(name)
	}
	return s.group(&st, len(st.Queue)), nil
}

// PutGroup declares a group.
func (s *Service) PutGroup(ctx context.Context, name string, spec api.GroupSpec, ifMatch string) (api.Group, error) {
	p, err := need(ctx, api.RoleOperator)
	if err != nil {
		return api.Group{}, err
	}
	var v invalid
	v.check("group", semaphore.ValidGroup(name))
	revision := parseIfMatch(&v, ifMatch)
	declared := specFrom(&v, spec)
	if len(v.fields) == 0 {
		for _, f := range semaphore.ValidateSpec(declared) {
			v.add(f.Path, f.Detail)
		}
	}
	if err := v.err(); err != nil {
		return api.Group{}, err
	}
	defer s.wrote()
	created, err := s.putSpec(ctx, name, semaphore.PutSpec{Spec: declared, IfMatch: revision, By: p.Name})
	if err != nil {
		return api.Group{}, withField(err)
	}
	st, err := s.store.Read(ctx, name)
	if err != nil {
		return api.Group{}, s.problem(ctx, err)
	}
	st = st.Plain()
	g := s.group(&st, len(st.Queue))
	g.Created = created
	return g, nil
}

// putSpec declares a group, and says whether that made it: what goes for any
// revision is tried for none first.
func (s *Service) putSpec(ctx context.Context, name string, put semaphore.PutSpec) (created bool, err error) {
	first := put
	if put.IfMatch == -1 {
		first.IfMatch = 0
	}
	_, err = s.do(ctx, name, first)
	if err == nil {
		return first.IfMatch == 0, nil
	}
	var refused *api.Error
	if put.IfMatch == -1 && errors.As(err, &refused) && refused.Kind == api.Changed {
		_, err = s.do(ctx, name, put)
	}
	return false, err
}

// fieldOf finds the field at the head of what the rules found wrong with a spec
// that only the members of the group make wrong.
var fieldOf = regexp.MustCompile(`^([a-z_]+(?:\[\d+\])?(?:\.[a-z_]+)*): (.+)$`)

// withField names the field of an invalid spec, as the other checks do.
func withField(err error) error {
	var e *api.Error
	if !errors.As(err, &e) || e.Kind != api.Invalid {
		return err
	}
	if m := fieldOf.FindStringSubmatch(e.Detail); m != nil {
		e.Fields = []api.FieldError{{Path: m[1], Detail: m[2]}}
	}
	return e
}

// DeleteGroup forgets a group that nobody holds in.
func (s *Service) DeleteGroup(ctx context.Context, name, ifMatch string) error {
	p, err := need(ctx, api.RoleOperator)
	if err != nil {
		return err
	}
	var v invalid
	revision := parseIfMatch(&v, ifMatch)
	if err := v.err(); err != nil {
		return err
	}
	defer s.wrote()
	_, err = s.do(ctx, name, semaphore.DeleteGroup{IfMatch: revision, By: p.Name})
	return err
}

// Freeze stops a group, or the fleet, until somebody lifts it. With a freeze
// in place that one is returned.
func (s *Service) Freeze(ctx context.Context, group string, req api.FreezeRequest) (api.Freeze, error) {
	p, err := need(ctx, api.RoleOperator)
	if err != nil {
		return api.Freeze{}, err
	}
	var v invalid
	if strings.TrimSpace(req.Reason) == "" {
		v.add("reason", "must not be empty: whoever finds the fleet frozen wants to know why")
	}
	boundText(&v, "reason", req.Reason, maxReason)
	if err := v.err(); err != nil {
		return api.Freeze{}, err
	}
	defer s.wrote()
	f := s.newFreeze(p.Name, req.Reason, req.Stop)
	if group == "" {
		in, err := s.store.Freeze(ctx, f)
		if err != nil {
			return api.Freeze{}, s.problem(ctx, err)
		}
		return *freezeOf(&in, ""), nil
	}
	a, err := s.do(ctx, group, semaphore.SetFreeze{Freeze: f})
	if err != nil {
		return api.Freeze{}, err
	}
	return *freezeOf(a.Freeze, group), nil
}

func (s *Service) newFreeze(by, reason string, stop bool) semaphore.Freeze {
	id := make([]byte, 6)
	rand.Read(id)
	return semaphore.Freeze{
		V: semaphore.BaseSchema, ID: hex.EncodeToString(id), By: by, At: s.now().UTC(),
		Reason: strings.TrimSpace(reason), Stop: stop,
	}
}

// Unfreeze lifts the freeze of that id, and no other. That of a restore is
// lifted only when every node was heard since; see UnfreezeAccepting.
func (s *Service) Unfreeze(ctx context.Context, group, id string) error {
	if group == "" {
		return s.UnfreezeAccepting(ctx, id, 0)
	}
	p, err := need(ctx, api.RoleOperator)
	if err != nil {
		return err
	}
	var v invalid
	requireText(&v, "id", id, 256)
	if err := v.err(); err != nil {
		return err
	}
	defer s.wrote()
	_, err = s.do(ctx, group, semaphore.LiftFreeze{ID: id, By: p.Name})
	return err
}

// parseIfMatch reads "*" (must not exist), "" (any) or a revision, with or
// without the quotes of an entity tag.
func parseIfMatch(v *invalid, text string) int64 {
	switch text = strings.Trim(strings.TrimSpace(text), `"`); text {
	case "":
		return -1
	case "*":
		return 0
	}
	revision, err := strconv.ParseInt(text, 10, 64)
	if err != nil || revision < 1 {
		v.add("If-Match", fmt.Sprintf("%q: want the object's revision, or * to create it", text))
	}
	return revision
}

func specFrom(v *invalid, spec api.GroupSpec) semaphore.Spec {
	out := semaphore.Spec{CountUnreachable: spec.CountUnreachable}
	out.Slots = slotsFrom(v, "slots", spec.Slots)
	for i, l := range spec.Limits {
		most := slotsFrom(v, fmt.Sprintf("limits[%d].max", i), l.Max)
		out.Limits = append(out.Limits, semaphore.Limit{By: l.By, Max: most})
	}
	scheduleFrom(v, spec, &out)
	out.Timeouts.Hold = durationFrom(v, "timeouts.hold", spec.Timeouts.Hold)
	out.Timeouts.FleetLockHold = durationFrom(v, "timeouts.fleetlock_hold", spec.Timeouts.FleetLockHold)
	return out
}

func slotsFrom(v *invalid, path string, text api.Slots) semaphore.Slots {
	if text == "" {
		v.add(path, "is missing: want a whole number such as 2, or a percentage such as 5%")
		return semaphore.Slots{}
	}
	n, err := semaphore.ParseSlots(string(text))
	v.check(path, err)
	return n
}

func durationFrom(v *invalid, path, text string) semaphore.Duration {
	if text == "" {
		return 0
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		v.add(path, fmt.Sprintf("%q: want a duration such as 30m or 1h30m", text))
	}
	return semaphore.Duration(d)
}

// group is a group as the API shows it, with so much of its queue.
func (s *Service) group(st *semaphore.State, queue int) api.Group {
	now := s.now()
	g := api.Group{
		Name: st.Group, Revision: st.SpecRev, Spec: specOf(st.Spec),
		Holds: make([]api.Hold, 0, len(st.Holds)), Queue: make([]api.Waiter, 0, min(queue, len(st.Queue))),
		Status: api.GroupStatus{
			Members: len(st.Members), Slots: st.SlotCount(), Held: len(st.Holds), Waiting: len(st.Queue),
			Frozen: freezeInForce(st),
		},
	}
	deadlines := st.Deadlines(now)
	for _, h := range st.Holds {
		shown := s.hold(st.Group, h, deadlines)
		if shown.Overdue || shown.Failed {
			g.Status.Stuck++
		}
		g.Holds = append(g.Holds, *shown)
	}
	sortHolds(g.Holds)
	for i := range st.Queue[:min(queue, len(st.Queue))] {
		w := &st.Queue[i]
		g.Queue = append(g.Queue, api.Waiter{
			Node: w.Node, Via: string(w.Via), Priority: w.Rank(now), Place: i + 1, Since: w.Since, Reason: w.Reason,
		})
	}
	inForce(st, now, &g.Status)
	if g.Status.Frozen == nil && g.Status.Shut == "" {
		g.Status.Free = max(0, g.Status.Slots-st.OutOfService())
	}
	return g
}

func specOf(spec semaphore.Spec) api.GroupSpec {
	out := api.GroupSpec{Slots: api.Slots(spec.Slots.String()), CountUnreachable: spec.CountUnreachable}
	for _, l := range spec.Limits {
		out.Limits = append(out.Limits, api.Limit{By: l.By, Max: api.Slots(l.Max.String())})
	}
	scheduleOf(spec, &out)
	out.Timeouts = api.GroupTimeouts{Hold: durationOf(spec.Timeouts.Hold), FleetLockHold: durationOf(spec.Timeouts.FleetLockHold)}
	return out
}

// freezeInForce is the fleet's stop, else the group's, else nil.
func freezeInForce(st *semaphore.State) *api.Freeze {
	if st.Freeze != nil {
		return freezeOf(st.Freeze, "")
	}
	return freezeOf(st.Head.Freeze, st.Group)
}

func freezeOf(f *semaphore.Freeze, group string) *api.Freeze {
	if f == nil {
		return nil
	}
	return &api.Freeze{ID: f.ID, Group: group, By: f.By, At: f.At, Reason: f.Reason, Stop: f.Stop}
}
