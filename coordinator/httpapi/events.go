package httpapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humachi"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const (
	// heartbeat keeps proxies and clients from taking a quiet stream for a dead one.
	heartbeat = 15 * time.Second
	// writeWithin ends the stream of a client that does not read.
	writeWithin = 10 * time.Second
	// maxBurst bounds the events that are written at once.
	maxBurst = 256
)

func (s *service) events() {
	type query struct {
		After   int64     `query:"after" minimum:"0" doc:"A revision: events behind it, oldest first"`
		Before  int64     `query:"before" minimum:"0" doc:"A revision: only events older than it"`
		Limit   int       `query:"limit" minimum:"1" maximum:"10000" doc:"Events on a page; default 100"`
		Last    bool      `query:"last" doc:"The newest events instead"`
		Group   string    `query:"group" doc:"Of one group"`
		Node    string    `query:"node" doc:"Of one node"`
		Rollout string    `query:"rollout" doc:"Of one rollout"`
		Kind    string    `query:"kind" doc:"Of a kind such as hold.granted, or hold for each kind of a hold; several by comma"`
		Text    string    `query:"text" doc:"With this in the node, group, rollout, actor or detail"`
		From    time.Time `query:"from" doc:"Since this moment"`
		Until   time.Time `query:"until" doc:"Before this moment"`
	}
	on(s, get("/events", "List events"), func(ctx context.Context, in *query) (*body[api.EventList], error) {
		list, err := s.Events(ctx, api.EventQuery(*in))
		list.Events = some(list.Events)
		return answer(list, err)
	})
	op := get("/events/stream", "Stream events")
	op.Responses = map[string]*huma.Response{"200": {
		Description: "Server-sent events: data is an event as JSON, id is its revision. A stream that ends is continued with Last-Event-ID.",
		Content:     map[string]*huma.MediaType{"text/event-stream": {Schema: &huma.Schema{Type: huma.TypeString}}},
	}}
	on(s, op, s.stream)
}

type streamQuery struct {
	After int64  `query:"after" minimum:"0" doc:"A revision: events behind it"`
	Last  string `header:"Last-Event-ID" doc:"The id of the last event seen; goes before after"`
}

func (s *service) stream(ctx context.Context, in *streamQuery) (*huma.StreamResponse, error) {
	after := in.After
	if in.Last != "" {
		n, err := strconv.ParseInt(in.Last, 10, 64)
		if err != nil || n < 0 {
			return nil, at("header.Last-Event-ID", "%q is no revision: want the id of an event of this stream", in.Last)
		}
		after = n
	}
	events, err := s.WatchEvents(ctx, after)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hc huma.Context) {
		_, w := humachi.Unwrap(hc)
		w.Header().Set("Content-Type", "text/event-stream")
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Accel-Buffering", "no")
		writeEvents(ctx, w, events)
	}}, nil
}

// writeEvents writes until the client is gone or the watch is lost.
func writeEvents(ctx context.Context, w http.ResponseWriter, events <-chan api.Event) {
	control := http.NewResponseController(w)
	defer func() { _ = control.SetWriteDeadline(time.Time{}) }()
	write := func(text []byte) bool {
		_ = control.SetWriteDeadline(time.Now().Add(writeWithin))
		_, err := w.Write(text)
		return err == nil && control.Flush() == nil
	}
	if !write([]byte("retry: 2000\n\n")) {
		return
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
			if !write([]byte(": still here\n\n")) {
				return
			}
		case e, ok := <-events:
			if !ok || !write(encode(burst(e, events))) {
				return
			}
		}
	}
}

// burst takes what else is there already.
func burst(first api.Event, events <-chan api.Event) []api.Event {
	list := []api.Event{first}
	for len(list) < maxBurst {
		select {
		case e, ok := <-events:
			if !ok {
				return list // the next look finds the channel closed again
			}
			list = append(list, e)
		default:
			return list
		}
	}
	return list
}

// encode writes events as text. One transaction may make several, with one
// revision: only the last of them carries the id, so that a stream that breaks
// between them is continued before the first.
func encode(list []api.Event) []byte {
	var b bytes.Buffer
	for i, e := range list {
		data, _ := json.Marshal(e) // strings, numbers and times only
		if i+1 == len(list) || list[i+1].Revision != e.Revision {
			fmt.Fprintf(&b, "id: %d\n", e.Revision)
		}
		fmt.Fprintf(&b, "data: %s\n\n", data)
	}
	return b.Bytes()
}
