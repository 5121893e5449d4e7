package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
	"github.com/lockkeeper/lockkeeper/coordinator/peerca"
)

// fakeMembers is a cluster whose members are what the test says. What is done to
// them is noted.
type fakeMembers struct {
	ClusterInfo
	ca *peerca.CA

	mu      sync.Mutex
	list    []api.Member
	answers map[string]string // of peer URLs that are listened on
	errs    []error           // before anything is done, one at a time
	did     []string
}

func withMembers(t *testing.T, list ...api.Member) (*bench, *fakeMembers) {
	t.Helper()
	ca, err := peerca.New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeMembers{ca: ca, list: list, answers: map[string]string{}}
	b := start(t, func(c *Config) {
		f.ClusterInfo = c.Node
		c.Node, c.Members = f, f
	})
	return b, f
}

// named is a member with a vote that can be reached.
func named(id, role string) api.Member {
	return api.Member{ID: id, Name: "c" + id + "-abcd", Role: role, Started: true, Reachable: true, Self: id == "1", PeerURL: "https://10.0.0." + id + ":2380"}
}

func (f *fakeMembers) Members() []api.Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.list)
}

func (f *fakeMembers) MemberID() string                       { return "1" }
func (f *fakeMembers) PeerURL() string                        { return "https://10.0.0.1:2380" }
func (f *fakeMembers) CA() *peerca.CA                         { return f.ca }
func (f *fakeMembers) Reach(context.Context) map[string]error { return nil }
func (f *fakeMembers) Authority() etcdnode.Authority {
	return etcdnode.Authority{Shows: f.ca.Fingerprint(), Believes: f.ca.Trusted(), Keeps: f.ca.Trusted()}
}
func (f *fakeMembers) TrustAuthority(*peerca.CA) error { return f.change("trust", func() {}) }
func (f *fakeMembers) ShowAuthority() error            { return f.change("show", func() {}) }
func (f *fakeMembers) KeepAuthority() error            { return f.change("keep", func() {}) }
func (f *fakeMembers) change(what string, do func()) (err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.errs) > 0 {
		err, f.errs = f.errs[0], f.errs[1:]
		return err
	}
	f.did = append(f.did, what)
	do()
	return nil
}

func (f *fakeMembers) Ask(_ context.Context, peerURL, path string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if said, there := f.answers[peerURL]; there && path == etcdnode.JoinPath {
		return said, nil
	}
	return "", errors.New("connection refused")
}

func (f *fakeMembers) AddLearner(_ context.Context, peerURL string) (string, error) {
	id := fmt.Sprint(10 + len(f.done()))
	return id, f.change("add "+peerURL, func() {
		f.list = append(f.list, api.Member{ID: id, Role: "learner", PeerURL: peerURL, Reachable: true})
	})
}

func (f *fakeMembers) Promote(_ context.Context, id string) error {
	return f.change("promote "+id, func() {
		for i := range f.list {
			if f.list[i].ID == id {
				f.list[i].Role = "follower"
			}
		}
	})
}

func (f *fakeMembers) Remove(_ context.Context, id string) error {
	return f.change("remove "+id, func() {
		f.list = slices.DeleteFunc(f.list, func(m api.Member) bool { return m.ID == id })
	})
}

func (f *fakeMembers) MoveLeader(_ context.Context, id string) error {
	return f.change("lead "+id, func() {
		for i := range f.list {
			if m := &f.list[i]; m.Role != "learner" {
				m.Role = "follower"
				if m.ID == id {
					m.Role = "leader"
				}
			}
		}
	})
}

func (f *fakeMembers) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.did)
}

func (f *fakeMembers) wantDone(t *testing.T, want ...string) {
	t.Helper()
	if got := f.done(); !slices.Equal(got, want) {
		t.Errorf("done to the members was %q, want %q", got, want)
	}
}

// joinToken makes one, and says who shows it.
func (b *bench) joinToken(req api.JoinTokenRequest) (context.Context, api.JoinToken) {
	b.t.Helper()
	made, err := b.CreateJoinToken(b.admin(), req)
	if err != nil {
		b.t.Fatal(err)
	}
	text, err := auth.ParseJoinToken(made.Token)
	if err != nil {
		b.t.Fatal(err)
	}
	p, err := b.Authenticate(b.t.Context(), text.Secret)
	if err != nil {
		b.t.Fatal(err)
	}
	return auth.With(b.t.Context(), p), made
}

func (b *bench) begin(ctx context.Context, name string) error {
	_, err := b.JoinBegin(ctx, api.JoinBeginRequest{Name: name, MaxV: 1})
	return err
}

func (b *bench) kinds(prefix string) (list []string) {
	b.t.Helper()
	page, err := b.Events(b.admin(), api.EventQuery{Limit: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, e := range page.Events {
		if strings.HasPrefix(e.Kind, prefix) {
			list = append(list, e.Kind)
		}
	}
	return list
}

func (b *bench) wantTold(want ...string) {
	b.t.Helper()
	b.eventually(fmt.Sprintf("the audit trail has %q", want), func() bool { return slices.Equal(b.kinds("cluster."), want) })
}

func TestJoinToken_IsForOneMemberAndForAWhile(t *testing.T) {
	b, f := withMembers(t, named("1", "leader"))
	joiner, made := b.joinToken(api.JoinTokenRequest{})
	if err := b.begin(joiner, "c2-beef"); err != nil {
		t.Fatal(err)
	}
	if err := b.begin(joiner, "c2-beef"); err != nil {
		t.Errorf("the same again: %v", err)
	}
	mustRefuse(t, b.begin(joiner, "c3-beef"), api.Forbidden)
	b.wantTold("cluster.join.begun")
	got, err := b.JoinBegin(joiner, api.JoinBeginRequest{Name: "c2-beef", MaxV: 1})
	if err != nil || len(got.Members) != 1 || !strings.Contains(made.Token, f.ca.Fingerprint()) {
		t.Errorf("it learns %+v %v", got, err)
	}
	if ca, err := peerca.Parse([]byte(got.CACert), []byte(got.CAKey)); err != nil || ca.Fingerprint() != f.ca.Fingerprint() {
		t.Errorf("the authority: %v", err)
	}
	_, err = b.JoinBegin(joiner, api.JoinBeginRequest{Name: "c2-beef"})
	mustRefuse(t, err, api.Conflict) // reads no schema that is in use

	secret := strings.Split(made.Token, ".")[0]
	b.clock.pass(time.Hour + time.Minute)
	_, err = b.Authenticate(t.Context(), secret)
	mustRefuse(t, err, api.Unauthenticated)
	for _, ttl := range []string{"1s", "25h", "soon"} {
		_, err := b.CreateJoinToken(b.admin(), api.JoinTokenRequest{TTL: ttl})
		field(t, err, "ttl")
	}
	f.wantDone(t)
}

func TestMembers_AreChangedByAdministratorsAlone(t *testing.T) {
	b, f := withMembers(t, named("1", "leader"), named("2", "follower"), named("3", "follower"))
	operator := b.ctx(api.RoleOperator)
	_, token := b.CreateJoinToken(operator, api.JoinTokenRequest{})
	_, promote := b.PromoteMember(operator, "2")
	_, remove := b.RemoveMember(operator, "2")
	_, move := b.MoveLeader(operator, api.LeaderRequest{})
	_, join := b.Join(b.admin(), api.JoinRequest{Name: "x", PeerURL: "https://10.0.0.9:2380"})
	for _, err := range []error{token, promote, remove, move, join, b.begin(b.admin(), "x")} {
		mustRefuse(t, err, api.Forbidden)
	}
	_, err := b.CreateToken(b.admin(), api.TokenRequest{Role: api.RoleJoin})
	field(t, err, "role") // made by an operation of its own
	f.wantDone(t)
}

func TestMembers_WithoutQuorumNothingIsAsked(t *testing.T) {
	b, f := withMembers(t, named("1", "unknown"), named("2", "unknown"))
	b.member.lose(true)
	_, err := b.RemoveMember(b.admin(), "2")
	mustRefuse(t, err, api.NoQuorum)
	f.wantDone(t)
}

func TestJoin_ChangesNothingBeforeTheNewMemberIsFound(t *testing.T) {
	b, f := withMembers(t, named("1", "leader"), named("2", "follower"), named("3", "follower"))
	joiner, _ := b.joinToken(api.JoinTokenRequest{Replaces: "c3"})
	req := api.JoinRequest{Name: "c4-beef", PeerURL: "https://10.0.0.4:2380"}
	if err := b.begin(joiner, req.Name); err != nil {
		t.Fatal(err)
	}
	_, err := b.Join(joiner, req)
	if e := mustRefuse(t, err, api.Conflict); !strings.Contains(e.Detail, "connection refused") {
		t.Errorf("unreachable: %v", e)
	}
	f.answers[req.PeerURL] = "c9-beef"
	_, err = b.Join(joiner, req)
	if e := mustRefuse(t, err, api.Conflict); !strings.Contains(e.Detail, "somebody else") {
		t.Errorf("another one there: %v", e)
	}
	_, err = b.Join(joiner, api.JoinRequest{Name: req.Name, PeerURL: "http://10.0.0.4:2380"})
	field(t, err, "peer_url")
	f.wantDone(t)

	f.answers[req.PeerURL] = req.Name
	got, err := b.Join(joiner, req)
	if err != nil || got.MemberID != "11" || len(got.Members) != 3 {
		t.Fatalf("joined: %+v %v", got, err)
	}
	f.wantDone(t, "remove 3", "add https://10.0.0.4:2380")
	b.wantTold("cluster.join.begun", "cluster.member.removed", "cluster.member.added")

	// It asks again with its id, and nothing more is done; without its log it gets
	// another id.
	req.MemberID = got.MemberID
	if again, err := b.Join(joiner, req); err != nil || again.MemberID != got.MemberID {
		t.Errorf("again: %+v %v", again, err)
	}
	f.wantDone(t, "remove 3", "add https://10.0.0.4:2380")
	req.MemberID = ""
	if again, err := b.Join(joiner, req); err != nil || again.MemberID == got.MemberID {
		t.Errorf("without its log: %+v %v", again, err)
	}
	f.wantDone(t, "remove 3", "add https://10.0.0.4:2380", "remove 11", "add https://10.0.0.4:2380")
}

// Who is to go cannot take the new one in after it has gone.
func TestJoin_TheMemberThatGoesIsNotTheOneToAsk(t *testing.T) {
	b, f := withMembers(t, named("1", "leader"), named("2", "follower"), named("3", "follower"))
	joiner, made := b.joinToken(api.JoinTokenRequest{Replaces: "c1"})
	if len(made.Warnings) != 1 || !strings.Contains(made.Warnings[0], "another coordinator") {
		t.Errorf("warnings are %q", made.Warnings)
	}
	req := api.JoinRequest{Name: "c4-beef", PeerURL: "https://10.0.0.4:2380"}
	f.answers[req.PeerURL] = req.Name
	_, err := b.Join(joiner, req)
	if e := mustRefuse(t, err, api.Conflict); !strings.Contains(e.Detail, "another coordinator") {
		t.Errorf("it is refused by %v", e)
	}
	f.wantDone(t)
}

func TestJoin_SaysWhenItIsToAskAgain(t *testing.T) {
	b, f := withMembers(t, named("1", "leader"))
	joiner, _ := b.joinToken(api.JoinTokenRequest{})
	req := api.JoinRequest{Name: "c2-beef", PeerURL: "https://10.0.0.2:2380"}
	f.answers[req.PeerURL] = req.Name
	f.errs = []error{etcdnode.ErrTooManyLearners}
	_, err := b.Join(joiner, req)
	if e := mustRefuse(t, err, api.Rate); e.RetryAfter == 0 {
		t.Error("it does not say when")
	}
	// Members that were not connected for long enough are waited for.
	f.errs = []error{etcdnode.ErrUnsettled, etcdnode.ErrUnsettled}
	if _, err := b.Join(joiner, req); err != nil {
		t.Errorf("with members that settle: %v", err)
	}
}

func TestRemove_OneThatLeadsHandsThatOverFirst(t *testing.T) {
	b, f := withMembers(t, named("1", "follower"), named("2", "leader"), named("3", "follower"))
	got, err := b.RemoveMember(b.admin(), "c2")
	if err != nil || !strings.Contains(got.Done, "was removed") || len(got.Warnings) != 1 {
		t.Fatalf("%+v %v", got, err)
	}
	f.wantDone(t, "lead 1", "remove 2")
	b.wantTold("cluster.member.removed")
	_, err = b.RemoveMember(b.admin(), "c2")
	mustRefuse(t, err, api.NotFound)
}

func TestPromote_OneThatLagsIsRefused(t *testing.T) {
	lagging := api.Member{ID: "2", Name: "c2-abcd", Role: "learner", Reachable: true, Started: true}
	b, f := withMembers(t, named("1", "leader"), lagging)
	f.errs = []error{etcdnode.ErrLagging}
	_, err := b.PromoteMember(b.admin(), "2")
	mustRefuse(t, err, api.Conflict)
	got, err := b.PromoteMember(b.admin(), "2")
	if err != nil || len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], "even number") {
		t.Errorf("%+v %v", got, err)
	}
	f.wantDone(t, "promote 2")
}

// The leader's coordinator, and no other, lets go of a new member that never
// comes.
func TestKeeper_LetsGoOfOneThatNeverComes(t *testing.T) {
	for role, want := range map[string][]string{"leader": {"remove 2"}, "follower": nil} {
		silent := api.Member{ID: "2", Role: "learner", PeerURL: "https://10.0.0.2:2380", Unreachable: "connection refused"}
		b, f := withMembers(t, named("1", role), silent)
		late := func() { b.clock.pass(membership.EvictAfter + time.Second) } // after it has been seen, that is
		if want == nil {
			time.Sleep(2 * keepEvery)
			late()
			time.Sleep(2 * keepEvery)
			f.wantDone(t)
			continue
		}
		b.eventually("it is let go", func() bool { late(); return slices.Equal(f.done(), want) })
		b.wantTold("cluster.member.evicted")
	}
}

func TestAttention_NamesACoordinatorThatCannotBeReached(t *testing.T) {
	down := named("3", "follower")
	down.Reachable, down.Unreachable = false, "connection refused"
	b, f := withMembers(t, named("1", "leader"), named("2", "follower"), down)
	st, err := b.Status(b.admin())
	if err != nil || st.OK || len(st.Attention) != 1 || st.Attention[0].Kind != "member_down" || !strings.Contains(st.Attention[0].Detail, "bears no other loss") {
		t.Errorf("%v %+v", err, st.Attention)
	}
	// The members are in the same answer.
	f.mu.Lock()
	f.list[2].Reachable, f.list[2].Unreachable = true, ""
	f.mu.Unlock()
	if st, err = b.Status(b.admin()); err != nil || !st.OK || len(st.Attention) != 0 {
		t.Errorf("it is back, %v %+v", err, st.Attention)
	}
}
