package service

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// verdicts is a group on a real store that a history is made in, and every
// answer of explain is tried.
type verdicts struct {
	*bench
	t     *rapid.T
	group string
	seen  map[string]int // outcomes, so that the test is known to have seen both
}

// node is a node's id in this history: a node that holds in one group cannot
// join another.
func (v *verdicts) node(i int) string { return fmt.Sprintf("%s-n%d", v.group, i) }

// declare draws a spec whose spans begin and end minutes away, so that no
// moment of the test lies on an edge.
func (v *verdicts) declare() {
	now := v.now().UTC()
	minutes := func(name string, low, high int) time.Duration {
		return time.Duration(rapid.IntRange(low, high).Draw(v.t, name))*10*time.Minute + 5*time.Minute
	}
	spec := api.GroupSpec{
		Slots:            api.Slots(rapid.SampledFrom([]string{"0", "1", "2", "3", "50%"}).Draw(v.t, "slots")),
		CountUnreachable: rapid.Bool().Draw(v.t, "count unreachable"),
	}
	if rapid.Bool().Draw(v.t, "limit") {
		spec.Limits = []api.Limit{{By: "zone", Max: api.Slots(rapid.SampledFrom([]string{"1", "2"}).Draw(v.t, "max"))}}
	}
	if rapid.IntRange(0, 2).Draw(v.t, "window") == 0 {
		opens := now.Add(minutes("opens", -12, 12))
		spec.Windows = []api.WindowSpec{{Start: opens.Format("15:04"), Duration: "2h", Cutoff: rapid.SampledFrom([]string{"", "30m"}).Draw(v.t, "cutoff")}}
	}
	if rapid.IntRange(0, 2).Draw(v.t, "blackout") == 0 {
		begins := now.Add(minutes("begins", -12, 12))
		spec.Blackouts = []api.BlackoutSpec{{Name: "b", Start: begins, End: begins.Add(time.Hour)}}
	}
	if rapid.IntRange(0, 2).Draw(v.t, "interval") == 0 {
		spec.GrantInterval = "15m"
	}
	if _, err := v.PutGroup(v.admin(), v.group, spec, ""); err != nil {
		v.t.Fatal(err)
	}
}

// try asks explain, and then for a slot, at one moment and revision: nobody
// else changes the group.
func (v *verdicts) try(id string, fleetlock bool) {
	verdict, err := v.ExplainNode(v.admin(), id)
	if err != nil {
		v.t.Fatal(err)
	}
	if fleetlock {
		var a semaphore.Answer
		if a, err = v.lock(v.group, id, "10.0.0.1:1"); err == nil {
			err = v.refusal(a)
		}
	} else {
		_, err = v.Acquire(v.as(id), v.group, id, api.AcquireRequest{Instance: "i1", Request: "q", BootID: "b1"}, 0)
	}
	var refused *api.Error
	switch {
	case err != nil && !errors.As(err, &refused):
		v.t.Fatal(err)
	case verdict.Hold != nil:
		v.seen["held"]++
	case verdict.MayGo != (err == nil):
		v.t.Fatalf("explain says %+v; acquire answers %v", verdict, err)
	case err == nil:
		v.seen["granted"]++
	default:
		v.seen[string(refused.Kind)]++
		if verdict.Blockers[0].Kind != refused.Kind {
			v.t.Fatalf("explain names %s first, acquire %s", verdict.Blockers[0].Kind, refused.Kind)
		}
	}
}

// happen is one thing that changes what may go.
func (v *verdicts) happen() {
	id := v.node(rapid.IntRange(0, 3).Draw(v.t, "node"))
	st, err := v.sem.Read(v.t.Context(), v.group)
	if err != nil {
		v.t.Fatal(err)
	}
	h, holds := st.Hold(id)
	switch what := rapid.SampledFrom([]string{"release", "expire", "freeze", "unfreeze", "down", "declare", "pass", "place"}).Draw(v.t, "what"); what {
	case "release":
		if holds {
			_, err = v.sem.Do(v.t.Context(), v.group, semaphore.Release{Node: id, Instance: h.Instance, Via: h.Via, Fence: h.Fence})
		}
	case "expire":
		_, err = v.sem.Do(v.t.Context(), v.group, semaphore.Expire{Node: id, Fence: h.Fence})
	case "freeze":
		_, err = v.Freeze(v.admin(), v.group, api.FreezeRequest{Reason: "why not"})
	case "unfreeze":
		if st.Head.Freeze != nil {
			err = v.Unfreeze(v.admin(), v.group, st.Head.Freeze.ID)
		}
	case "down":
		_, err = v.sem.Do(v.t.Context(), v.group, semaphore.SetDown{Node: id, Down: rapid.Bool().Draw(v.t, "down")})
	case "declare":
		v.declare()
	case "pass":
		v.clock.pass(time.Duration(rapid.IntRange(1, 12).Draw(v.t, "pass")) * 10 * time.Minute)
	case "place": // of a host that asks again later
		_, err = v.lock(v.group, v.node(4), "10.0.0.2:1")
	}
	if err != nil {
		v.t.Fatal(err)
	}
}

// Explain and acquire are held against each other through the service on a real
// store; that the rules themselves agree is for the semaphore's own tests.
func TestExplainNode_SaysMayGoExactlyWhenAcquireGrants(t *testing.T) {
	b := start(t)
	seen := map[string]int{}
	n := 0
	rapid.Check(t, func(rt *rapid.T) {
		n++
		v := &verdicts{bench: b, t: rt, group: fmt.Sprintf("g%d", n), seen: seen}
		v.declare()
		for i := range 4 {
			req := poll(v.group)
			req.Report.Labels = map[string]string{"zone": rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "zone")}
			if _, err := b.Poll(b.as(v.node(i)), v.node(i), req); err != nil {
				rt.Fatal(err)
			}
		}
		if _, err := b.lock(v.group, v.node(4), "10.0.0.2:1"); err != nil {
			rt.Fatal(err)
		}
		for range rapid.IntRange(3, 10).Draw(rt, "steps") {
			v.happen()
			i := rapid.IntRange(0, 4).Draw(rt, "who")
			v.try(v.node(i), i == 4)
		}
	})
	t.Logf("%v", seen)
	for _, outcome := range []api.Kind{"granted", "held", api.Full, api.Window, api.Blackout, api.Interval, api.Frozen} {
		if seen[string(outcome)] == 0 {
			t.Errorf("no case was %s", outcome)
		}
	}
}
