package service

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/internal/shellword"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

const (
	maxWaitS = 60
	// shortPollS is the pause asked of an agent that does not wait in its polls.
	shortPollS = 10
)

// refusedIDs are what a host without a name of its own calls itself.
var refusedIDs = []string{"localhost", "localhost.localdomain"}

var phases = []api.Phase{
	api.PhaseIdle, api.PhaseWaiting, api.PhaseHolding, api.PhaseDraining, api.PhaseApplying,
	api.PhaseRebooting, api.PhaseVerifying, api.PhaseReleasing, api.PhaseFailed,
}

// Poll takes a node's report and answers what is wanted of it. While nothing
// changed since the answer that the node has seen, it waits for up to WaitS, or
// until there is no quorum.
func (s *Service) Poll(ctx context.Context, id string, req api.PollRequest) (api.PollResponse, error) {
	if _, err := needNode(ctx, id); err != nil {
		return api.PollResponse{}, err
	}
	if req.Report.Group == "" {
		req.Report.Group = defaultGroup
	}
	if req.Report.Phase == "" {
		req.Report.Phase = api.PhaseIdle
	}
	if err := checkPoll(id, &req, s.hasLabel(id)); err != nil {
		return api.PollResponse{}, err
	}
	if own, _ := s.ClusterID(); req.Cluster != "" && req.Cluster != own {
		return api.PollResponse{}, s.ForeignCluster(ctx, req.Cluster)
	}
	lost := s.quorum.until()
	if lost.Err() != nil {
		return api.PollResponse{}, s.problem(lost, lost.Err())
	}
	session := fleet.Session{Instance: req.Instance, BootID: req.BootID, Report: req.Report}
	err := s.fleet.Check(id, session)
	if err == nil {
		err = s.register(ctx, id, req.Report.Group, req.Report.Labels)
	}
	if err == nil {
		err = s.fleet.Observe(ctx, id, session)
	}
	var twice *fleet.Duplicate
	if errors.As(err, &twice) {
		return api.PollResponse{}, s.duplicate(ctx, id, twice)
	}
	if err == nil {
		// A host returns its slot once the report of its failure is answered.
		err = s.roll.Settle(ctx, id, req.Report)
	}
	if err != nil {
		return api.PollResponse{}, s.problem(ctx, err)
	}
	s.reconcile(ctx, id, session)
	return s.await(ctx, lost, id, session, req)
}

func checkPoll(id string, req *api.PollRequest, known func(label string) bool) error {
	var v invalid
	v.check("node", semaphore.ValidNode(id))
	if slices.Contains(refusedIDs, id) {
		v.add("node", fmt.Sprintf("%q is what every host without a name is called: set the host's name, or give the agent an id with --node", id))
	}
	requireText(&v, "instance", req.Instance, 256)
	requireText(&v, "boot_id", req.BootID, 256)
	v.check("report.group", semaphore.ValidGroup(req.Report.Group))
	checkLabels(&v, "report.labels", req.Report.Labels, known)
	if !slices.Contains(phases, req.Report.Phase) {
		v.add("report.phase", fmt.Sprintf("%q: want one of %v", req.Report.Phase, phases))
	}
	boundReport(&v, &req.Report)
	if req.WaitS < 0 || req.WaitS > maxWaitS {
		v.add("wait_s", fmt.Sprintf("want 0 to %d seconds", maxWaitS))
	}
	return v.err()
}

// boundReport bounds all texts that are stored: a host's token must not be enough
// to fill the store.
func boundReport(v *invalid, r *api.Report) {
	boundText(v, "report.message", r.Message, 4000)
	boundText(v, "report.reboot_reason", r.RebootReason, 4000)
	boundText(v, "report.trouble", r.Trouble, 4000)
	boundText(v, "report.os", r.OS, 1000)
	boundText(v, "report.machine_id", r.MachineID, 256)
	boundText(v, "report.version", r.Version, 256)
	boundText(v, "report.bundle", r.Bundle, 256)
	boundText(v, "report.rollout", r.Rollout, 256)
	boundText(v, "report.answered", r.Answered, 256)
	if f := r.Failure; f != nil {
		boundText(v, "report.failure.detail", f.Detail, 8000)
		boundText(v, "report.failure.reason", f.Reason, 256)
		boundText(v, "report.failure.bundle", f.Bundle, 256)
		boundText(v, "report.failure.rollout", f.Rollout, 256)
	}
}

// register makes the node a member of its group, and of no other.
func (s *Service) register(ctx context.Context, id, group string, labels map[string]string) error {
	if labels == nil {
		labels = map[string]string{}
	}
	st, found := s.store.Look(group)
	m, member := st.Member(id)
	last, reported := s.fleet.Record(id)
	moved := reported && last.Group != group
	if found && st.Exists() && member && maps.Equal(m.Registered, labels) && !moved {
		return nil
	}
	if !member || moved {
		if err := s.leaveOthers(ctx, id, group, last.Group); err != nil {
			return err
		}
	}
	put := semaphore.PutMember{Node: id, Registered: labels, By: id}
	a, err := s.store.Do(ctx, group, put)
	if err == nil && a.Kind == semaphore.UnknownGroup && s.cfg.AutoCreateGroups {
		if err := s.createEmpty(ctx, group, id); err != nil {
			return err
		}
		a, err = s.store.Do(ctx, group, put)
	}
	if err != nil {
		return err
	}
	if a.Kind == semaphore.UnknownGroup {
		return s.unknownGroup(group)
	}
	return s.refusal(a)
}

// createEmpty makes a group that a node named: without slots, so that nothing
// starts in it before a person has looked.
func (s *Service) createEmpty(ctx context.Context, group, by string) error {
	a, err := s.store.Do(ctx, group, semaphore.PutSpec{Spec: semaphore.Spec{}, By: by})
	if err != nil || a.Kind == semaphore.ChangedSince { // another made it meanwhile
		return err
	}
	return s.refusal(a)
}

// leaveOthers takes the node out of every other group, and of the one that it
// was in even if that was deleted: made again, it would count the node. It is
// refused while the node holds in one, or is marked there.
func (s *Service) leaveOthers(ctx context.Context, id, group, last string) error {
	names := s.store.Groups()
	if last != "" && !slices.Contains(names, last) {
		names = append(names, last)
	}
	for _, other := range names {
		if other == group {
			continue
		}
		st, _ := s.store.Look(other)
		if h, holds := st.Hold(id); holds {
			return api.Errorf(api.InUse, "node %q holds a slot in group %q (fence %d): it can join group %q when it has returned that", id, other, h.Fence, group)
		}
		m, member := st.Member(id)
		if !member {
			continue
		}
		if m.Duplicate != "" {
			return api.Errorf(api.DuplicateID, "two hosts go by the id %q: %s. It stays in group %q until somebody runs `lockkeeper node clear-duplicate %s`", id, m.Duplicate, other, shellword.Argument(id))
		}
		if err := s.store.Leave(ctx, other, id); err != nil && !isNoWaiter(err) {
			return err
		}
		if _, err := s.do(ctx, other, semaphore.RemoveMember{Node: id, By: id}); err != nil {
			return err
		}
	}
	return nil
}

// duplicate stops grants for an id that two hosts go by.
func (s *Service) duplicate(ctx context.Context, id string, found *fleet.Duplicate) error {
	s.logger.Warn("two hosts go by one id", "node", id, "why", found.Why)
	if rec, known := s.fleet.Record(id); known {
		st, _ := s.store.View(rec.Group)
		if m, member := st.Members[id]; member && m.Duplicate == "" {
			if _, err := s.do(ctx, rec.Group, semaphore.SetDuplicate{Node: id, Why: found.Why, By: "coordinator"}); err != nil {
				return err
			}
		}
	}
	return api.Errorf(api.DuplicateID, "two hosts go by the id %q: %s. Give one of them another id, then run `lockkeeper node clear-duplicate %s`", id, found.Why, shellword.Argument(id))
}

// await answers when something is wanted that the node has not seen.
func (s *Service) await(ctx, lost context.Context, id string, session fleet.Session, req api.PollRequest) (api.PollResponse, error) {
	p := s.polls.enter(id)
	defer s.polls.leave(id, p)
	timer := time.NewTimer(time.Duration(req.WaitS) * time.Second)
	defer timer.Stop()
	for {
		resp := s.answerPoll(id, req.Report.Group)
		if req.WaitS == 0 {
			resp.NextPollS = shortPollS
		}
		p.tag.Store(&resp.Tag)
		if resp.Tag != req.Seen || req.WaitS == 0 {
			return resp, nil
		}
		select {
		case <-p.woken:
		case <-timer.C:
			s.fleet.Touch(id, session)
			return resp, nil
		case <-lost.Done():
			return api.PollResponse{}, s.problem(lost, lost.Err())
		case <-auth.From(ctx).Ended():
			return api.PollResponse{}, errEnded()
		case <-ctx.Done():
			return resp, nil
		case <-s.life.Done():
			return resp, nil
		}
	}
}

func (s *Service) answerPoll(id, group string) api.PollResponse {
	resp := api.PollResponse{Wanted: s.wantedFor(id)}
	resp.Cluster, resp.Incarnation = s.ClusterID()
	if st, found := s.store.Look(group); found {
		if h, holds := st.Hold(id); holds {
			resp.Hold = s.hold(group, h, st.Deadlines(s.now()))
		}
	}
	resp.Tag = tag(resp.Wanted, resp.Hold)
	return resp
}

// tag names an answer: it changes when what is wanted or held does.
func tag(w *api.Wanted, h *api.Hold) string {
	sum := fnv.New64a()
	if w != nil {
		fmt.Fprintf(sum, "%s\x00%s\x00%d\x00%s", w.Rollout, w.Bundle, w.Attempt, w.Order)
	}
	if h != nil {
		fmt.Fprintf(sum, "\x01%d\x00%s\x00%s", h.Fence, h.State, h.Via)
	}
	return strconv.FormatUint(sum.Sum64(), 36)
}
