package service

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestPoll_RegistersTheNodeAndAnswersWhatIsWanted(t *testing.T) {
	b := start(t)
	req := poll("")
	req.Report.Labels = map[string]string{"zone": "a"}
	w := &api.Wanted{Rollout: "r1", Bundle: "abc"}
	b.rollouts.want("web-1", w)
	got, err := b.Poll(b.as("web-1"), "web-1", req)
	if err != nil {
		t.Fatal(err)
	}
	id, incarnation := b.ClusterID()
	if got.Cluster != id || got.Incarnation != incarnation || got.Wanted != w || got.Tag == "" || got.NextPollS == 0 {
		t.Errorf("%+v", got)
	}
	n, err := b.Node(b.admin(), "web-1")
	if err != nil || n.Group != "default" || n.Labels["zone"] != "a" || n.State != api.NodeIdle || n.Via != "agent" || n.Wanted != w {
		t.Errorf("%+v %v", n, err)
	}
}

func TestPoll_WaitsUntilSomethingIsWantedOfThisNode(t *testing.T) {
	b := start(t)
	req := poll("default")
	req.Seen, req.WaitS = b.hello("a", "default").Tag, 30
	got := make(chan api.PollResponse, 1)
	go func() {
		resp, err := b.Poll(b.as("a"), "a", req)
		if err != nil {
			t.Error(err)
		}
		got <- resp
	}()
	b.eventually("the poll is parked", func() bool { return len(b.polls.all()) == 1 })
	b.rollouts.want("b", &api.Wanted{Rollout: "r1", Bundle: "x"}) // not of this node
	select {
	case resp := <-got:
		t.Fatalf("woken for another node: %+v", resp)
	case <-time.After(3 * sweepPause):
	}
	b.rollouts.want("a", &api.Wanted{Rollout: "r1", Bundle: "x"})
	resp := <-got
	if resp.Wanted == nil || resp.Tag == req.Seen {
		t.Errorf("%+v", resp)
	}
}

// Its answer may be of before the change, and nobody looks again for that.
func TestPoll_ThatIsJustMakingItsAnswerMakesItAnewAfterAChange(t *testing.T) {
	b := start(t)
	p := b.polls.enter("a")
	defer b.polls.leave("a", p)
	b.sweepPolls()
	select {
	case <-p.woken:
	default:
		t.Error("it was passed over")
	}
}

func TestPoll_IsWokenByAChangeOfItsHoldOnly(t *testing.T) {
	b := start(t)
	b.withGroup("default", "2")
	b.hello("b", "default")
	req := poll("default")
	req.Seen, req.WaitS = b.hello("a", "default").Tag, 30
	got := make(chan api.PollResponse, 1)
	go func() {
		resp, err := b.Poll(b.as("a"), "a", req)
		if err != nil {
			t.Error(err)
		}
		got <- resp
	}()
	b.eventually("the poll is parked", func() bool { return len(b.polls.all()) == 1 })
	b.acquire("default", "b")
	select {
	case resp := <-got:
		t.Fatalf("woken by the hold of another: %+v", resp)
	case <-time.After(100 * time.Millisecond):
	}
	h := b.acquire("default", "a")
	if resp := <-got; resp.Hold == nil || resp.Hold.Fence != h.Fence {
		t.Errorf("%+v", resp)
	}
}

func TestPoll_EndsWithTheClientAndWithTheService(t *testing.T) {
	b := start(t)
	seen := b.hello("a", "default").Tag
	pollUntil(t, b, seen, func(cancel func()) { cancel() })
	pollUntil(t, b, seen, func(func()) { b.Service.Stop() })
}

func pollUntil(t *testing.T, b *bench, seen string, end func(cancel func())) {
	t.Helper()
	req := poll("default")
	req.Seen, req.WaitS = seen, 60
	ctx, cancel := context.WithCancel(b.as("a"))
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		if _, err := b.Poll(ctx, "a", req); err != nil {
			t.Error(err)
		}
	}()
	b.eventually("the poll is parked", func() bool { return len(b.polls.all()) == 1 })
	end(cancel)
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatal("the poll does not end")
	}
}

func TestPoll_IsWrittenOnChangeOnly(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	rec, _ := b.registry.Record("a")
	req := poll("default")
	for seq := range uint64(5) {
		req.Report.Seq = seq + 2
		if _, err := b.Poll(b.as("a"), "a", req); err != nil {
			t.Fatal(err)
		}
	}
	if now, _ := b.registry.Record("a"); now.Revision != rec.Revision {
		t.Error("a heartbeat was written")
	}
	req.Report.Seq, req.Report.Phase = 10, api.PhaseDraining
	if _, err := b.Poll(b.as("a"), "a", req); err != nil {
		t.Fatal(err)
	}
	req.Report.Seq, req.Report.Phase = 9, api.PhaseIdle
	if _, err := b.Poll(b.as("a"), "a", req); err != nil {
		t.Fatal(err)
	}
	if now, _ := b.registry.Record("a"); now.Report.Phase != api.PhaseDraining || now.Revision == rec.Revision {
		t.Errorf("after an older report: %+v", now.Report)
	}
}

func TestPoll_NamesTheWrongField(t *testing.T) {
	b := start(t)
	for path, change := range map[string]func(*api.PollRequest){
		"instance":       func(r *api.PollRequest) { r.Instance = "" },
		"boot_id":        func(r *api.PollRequest) { r.BootID = "" },
		"report.group":   func(r *api.PollRequest) { r.Report.Group = "not a group" },
		"report.phase":   func(r *api.PollRequest) { r.Report.Phase = "dancing" },
		"report.labels":  func(r *api.PollRequest) { r.Report.Labels = map[string]string{"": "x"} },
		"report.message": func(r *api.PollRequest) { r.Report.Message = strings.Repeat("x", 5000) },
		// Whatever is stored has a bound: a host's token must not fill the store.
		"report.machine_id":      func(r *api.PollRequest) { r.Report.MachineID = strings.Repeat("x", 5000) },
		"report.bundle":          func(r *api.PollRequest) { r.Report.Bundle = strings.Repeat("x", 5000) },
		"report.rollout":         func(r *api.PollRequest) { r.Report.Rollout = strings.Repeat("x", 5000) },
		"report.answered":        func(r *api.PollRequest) { r.Report.Answered = strings.Repeat("x", 5000) },
		"report.version":         func(r *api.PollRequest) { r.Report.Version = strings.Repeat("x", 5000) },
		"report.os":              func(r *api.PollRequest) { r.Report.OS = strings.Repeat("x", 5000) },
		"report.failure.bundle":  func(r *api.PollRequest) { r.Report.Failure = &api.Failure{Bundle: strings.Repeat("x", 5000)} },
		"report.failure.rollout": func(r *api.PollRequest) { r.Report.Failure = &api.Failure{Rollout: strings.Repeat("x", 5000)} },
		"report.failure.reason":  func(r *api.PollRequest) { r.Report.Failure = &api.Failure{Reason: strings.Repeat("x", 5000)} },
		"wait_s":                 func(r *api.PollRequest) { r.WaitS = 61 },
	} {
		req := poll("default")
		change(&req)
		_, err := b.Poll(b.as("a"), "a", req)
		field(t, err, path)
	}
	for _, id := range []string{"localhost", "localhost.localdomain"} {
		_, err := b.Poll(b.as(id), id, poll("default"))
		field(t, err, "node")
	}
}

func TestPoll_OfAnUnknownGroupIsAClearErrorOrMakesOneWithoutSlots(t *testing.T) {
	b := start(t)
	_, err := b.Poll(b.as("a"), "a", poll("web"))
	if e := mustRefuse(t, err, api.UnknownGroup); !strings.Contains(e.Detail, "web") {
		t.Errorf("%+v", e)
	}
	auto := start(t, func(c *Config) { c.AutoCreateGroups = true })
	auto.hello("a", "web")
	g, err := auto.Group(auto.admin(), "web")
	if err != nil || g.Spec.Slots != "0" || g.Status.Slots != 0 || g.Status.Members != 1 {
		t.Errorf("%+v %v", g, err)
	}
}

func TestPoll_MovesTheNodeToAnotherGroupUnlessItHolds(t *testing.T) {
	b := start(t)
	b.withGroup("web", "1")
	b.hello("a", "default")
	h := b.acquire("default", "a")
	_, err := b.Poll(b.as("a"), "a", poll("web"))
	mustRefuse(t, err, api.InUse)
	if n, _ := b.Node(b.admin(), "a"); n.Group != "default" || n.Hold == nil {
		t.Errorf("the refused move changed the node: %+v", n)
	}
	if err := b.Release(b.as("a"), "default", "a", h.Fence, "i1"); err != nil {
		t.Fatal(err)
	}
	b.hello("a", "web")
	from, _ := b.Group(b.admin(), "default")
	to, _ := b.Group(b.admin(), "web")
	if from.Status.Members != 0 || to.Status.Members != 1 {
		t.Errorf("members: %d and %d", from.Status.Members, to.Status.Members)
	}
}

func TestPoll_AMoveOutOfADeletedGroupLeavesNoMemberBehind(t *testing.T) {
	b := start(t)
	b.withGroup("web", "1")
	b.hello("a", "web")
	if err := b.DeleteGroup(b.admin(), "web", ""); err != nil {
		t.Fatal(err)
	}
	b.hello("a", "default")
	if g := b.withGroup("web", "50%"); g.Status.Members != 0 {
		t.Errorf("made again, the group counts %d members that are elsewhere", g.Status.Members)
	}
}

// The command that ends it is copied into a shell, which must run no part of an id.
func TestPoll_OfADuplicateShowsTheCommandAsAShellReadsIt(t *testing.T) {
	b := start(t)
	b.withGroup("web", "1")
	const id = "-a; reboot"
	b.hello(id, "default")
	other := poll("default")
	other.Instance = "i2"
	for _, req := range []api.PollRequest{other, poll("web")} {
		_, err := b.Poll(b.as(id), id, req)
		mustRefuse(t, err, api.DuplicateID)
		if want := "`lockkeeper node clear-duplicate -- '-a; reboot'`"; !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %s", err, want)
		}
	}
}

func TestPoll_AMoveDoesNotClearTheMarkOfADuplicate(t *testing.T) {
	b := start(t)
	b.withGroup("web", "1")
	b.hello("a", "default")
	other := poll("default")
	other.Instance = "i2"
	_, err := b.Poll(b.as("a"), "a", other)
	mustRefuse(t, err, api.DuplicateID)
	_, err = b.Poll(b.as("a"), "a", poll("web"))
	mustRefuse(t, err, api.DuplicateID)
	_, err = b.Acquire(b.as("a"), "web", "a", api.AcquireRequest{Instance: "i1", Request: "q1", BootID: "b1"}, 0)
	mustRefuse(t, err, api.NotFound)
}

func TestPoll_OfTwoLiveAgentsStopsGrantsForTheIDUntilAnOperatorClearsIt(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	clone := poll("default")
	clone.Instance, clone.BootID = "i2", "b9"
	_, err := b.Poll(b.as("a"), "a", clone)
	mustRefuse(t, err, api.DuplicateID)

	_, err = b.Acquire(b.as("a"), "default", "a", api.AcquireRequest{Instance: "i1", Request: "q"}, 0)
	mustRefuse(t, err, api.DuplicateID)
	st, err := b.Status(b.admin())
	if err != nil || st.OK || len(st.Attention) != 1 || st.Attention[0].Kind != attentionDuplicate || st.Attention[0].Node != "a" {
		t.Errorf("%+v %v", st.Attention, err)
	}
	n, err := b.PatchNode(b.ctx(api.RoleOperator), "a", api.NodePatch{ClearDuplicate: true}, "")
	if err != nil || n.Duplicate != "" {
		t.Fatalf("%+v %v", n, err)
	}
	// The other host was the right one: it is believed now.
	if _, err := b.Poll(b.as("a"), "a", clone); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Acquire(b.as("a"), "default", "a", api.AcquireRequest{Instance: "i2", Request: "q"}, 0); err != nil {
		t.Error(err)
	}
}

func TestPoll_ABootThatWasSupersededAndComesBackIsACloneButARebootIsNot(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	boot := func(id string, seq uint64) error {
		req := poll("default")
		req.BootID, req.Report.Seq = id, seq
		_, err := b.Poll(b.as("a"), "a", req)
		return err
	}
	for i, id := range []string{"b2", "b3"} {
		if err := boot(id, uint64(i+2)); err != nil {
			t.Fatalf("a reboot: %v", err)
		}
	}
	b.clock.pass(10 * time.Minute)
	e := mustRefuse(t, boot("b2", 9), api.DuplicateID)
	if !strings.Contains(e.Detail, "superseded") {
		t.Errorf("%+v", e)
	}
}

func TestPoll_AReinstalledHostIsBelievedOnceTheOldOneIsSilent(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	b.clock.pass(2 * time.Minute)
	req := poll("default")
	req.Instance, req.BootID = "new", "bx"
	if _, err := b.Poll(b.as("a"), "a", req); err != nil {
		t.Error(err)
	}
}

func TestPoll_OfAnotherClustersAgentFreezesAYoungClusterOnceAndOnlyListsItInAnOldOne(t *testing.T) {
	b := start(t)
	req := poll("default")
	req.Cluster = "theirs"
	_, err := b.Poll(b.as("a"), "a", req)
	mustRefuse(t, err, api.WrongCluster)
	b.eventually("it froze itself", func() bool { return b.sem.FleetFreeze() != nil })
	f := b.sem.FleetFreeze()
	if f.By != "coordinator" || !strings.Contains(f.Reason, "theirs") {
		t.Errorf("%+v", f)
	}
	st, _ := b.Status(b.admin())
	if st.OK || st.Frozen == nil || len(st.Attention) != 1 || st.Attention[0].Kind != attentionForeign {
		t.Errorf("%+v", st.Attention)
	}
	if err := b.Unfreeze(b.admin(), "", f.ID); err != nil {
		t.Fatal(err)
	}
	_, err = b.Poll(b.as("a"), "a", req)
	mustRefuse(t, err, api.WrongCluster)
	if b.sem.FleetFreeze() != nil {
		t.Error("a freeze that somebody lifted was set again")
	}

	// Until it is listed why, and for as long as nobody lifts it, the freeze that
	// it set itself needs a person all the same.
	if _, err := b.sem.Freeze(b.admin(), *f); err != nil {
		t.Fatal(err)
	}
	b.clock.pass(25 * time.Hour)
	st, _ = b.Status(b.admin())
	if st.OK || len(st.Attention) != 1 || st.Attention[0].Kind != attentionForeign || !strings.Contains(st.Attention[0].Detail, "theirs") {
		t.Errorf("ok %t, %+v", st.OK, st.Attention)
	}

	old := start(t)
	old.clock.pass(25 * time.Hour)
	mustRefuse(t, old.ForeignCluster(old.as("a"), "theirs"), api.WrongCluster)
	if st, _ := old.Status(old.admin()); st.Frozen != nil || len(st.Attention) != 1 {
		t.Errorf("an old cluster: %+v %+v", st.Frozen, st.Attention)
	}
	mustRefuse(t, old.ForeignCluster(t.Context(), "stranger"), api.WrongCluster)
	if st, _ := old.Status(old.admin()); len(st.Attention) != 1 {
		t.Error("somebody unknown was listed")
	}
}

// One token, with as many made-up clusters as it likes, stops a young fleet once:
// when somebody has lifted the freeze, only another node can set it again, also
// for a cluster that the first one named.
func TestForeignCluster_OneNodeFreezesAYoungClusterOnce(t *testing.T) {
	b := start(t)
	var rogue sync.WaitGroup
	for i := range 20 {
		rogue.Go(func() {
			if e := b.ForeignCluster(b.as("rogue"), fmt.Sprint("made-up-", i)); e.Kind != api.WrongCluster {
				t.Errorf("got %v", e)
			}
		})
	}
	rogue.Wait()
	f := b.sem.FleetFreeze()
	if f == nil || !strings.Contains(f.Reason, "rogue") {
		t.Fatalf("frozen: %+v", f)
	}
	if err := b.Unfreeze(b.admin(), "", f.ID); err != nil {
		t.Fatal(err)
	}
	mustRefuse(t, b.ForeignCluster(b.as("rogue"), "real"), api.WrongCluster)
	if f := b.sem.FleetFreeze(); f != nil {
		t.Errorf("a node froze the fleet again that somebody had unfrozen: %s", f.Reason)
	}
	if list := b.db.Foreign(); len(list) != 1 || list[0].Node != "rogue" {
		t.Errorf("remembered: %+v", list)
	}
	mustRefuse(t, b.ForeignCluster(b.as("web-1"), "real"), api.WrongCluster)
	if f := b.sem.FleetFreeze(); f == nil || !strings.Contains(f.Reason, "web-1") {
		t.Errorf("the agent of another cluster did not freeze this one, after another had named its cluster: %+v", f)
	}
	b.eventually("the audit trail names the nodes", func() bool {
		list, err := b.Events(b.admin(), api.EventQuery{Kind: "node.wrong_cluster", Limit: 10})
		return err == nil && len(list.Events) == 2 && list.Events[0].Node == "rogue" && list.Events[1].Node == "web-1"
	})
}

func TestForeignCluster_AnOldClusterListsFewOfOneNode(t *testing.T) {
	b := start(t)
	b.clock.pass(25 * time.Hour)
	for i := range 10 {
		mustRefuse(t, b.ForeignCluster(b.as("rogue"), fmt.Sprint("made-up-", i)), api.WrongCluster)
	}
	mustRefuse(t, b.ForeignCluster(b.as("web-1"), "real"), api.WrongCluster)
	if n := len(b.db.Foreign()); n != foreignPerNode+1 {
		t.Errorf("%d clusters are listed, want %d of one node and one of another", n, foreignPerNode)
	}
	if f := b.sem.FleetFreeze(); f != nil {
		t.Errorf("an old cluster froze itself: %+v", f)
	}
}

func TestForeignCluster_WhoMayOnlyLookStopsNoFleet(t *testing.T) {
	b := start(t)
	viewer := auth.With(t.Context(), auth.Principal{Name: "viewer", Role: api.RoleViewer})
	mustRefuse(t, b.ForeignCluster(viewer, "theirs"), api.WrongCluster)
	if st, _ := b.Status(b.admin()); st.Frozen != nil || len(st.Attention) != 0 {
		t.Errorf("frozen %+v, attention %+v; want neither", st.Frozen, st.Attention)
	}
}

func TestPoll_AFailureIsAnsweredOnlyOnceItIsRecorded(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	req := poll("default")
	req.Report.Seq, req.Report.Rollout = 2, "r1"
	req.Report.Failure = &api.Failure{Rollout: "r1", Bundle: "b", Reason: "unhealthy", Detail: "no answer", At: time.Now()}
	b.rollouts.set(func() { b.rollouts.err = semaphore.ErrNoQuorum })
	_, err := b.Poll(b.as("a"), "a", req)
	mustRefuse(t, err, api.NoQuorum)
	b.rollouts.set(func() { b.rollouts.err = nil })
	req.Report.Seq = 3
	if _, err := b.Poll(b.as("a"), "a", req); err != nil {
		t.Fatal(err)
	}
	if got := b.rollouts.settled; len(got) != 1 || got[0] != "a" {
		t.Errorf("settled: %v", got)
	}
}
