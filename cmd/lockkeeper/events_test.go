package main

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// streams is a coordinator whose event streams end after a few events.
type streams struct {
	coordinator
	all   []api.Event
	cuts  []int // events of each stream; then the command is ended
	asked []int64
	end   context.CancelFunc
}

func (s *streams) Events(context.Context, api.EventQuery) (api.EventList, error) {
	return api.EventList{Events: s.all[:1], Next: s.all[0].Revision}, nil
}

func (s *streams) WatchEvents(ctx context.Context, after int64) (<-chan api.Event, error) {
	s.asked = append(s.asked, after)
	if len(s.cuts) == 0 {
		s.end()
		return nil, ctx.Err()
	}
	n := s.cuts[0]
	s.cuts = s.cuts[1:]
	if n == 0 {
		return nil, client.ErrUnreachable
	}
	events := make(chan api.Event, n)
	for _, e := range s.all {
		if e.Revision > after && len(events) < n {
			events <- e
		}
	}
	close(events)
	return events, nil
}

func TestEventsFollow_HasEachEventOnceThoughItsStreamBreaksWithinARevision(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &streams{end: cancel, cuts: []int{2, 0, 3, 9}, all: []api.Event{
		{Revision: 5, Scope: "web", Seq: 1, Kind: "a"},
		{Revision: 7, Scope: "web", Seq: 2, Kind: "b"},
		{Revision: 9, Scope: "web", Seq: 3, Kind: "c"},
		{Revision: 9, Scope: "fleet", Seq: 1, Kind: "d"},
		{Revision: 9, Scope: "fleet", Seq: 2, Kind: "e"},
		{Revision: 12, Scope: "web", Seq: 4, Kind: "f"},
	}}
	var out strings.Builder
	a := &app{out: &out, err: &strings.Builder{}, now: func() time.Time { return noon }, every: 1, connect: func(client.Config) (coordinator, error) { return s, nil }}
	root := newRoot(a)
	root.SetArgs([]string{"events", "--follow", "-o", "json"})
	if code := a.exit(root, root.ExecuteContext(ctx), true); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	kinds := ""
	for line := range strings.Lines(out.String()) {
		var e api.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		kinds += e.Kind
	}
	if kinds != "abcdef" {
		t.Errorf("events %q, asked behind %v", kinds, s.asked)
	}
}

// writing is a coordinator on which somebody writes between two pages, and which
// is away now and then.
type writing struct {
	coordinator
	all   []api.Event
	later int // events that come one before each page
	away  int
}

func (w *writing) Events(_ context.Context, q api.EventQuery) (api.EventList, error) {
	if w.away++; w.away%3 == 0 {
		return api.EventList{}, client.ErrUnreachable
	}
	if q.Last {
		return api.EventList{Events: w.all[len(w.all)-1:], Next: w.all[len(w.all)-1].Revision}, nil
	}
	if w.later > 0 {
		w.later--
		newest := w.all[len(w.all)-1].Revision
		w.all = append(w.all, api.Event{Revision: newest + 1, Kind: "late"})
	}
	out := api.EventList{Next: q.After}
	for _, e := range w.all {
		if e.Revision <= q.After {
			continue
		}
		if len(out.Events) >= q.Limit && e.Revision != out.Next {
			break
		}
		out.Events, out.Next = append(out.Events, e), e.Revision
	}
	return out, nil
}

func TestEventsExport_HasEachEventOnceWhateverIsWrittenMeanwhile(t *testing.T) {
	w := &writing{later: 1_000_000} // there is always one more
	const n = 2*exportPage + 500
	for i := range n {
		w.all = append(w.all, api.Event{Revision: int64(1 + i/2), Seq: int64(i), Kind: "k", After: json.RawMessage(`{"slots":2}`)}) // two a revision
	}
	var out strings.Builder
	a := &app{out: &out, err: &strings.Builder{}, now: func() time.Time { return noon }, every: 1, connect: func(client.Config) (coordinator, error) { return w, nil }}
	root := newRoot(a)
	root.SetArgs([]string{"events", "export"})
	if code := a.exit(root, root.ExecuteContext(t.Context()), true); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	var got []api.Event
	for line := range strings.Lines(out.String()) {
		var e api.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		got = append(got, e)
	}
	if len(got) < n || len(got) > len(w.all) {
		t.Fatalf("%d lines, want those %d that were there", len(got), n)
	}
	for i, e := range got {
		if e.Revision != w.all[i].Revision || e.Seq != w.all[i].Seq || string(e.After) != string(w.all[i].After) {
			t.Fatalf("line %d is %+v, want %+v", i+1, e, w.all[i])
		}
	}
}

func TestEventsFollow_HasOnlyWhatWasAskedFor(t *testing.T) {
	event := func(seq int64, kind, node, rollout string) api.Event {
		return api.Event{Revision: seq, Scope: "web", Seq: seq, Kind: kind, Node: node, Rollout: rollout}
	}
	all := []api.Event{event(1, "hold.granted", "a", "r"), event(2, "hold.released", "a", ""), event(3, "holding", "a", "r"), event(4, "hold.granted", "b", "r"), event(5, "freeze.set", "", "")}
	for _, c := range []struct {
		q    api.EventQuery
		want []int64
	}{
		{api.EventQuery{}, []int64{1, 2, 3, 4, 5}},
		{api.EventQuery{Kind: "hold"}, []int64{1, 2, 4}},
		{api.EventQuery{Kind: "hold.granted,freeze"}, []int64{1, 4, 5}},
		{api.EventQuery{Kind: "hold", Node: "a", Rollout: "r"}, []int64{1}},
	} {
		var got []int64
		for _, e := range all {
			if asked(c.q, e) {
				got = append(got, e.Seq)
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
}

func TestEvents_SinceIsATimeOrHowLongAgo(t *testing.T) {
	a := &app{now: func() time.Time { return noon }}
	for text, want := range map[string]time.Time{"": {}, "2h": noon.Add(-2 * time.Hour), "2026-11-23T12:00:00Z": noon.Add(-24 * time.Hour)} {
		if got, err := a.since(text); err != nil || !got.Equal(want) {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	(&shell{}).run(t, "events", "--since", "yesterday").want(t, exitUsage, `--since "yesterday": want a time such as 2026-12-24T18:00:00Z, or a duration such as 2h`)
}
