package httpapi

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/coordinator/door"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// oneCluster is what the door says of the cluster.
type oneCluster struct{}

func (oneCluster) ClusterID() (string, int64) { return "c-1", 4 }
func (oneCluster) Revision() int64            { return 99 }
func (oneCluster) Stale() bool                { return false }
func (oneCluster) ForeignCluster(_ context.Context, theirs string) *api.Error {
	return api.Errorf(api.WrongCluster, "cluster %s is not ours", theirs)
}

// serve runs the API over the fake behind the door, as a coordinator does.
func serve(t *testing.T, f *fake) *client.Client {
	t.Helper()
	srv := httptest.NewServer(door.Wrap(New(f, Options{}), door.Options{Loopback: true, Cluster: oneCluster{}}))
	t.Cleanup(srv.Close)
	c, err := client.New(client.Config{Servers: []string{srv.URL}, Cluster: "c-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

const digest = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" // of "hello"

// call is a method of the client, and what the service must see of it.
type roundTrip struct {
	saw  string
	call func(context.Context, *client.Client) (any, error)
	want any // nil: not looked at
}

func one[T any](v T, err error) (any, error) { return v, err }

var everyMethod = []roundTrip{
	{"Status[]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Status(ctx)) }, api.Status{Sentence: "all is well"}},
	{"Cluster[]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Cluster(ctx)) }, api.Cluster{ID: "c-1"}},
	{"Explain[web]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Explain(ctx, "web")) }, api.Explanation{Summary: "web"}},
	{"Explain[]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Explain(ctx, "")) }, nil},
	{"Groups[]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Groups(ctx)) }, []api.Group{{Name: "default"}}},
	{"Group[web]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Group(ctx, "web")) }, api.Group{Name: "web", Revision: 17}},
	{"PutGroup[web {Slots:5% Limits:[{By:zone Max:1}] CountUnreachable:false " +
		"Windows:[{Name:night Weekdays:[mon-fri sat] Start:22:00 Cron: Duration:4h Cutoff:30m TimeZone:Europe/Berlin}] " +
		"Blackouts:[{Name:b Start:2026-12-20 00:00:00 +0000 UTC End:2026-12-21 00:00:00 +0000 UTC Reason:shop}] " +
		"GrantInterval:10m Timeouts:{Hold:30m FleetLockHold:}} 17]",
		func(ctx context.Context, c *client.Client) (any, error) {
			day := time.Date(2026, 12, 20, 0, 0, 0, 0, time.UTC)
			return one(c.PutGroup(ctx, "web", api.GroupSpec{
				Slots: "5%", Limits: []api.Limit{{By: "zone", Max: "1"}}, Timeouts: api.GroupTimeouts{Hold: "30m"},
				Windows:   []api.WindowSpec{{Name: "night", Weekdays: []string{"mon-fri", "sat"}, Start: "22:00", Duration: "4h", Cutoff: "30m", TimeZone: "Europe/Berlin"}},
				Blackouts: []api.BlackoutSpec{{Name: "b", Start: day, End: day.Add(24 * time.Hour), Reason: "shop"}}, GrantInterval: "10m",
			}, "17"))
		}, nil},
	{"PutGroup[web {Slots:2 Limits:[] CountUnreachable:false Windows:[] Blackouts:[] GrantInterval: Timeouts:{Hold: FleetLockHold:}} *]",
		func(ctx context.Context, c *client.Client) (any, error) {
			return one(c.PutGroup(ctx, "web", api.GroupSpec{Slots: "2"}, "*"))
		}, api.Group{Name: "web", Revision: 18, Spec: api.GroupSpec{Slots: "2"}, Created: true}},
	{"DeleteGroup[web 17]", func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteGroup(ctx, "web", "17") }, nil},
	{"DeleteGroup[web ]", func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteGroup(ctx, "web", "") }, nil},
	{"Freeze[ {Reason:fire Stop:true}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.Freeze(ctx, "", api.FreezeRequest{Reason: "fire", Stop: true}))
	}, api.Freeze{ID: "f1", Reason: "fire"}},
	{"Freeze[web {Reason:fire Stop:false}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.Freeze(ctx, "web", api.FreezeRequest{Reason: "fire"}))
	}, api.Freeze{ID: "f1", Group: "web", Reason: "fire"}},
	{"Unfreeze[ f1]", func(ctx context.Context, c *client.Client) (any, error) { return nil, c.Unfreeze(ctx, "", "f1") }, nil},
	{"Unfreeze[web f1]", func(ctx context.Context, c *client.Client) (any, error) { return nil, c.Unfreeze(ctx, "web", "f1") }, nil},
	{"Nodes[{Text:we b Group:web State:failed Selector:zone=a,role=web Bundle:9c41 Drifted:true Sort:state After:a/b Limit:7}]",
		func(ctx context.Context, c *client.Client) (any, error) {
			return one(c.Nodes(ctx, api.NodeQuery{Text: "we b", Group: "web", State: "failed", Selector: "zone=a,role=web", Bundle: "9c41", Drifted: true, Sort: "state", After: "a/b", Limit: 7}))
		}, api.NodeList{Nodes: []api.Node{{ID: "a"}}, Total: 1}},
	{"ExplainNode[n 1]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.ExplainNode(ctx, "n 1")) }, api.Verdict{Node: "n 1"}},
	{"PatchNode[n {Labels:map[zone:a] ClearDuplicate:true} 3]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.PatchNode(ctx, "n", api.NodePatch{Labels: map[string]string{"zone": "a"}, ClearDuplicate: true}, "3"))
	}, api.Node{ID: "n", Declared: map[string]string{"zone": "a"}}},
	{"DeleteNode[n]", func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteNode(ctx, "n") }, nil},
	{"Poll[n i idle 20]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.Poll(ctx, "n", api.PollRequest{Instance: "i", BootID: "b", Report: api.Report{Phase: api.PhaseIdle}, WaitS: 20}))
	}, api.PollResponse{Tag: "t"}},
	{"Acquire[web n {Instance:i Request:q BootID: Reason:} 20s]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.Acquire(ctx, "web", "n", api.AcquireRequest{Instance: "i", Request: "q"}, 20*time.Second))
	}, api.AcquireResponse{Hold: api.Hold{Group: "web", Node: "n", Fence: 7}}},
	{"Confirm[web n {Fence:7 Instance:i BootID:b Rollout:ro-1}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.Confirm(ctx, "web", "n", api.ConfirmRequest{Fence: 7, Instance: "i", BootID: "b", Rollout: "ro-1"}))
	}, api.Hold{Group: "web", Node: "n", Fence: 7}},
	{"Release[web n 7 i]", func(ctx context.Context, c *client.Client) (any, error) {
		return nil, c.Release(ctx, "web", "n", 7, "i")
	}, nil},
	{"LeaveQueue[web n]", func(ctx context.Context, c *client.Client) (any, error) { return nil, c.LeaveQueue(ctx, "web", "n") }, nil},
	{"SetPriority[web n {Priority:-5}]", func(ctx context.Context, c *client.Client) (any, error) {
		return nil, c.SetPriority(ctx, "web", "n", api.PriorityRequest{Priority: -5})
	}, nil},
	{"Holds[]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Holds(ctx, "")) }, []api.Hold{{}}},
	{"Holds[web]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Holds(ctx, "web")) }, []api.Hold{{Group: "web"}}},
	{"Revoke[web n {Fence:7 Name:n Reason:gone}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.Revoke(ctx, "web", "n", api.RevokeRequest{Fence: 7, Name: "n", Reason: "gone"}))
	}, api.Hold{Group: "web", Node: "n", State: "revoked"}},
	{"ForceRelease[web n {Fence:7 Name:n Reason:gone HostIsDown:true}]", func(ctx context.Context, c *client.Client) (any, error) {
		return nil, c.ForceRelease(ctx, "web", "n", api.ReleaseRequest{Fence: 7, Name: "n", Reason: "gone", HostIsDown: true})
	}, nil},
	{"CreateBundle[5 " + digest + "]", func(ctx context.Context, c *client.Client) (any, error) {
		b, created, err := c.CreateBundle(ctx, strings.NewReader("hello"), "")
		if err == nil && !created {
			err = errors.New("a new bundle was not said to be created")
		}
		return b, err
	}, api.Bundle{Digest: digest, Size: 5}},
	{"CreateBundle[5 ", func(ctx context.Context, c *client.Client) (any, error) {
		b, created, err := c.CreateBundle(ctx, strings.NewReader("again"), "")
		if err == nil && created {
			err = errors.New("the same bundle again was said to be created")
		}
		return b, err
	}, nil},
	{"Bench[{Callers:8 Seconds:0.5 Pause:0.25}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.Bench(ctx, api.BenchRequest{Callers: 8, Seconds: 0.5, Pause: 0.25}))
	}, api.Measured{Count: 7}},
	{"CreateJoinToken[{TTL:30m Replaces:c-1}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.CreateJoinToken(ctx, api.JoinTokenRequest{TTL: "30m", Replaces: "c-1"}))
	}, api.JoinToken{ID: "t1", Token: "secret"}},
	{"JoinBegin[{Name:c-2 MaxV:1}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.JoinBegin(ctx, api.JoinBeginRequest{Name: "c-2", MaxV: 1}))
	}, api.JoinAuthority{CAKey: "key", Members: nil}},
	{"Join[{Name:c-2 PeerURL:https://h:1 MemberID:1f}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.Join(ctx, api.JoinRequest{Name: "c-2", PeerURL: "https://h:1", MemberID: "1f"}))
	}, api.Joined{MemberID: "1f"}},
	{"PromoteMember[c 2]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.PromoteMember(ctx, "c 2")) }, api.MemberChange{Done: "promoted"}},
	{"RemoveMember[c/2]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.RemoveMember(ctx, "c/2")) }, api.MemberChange{Done: "removed"}},
	{"MoveLeader[{Member:c-2}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.MoveLeader(ctx, api.LeaderRequest{Member: "c-2"}))
	}, api.MemberChange{Done: "moved"}},
	{"Authority[]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Authority(ctx)) }, api.AuthorityStatus{Stage: api.AuthorityTrust}},
	{"RotateAuthority[{Step:next}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.RotateAuthority(ctx, api.AuthorityRequest{Step: "next"}))
	}, api.AuthorityStatus{Stage: api.AuthorityShow}},
	{"MoveLeader[{Member:}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.MoveLeader(ctx, api.LeaderRequest{}))
	}, nil},
	{"UnfreezeAccepting[f1 3]", func(ctx context.Context, c *client.Client) (any, error) {
		return nil, c.UnfreezeAccepting(ctx, "f1", 3)
	}, nil},
	{"Snapshots[]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Snapshots(ctx)) },
		api.SnapshotList{Keep: 3, Snapshots: []api.Snapshot{{Name: "a"}}}},
	{"Snapshot[]", func(ctx context.Context, c *client.Client) (any, error) {
		r, err := c.Snapshot(ctx)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		return string(b), err
	}, "hello"},
	{"Bundles[]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Bundles(ctx)) }, []api.Bundle{}},
	{"Bundle[" + digest + "]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Bundle(ctx, digest)) }, api.Bundle{Digest: digest}},
	{"OpenBundle[" + digest + "]", func(ctx context.Context, c *client.Client) (any, error) {
		r, size, err := c.OpenBundle(ctx, digest)
		if err != nil {
			return nil, err
		}
		defer r.Close()
		b, err := io.ReadAll(r)
		return fmt.Sprint(string(b), size), err
	}, "hello5"},
	{"LinkBundle[" + digest + " {URL:https://h/b Size:5 Manifest:map[name:m]}]", func(ctx context.Context, c *client.Client) (any, error) {
		b, created, err := c.LinkBundle(ctx, digest, api.BundleLink{URL: "https://h/b", Size: 5, Manifest: map[string]any{"name": "m"}})
		if err == nil && !created {
			err = errors.New("a new bundle was not said to be created")
		}
		return b, err
	}, api.Bundle{Digest: digest, URL: "https://h/b"}},
	{"LinkBundle[" + digest + " {URL:https://h/b Size:6 Manifest:map[]}]", func(ctx context.Context, c *client.Client) (any, error) {
		b, created, err := c.LinkBundle(ctx, digest, api.BundleLink{URL: "https://h/b", Size: 6, Manifest: map[string]any{}})
		if err == nil && created {
			err = errors.New("the same bundle again was said to be created")
		}
		return b, err
	}, nil},
	{"SignBundle[" + digest + " {Signature:s}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.SignBundle(ctx, digest, api.BundleSignature{Signature: "s"}))
	}, api.Bundle{Digest: digest, SignedBy: []string{"SHA256:k"}}},
	{"DeleteBundle[" + digest + "]", func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteBundle(ctx, digest) }, nil},
	{"CreateRollout[{Name:n Bundle:" + digest, func(ctx context.Context, c *client.Client) (any, error) {
		r, created, err := c.CreateRollout(ctx, api.RolloutSpec{Name: "n", Bundle: digest}, "key")
		if err == nil && !created {
			err = errors.New("a new rollout was not said to be created")
		}
		return r.ID, err
	}, "r1"},
	{"CreateRollout[{Name: Bundle:" + digest, func(ctx context.Context, c *client.Client) (any, error) {
		r, created, err := c.CreateRollout(ctx, api.RolloutSpec{Bundle: digest}, "again")
		if err == nil && created {
			err = errors.New("the same rollout again was said to be created")
		}
		return r.ID, err
	}, "r1"},
	{"Plan[{Name: Bundle:" + digest, func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.Plan(ctx, api.RolloutSpec{Bundle: digest}))
	}, api.Plan{Total: 4}},
	{"Rollouts[]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Rollouts(ctx)) }, []api.Rollout{}},
	{"Rollout[r1]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Rollout(ctx, "r1")) }, api.Rollout{ID: "r1"}},
	{"NodeAction[n1 rollback {Reason:smoke}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.NodeAction(ctx, "n1", "rollback", api.NodeActionRequest{Reason: "smoke"}))
	}, api.Node{ID: "n1"}},
	{"NodeAction[n1 retry {Reason:}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.NodeAction(ctx, "n1", "retry", api.NodeActionRequest{}))
	}, api.Node{ID: "n1"}},
	{"RolloutAction[r1 skip {Reason:smoke Wave:2 Gate: StoppedAt:0001-01-01 00:00:00 +0000 UTC}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.RolloutAction(ctx, "r1", "skip", api.RolloutActionRequest{Reason: "smoke", Wave: 2}))
	}, api.Rollout{ID: "r1"}},
	{"RolloutAction[r1 approve {Reason:fine Wave:0 Gate:release StoppedAt:0001-01-01 00:00:00 +0000 UTC}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.RolloutAction(ctx, "r1", "approve", api.RolloutActionRequest{Reason: "fine", Gate: "release"}))
	}, api.Rollout{ID: "r1"}},
	{"CreateToken[{Role:viewer Node: Description:d TTL:1h IdempotencyKey:k}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.CreateToken(ctx, api.TokenRequest{Role: api.RoleViewer, Description: "d", TTL: "1h", IdempotencyKey: "k"}))
	}, api.TokenCreated{Token: api.Token{ID: "t1", Role: api.RoleViewer}, Secret: "lk_x"}},
	{"Tokens[]", func(ctx context.Context, c *client.Client) (any, error) { return one(c.Tokens(ctx)) }, []api.Token{}},
	{"DeleteToken[t1]", func(ctx context.Context, c *client.Client) (any, error) { return nil, c.DeleteToken(ctx, "t1") }, nil},
	{"Events[{After:3 Before:7 Limit:9 Last:true Group:web Node:n/1 Rollout:ro Kind:hold,freeze.set Text:a b From:2026-11-24 01:02:03.000000004 +0000 UTC Until:2026-11-25 00:00:00 +0000 UTC}]", func(ctx context.Context, c *client.Client) (any, error) {
		return one(c.Events(ctx, api.EventQuery{After: 3, Before: 7, Limit: 9, Last: true, Group: "web", Node: "n/1", Rollout: "ro", Kind: "hold,freeze.set", Text: "a b",
			From: time.Date(2026, 11, 24, 1, 2, 3, 4, time.UTC), Until: time.Date(2026, 11, 25, 0, 0, 0, 0, time.UTC)}))
	}, api.EventList{Events: []api.Event{{Revision: 5}}, Next: 5}},
}

func TestClient_EveryMethodArrivesWholeAndComesBack(t *testing.T) {
	f := &fake{}
	c := serve(t, f)
	for _, m := range everyMethod {
		got, err := m.call(t.Context(), c)
		if err != nil {
			t.Errorf("%s: %v", m.saw, err)
			continue
		}
		if !strings.HasPrefix(f.last(), m.saw) {
			t.Errorf("want %s, the service saw %s", m.saw, f.last())
		}
		if m.want != nil && !reflect.DeepEqual(got, m.want) {
			t.Errorf("%s: got %+v, want %+v", m.saw, got, m.want)
		}
	}
	// Each answer names cluster and incarnation.
	for _, pin := range []struct {
		cluster     string
		incarnation int64
		believed    bool
	}{{"c-1", 4, true}, {"c-1", 5, false}, {"c-2", 4, false}} {
		c.SetCluster(pin.cluster, pin.incarnation)
		if _, err := c.Status(t.Context()); (err == nil) != pin.believed {
			t.Errorf("%+v: %v", pin, err)
		}
	}
}

var everyKind = []api.Kind{
	api.Invalid, api.Unauthenticated, api.Forbidden, api.UnknownGroup, api.NotFound, api.HeldByOther, api.DuplicateID,
	api.StaleFence, api.WrongCluster, api.Conflict, api.InUse, api.Changed, api.TooLarge, api.Full, api.LimitReached,
	api.Window, api.Blackout, api.Interval, api.Frozen, api.DownMembers, api.Queue, api.Rate, api.NoQuorum, api.NewerSchema, api.DiskLow, api.Internal,
}

func TestClient_EveryRefusalComesBackAsItWasGiven(t *testing.T) {
	f := &fake{events: make(chan api.Event)}
	c := serve(t, f)
	until := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	for _, kind := range everyKind {
		given := &api.Error{
			Kind: kind, Detail: "because " + string(kind), Place: 3, RetryAfter: 7 * time.Second,
			Fields:   []api.FieldError{{Path: "body.slots", Detail: "want 2"}},
			Blockers: []api.Blocker{{Kind: api.Full, Detail: "2 of 2 slots", Until: until}}, Earliest: until,
		}
		f.err = given
		for _, m := range everyMethod {
			_, err := m.call(t.Context(), c)
			var got *api.Error
			if !errors.As(err, &got) || got.RequestID == "" {
				t.Fatalf("%s with %s: %#v", m.saw, kind, err)
			}
			got.RequestID = ""
			if !reflect.DeepEqual(got, given) {
				t.Errorf("%s: got %+v, want %+v", m.saw, got, given)
			}
		}
		if _, err := c.WatchEvents(t.Context(), 0); !errors.As(err, new(*api.Error)) {
			t.Errorf("WatchEvents with %s: %v", kind, err)
		}
	}
}

func TestClient_AFaultOfTheCoordinatorDoesNotShowItsText(t *testing.T) {
	c := serve(t, &fake{err: errors.New("etcd said: password is hunter2")})
	_, err := c.Status(t.Context())
	var got *api.Error
	if !errors.As(err, &got) || got.Kind != api.Internal || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
}

func TestClient_AnyNodeIDReachesTheServiceAsItIs(t *testing.T) {
	f := &fake{}
	c := serve(t, f)
	for _, id := range []string{
		"web-1", "a/b", "/", "a%2Fb", "%", "a?b=c", "a b", "a#b", ".", "..", "...", "a;b", "a+b", "a&b", "ü→𝛼", "a\nb", "a\x00b",
		"poll", "explain", `a"b\c`, "a:b", strings.Repeat("é", 512),
	} {
		for saw, call := range map[string]func() error{
			"Node":         func() error { _, err := c.Node(t.Context(), id); return err },
			"DeleteNode":   func() error { return c.DeleteNode(t.Context(), id) },
			"ExplainNode":  func() error { _, err := c.ExplainNode(t.Context(), id); return err },
			"Release[web ": func() error { return c.Release(t.Context(), "web", id, 1, "") },
			"Confirm[web ": func() error {
				_, err := c.Confirm(t.Context(), "web", id, api.ConfirmRequest{Fence: 1})
				return err
			},
		} {
			if err := call(); err != nil {
				t.Errorf("%s %q: %v", saw, id, err)
			}
			if want := strings.TrimSuffix(saw, "[web ") + "["; !strings.HasPrefix(f.last(), want) || !strings.Contains(f.last(), id) {
				t.Errorf("%s %q: the service saw %q", saw, id, f.last())
			}
		}
	}
	for _, id := range []string{"", "a", "b"} {
		if err := c.DeleteNode(t.Context(), ""); id == "" && !errors.As(err, new(*api.Error)) {
			t.Errorf("an empty id: %v", err)
		}
	}
}

func TestEvents_AStreamIsContinuedBehindTheLastRevisionSeen(t *testing.T) {
	f := &fake{events: make(chan api.Event, 3)}
	c := serve(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := c.WatchEvents(ctx, 41)
	if err != nil {
		t.Fatal(err)
	}
	if f.last() != "WatchEvents[41]" {
		t.Errorf("the service saw %s", f.last())
	}
	f.events <- api.Event{Revision: 42, Detail: "a\nb"}
	f.events <- api.Event{Revision: 43}
	for want := int64(42); want <= 43; want++ {
		if e := <-events; e.Revision != want || want == 42 && e.Detail != "a\nb" {
			t.Errorf("got %+v, want revision %d", e, want)
		}
	}
	close(f.events)
	if e, open := <-events; open {
		t.Errorf("the stream went on with %+v", e)
	}
}

func TestPoll_AClientThatLeavesEndsItsPoll(t *testing.T) {
	left := make(chan struct{})
	f := &fake{block: func(ctx context.Context) { <-ctx.Done(); close(left) }}
	c := serve(t, f)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { _, err := c.Poll(ctx, "n", api.PollRequest{Instance: "i", WaitS: 60}); done <- err }()
	for f.last() == "" {
		time.Sleep(time.Millisecond) // until the poll has arrived
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	select {
	case <-left:
	case <-time.After(time.Minute):
		t.Error("the poll went on without its client")
	}
}

func TestClient_ADownloadThatBreaksOffOrIsAlteredIsAnError(t *testing.T) {
	for name, opened := range map[string]func() (io.ReadCloser, int64, error){
		"altered": func() (io.ReadCloser, int64, error) {
			return io.NopCloser(strings.NewReader("hullo")), 5, nil
		},
		"broken off": func() (io.ReadCloser, int64, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("hel"), errReader{})), 5, nil
		},
		"broken off, of unknown size": func() (io.ReadCloser, int64, error) {
			return io.NopCloser(io.MultiReader(strings.NewReader("hello"), errReader{})), -1, nil
		},
	} {
		c := serve(t, &fake{opened: opened})
		r, _, err := c.OpenBundle(t.Context(), digest)
		if err == nil {
			_, err = io.ReadAll(r)
			r.Close()
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, http.ErrBodyReadAfterClose }
