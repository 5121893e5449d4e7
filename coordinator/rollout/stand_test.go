package rollout

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// What an event tells was before it, and is after it.
func TestEvents_SayWhatWasAndWhatIs(t *testing.T) {
	check := func(events []semaphore.Event, kind, before, after string) {
		t.Helper()
		for _, e := range events {
			if e.Kind == kind {
				if string(e.Before) != before || string(e.After) != after {
					t.Errorf("%s: before %s, after %s; want %s and %s", kind, e.Before, e.After, before, after)
				}
				return
			}
		}
		t.Errorf("no event %s in %v", kind, events)
	}
	st := rolloutOf(2, 0)
	d := Decide(st.Head.Spec, st, []NodeView{failedAt(noon, "n1"), idle("n2")}, noon)
	check(d.Events, EventNodeFailed, "", `{"state":"failed","attempt":1}`)
	check(d.Events, EventHalted, `{"state":"running","wave":1}`, `{"state":"halted","wave":1}`)
	st = applied(st, d)
	d, _ = Apply(st, Ask{Action: ActRetry, By: "ann"}, noon)
	check(d.Events, EventRetried, `{"state":"halted","wave":1}`, `{"state":"running","wave":1}`)
	st = applied(st, d)
	d = Decide(st.Head.Spec, st, []NodeView{done("n1"), done("n2")}, noon)
	check(d.Events, EventSucceeded, `{"state":"running","wave":1}`, `{"state":"succeeded","wave":1}`)
	check(d.Events, EventNodeUpdated, `{"state":"failed","attempt":1}`, `{"state":"updated","attempt":2}`)

	st = rolloutOf(2, 0)
	d, _ = Apply(st, Ask{Action: ActAbort, By: "ann"}, noon)
	check(d.Events, EventAborted, `{"state":"running","wave":1}`, `{"state":"aborted","wave":1}`)

	c := Creation{Head: Head{Spec: api.RolloutSpec{Start: noon.Add(time.Hour)}}, Event: semaphore.Event{Kind: EventCreated}}
	if refused := meet(&c, nil, noon); refused != nil {
		t.Fatal(refused)
	}
	check([]semaphore.Event{c.Event}, EventCreated, "", `{"state":"scheduled"}`)
}
