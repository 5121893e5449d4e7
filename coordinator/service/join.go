package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// How long a join token is good for.
const (
	joinTTL    = time.Hour
	joinTTLMin = time.Minute
	joinTTLMax = 24 * time.Hour
)

// CreateJoinToken makes a token with which one coordinator may join the cluster,
// or take the place of a member.
func (s *Service) CreateJoinToken(ctx context.Context, req api.JoinTokenRequest) (api.JoinToken, error) {
	p, err := s.administer(ctx)
	if err != nil {
		return api.JoinToken{}, err
	}
	var v invalid
	ttl := joinTTL
	if req.TTL != "" {
		if ttl, err = time.ParseDuration(req.TTL); err != nil || ttl < joinTTLMin || ttl > joinTTLMax {
			v.add("ttl", fmt.Sprintf("%q: want a duration of 1m to 24h, such as 30m", req.TTL))
		}
	}
	if err := v.err(); err != nil {
		return api.JoinToken{}, err
	}
	if s.cfg.Members.PeerURL() == "" {
		return api.JoinToken{}, errNoPeerURL()
	}
	list := s.members(ctx)
	var replaces, detail string
	if req.Replaces != "" {
		m, err := membership.Find(list, req.Replaces)
		if err != nil {
			return api.JoinToken{}, api.Errorf(api.NotFound, "%v", err)
		}
		if err := membership.MayRemove(list, m.ID); err != nil {
			return api.JoinToken{}, api.Errorf(api.Conflict, "%v", err)
		}
		replaces, detail = m.ID, fmt.Sprintf(", in place of member %s (%s)", membership.Call(m), m.ID)
	}
	secret := auth.NewSecret()
	now := s.now().UTC()
	t := etcdstore.Token{Hash: auth.Hash(secret), Token: api.Token{
		ID: auth.TokenID(auth.Hash(secret)), Role: api.RoleJoin, By: p.Name, CreatedAt: now, ExpiresAt: now.Add(ttl), Replaces: replaces,
	}}
	_, _, err = s.db.CreateToken(ctx, t, etcdstore.Request{}, semaphore.Event{
		Kind: "token.created", Actor: p.Name, Detail: fmt.Sprintf("token %s, role %s%s", t.ID, t.Role, detail),
	})
	if err != nil {
		return api.JoinToken{}, s.problem(ctx, err)
	}
	cluster, _ := s.ClusterID()
	text := auth.JoinToken{Secret: secret, Fingerprint: s.cfg.Members.CA().Fingerprint(), Cluster: cluster}
	out := api.JoinToken{ID: t.ID, Token: text.String(), ExpiresAt: t.ExpiresAt, Replaces: replaces}
	if replaces == s.cfg.Members.MemberID() {
		out.Warnings = append(out.Warnings, "the new one must be given the URL of another coordinator than this one, which goes when it comes")
	}
	if voters := len(membership.Voters(list)); replaces == "" && voters%2 == 1 {
		out.Warnings = append(out.Warnings, fmt.Sprintf("%d and one make an even number, which bears no more losses: the new member gets its vote when a second one has joined as well, so make another token for that", voters))
	}
	return out, nil
}

func errNoPeerURL() error {
	return api.Errorf(api.Conflict, "this coordinator has no address for other members: start it again with --peer-listen IP:PORT (peer.listen), and on 0.0.0.0 with --peer-url, and then make the token")
}

// joiner lets a new coordinator pass that shows a join token, and binds the
// token to its name.
func (s *Service) joiner(ctx context.Context, name string) (api.Token, error) {
	p := auth.From(ctx)
	if p.Role != api.RoleJoin {
		return api.Token{}, api.Errorf(api.Forbidden, "joining the cluster needs a join token, which `lockkeeper cluster token` makes")
	}
	if err := s.clustered(); err != nil {
		return api.Token{}, err
	}
	if s.cfg.Members.PeerURL() == "" {
		return api.Token{}, errNoPeerURL()
	}
	var v invalid
	if name == "" || len(name) > 128 {
		v.add("name", "want the name that the member will have, of at most 128 characters")
	}
	if err := v.err(); err != nil {
		return api.Token{}, err
	}
	t, err := s.db.UseJoinToken(ctx, p.Token, name, semaphore.Event{
		Kind: "cluster.join.begun", Actor: "token " + p.Token, Detail: fmt.Sprintf("member %s begins to join, with token %s", name, p.Token),
	})
	switch {
	case errors.Is(err, etcdstore.ErrUsed):
		return t, api.Errorf(api.Forbidden, "%v: a join token is good for one; make another with `lockkeeper cluster token`", err)
	case errors.Is(err, etcdstore.ErrNotFound):
		return t, api.Errorf(api.Unauthenticated, "the join token was taken back")
	case err != nil:
		return t, s.problem(ctx, err)
	}
	return t, nil
}

// JoinBegin hands the cluster's authority to a new member.
func (s *Service) JoinBegin(ctx context.Context, req api.JoinBeginRequest) (api.JoinAuthority, error) {
	if p := auth.From(ctx); p.Role == api.RoleJoin && req.MaxV < s.db.Schema() {
		return api.JoinAuthority{}, api.Errorf(api.Conflict, "stored values here have the schema %d, and the new coordinator reads up to %d: it must be updated first", s.db.Schema(), req.MaxV)
	}
	if _, err := s.joiner(ctx, req.Name); err != nil {
		return api.JoinAuthority{}, err
	}
	cert, key, err := s.cfg.Members.CA().PEM()
	if err != nil {
		return api.JoinAuthority{}, s.problem(ctx, err)
	}
	return api.JoinAuthority{CACert: string(cert), CAKey: string(key), Members: joinMembers(s.cluster().Members)}, nil
}

func joinMembers(list []api.Member) []api.JoinMember {
	out := make([]api.JoinMember, len(list))
	for i, m := range list {
		out[i] = api.JoinMember{ID: m.ID, Name: m.Name, PeerURL: m.PeerURL}
	}
	return out
}

// Join takes a new member in, without a vote. It finds out first whether it can
// be reached. What has its URL already is what the new one was before its data
// were lost, or before it was cut off: it goes.
func (s *Service) Join(ctx context.Context, req api.JoinRequest) (api.Joined, error) {
	token, err := s.joiner(ctx, req.Name)
	if err != nil {
		return api.Joined{}, err
	}
	var v invalid
	v.check("peer_url", etcdnode.CheckPeerURL(req.PeerURL))
	if err := v.err(); err != nil {
		return api.Joined{}, err
	}
	s.joining.Lock()
	defer s.joining.Unlock()
	if err := s.findJoiner(ctx, req); err != nil {
		return api.Joined{}, err
	}
	by := "token " + token.ID
	list := s.members(ctx)
	for _, m := range list {
		switch {
		case m.PeerURL != req.PeerURL && (m.ID != token.Replaces || token.Replaces == ""):
			continue
		case m.ID == req.MemberID:
			return api.Joined{MemberID: m.ID, Members: joinMembers(list)}, nil
		case m.Self:
			return api.Joined{}, api.Errorf(api.Conflict, "%s is the member whose place is to be taken, and cannot take the new one in after it has gone: join by the URL of another coordinator. Nothing was changed", membership.Call(m))
		}
		if err := s.remove(ctx, list, m, by); err != nil {
			return api.Joined{}, err
		}
		list = s.members(ctx)
	}
	var id string
	err = s.settled(ctx, func() error { id, err = s.cfg.Members.AddLearner(ctx, req.PeerURL); return err })
	switch {
	case errors.Is(err, etcdnode.ErrTooManyLearners):
		return api.Joined{}, &api.Error{Kind: api.Rate, RetryAfter: retryJoin, Detail: "two new members are catching up already, and more may not be at a time: it goes on when they have their votes"}
	case errors.Is(err, etcdnode.ErrUnsettled):
		return api.Joined{}, &api.Error{Kind: api.Rate, RetryAfter: retryJoin, Detail: "a member is added only while all others are up and have been connected for 5 s: " + s.unreachable()}
	case err != nil:
		return api.Joined{}, s.memberProblem(ctx, api.Member{Name: req.Name}, err)
	}
	s.tell(ctx, "cluster.member.added", by, fmt.Sprintf("member %s (%s) at %s, without a vote yet", req.Name, id, req.PeerURL))
	return api.Joined{MemberID: id, Members: joinMembers(s.cluster().Members)}, nil
}

// findJoiner asks the new member, where its peers will find it, for its name.
func (s *Service) findJoiner(ctx context.Context, req api.JoinRequest) error {
	said, err := s.cfg.Members.Ask(ctx, req.PeerURL, etcdnode.JoinPath)
	if err != nil {
		return api.Errorf(api.Conflict, "the new member cannot be reached at its peer URL %s from %s: %v; open the port for the other members, or give the URL by which they reach it with --peer-url. Nothing was changed",
			req.PeerURL, s.cluster().Served, err)
	}
	if said != req.Name {
		return api.Errorf(api.Conflict, "at the peer URL %s somebody else answers than the new member %s: give each member a URL of its own with --peer-url. Nothing was changed", req.PeerURL, req.Name)
	}
	return nil
}
