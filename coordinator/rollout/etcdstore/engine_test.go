package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestEngine_BringsAllNodesToTheBundleWithinTheSlots(t *testing.T) {
	w := newWorld(t, 6, 2)
	e := w.engine(w.store())
	w.agents()
	r := w.create(e, nil)
	if r.State != api.RolloutRunning || r.Progress.Total != 6 || r.BundleName != "app-b" || !strings.HasPrefix(r.ID, "ro-") {
		t.Errorf("created: %+v", r)
	}
	r = w.comesTo(e, r.ID, api.RolloutSucceeded)
	if r.Progress.Updated != 6 || r.EndedAt.IsZero() || r.Why != "6 nodes updated" {
		t.Errorf("ended: %+v", r)
	}
	w.appliedOnce()
	if w.mostOut > 2 {
		t.Errorf("%d nodes were out at once, with 2 slots", w.mostOut)
	}
	got := kinds(w.events(r.ID))
	if got[rollout.EventCreated] != 1 || got[rollout.EventNodeUpdated] != 6 || got[rollout.EventSucceeded] != 1 {
		t.Errorf("events: %v", got)
	}
	if list := e.List(); len(list) != 1 || list[0].Nodes != nil {
		t.Errorf("list: %+v", list)
	}
}

func TestEngine_NodesThatHaveTheBundleAreUpdatedWithoutBeingAsked(t *testing.T) {
	w := newWorld(t, 2, 1)
	e := w.engine(w.store())
	w.report("n00", func(r *api.Report) { r.Bundle = newBundle })
	plan, err := e.Plan(api.RolloutSpec{Bundle: newBundle, Group: "web"})
	if err != nil || plan.Total != 2 || plan.Already != 1 || plan.Groups[0].Slots != 1 || len(plan.Groups[0].Blockers) != 0 {
		t.Errorf("plan %+v, err %v", plan, err)
	}
	r := w.create(e, nil)
	if got := e.WantedFor("n00"); got != nil {
		t.Errorf("n00 has it, and is asked: %+v", got)
	}
	if got := e.WantedFor("n01"); got == nil || got.Bundle != newBundle || got.Name != "app-b" || got.Attempt != 1 {
		t.Errorf("wanted of n01: %+v", got)
	}
	w.eventually("n00 to be recorded", func() bool {
		st, err := w.store().Read(t.Context(), r.ID)
		return err == nil && st.Results["n00"].State == api.NodeUpdated
	})
	if w.applied["n00"] != 0 {
		t.Error("n00 did an update")
	}
}

func TestEngine_PastTheBudgetItHaltsAndARetryFinishesIt(t *testing.T) {
	w := newWorld(t, 4, 1)
	for _, n := range w.Nodes() {
		w.fails[n.ID] = 1
	}
	e := w.engine(w.store())
	w.agents()
	r := w.create(e, func(s *api.RolloutSpec) { s.MaxFailures = "1" })
	r = w.comesTo(e, r.ID, api.RolloutHalted)
	if r.Progress.Failed < 2 || !strings.Contains(r.Why, "unhealthy: no answer") {
		t.Errorf("halted: %s, %+v", r.Why, r.Progress)
	}
	for w.act(e, r.ID, rollout.ActRetry).State == api.RolloutRunning {
		// Those that had not begun fail at their first attempt too.
		var now api.Rollout
		w.eventually("the retry to end", func() bool { now, _ = e.Get(r.ID); return now.State != api.RolloutRunning })
		if now.State == api.RolloutSucceeded {
			break
		}
	}
	r = w.comesTo(e, r.ID, api.RolloutSucceeded)
	if r.Progress.Updated != 4 {
		t.Errorf("%+v", r.Progress)
	}
	for _, n := range r.Nodes {
		if n.Attempt != 2 {
			t.Errorf("%s succeeded at attempt %d", n.Node, n.Attempt)
		}
	}
}

func TestEngine_OneFailedNodeIsTriedAgain(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.fails["n00"] = 2
	e := w.engine(w.store())
	r := w.create(e, nil)
	w.agents()
	w.comesTo(e, r.ID, api.RolloutHalted)
	var refused *api.Error
	if _, err := e.RetryNode(t.Context(), "n01", "ann", ""); !errors.As(err, &refused) || refused.Kind != api.Conflict {
		t.Errorf("of a node that has not failed: %v", err)
	}
	// It fails a second time, which counts again and halts again.
	for attempt := 2; attempt <= 3; attempt++ {
		if _, err := e.RetryNode(t.Context(), "n00", "ann", "repaired"); err != nil {
			t.Fatal(err)
		}
		if attempt == 2 {
			r = w.comesTo(e, r.ID, api.RolloutHalted)
		}
	}
	r = w.comesTo(e, r.ID, api.RolloutSucceeded)
	for _, n := range r.Nodes {
		if want := map[bool]int{true: 3, false: 1}[n.Node == "n00"]; n.Attempt != want {
			t.Errorf("%s at attempt %d, want %d", n.Node, n.Attempt, want)
		}
	}
	if _, err := e.RetryNode(t.Context(), "n00", "ann", ""); !errors.As(err, &refused) || refused.Kind != api.Conflict {
		t.Errorf("once it has succeeded: %v", err)
	}
}

func TestEngine_AResumeGoesOnWithoutTheFailedNodes(t *testing.T) {
	w := newWorld(t, 3, 1)
	w.fails["n00"] = 1
	e := w.engine(w.store())
	r := w.create(e, nil)
	w.agents()
	w.comesTo(e, r.ID, api.RolloutHalted)
	w.act(e, r.ID, rollout.ActResume)
	r = w.comesTo(e, r.ID, api.RolloutFailed)
	if r.Progress.Failed != 1 || r.Progress.Updated != 2 {
		t.Errorf("%+v", r.Progress)
	}
	w.act(e, r.ID, rollout.ActRetry)
	w.comesTo(e, r.ID, api.RolloutSucceeded)
}

func TestEngine_PausedNobodyBegins(t *testing.T) {
	w := newWorld(t, 3, 3)
	e := w.engine(w.store())
	r := w.create(e, nil)
	for range 2 {
		if got := w.act(e, r.ID, rollout.ActPause); got.State != api.RolloutPaused {
			t.Fatalf("paused, it is %s", got.State)
		}
	}
	for _, n := range w.Nodes() {
		if got := e.WantedFor(n.ID); got != nil {
			t.Errorf("%s is asked: %+v", n.ID, got)
		}
	}
	w.agents()
	for range 2 {
		w.act(e, r.ID, rollout.ActResume)
	}
	w.comesTo(e, r.ID, api.RolloutSucceeded)
	got := kinds(w.events(r.ID))
	if got[rollout.EventPaused] != 1 || got[rollout.EventResumed] != 1 {
		t.Errorf("asked twice, it is told twice: %v", got)
	}
}

func TestEngine_AnAbortEndsItAndFreesItsNodes(t *testing.T) {
	w := newWorld(t, 2, 1)
	e := w.engine(w.store())
	first := w.create(e, nil)
	_, _, err := e.Create(t.Context(), api.RolloutSpec{Bundle: oldBundle, Nodes: []string{"n01"}}, "ann", "")
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Kind != api.Conflict || !strings.Contains(refused.Detail, first.ID) || !strings.Contains(refused.Detail, "n01") {
		t.Fatalf("a second rollout of n01: %v", err)
	}
	for range 2 {
		if got := w.act(e, first.ID, rollout.ActAbort); got.State != api.RolloutAborted {
			t.Fatalf("aborted, it is %s", got.State)
		}
	}
	if got := e.WantedFor("n00"); got != nil {
		t.Errorf("wanted for an aborted rollout: %+v", got)
	}
	_, err = e.Act(t.Context(), first.ID, rollout.Ask{Action: rollout.ActResume, By: "ann"})
	if !errors.As(err, &refused) || refused.Kind != api.Conflict || !strings.Contains(refused.Detail, "aborted") {
		t.Errorf("resume of an aborted one: %v", err)
	}
	w.create(e, func(s *api.RolloutSpec) { s.Bundle = oldBundle })
}

func TestEngine_ARetryDoesNotReviveARolloutWhoseNodesBelongToAnother(t *testing.T) {
	w := newWorld(t, 1, 1)
	w.fails["n00"] = 1
	e := w.engine(w.store())
	w.agents()
	first := w.create(e, func(s *api.RolloutSpec) { s.MaxFailures = "1" })
	w.comesTo(e, first.ID, api.RolloutFailed)
	w.act(e, w.create(e, nil).ID, rollout.ActPause)
	_, err := e.Act(t.Context(), first.ID, rollout.Ask{Action: rollout.ActRetry, By: "ann"})
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Kind != api.Conflict {
		t.Errorf("got %v", err)
	}
}

func TestEngine_TheSameIdempotencyKeyMakesOneRollout(t *testing.T) {
	w := newWorld(t, 2, 1)
	engines := []*rollout.Engine{w.engine(w.store()), w.engine(w.store())}
	spec := api.RolloutSpec{Bundle: newBundle, Group: "web"}
	var mu sync.Mutex
	ids, made := map[string]bool{}, 0
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r, created, err := engines[i%2].Create(t.Context(), spec, "ann", "key/1")
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				t.Errorf("create: %v", err)
				return
			}
			ids[r.ID] = true
			if created {
				made++
			}
		})
	}
	wg.Wait()
	if len(ids) != 1 || made != 1 {
		t.Errorf("ids %v, made %d", ids, made)
	}
	spec.MaxFailures = "3"
	_, _, err := engines[0].Create(t.Context(), spec, "ann", "key/1")
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Kind != api.Conflict || !strings.Contains(refused.Detail, "key/1") {
		t.Errorf("the same key with another body: %v", err)
	}
}

func TestEngine_OfManyRolloutsOverOneNodeOneIsCreated(t *testing.T) {
	w := newWorld(t, 3, 1)
	engines := []*rollout.Engine{w.engine(w.store()), w.engine(w.store())}
	var wg sync.WaitGroup
	var mu sync.Mutex
	made := 0
	for i := range 8 {
		wg.Go(func() {
			_, created, err := engines[i%2].Create(t.Context(), api.RolloutSpec{Bundle: newBundle, Group: "web"}, "ann", "")
			mu.Lock()
			defer mu.Unlock()
			var refused *api.Error
			switch {
			case created:
				made++
			case !errors.As(err, &refused) || refused.Kind != api.Conflict:
				t.Errorf("got %v", err)
			}
		})
	}
	wg.Wait()
	if made != 1 {
		t.Errorf("%d were created", made)
	}
}

func TestEngine_AnotherTakesOverWhenTheElectedOneDies(t *testing.T) {
	w := newWorld(t, 4, 1)
	w.pace = 300 * time.Millisecond
	dying := &mortal{Store: w.store()}
	w.engine(dying)
	w.eventually("the first to be elected", dying.isElected)
	second := w.engine(w.store()) // the agents ask this one
	w.agents()
	r := w.create(second, nil)
	w.eventually("a node to be updated", func() bool { now, _ := second.Get(r.ID); return now.Progress.Updated > 0 })
	dying.die()
	w.comesTo(second, r.ID, api.RolloutSucceeded)
	w.appliedOnce()
	if got := kinds(w.events(r.ID)); got[rollout.EventNodeUpdated] != 4 || got[rollout.EventSucceeded] != 1 {
		t.Errorf("events: %v", got)
	}
}

// spread lets the updates of so many nodes go on until there were more than some
// restarts, a few in each.
func (w *world) spread(nodes int, restarts *atomic.Int64) {
	w.lasts = func(n int) bool { return restarts.Load() < int64(1+n*6/nodes) }
}

func TestEngine_IsContinuedHoweverOftenItIsRestarted(t *testing.T) {
	w := newWorld(t, 16, 2)
	w.pace = 100 * time.Millisecond
	var restarts atomic.Int64
	w.spread(16, &restarts)
	w.fails["n03"] = 1
	e := w.engine(w.store())
	w.agents()
	r := w.create(e, func(s *api.RolloutSpec) { s.MaxFailures = "1" })
	for ; restarts.Load() < 200; restarts.Add(1) {
		if now, _ := e.Get(r.ID); now.ID != "" && !now.State.Active() {
			break
		}
		next := w.engine(w.store())
		// Stopped at ever different moments of what it does.
		time.Sleep(time.Duration(restarts.Load()*7%60) * time.Millisecond)
		e.Stop()
		e = next
	}
	got := w.comesTo(e, r.ID, api.RolloutFailed)
	if n := restarts.Load(); n < 5 {
		t.Errorf("only %d restarts", n)
	}
	if got.Progress.Updated != 15 || got.Progress.Failed != 1 {
		t.Errorf("%+v", got.Progress)
	}
	w.appliedOnce()
	if n := kinds(w.events(r.ID)); n[rollout.EventNodeUpdated] != 15 || n[rollout.EventNodeFailed] != 1 || n[rollout.EventFailed] != 1 {
		t.Errorf("events: %v", n)
	}
}

func TestEngine_AThousandNodesAreRecordedInBatches(t *testing.T) {
	w := newWorld(t, 0, 1)
	for i := range 1000 {
		id := "m" + strings.Repeat("0", 3) + string(rune('a'+i%26)) + strings.Repeat("x", i/26)
		w.report(id, func(r *api.Report) { r.Phase, r.Healthy, r.Bundle = api.PhaseIdle, true, newBundle })
	}
	e := w.engine(w.store())
	r := w.create(e, nil)
	for r.State != api.RolloutSucceeded { // however slow the machine, as long as it goes on
		was := r.Progress.Updated
		w.eventually(fmt.Sprintf("more than %d updated nodes", was), func() bool {
			r, _ = e.Get(r.ID)
			return r.Progress.Updated > was || r.State == api.RolloutSucceeded
		})
		if !r.State.Active() && r.State != api.RolloutSucceeded {
			t.Fatalf("it is %s: %s", r.State, r.Why)
		}
	}
	if r.Progress.Updated != 1000 {
		t.Errorf("%+v", r.Progress)
	}
	w.events(r.ID)
}

func TestEngine_AFrozenFleetStallsItAndSaysWhy(t *testing.T) {
	w := newWorld(t, 2, 1)
	e := w.engine(w.store())
	f, err := w.sems.Freeze(t.Context(), semaphore.Freeze{V: 1, ID: "f1", By: "bob", Reason: "storm"})
	if err != nil {
		t.Fatal(err)
	}
	r := w.create(e, nil)
	w.eventually("it to be stalled", func() bool { r, _ = e.Get(r.ID); return r.Stalled != nil })
	if b := r.Stalled.Blockers; len(b) != 1 || b[0].Kind != api.Frozen || !strings.Contains(b[0].Detail, "storm") {
		t.Errorf("stalled by %+v", b)
	}
	if _, err := w.sems.Unfreeze(t.Context(), f.ID, "bob"); err != nil {
		t.Fatal(err)
	}
	w.eventually("it to be stalled no more", func() bool { r, _ = e.Get(r.ID); return r.Stalled == nil })
}

func TestEngine_ANodeThatKeepsTheOnlySlotStallsAndHaltsIt(t *testing.T) {
	w := newWorld(t, 3, 1)
	e := w.engine(w.store())
	r := w.create(e, func(s *api.RolloutSpec) { s.MaxFailures = "2" })
	w.do(semaphore.Acquire{Node: "n00", Instance: "i", Request: "r", BootID: "b", Via: semaphore.ViaAgent})
	w.report("n00", func(p *api.Report) {
		p.Phase, p.Rollout, p.Healthy = api.PhaseFailed, r.ID, false
		p.Failure = &api.Failure{Bundle: newBundle, Rollout: r.ID, Reason: "unhealthy", Detail: "down", At: time.Now()}
	})
	r = w.comesTo(e, r.ID, api.RolloutHalted)
	if !strings.Contains(r.Why, "every slot is kept") || !strings.Contains(r.Why, "n00") || r.Stalled == nil {
		t.Errorf("why %q, stalled %+v", r.Why, r.Stalled)
	}
}

func TestEngine_WithoutQuorumItShowsAndRefuses(t *testing.T) {
	w := newWorld(t, 1, 1)
	r := w.create(w.engine(w.store()), nil)
	cut := New(Config{Client: etcd.Client(), Prefix: w.prefix, HasLeader: func() bool { return false }})
	e := w.engine(cut)
	if got, ok := e.Get(r.ID); !ok || got.State != api.RolloutRunning {
		t.Errorf("shown: %+v", got)
	}
	if _, err := e.Act(t.Context(), r.ID, rollout.Ask{Action: rollout.ActPause, By: "ann"}); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("pause: %v", err)
	}
	if _, _, err := e.Create(t.Context(), api.RolloutSpec{Bundle: newBundle, Group: "web"}, "ann", "k"); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Errorf("create: %v", err)
	}
}

func TestEngine_RefusalsNameWhatIsWrong(t *testing.T) {
	w := newWorld(t, 1, 1)
	e := w.engine(w.store())
	for name, c := range map[string]struct {
		spec api.RolloutSpec
		kind api.Kind
	}{
		"an unknown bundle": {api.RolloutSpec{Bundle: strings.Repeat("0", 64), Group: "web"}, api.NotFound},
		"an unknown group":  {api.RolloutSpec{Bundle: newBundle, Group: "wbe"}, api.UnknownGroup},
		"an unknown node":   {api.RolloutSpec{Bundle: newBundle, Nodes: []string{"n77"}}, api.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			_, _, err := e.Create(context.Background(), c.spec, "ann", "")
			_, planErr := e.Plan(c.spec)
			for _, err := range []error{err, planErr} {
				var refused *api.Error
				if !errors.As(err, &refused) || refused.Kind != c.kind {
					t.Errorf("got %v, want %s", err, c.kind)
				}
			}
		})
	}
	var refused *api.Error
	if _, err := e.Act(t.Context(), "ro-none", rollout.Ask{Action: rollout.ActPause, By: "ann"}); !errors.As(err, &refused) || refused.Kind != api.NotFound {
		t.Errorf("an unknown rollout: %v", err)
	}
}

// lossy carries each change out, and loses the answer of the first.
type lossy struct {
	*Store
	mu   sync.Mutex
	lost map[string]bool
}

func (l *lossy) lose(what string, err error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil || l.lost[what] {
		return err
	}
	l.lost[what] = true
	return fmt.Errorf("%w: %w", semaphore.ErrNoQuorum, context.DeadlineExceeded)
}

func (l *lossy) Create(ctx context.Context, c rollout.Creation) error {
	return l.lose("create", l.Store.Create(ctx, c))
}

func (l *lossy) Write(ctx context.Context, c rollout.Change) error {
	if c.Term != nil {
		return l.Store.Write(ctx, c)
	}
	return l.lose("write", l.Store.Write(ctx, c))
}

func TestEngine_AfterALostAnswerNothingIsDoneTwice(t *testing.T) {
	w := newWorld(t, 1, 1)
	e := w.engine(&lossy{Store: w.store(), lost: map[string]bool{}})
	r, created, err := e.Create(t.Context(), api.RolloutSpec{Bundle: newBundle, Group: "web"}, "ann", "k")
	if err != nil || !created {
		t.Fatalf("create: %v, err %v", created, err)
	}
	if n := len(e.List()); n != 1 {
		t.Errorf("%d rollouts", n)
	}
	if got := w.act(e, r.ID, rollout.ActPause); got.State != api.RolloutPaused {
		t.Errorf("paused, it is %s", got.State)
	}
	if got := kinds(w.events(r.ID)); got[rollout.EventCreated] != 1 || got[rollout.EventPaused] != 1 {
		t.Errorf("events: %v", got)
	}
}

func TestEngine_TheOldestEndedRolloutsAreForgotten(t *testing.T) {
	w := newWorld(t, 0, 1)
	s := started(t, w.store())
	for i := range 103 {
		all, err := s.ReadAll(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		id := fmt.Sprintf("ro-%03d", i)
		head := rollout.Head{V: 1, ID: id, State: api.RolloutAborted, EventSeq: 1, CreatedAt: time.Now().Add(time.Duration(i) * time.Second)}
		if i == 0 {
			head.State = api.RolloutPaused
		}
		nodes := []rollout.Selected{{Node: "n1", Group: "web"}}
		if err := s.Create(t.Context(), rollout.Creation{Head: head, Nodes: nodes, Catalog: all.Catalog, Event: semaphore.Event{Scope: "rollout/" + id, Seq: 1}}); err != nil {
			t.Fatal(err)
		}
	}
	e := w.engine(w.store())
	w.eventually("101 to be left", func() bool { return len(e.List()) == 101 })
	for id, want := range map[string]bool{"ro-000": true, "ro-001": false, "ro-002": false, "ro-003": true, "ro-102": true} {
		if _, kept := e.Get(id); kept != want {
			t.Errorf("%s is kept: %v", id, kept)
		}
	}
}
