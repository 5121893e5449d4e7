package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// quietFor is how long an event stream may be silent: a coordinator sends a
// comment every 15 s when there is nothing to tell.
const quietFor = 60 * time.Second

// maxEvent is the longest line of an event stream, in bytes.
const maxEvent = 1 << 20

// Events is a page of the audit trail.
func (c *Client) Events(ctx context.Context, q api.EventQuery) (api.EventList, error) {
	last := ""
	if q.Last {
		last = "true"
	}
	return get[api.EventList](ctx, c, values("after", number(q.After), "limit", number(int64(q.Limit)),
		"before", number(q.Before), "last", last, "group", q.Group, "node", q.Node, "rollout", q.Rollout,
		"kind", q.Kind, "text", q.Text, "from", moment(q.From), "until", moment(q.Until)), "events")
}

// moment is a time as a query has it, empty for none.
func moment(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// WatchEvents gives the events behind the revision after as they happen. The
// channel is closed when ctx ends or the stream is lost; go on then behind the
// revision of the last event. The caller ends ctx.
func (c *Client) WatchEvents(ctx context.Context, after int64) (<-chan api.Event, error) {
	resp, cancel, err := c.send(ctx, call{ //nolint:bodyclose // readEvents closes it
		method: http.MethodGet, path: []string{"events", "stream"}, query: values("after", number(after)),
		header: map[string]string{"Accept": "text/event-stream, application/problem+json"}, stream: true,
	})
	if err != nil {
		return nil, err
	}
	if mediaType, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); mediaType != "text/event-stream" {
		resp.Body.Close()
		cancel()
		return nil, fmt.Errorf("%w: the answer is no event stream: is a proxy in between?", ErrUnreachable)
	}
	events := make(chan api.Event)
	go func() {
		defer close(events)
		defer cancel()
		defer resp.Body.Close()
		readEvents(ctx, resp, cancel, events)
	}()
	return events, nil
}

// readEvents reads the stream as the HTML standard's "server-sent events"
// describe it, and stops at the first line that it cannot read.
func readEvents(ctx context.Context, resp *http.Response, cancel func(), events chan<- api.Event) {
	quiet := time.AfterFunc(quietFor, cancel)
	defer quiet.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(nil, maxEvent)
	var data []byte
	for lines.Scan() {
		quiet.Reset(quietFor)
		line := lines.Bytes()
		if text, ok := bytes.CutPrefix(line, []byte("data:")); ok {
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, bytes.TrimPrefix(text, []byte(" "))...)
			continue
		}
		if len(line) > 0 || data == nil {
			continue
		}
		var event api.Event
		if json.Unmarshal(data, &event) != nil {
			return
		}
		data = nil
		select {
		case events <- event:
		case <-ctx.Done():
			return
		}
	}
}
