package main

import (
	"context"
	"encoding/json"
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
