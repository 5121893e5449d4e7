package service

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// scheduled is a spec with everything that a clock decides.
func scheduled(now time.Time) api.GroupSpec {
	now = now.UTC().Truncate(time.Second)
	return api.GroupSpec{
		Slots: "2",
		Windows: []api.WindowSpec{
			{Name: "night", Weekdays: []string{"mon-fri", "sat"}, Start: "22:00", Duration: "4h0m0s", Cutoff: "30m0s", TimeZone: "Europe/Berlin"},
			{Cron: "0 3 * * sun", Duration: "2h0m0s"},
		},
		Blackouts:     []api.BlackoutSpec{{Name: "year-end", Start: now.Add(time.Hour), End: now.Add(2 * time.Hour), Reason: "shop season"}},
		GrantInterval: "10m0s",
	}
}

func TestPutGroup_WhatAClockDecidesIsReadBackAsItWasDeclared(t *testing.T) {
	b := start(t)
	spec := scheduled(b.now())
	g, err := b.PutGroup(b.admin(), "web", spec, "*")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(spec, g.Spec); diff != "" {
		t.Error(diff)
	}
	again, err := b.PutGroup(b.admin(), "web", g.Spec, "")
	if err != nil || again.Revision != g.Revision {
		t.Errorf("declaring what was read changed something: %d → %d %v", g.Revision, again.Revision, err)
	}
	spec.Windows, spec.Blackouts, spec.GrantInterval = nil, nil, ""
	if g, err = b.PutGroup(b.admin(), "web", spec, ""); err != nil || len(g.Spec.Windows)+len(g.Spec.Blackouts) > 0 || g.Spec.GrantInterval != "" || g.Status.Window != nil {
		t.Errorf("%+v %v", g, err)
	}
}

func TestPutGroup_NamesTheWrongFieldOfWhatAClockDecides(t *testing.T) {
	b := start(t)
	now := b.now().UTC()
	for path, c := range map[string]struct {
		wants string
		spoil func(*api.GroupSpec)
	}{
		"windows[0].time_zone": {`"Mars/Base" is no time zone: want an IANA name`, func(s *api.GroupSpec) { s.Windows[0].TimeZone = "Mars/Base" }},
		"windows[0].weekdays":  {`want a day such as "sat"`, func(s *api.GroupSpec) { s.Windows[0].Weekdays = []string{"someday"} }},
		"windows[0].start":     {`want a time from "00:00" to "23:59"`, func(s *api.GroupSpec) { s.Windows[0].Start = "24:00" }},
		"windows[0].cutoff":    {"nothing could ever start", func(s *api.GroupSpec) { s.Windows[0].Cutoff = "4h" }},
		"windows[1].duration":  {"is missing: want how long the window lasts", func(s *api.GroupSpec) { s.Windows[1].Duration = "" }},
		"windows[1].cron":      {"no such day ever comes, so the window would never open", func(s *api.GroupSpec) { s.Windows[1].Cron = "0 3 31 feb *" }},
		"windows[2].duration": {`"soon": want a duration such as 30m`, func(s *api.GroupSpec) {
			s.Windows = append(s.Windows, api.WindowSpec{Start: "22:00", Duration: "soon"})
		}},
		"blackouts[0].end":  {"is not after the start", func(s *api.GroupSpec) { s.Blackouts[0].End = now.Add(-time.Hour) }},
		"blackouts[0].name": {"must not be empty", func(s *api.GroupSpec) { s.Blackouts[0].Name = "" }},
		"blackouts[1].name": {"is the name of blackouts[0] already", func(s *api.GroupSpec) { s.Blackouts = append(s.Blackouts, s.Blackouts[0]) }},
		"grant_interval":    {`"often": want a duration`, func(s *api.GroupSpec) { s.GrantInterval = "often" }},
		"slots":             {"a percentage is at most 100%", func(s *api.GroupSpec) { s.Slots = "101%" }},
	} {
		spec := scheduled(now)
		c.spoil(&spec)
		_, err := b.PutGroup(b.admin(), "web", spec, "")
		field(t, err, path)
		if !strings.Contains(err.Error(), c.wants) {
			t.Errorf("%s: %v", path, err)
		}
	}
	_, err := b.Group(b.admin(), "web")
	mustRefuse(t, err, api.UnknownGroup)
}

func TestPutGroup_ALimitOnALabelThatNobodyHasNamesItsField(t *testing.T) {
	b := start(t)
	req := poll("default")
	req.Report.Labels = map[string]string{"zone": "a"}
	if _, err := b.Poll(b.as("n"), "n", req); err != nil {
		t.Fatal(err)
	}
	_, err := b.PutGroup(b.admin(), "default", api.GroupSpec{Slots: "1", Limits: []api.Limit{{By: "zone", Max: "1"}, {By: "rack", Max: "1"}}}, "")
	field(t, err, "limits[1].by")
	if !strings.Contains(err.Error(), "they have zone") {
		t.Error(err)
	}
	if g, err := b.Group(b.admin(), "default"); err != nil || len(g.Spec.Limits) > 0 {
		t.Errorf("%+v %v", g.Spec, err)
	}
}

func TestGroup_SaysWhatIsInForce(t *testing.T) {
	b := start(t)
	now := b.now().UTC().Truncate(time.Minute)
	opens := now.Add(2 * time.Hour)
	b.schedule("web", func(s *api.GroupSpec) {
		s.Windows = []api.WindowSpec{{Name: "later", Start: opens.Format("15:04"), Duration: "1h"}}
		s.Blackouts = []api.BlackoutSpec{{Name: "release", Start: now.Add(-time.Hour), End: now.Add(time.Hour)}}
	})
	g, err := b.Group(b.admin(), "web")
	if err != nil {
		t.Fatal(err)
	}
	if w := g.Status.Window; w == nil || w.Open || w.Name != "later" || !w.Next.Equal(opens) {
		t.Errorf("window: %+v", w)
	}
	if bl := g.Status.Blackout; bl == nil || bl.Name != "release" {
		t.Errorf("blackout: %+v", bl)
	}
	if g.Status.Free != 0 || !strings.Contains(g.Status.Shut, `blackout "release" lasts until`) || !strings.Contains(g.Status.Shut, "no window is open") {
		t.Errorf("%d free, %q", g.Status.Free, g.Status.Shut)
	}

	b.clock.pass(2*time.Hour + time.Minute)
	if g, err = b.Group(b.admin(), "web"); err != nil {
		t.Fatal(err)
	}
	if w := g.Status.Window; w == nil || !w.Open || !w.Until.Equal(opens.Add(time.Hour)) || !w.Next.Equal(opens.Add(24*time.Hour)) {
		t.Errorf("window: %+v", w)
	}
	if g.Status.Blackout != nil || g.Status.Free != 2 || g.Status.Shut != "" {
		t.Errorf("%+v", g.Status)
	}
}

// schedule declares a group of two slots.
func (b *bench) schedule(name string, change func(*api.GroupSpec)) {
	b.t.Helper()
	spec := api.GroupSpec{Slots: "2"}
	change(&spec)
	if _, err := b.PutGroup(b.admin(), name, spec, ""); err != nil {
		b.t.Fatal(err)
	}
}

func TestAcquire_AShutWindowABlackoutAndTheIntervalRefuseAgentsAndFleetLockAlike(t *testing.T) {
	b := start(t)
	now := b.now().UTC().Truncate(time.Minute)
	for name, c := range map[string]struct {
		kind   api.Kind
		change func(*api.GroupSpec)
		until  time.Time
	}{
		"window": {api.Window, func(s *api.GroupSpec) {
			s.Windows = []api.WindowSpec{{Start: now.Add(2 * time.Hour).Format("15:04"), Duration: "1h"}}
		}, now.Add(2 * time.Hour)},
		"blackout": {api.Blackout, func(s *api.GroupSpec) {
			s.Blackouts = []api.BlackoutSpec{{Name: "x", Start: now.Add(-time.Minute), End: now.Add(3 * time.Hour)}}
		}, now.Add(3 * time.Hour)},
		"interval": {api.Interval, func(s *api.GroupSpec) { s.GrantInterval = "2h" }, now.Add(2 * time.Hour)},
	} {
		b.schedule(name, c.change)
		b.hello(name+"-agent", name)
		if c.kind == api.Interval {
			b.hello("first", name)
			b.acquire(name, "first")
		}
		_, err := b.Acquire(b.as(name+"-agent"), name, name+"-agent", api.AcquireRequest{Instance: "i1", Request: "q1"}, 0)
		e := mustRefuse(t, err, c.kind)
		if late := e.Earliest.Sub(c.until); late < 0 || late > 2*time.Minute {
			t.Errorf("%s: earliest %s, want about %s", name, e.Earliest, c.until)
		}
		if e.RetryAfter != 5*time.Minute {
			t.Errorf("%s: Retry-After %s: a change of the schedule would be noticed late", name, e.RetryAfter)
		}
		a, err := b.lock(name, name+"-core", "10.0.0.1:1")
		if err != nil || api.Kind(a.Kind) != c.kind || len(a.Blockers) == 0 || a.Place != 1 {
			t.Errorf("%s: FleetLock: %+v %v", name, a, err)
		}
	}
}

func TestExplainNode_SaysWhenItCouldGoAndWhenItProbablyWill(t *testing.T) {
	b := start(t)
	now := b.now().UTC()
	b.withGroup("web", "1")
	for _, n := range []string{"a", "b", "c"} {
		b.hello(n, "web")
	}
	v, err := b.ExplainNode(b.admin(), "b")
	if err != nil || !v.MayGo || !v.Earliest.IsZero() || !v.Estimate.IsZero() {
		t.Errorf("%+v %v", v, err)
	}
	// The one hold that ended took ten minutes.
	h := b.acquire("web", "a")
	b.confirm(h)
	b.clock.pass(10 * time.Minute)
	if err := b.Release(b.as("a"), "web", "a", h.Fence, h.Instance); err != nil {
		t.Fatal(err)
	}
	b.confirm(b.acquire("web", "b"))
	b.rollouts.want("c", &api.Wanted{Rollout: "r1", Bundle: "x"})
	b.eventually("an estimate of ten minutes", func() bool {
		b.lasted.forget()
		v, err := b.ExplainNode(b.admin(), "c")
		if err != nil {
			t.Fatal(err)
		}
		after := v.Estimate.Sub(b.now())
		return v.Blockers[0].Kind == api.Full && after > 9*time.Minute && after < 11*time.Minute && strings.Contains(v.EstimateBasis, "the last 1 of group web did on average: 10m0")
	})
	// A blackout puts both off, also while the estimate from before it is remembered.
	b.estimates.last["web/c"] = estimate{at: now.Add(20 * time.Minute), basis: "remembered", until: time.Now().Add(time.Hour)}
	b.schedule("web", func(s *api.GroupSpec) {
		s.Slots = "1"
		s.Blackouts = []api.BlackoutSpec{{Name: "x", Start: now.Add(-time.Minute), End: now.Add(3 * time.Hour)}}
	})
	v, err = b.ExplainNode(b.admin(), "c")
	if err != nil || v.MayGo || !v.Earliest.Equal(now.Add(3*time.Hour)) || !v.Estimate.Equal(v.Earliest) {
		t.Errorf("%+v %v", v, err)
	}
	if len(v.Blockers) != 2 || v.Blockers[0].Kind != api.Blackout || !v.Blockers[0].Until.Equal(v.Earliest) || v.Blockers[1].Kind != api.Full {
		t.Errorf("blockers: %+v", v.Blockers)
	}
}

// forget makes the next estimate rest on the trail as it is then.
func (l *Lasted) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.by = nil
}

func TestHoldsThatEnded_CountsWhatNodesReturnedAndNothingElse(t *testing.T) {
	at := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	e := func(kind, node string, minute int) api.Event {
		return api.Event{Kind: kind, Group: "web", Node: node, At: at.Add(time.Duration(minute) * time.Minute)}
	}
	got := holdsThatEnded([]api.Event{
		e("hold.released", "before", 0), // its grant is not in the trail any more
		e("hold.granted", "a", 0), e("hold.refenced", "a", 3), e("hold.released", "a", 4),
		e("hold.granted", "b", 1), e("hold.revoked", "b", 2), e("hold.released", "b", 60),
		e("hold.granted", "c", 1), e("hold.expired", "c", 2),
		e("hold.granted", "a", 10), e("hold.released", "a", 16),
		e("hold.granted", "d", 10),
	})
	if diff := cmp.Diff(map[string][]time.Duration{"web": {4 * time.Minute, 6 * time.Minute}}, got); diff != "" {
		t.Error(diff)
	}
}

func TestExplain_NamesTheWindowThatNothingStartsBefore(t *testing.T) {
	b := start(t)
	opens := b.now().UTC().Truncate(time.Minute).Add(2 * time.Hour)
	b.schedule("default", func(s *api.GroupSpec) {
		s.Windows = []api.WindowSpec{{Name: "later", Start: opens.Format("15:04"), Duration: "1h"}}
	})
	b.hello("idle", "default")
	e, err := b.Explain(b.admin(), "default")
	if err != nil || !strings.Contains(e.Summary, "nobody could go: no window is open; the next (later) opens at") || !e.Groups[0].Earliest.Equal(opens) {
		t.Errorf("%+v %v", e, err)
	}
	if a, err := b.lock("default", "core", "10.0.0.1:1"); err != nil || a.Kind != semaphore.WindowShut {
		t.Fatalf("%+v %v", a, err)
	}
	b.withGroup("other", "1")
	b.eventually("the one sentence of the fleet names the opening", func() bool {
		e, err = b.Explain(b.admin(), "")
		return err == nil && strings.HasPrefix(e.Summary, "Nothing starts before "+clock(opens)+": in group default, no window is open")
	})
	b.eventually("the status says it too", func() bool {
		st, err := b.Status(b.admin())
		return err == nil && st.OK && strings.HasPrefix(st.Sentence, "All is well: 1 waits, and nothing starts: in group default, no window is open")
	})
}

func TestHolds_SayWhenAFleetLockHostWasHeard(t *testing.T) {
	b := start(t)
	if a, err := b.lock("default", "core", "10.0.0.1:1"); err != nil || a.Kind != semaphore.OK {
		t.Fatalf("%+v %v", a, err)
	}
	b.eventually("the hold is seen", func() bool {
		holds, err := b.Holds(b.admin(), "default")
		return err == nil && len(holds) == 1 && holds[0].Heard != nil && b.now().Sub(*holds[0].Heard) < time.Minute
	})
}

// A node's token is for its id, in whatever group that belongs to: it opens no
// other group's slots.
func TestAcquire_InAGroupThatTheNodeDoesNotBelongToChangesNothing(t *testing.T) {
	b := start(t)
	b.withGroup("other", "1")
	b.hello("n", "default")
	before, err := b.sem.Read(t.Context(), "other")
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range []time.Duration{0, time.Minute} {
		_, err := b.Acquire(b.as("n"), "other", "n", api.AcquireRequest{Instance: "i1", Request: "q1"}, wait)
		if e := mustRefuse(t, err, api.NotFound); !strings.Contains(e.Detail, `node "n" is no member of group "other"`) {
			t.Error(e)
		}
	}
	_, err = b.Acquire(b.as("n"), "other", "m", api.AcquireRequest{Instance: "i1", Request: "q1"}, 0)
	mustRefuse(t, err, api.Forbidden)
	after, err := b.sem.Read(t.Context(), "other")
	if err != nil || after.HeadRev != before.HeadRev || after.Size()+after.Waiting()+after.Held() > 0 {
		t.Errorf("%+v %v", after, err)
	}
}

func TestSetPriority_OutOfRangeChangesNothing(t *testing.T) {
	b := start(t)
	b.hello("a", "default")
	b.acquire("default", "a")
	for _, n := range []string{"b", "c"} {
		if a, err := b.lock("default", n, "10.0.0.1:1"); err != nil || a.Place == 0 {
			t.Fatalf("%+v %v", a, err)
		}
	}
	for _, p := range []int{-101, 101, 1 << 40} {
		field(t, b.SetPriority(b.admin(), "default", "c", api.PriorityRequest{Priority: p}), "priority")
	}
	mustRefuse(t, b.SetPriority(b.admin(), "default", "nobody", api.PriorityRequest{Priority: 1}), api.NotFound)
	first := func() string {
		g, err := b.Group(b.admin(), "default")
		if err != nil {
			t.Fatal(err)
		}
		return g.Queue[0].Node
	}
	if n := first(); n != "b" {
		t.Errorf("%s is first", n)
	}
	if err := b.SetPriority(b.admin(), "default", "c", api.PriorityRequest{Priority: 100}); err != nil {
		t.Fatal(err)
	}
	b.eventually("c is first", func() bool { return first() == "c" })
}

func TestExplainNode_ALongQueueIsNotPlayedThroughForEveryLook(t *testing.T) {
	b := start(t)
	b.withGroup("web", "1")
	st, err := b.sem.Read(t.Context(), "web")
	if err != nil {
		t.Fatal(err)
	}
	st = st.Plain()
	st.Members = map[string]semaphore.Member{}
	for i := range 10_000 {
		id := fmt.Sprint("n", i)
		st.Members[id] = semaphore.Member{Node: id}
		st.Queue = append(st.Queue, semaphore.Waiter{Node: id, Elsewhere: true, CreateRevision: int64(i)})
	}
	b.lasted.by, b.lasted.at = map[string][]time.Duration{"web": {time.Minute}}, time.Now().Add(time.Hour)
	look := func() api.Verdict {
		v := api.Verdict{Node: "n9999", Group: "web", Place: 10_000}
		b.estimate(t.Context(), &v, &st, b.now())
		return v
	}
	first := look()
	if took := first.Estimate.Sub(b.now()); took < 9998*time.Minute || took > 10_000*time.Minute {
		t.Errorf("the last of 10,000 goes in %s", took)
	}
	if again := look(); !again.Estimate.Equal(first.Estimate) {
		t.Errorf("the queue was played through again at once: %s, then %s", first.Estimate, again.Estimate)
	}
}

func TestAttention_AClockThatIsOffNamesTheGroupsThatWaitForIt(t *testing.T) {
	const off = "it is 41s off the clocks of the others"
	states := map[string]semaphore.State{
		"plain":   {Group: "plain", ClockOff: off},
		"nightly": {Group: "nightly", ClockOff: off, Spec: semaphore.Spec{Windows: []semaphore.Window{{Start: "22:00"}}}},
		"slow":    {Group: "slow", ClockOff: off, Spec: semaphore.Spec{GrantInterval: 1}},
	}
	list := clockOff(states)
	if len(list) != 1 || list[0].Kind != attentionClock || !strings.Contains(list[0].Detail, "(nightly, slow)") || !strings.HasPrefix(list[0].Detail, "It is 41s off") {
		t.Errorf("%+v", list)
	}
	if list := clockOff(map[string]semaphore.State{"plain": states["plain"]}); len(list) != 0 {
		t.Errorf("where no clock decides: %+v", list)
	}
}
