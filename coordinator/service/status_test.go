package service

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/spacing"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// report is a node's report with some changes.
func (b *bench) report(node string, seq uint64, change func(*api.Report)) {
	b.t.Helper()
	req := poll("default")
	req.Report.Seq = seq
	change(&req.Report)
	if _, err := b.Poll(b.as(node), node, req); err != nil {
		b.t.Fatal(err)
	}
}

// status is the status once it has that many points of attention.
func (b *bench) status(attention int) api.Status {
	b.t.Helper()
	var st api.Status
	b.eventually(fmt.Sprintf("%d points of attention", attention), func() bool {
		var err error
		if st, err = b.Status(b.admin()); err != nil {
			b.t.Fatal(err)
		}
		return len(st.Attention) == attention
	})
	return st
}

func TestStatus_OfAQuietFleetIsWell(t *testing.T) {
	b := start(t)
	if st := b.status(0); !st.OK || st.Sentence != "No host has reported yet" || st.Rollouts == nil || st.Groups == nil {
		t.Errorf("%+v", st)
	}
	b.hello("a", "default")
	b.hello("b", "default")
	b.eventually("two nodes are shown", func() bool { return b.status(0).Figures.Nodes == 2 })
	st := b.status(0)
	if !st.OK || st.Sentence != "All is well: 2 hosts are in service" || st.Figures.ByState[api.NodeIdle] != 2 || st.Version != "test" {
		t.Errorf("%+v", st)
	}
	b.acquire("default", "a")
	b.eventually("one is out", func() bool { return b.status(0).Figures.Held == 1 })
	if st := b.status(0); !st.OK || st.Sentence != "All is well: 1 host is out of service" || st.Figures.ByState[api.NodeOut] != 1 {
		t.Errorf("%+v", st)
	}
	c := st.Cluster
	if c.ID == "" || !c.Quorum || len(c.Members) != 1 || c.Served == "" {
		t.Errorf("%+v", c)
	}
}

func TestStatus_ANodeThatFailedAndKeepsItsSlotComesFirst(t *testing.T) {
	b := start(t)
	b.withGroup("default", "3")
	for _, n := range []string{"failed", "overdue", "well"} {
		b.hello(n, "default")
	}
	b.confirm(b.acquire("default", "overdue"))
	b.confirm(b.acquire("default", "failed"))
	b.report("failed", 2, func(r *api.Report) {
		r.Phase, r.Healthy = api.PhaseFailed, false
		r.Failure = &api.Failure{Bundle: "x", Reason: "unhealthy", Detail: "nginx does not answer"}
	})
	b.clock.pass(31 * time.Minute)
	b.report("failed", 3, func(r *api.Report) {
		r.Phase, r.Healthy = api.PhaseFailed, false
		r.Failure = &api.Failure{Bundle: "x", Reason: "unhealthy", Detail: "nginx does not answer"}
	})
	b.report("well", 2, func(*api.Report) {})
	st := b.status(2)
	if st.OK || st.Sentence != "2 hosts are stuck; the fleet is otherwise well" || st.Figures.Stuck != 2 {
		t.Errorf("%+v", st)
	}
	first, second := st.Attention[0], st.Attention[1]
	if first.Kind != attentionFailed || first.Node != "failed" || first.Hold == nil || !strings.Contains(first.Detail, "nginx does not answer") {
		t.Errorf("%+v", first)
	}
	if second.Kind != attentionOverdue || second.Node != "overdue" || second.Hold == nil || !second.Hold.Overdue {
		t.Errorf("%+v", second)
	}
}

func TestStatus_SilentNodesAreGroupedAndARebootingHolderIsNotAmongThem(t *testing.T) {
	b := start(t)
	for _, n := range []string{"a", "b", "c"} {
		b.hello(n, "default")
	}
	b.confirm(b.acquire("default", "c"))
	b.clock.pass(3 * time.Minute)
	st := b.status(1)
	a := st.Attention[0]
	if a.Kind != attentionUnreachable || a.Severity != lost || !strings.Contains(a.Title, "2 hosts") || a.Group != "default" {
		t.Errorf("%+v", a)
	}
	if st.OK || !strings.Contains(st.Sentence, "2 hosts are not heard from") || st.Figures.ByState[api.NodeOut] != 1 {
		t.Errorf("%+v", st)
	}
}

func TestStatus_AnAgentThatCanDoNothingNeedsAPerson(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	b.hello("b", "default")
	b.report("a", 2, func(r *api.Report) { r.Trouble = "the state folder takes nothing: no space left on device" })
	b.report("b", 2, func(r *api.Report) { r.Phase, r.Healthy, r.Trouble = api.PhaseFailed, false, "the journal is damaged" })
	st := b.status(2)
	for i, node := range []string{"a", "b"} {
		if a := st.Attention[i]; a.Kind != attentionUnable || a.Node != node || a.Severity != bad || st.OK {
			t.Errorf("%+v", a)
		}
	}
	if !strings.Contains(st.Attention[0].Detail, "no space left on device") {
		t.Error(st.Attention[0].Detail)
	}
}

func TestStatus_AHaltedRolloutAndARolledBackHostNeedAPerson(t *testing.T) {
	b := start(t)
	b.rollouts.set(func() {
		b.rollouts.list = []api.Rollout{{ID: "r1", Spec: api.RolloutSpec{Name: "kernel"}, State: api.RolloutHalted, Why: "1 node failed", CreatedAt: time.Now().Add(-time.Hour)}}
	})
	b.hello("a", "default")
	b.report("a", 2, func(r *api.Report) {
		r.Failure = &api.Failure{Bundle: "x", Reason: "unhealthy", Detail: "no answer", Healthy: true}
	})
	st := b.status(2)
	if st.Attention[0].Kind != attentionHalted || st.Attention[1].Kind != attentionRolledBack || st.OK {
		t.Errorf("%+v", st.Attention)
	}
	if !st.Attention[0].Since.IsZero() {
		t.Errorf("it halted at %v, says the start of the rollout", st.Attention[0].Since)
	}
	halted := time.Now().Add(-time.Minute)
	b.rollouts.set(func() { b.rollouts.list[0].StoppedAt = halted })
	b.eventually("it shows when it halted", func() bool { return b.status(2).Attention[0].Since.Equal(halted) })
	if !strings.Contains(st.Sentence, "1 rollout is halted") {
		t.Error(st.Sentence)
	}
}

func TestStatus_ShowsAtOnceWhatItsReaderJustChanged(t *testing.T) {
	b := start(t)
	b.lookOwes(1_000_000, 0)
	look := func() api.Status {
		st, err := b.Status(b.admin())
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	look()
	f, err := b.Freeze(b.admin(), "", api.FreezeRequest{Reason: "storm"})
	if err != nil {
		t.Fatal(err)
	}
	if look().Frozen == nil {
		t.Error("frozen, and not shown")
	}
	if err := b.Unfreeze(b.admin(), "", f.ID); err != nil {
		t.Fatal(err)
	}
	if look().Frozen != nil {
		t.Error("lifted, and still shown")
	}
	b.withGroup("web", "3")
	if list, _ := b.Groups(b.admin()); len(list) != 2 {
		t.Errorf("a new group is not listed: %+v", list)
	}
	if err := b.DeleteGroup(b.admin(), "web", ""); err != nil {
		t.Fatal(err)
	}
	if list, _ := b.Groups(b.admin()); len(list) != 1 {
		t.Errorf("a deleted group is still listed: %+v", list)
	}
	b.hello("a", "default")
	b.acquire("default", "a")
	if _, err := b.lock("default", "z", "10.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	b.eventually("one waits", func() bool { return look().Figures.Waiting == 1 })
	if err := b.LeaveQueue(b.admin(), "default", "z"); err != nil {
		t.Fatal(err)
	}
	if n := look().Figures.Waiting; n != 0 {
		t.Errorf("taken out of the queue, and %d are still shown in it", n)
	}
}

// Nothing in one answer may speak against another part of it.
func TestStatus_IsOfOneMoment(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	b.eventually("a slot is taken in the midst of a short look, and the host is shown as out", func() bool {
		b.rollouts.set(func() {
			b.rollouts.listing = sync.OnceFunc(func() { b.acquire("default", "a") })
		})
		b.wrote()
		st, err := b.Status(b.admin())
		if err != nil {
			t.Fatal(err)
		}
		holds, err := b.Holds(b.admin(), "default")
		if err != nil {
			t.Fatal(err)
		}
		for _, h := range holds {
			if err := b.Release(b.as("a"), "default", "a", h.Fence, h.Instance); err != nil {
				t.Fatal(err)
			}
		}
		return st.Figures.Held == 1 && st.Figures.ByState[api.NodeOut] == 1
	})
}

// What another coordinator wrote is shown as soon as this one knows of it.
func TestStatus_ShowsAtOnceWhatIsWrittenElsewhere(t *testing.T) {
	here, there := twins(t)
	here.status(0)
	if _, err := there.db.AddForeign(t.Context(), etcdstore.Foreign{Cluster: "theirs", By: "a"}); err != nil {
		t.Fatal(err)
	}
	here.eventually("it is known", func() bool { return len(here.db.Foreign()) == 1 })
	st, err := here.Status(here.admin())
	if err != nil || len(st.Attention) != 1 || st.Attention[0].Kind != attentionForeign {
		t.Errorf("%+v %v", st.Attention, err)
	}
}

func TestStatus_OfALargeFleetShowsAFirstChangeAtOnceAndThenSomeASecond(t *testing.T) {
	b := start(t)
	b.lookOwes(1_000_000, 0)
	shown := func() (nodes int) {
		list, err := b.AllNodes(b.admin())
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	shown()
	b.view.mu.Lock()
	b.view.made, b.view.next = b.view.made.Add(-overviewLasts), time.Time{} // nothing happens, and it is looked over for that
	b.view.mu.Unlock()
	shown()
	// What the audit trail says comes by another watch, before its change or after.
	trail := b.db.Changed()
	if err := b.db.Append(t.Context(), semaphore.Event{Kind: "snapshot.taken"}); err != nil {
		t.Fatal(err)
	}
	<-trail
	shown()
	b.hello("a", "default")
	if n := shown(); n != 1 {
		t.Fatalf("%d nodes are shown right after the first change, want 1", n)
	}
	looked := func() time.Time {
		b.view.mu.Lock()
		defer b.view.mu.Unlock()
		return b.view.made
	}
	first := looked()
	b.hello("b", "default")
	if n, took := shown(), looked().Sub(first); n != 1 && took < overviewPause {
		t.Errorf("%d nodes are shown: the fleet was looked over twice within %v", n, took)
	}
	b.eventually("the next change is shown too", func() bool { return shown() == 2 })

	// What a change leads to may be shown as soon, and paid for later.
	b.lookOwes(1000, time.Hour)
	for _, node := range []string{"c", "d", "e"} {
		b.hello(node, "default")
		if list, err := b.AllNodes(b.admin()); err != nil || list[len(list)-1].ID != node {
			t.Errorf("%s is not shown right after it has come: %v", node, err)
		}
	}
}

// lookOwes says in how many parts of the time one look over the fleet takes one, as
// if that were large, and how much of it may be owed.
func (b *bench) lookOwes(parts int, ahead time.Duration) {
	b.view.mu.Lock()
	defer b.view.mu.Unlock()
	b.view.looks = spacing.Looks{Most: overviewPause, Parts: parts, Ahead: ahead}
	b.view.next = time.Time{}
}

func TestStatus_AFreezeIsABannerAndNotAnAlarm(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	if _, err := b.Freeze(b.admin(), "", api.FreezeRequest{Reason: "holiday"}); err != nil {
		t.Fatal(err)
	}
	b.eventually("it is shown", func() bool { return b.status(0).Frozen != nil })
	if st := b.status(0); !st.OK || st.Sentence != "The fleet is frozen by ann: holiday" {
		t.Errorf("%+v", st)
	}
}

func TestChanged_FiresForEveryThingThatIsShown(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	for name, change := range map[string]func(){
		"a group":   func() { b.withGroup("web", "4") },
		"a report":  func() { b.report("a", 9, func(r *api.Report) { r.Message = "new" }) },
		"a rollout": func() { b.rollouts.set(func() {}) },
		"a token": func() {
			if _, err := b.CreateToken(b.admin(), api.TokenRequest{Role: api.RoleViewer}); err != nil {
				t.Fatal(err)
			}
		},
	} {
		changed := b.Changed()
		change()
		select {
		case <-changed:
		case <-time.After(time.Minute):
			t.Errorf("nobody was told of %s", name)
		}
	}
}

func TestExplain_SaysWhyNothingMoves(t *testing.T) {
	b := start(t)
	say := func(group string) api.Explanation {
		e, err := b.Explain(b.admin(), group)
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	if e := say(""); !strings.Contains(e.Summary, "No host belongs") {
		t.Errorf("an empty fleet: %+v", e)
	}
	b.hello("a", "default")
	b.hello("b", "default")
	if e := say("default"); !strings.HasPrefix(e.Summary, "Nobody waits; 0 of 1 slot is taken") {
		t.Errorf("a quiet group: %+v", e)
	}
	b.acquire("default", "a")
	if _, err := b.lock("default", "z", "10.0.0.1:1"); err != nil {
		t.Fatal(err)
	}
	e := say("default")
	if g := e.Groups[0]; g.Next != "z" || len(g.Blockers) == 0 || g.Blockers[0].Kind != api.Full || g.Summary != "z is next of 1 and may not go: 1 of 1 slot is held." {
		t.Errorf("a full group: %+v", e)
	}
	v, err := b.ExplainNode(b.admin(), "b")
	if err != nil || v.MayGo || len(v.Blockers) == 0 || v.Blockers[0].Kind != api.Full || v.Waiting != 1 {
		t.Errorf("%+v %v", v, err)
	}
	v, err = b.ExplainNode(b.as("a"), "a")
	if err != nil || v.Hold == nil || !strings.Contains(v.Summary, "holds a slot") {
		t.Errorf("%+v %v", v, err)
	}
	if _, err := b.Freeze(b.admin(), "", api.FreezeRequest{Reason: "storm"}); err != nil {
		t.Fatal(err)
	}
	if e := say(""); !strings.Contains(e.Summary, "storm") {
		t.Errorf("a frozen fleet: %+v", e)
	}
	_, err = b.Explain(b.admin(), "nowhere")
	mustRefuse(t, err, api.UnknownGroup)
	_, err = b.ExplainNode(b.admin(), "nobody")
	mustRefuse(t, err, api.NotFound)
}

func TestExplain_NamesTheRolloutThatStandsStill(t *testing.T) {
	b := start(t)
	b.rollouts.set(func() {
		b.rollouts.list = []api.Rollout{{ID: "r1", Spec: api.RolloutSpec{Name: "kernel"}, State: api.RolloutPaused, Why: "paused by ann"}}
	})
	e, err := b.Explain(b.admin(), "")
	if err != nil || e.Summary != "Rollout kernel is paused: paused by ann." {
		t.Errorf("%+v %v", e, err)
	}
}

func TestStatus_SaysWhoseWordARolloutWaitsFor(t *testing.T) {
	b := start(t)
	since := b.clock.now()
	b.rollouts.set(func() {
		b.rollouts.list = []api.Rollout{{
			ID: "r1", Spec: api.RolloutSpec{Name: "kernel"}, State: api.RolloutApproval, Why: "after wave canary: waits for approval (release)",
			Gates: []api.RolloutGate{{Name: "release", Kind: "approval", Needed: 2, Role: "operator", Approvals: []api.Approval{{By: "ann"}}, Since: since}},
		}}
	})
	st, err := b.Status(b.admin())
	if err != nil || st.OK || len(st.Attention) != 1 || st.Sentence != "1 rollout is waiting for approval; the fleet is otherwise well" {
		t.Fatalf("%+v %v", st, err)
	}
	want := "After wave canary: waits for approval (release). Gate release has 1 of 2, by the role operator or higher."
	if a := st.Attention[0]; a.Kind != "approval" || a.Rollout != "r1" || !a.Since.Equal(since) || a.Detail != want {
		t.Errorf("%+v", a)
	}
}

func TestExplainNode_SaysWhereItStandsInARolloutThatDoesNotAskItYet(t *testing.T) {
	b := start(t)
	b.hello("web-1", "default")
	b.eventually("its slot to be free to it", func() bool {
		v, err := b.ExplainNode(b.admin(), "web-1")
		return err == nil && v.MayGo
	})
	b.rollouts.set(func() {
		b.rollouts.list = []api.Rollout{{
			ID: "r1", Spec: api.RolloutSpec{Name: "kernel"}, State: api.RolloutApproval, Why: "after wave canary: waits for approval (release)",
			Nodes: []api.RolloutNode{{Node: "web-1", State: api.NodePending, Detail: "goes in wave rest (2 of 2)"}},
		}}
	})
	v, err := b.ExplainNode(b.admin(), "web-1")
	stands := "rollout kernel (waiting for approval) has it as pending, goes in wave rest (2 of 2); after wave canary: waits for approval (release)."
	if want := "web-1 may go now, and nothing is wanted of it yet: " + stands; err != nil || v.Summary != want {
		t.Errorf("%q, %v", v.Summary, err)
	}
	// That the slots are taken is not why it does not go.
	b.hello("web-2", "default")
	b.acquire("default", "web-2")
	v, err = b.ExplainNode(b.admin(), "web-1")
	if want := "Nothing is wanted of web-1 yet: " + stands + " If it were, it might not go now: 1 of 1 slot is held."; err != nil || v.Summary != want {
		t.Errorf("%q, %v", v.Summary, err)
	}
}

func TestStatus_WithoutQuorumSaysOfWhenItIs(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	with, err := b.Status(b.admin())
	if err != nil || with.Stale || with.AsOf.IsZero() {
		t.Fatalf("%+v %v", with, err)
	}
	b.member.lose(true)
	b.clock.pass(time.Hour)
	st, err := b.Status(b.admin())
	if err != nil || !st.Stale || st.AsOf.Sub(with.AsOf).Abs() > 10*time.Second {
		t.Errorf("an hour later it is of %s, want that of before, %s: %v", st.AsOf, with.AsOf, err)
	}
	if want := st.AsOf.Format("2006-01-02 15:04 UTC"); !strings.Contains(st.Sentence, want) {
		t.Errorf("the sentence is %q, want it to say %s", st.Sentence, want)
	}

	// One that has had no quorum since its start knows what the newest event says.
	later := startAt(t, b.prefix)
	later.member.lose(true)
	later.clock.pass(time.Hour)
	later.view.mu.Lock()
	later.view.current, later.view.last = time.Time{}, nil
	later.view.mu.Unlock()
	st, err = later.Status(later.admin())
	if newest := later.db.NewestEvent(); err != nil || !st.Stale || newest.IsZero() || !st.AsOf.Equal(newest) {
		t.Errorf("of %s, want %s: %v", st.AsOf, newest, err)
	}
}

func TestAttention_DoesNotChangeTheIDOfANode(t *testing.T) {
	b := start(t)
	b.rollouts.set(func() {
		b.rollouts.list = []api.Rollout{{ID: "r1", State: api.RolloutHalted, Why: "node n2 failed: unhealthy: no answer (1 failed, at most 0 may)"}}
	})
	st, err := b.Status(b.admin())
	if err != nil || len(st.Attention) != 1 {
		t.Fatalf("%+v %v", st.Attention, err)
	}
	if got := st.Attention[0].Detail; !strings.HasPrefix(got, "Node n2 failed: unhealthy: no answer") {
		t.Errorf("%q", got)
	}
}
