package service

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// authorityEvery is how often a coordinator looks whether its member has a step
// to take.
const authorityEvery = time.Second

// Authority is how far the members' own authority has been replaced.
func (s *Service) Authority(ctx context.Context) (api.AuthorityStatus, error) {
	if _, err := s.administer(ctx); err != nil {
		return api.AuthorityStatus{}, err
	}
	r, err := s.db.ReadRotation(ctx)
	if err != nil {
		return api.AuthorityStatus{}, s.problem(ctx, err)
	}
	return s.authority(r), nil
}

// authority is how far the members are with a stage. That is read anew for each
// request: by the stage of before all would have taken the last step.
func (s *Service) authority(r etcdstore.Rotation) api.AuthorityStatus {
	out := api.AuthorityStatus{Stage: api.AuthorityStage(r.Stage), From: r.From, To: r.To, By: r.By, Since: r.At, Members: []api.AuthorityMember{}}
	said := map[string]etcdstore.Figures{}
	for _, p := range s.db.Coordinators() {
		said[p.Member] = p.Figures
	}
	for _, m := range s.cluster().Members {
		f, here := said[m.ID]
		out.Members = append(out.Members, membership.TakesAuthority(membership.Call(m), membership.Authority{
			Here: here, Shows: f.Shows, Believes: f.Believes, Unsettled: f.Unsettled,
		}, out.Stage, r.From, r.To))
	}
	out.Next = membership.NextOfAuthority(out.Stage, out.Members)
	return out
}

// RotateAuthority takes a step of replacing the members' own authority. It is
// refused while a member has not taken the one before: no two members may come to
// believe nothing of each other.
func (s *Service) RotateAuthority(ctx context.Context, req api.AuthorityRequest) (api.AuthorityStatus, error) {
	p, err := s.administer(ctx)
	if err != nil {
		return api.AuthorityStatus{}, err
	}
	was, err := s.db.ReadRotation(ctx)
	if err != nil {
		return api.AuthorityStatus{}, s.problem(ctx, err)
	}
	now := s.authority(was)
	to, err := membership.StepOfAuthority(req.Step, now)
	if err != nil {
		return api.AuthorityStatus{}, api.Errorf(api.Conflict, "%v", err)
	}
	if to == "" {
		var v invalid
		v.add("step", fmt.Sprintf("%q: want begin, next or abort", req.Step))
		return api.AuthorityStatus{}, v.err()
	}
	next := etcdstore.Rotation{Stage: string(to), From: was.From, To: was.To, By: p.Name}
	switch to {
	case api.AuthorityTrust:
		ca, err := peerca.New(s.now())
		if err != nil {
			return api.AuthorityStatus{}, s.problem(ctx, err)
		}
		own := s.cfg.Members.CA()
		next.From, next.To = own.Fingerprint(), ca.Fingerprint()
		if next.Sealed, err = own.Seal(ca); err != nil {
			return api.AuthorityStatus{}, s.problem(ctx, err)
		}
	case api.AuthorityShow:
		next.Sealed = was.Sealed // for one that joins meanwhile
	}
	done, err := s.db.PutRotation(ctx, was, next, semaphore.Event{
		Kind: "cluster.authority." + next.Stage, Actor: p.Name,
		Detail: fmt.Sprintf("the members' own authority %s, in place of %s: %s", short(next.To), short(next.From), saysStage[to]),
	})
	if err != nil {
		return api.AuthorityStatus{}, s.problem(ctx, err)
	}
	if !done {
		return api.AuthorityStatus{}, api.Errorf(api.Changed, "another step was taken meanwhile: look again with `lockkeeper cluster rotate-ca`")
	}
	now.Stage, now.From, now.To, now.By, now.Since = to, next.From, next.To, p.Name, s.now().UTC()
	now.Members = []api.AuthorityMember{}
	now.Next = "the members take this step now: look with `lockkeeper cluster rotate-ca` what each of them needs"
	return now, nil
}

var saysStage = map[api.AuthorityStage]string{
	api.AuthorityTrust: "members come to believe it as well", api.AuthorityShow: "it vouches for the members now",
	api.AuthorityDone: "the old one is believed no more", api.AuthorityAborted: "it was given up",
}

func short(fingerprint string) string { return fingerprint[:min(12, len(fingerprint))] }

// keepAuthority has this coordinator's member take each step.
func (s *Service) keepAuthority(ctx context.Context) {
	ticker := time.NewTicker(authorityEvery)
	defer ticker.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		r := s.db.Rotation()
		took, err := s.takeAuthority(r)
		switch {
		case took && err == nil:
			s.db.AnnounceAgain()
		case err != nil && said != err.Error():
			said = err.Error()
			s.logger.Error("this member cannot take the step to another authority of the members; trying again", "stage", r.Stage, "error", err)
		}
	}
}

// takeAuthority takes what is missing of the steps up to a stage, one at a time,
// and reports whether there was something. Taking it again changes nothing.
func (s *Service) takeAuthority(r etcdstore.Rotation) (took bool, err error) {
	m := s.cfg.Members
	has := m.Authority()
	stage := api.AuthorityStage(r.Stage)
	coming := stage == api.AuthorityTrust || stage == api.AuthorityShow
	switch {
	case coming && has.Shows == r.From && !slices.Contains(has.Keeps, r.To):
		ca, err := m.CA().Open(r.Sealed)
		if err != nil {
			return false, err
		}
		s.logger.Warn("this member believes the next authority as well, from its next start on", "authority", short(r.To))
		return true, m.TrustAuthority(ca)
	case stage == api.AuthorityShow && has.Shows == r.From:
		s.logger.Warn("the next authority vouches for this member now", "authority", short(r.To))
		return true, m.ShowAuthority()
	case (stage == api.AuthorityDone && has.Shows == r.To || stage == api.AuthorityAborted && has.Shows == r.From) && len(has.Keeps) > 1:
		s.logger.Warn("this member believes one authority only, from its next start on", "authority", short(has.Shows))
		return true, m.KeepAuthority()
	case coming && has.Shows != r.From && has.Shows != r.To:
		return false, fmt.Errorf("its authority is %s, and the cluster goes from %s to %s", short(has.Shows), short(r.From), short(r.To))
	}
	return false, nil
}
