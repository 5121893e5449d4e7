package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestNotices_AreOfEachOccasionForWhomItIs(t *testing.T) {
	now := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	halt, done, both := api.NotifySpec{Webhook: "halt"}, api.NotifySpec{Webhook: "done"}, api.NotifySpec{URL: "https://h/both", Format: "slack"}
	spec := api.RolloutSpec{Name: "kernel", OnHalt: []api.NotifySpec{halt, both}, OnDone: []api.NotifySpec{done, both}}
	for _, c := range []struct {
		kind    string
		state   api.RolloutState
		stalled []api.Kind
		want    string
	}{
		{EventHalted, api.RolloutHalted, nil, "halted: halt https://h"},
		{EventFailed, api.RolloutFailed, nil, "failed: halt https://h done"},
		{EventSucceeded, api.RolloutSucceeded, nil, "succeeded: done https://h"},
		{EventAborted, api.RolloutAborted, nil, "aborted: done https://h"},
		{EventStalled, api.RolloutRunning, []api.Kind{api.Frozen}, "stalled: halt https://h"},
		{EventStalled, api.RolloutRunning, []api.Kind{api.Window, api.Full}, "stalled: halt https://h"},
		{EventStalled, api.RolloutRunning, []api.Kind{api.Window, api.Blackout}, ""},
		{EventPaused, api.RolloutPaused, nil, ""},
		{EventNodeFailed, api.RolloutRunning, nil, ""},
	} {
		head := Head{ID: "ro-1", Spec: spec, State: c.state, Why: "as it is", By: "ann"}
		if c.stalled != nil {
			head.Stalled = &api.Stalled{Since: now}
			for _, k := range c.stalled {
				head.Stalled.Blockers = append(head.Stalled.Blockers, api.Blocker{Kind: k})
			}
		}
		change := Change{Head: head, Events: []semaphore.Event{{Seq: 7, Kind: c.kind, Detail: "for a reason", At: now}}}
		got := ""
		for _, n := range change.Notices() {
			got = n.What + ":"
			for _, r := range n.To {
				got += " " + shownTo(r.NotifySpec)
			}
			if n.ID() != "ro-1.7" || n.Why != "for a reason" || n.Name != "kernel" || !n.At.Equal(now) {
				t.Errorf("%s: %+v", c.kind, n)
			}
		}
		if got != c.want {
			t.Errorf("%s: told %q, want %q", c.kind, got, c.want)
		}
	}
}

func TestNotices_UnknownMembersAreKept(t *testing.T) {
	n, err := DecodeNotice([]byte(`{"v":1,"seq":3,"what":"halted","rollout":"ro-1","to":[{"webhook":"a"}],"colour":"red"}`))
	if err != nil || n.Seq != 3 {
		t.Fatalf("%+v %v", n, err)
	}
	if text, err := n.Encode(1); err != nil || !strings.Contains(string(text), `"colour":"red"`) {
		t.Errorf("%s %v", text, err)
	}
}
