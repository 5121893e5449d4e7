package web

import (
	"context"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// The rows of a page.
const (
	nodeRows  = 50
	eventRows = 50
)

// nodesData is one page of nodes and the filter that made it.
type nodesData struct {
	Query   api.NodeQuery
	List    api.NodeList
	States  []stateChip
	Groups  []string
	Bundles []api.Bundle
	Map     []mapGroup
	Legend  []stateChip // of a map by state
	Keys    []bundleKey // of a map by bundle
	By      string      // what the map shows: "" for states, or "bundle"
	ByMaps  []choice    // the choice between them
	ByState string      // address of the list, most urgent first
	ByID    string
	First   string // address of the first page
	NextURL string
	Drifts  []driftedFrom // where drifted nodes are listed
}

// stateChip filters by a state.
type stateChip struct {
	State   api.NodeState
	Look    look
	Count   int
	URL     string
	Current bool
}

// nodeKeys are what the address of the list says, beside the page.
var nodeKeys = []string{"q", "group", "state", "drifted", "selector", "bundle", "sort", "by"}

// without are the keys but one.
func without(keys []string, key string) []string {
	return slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k == key })
}

func loadNodes(ctx context.Context, s *server, f *Frame, _ string, in url.Values) error {
	q := api.NodeQuery{Group: in.Get("group"), State: in.Get("state"), Selector: in.Get("selector"),
		Bundle: in.Get("bundle"), Drifted: in.Get("drifted") == "true", Sort: in.Get("sort"), After: in.Get("after"), Limit: nodeRows}
	q.Text, q.Selector = textAndLabels(in.Get("q"), q.Selector)
	if q.Sort == "" {
		q.Sort = "state"
	}
	d := nodesData{Query: q, ByState: withQuery("/nodes", nodeKeys, in, "sort", ""), ByID: withQuery("/nodes", nodeKeys, in, "sort", "id")}
	d.Query.Text, d.Query.Selector = in.Get("q"), in.Get("selector")
	others := without(nodeKeys, "drifted") // a state and drift are asked for one at a time
	d.States = append(d.States, stateChip{"", look{"is-calm", "slots", "All"}, f.Status.Figures.Nodes, withQuery("/nodes", others, in, "state", ""), q.State == "" && !q.Drifted})
	for _, st := range api.NodeStates {
		if n := f.Status.Figures.ByState[st]; n > 0 || q.State == string(st) {
			d.States = append(d.States, stateChip{st, known(nodeLooks, st), n, withQuery("/nodes", others, in, "state", string(st)), q.State == string(st)})
		}
	}
	if n := f.Status.Figures.Drifted; n > 0 || q.Drifted {
		d.States = append(d.States, stateChip{nodeDrifted, known(nodeLooks, nodeDrifted), n, withQuery("/nodes", without(nodeKeys, "state"), in, "drifted", "true"), q.Drifted})
	}
	for _, g := range f.Status.Groups {
		d.Groups = append(d.Groups, g.Name)
	}
	d.First = withQuery("/nodes", nodeKeys, in, "", "")
	d.By = in.Get("by")
	for _, by := range []struct{ key, word string }{{"", "State"}, {"bundle", "Bundle"}} {
		d.ByMaps = append(d.ByMaps, choice{by.word, withQuery("/nodes", nodeKeys, in, "by", by.key), d.By == by.key})
	}
	f.Data = &d
	var fields []api.FieldError
	if text := in.Get("drifted"); text != "" && text != "true" {
		fields = append(fields, api.FieldError{Path: "drifted", Detail: strconv.Quote(text) + ": want true, or nothing"})
	}
	if d.By != "" && d.By != "bundle" {
		fields = append(fields, api.FieldError{Path: "by", Detail: strconv.Quote(d.By) + ": want bundle, or nothing for states"})
	}
	if fields != nil {
		return &api.Error{Kind: api.Invalid, Detail: "the filter is not understood", Fields: fields}
	}
	nodes, err := s.backend.AllNodes(ctx)
	if err != nil {
		return err
	}
	if q.Group != "" && !slices.Contains(d.Groups, q.Group) && !slices.ContainsFunc(nodes, func(n api.Node) bool { return n.Group == q.Group }) {
		return &api.Error{Kind: api.UnknownGroup, Detail: "the filter is not understood",
			Fields: []api.FieldError{{Path: "group", Detail: strconv.Quote(q.Group) + ": there is no such group; want one of those offered"}}}
	}
	if d.Bundles, err = s.backend.Bundles(ctx); err != nil {
		return err
	}
	var by painter = byState{}
	if d.By == "bundle" {
		bundles := newByBundle(d.Bundles)
		d.Keys, by = bundles.keys(nodes, q.Group), bundles
	} else {
		for _, st := range mapLegend {
			d.Legend = append(d.Legend, stateChip{State: st, Look: known(nodeLooks, st)})
		}
	}
	d.Map = newMap(nodes, q.Group, q.After, by)
	if d.List, err = s.backend.Nodes(ctx, q); err != nil {
		return err
	}
	if q.Drifted {
		if d.Drifts, err = s.drifts(ctx, q, in); err != nil {
			return err
		}
	}
	if d.List.Next != "" {
		d.NextURL = withQuery("/nodes", append([]string{"after"}, nodeKeys...), in, "after", d.List.Next)
	}
	return nil
}

// textAndLabels takes what somebody typed apart: words with "=" are labels.
func textAndLabels(typed, selector string) (text, labels string) {
	var words, list []string
	if selector != "" {
		list = append(list, selector)
	}
	for _, w := range strings.Fields(typed) {
		if strings.Contains(w, "=") {
			list = append(list, strings.TrimSuffix(w, ","))
		} else {
			words = append(words, w)
		}
	}
	return strings.Join(words, " "), strings.Join(list, ",")
}

// eachTile are the tiles of the map. The map as a whole goes out when the number
// of tiles changes; otherwise only the tiles that changed.
func eachTile(f *Frame) []item {
	d := f.Data.(*nodesData)
	key := "map"
	var tiles []item
	for _, g := range d.Map {
		key += "/" + g.Name + " " + strconv.Itoa(g.Nodes)
		for _, t := range g.Tiles {
			tiles = append(tiles, item{id: t.ID, within: "map", template: "tile", data: t})
		}
	}
	return append([]item{{id: "map", template: "map", data: *f, key: key}}, tiles...)
}

// withQuery is a page's address with the keys that it had, one of them replaced.
func withQuery(path string, keys []string, in url.Values, key, value string) string {
	out := url.Values{}
	for _, k := range keys {
		if v := in.Get(k); v != "" && k != key {
			out.Set(k, v)
		}
	}
	if key != "" && value != "" {
		out.Set(key, value)
	}
	if len(out) == 0 {
		return path
	}
	return path + "?" + out.Encode()
}

// eventsData is one page of the audit trail, newest first.
type eventsData struct {
	Events   []api.Event
	In       eventFilter
	Kinds    []stateChip
	Older    string // address of the next page
	First    string // address of the newest page under the same filter
	Follows  bool   // new events appear
	StopURL  string // the same page, standing still
	Newest   int64  // revision of the first row
	Problems string
}

// eventFilter is the filter as typed.
type eventFilter struct{ Text, Node, Group, Rollout, Kind, From, Until, Before string }

// eventKeys are what the address of the trail says, beside the page.
var eventKeys = []string{"q", "node", "group", "rollout", "kind", "from", "until"}

// eventKinds are the kinds that the page offers, by the words of the API.
var eventKinds = []struct {
	kind string
	look look
}{
	{"", look{"is-calm", "slots", "All"}},
	{"hold,queue", look{"is-busy", "slots", "Holds and queues"}},
	{"rollout", look{"is-busy", "running", "Rollouts"}},
	{"rollout.node.failed,rollout.failed,rollout.halted,hold.expired", look{"is-bad", "failed", "Failures"}},
	{"node", look{"is-calm", "idle", "Nodes"}},
	{"freeze", look{"is-warn", "frozen", "Freezes"}},
	{"group", look{"is-calm", "user", "Groups"}},
	{"bundle", look{"is-calm", "applying", "Bundles"}},
	{"cluster,token,snapshot", look{"is-calm", "quorum", "Cluster and tokens"}},
}

func loadEvents(ctx context.Context, s *server, f *Frame, _ string, in url.Values) error {
	d := eventsData{In: eventFilter{in.Get("q"), in.Get("node"), in.Get("group"), in.Get("rollout"), in.Get("kind"), in.Get("from"), in.Get("until"), in.Get("before")},
		First: withQuery("/events", eventKeys, in, "", "")}
	d.Follows = d.In.Before == "" && d.In.Until == ""
	for _, k := range eventKinds {
		d.Kinds = append(d.Kinds, stateChip{Look: k.look, URL: withQuery("/events", eventKeys, in, "kind", k.kind), Current: d.In.Kind == k.kind})
	}
	f.Data = &d
	q := api.EventQuery{Text: d.In.Text, Node: d.In.Node, Group: d.In.Group, Rollout: d.In.Rollout, Kind: d.In.Kind, Last: true, Limit: eventRows}
	var fields []api.FieldError
	if d.In.Before != "" {
		var err error
		if q.Before, err = strconv.ParseInt(d.In.Before, 10, 64); err != nil || q.Before < 1 {
			fields = append(fields, api.FieldError{Path: "before", Detail: strconv.Quote(d.In.Before) + ": want a store revision, a whole number such as 4821190"})
		}
	}
	q.From = momentOf("from", d.In.From, &fields)
	q.Until = momentOf("until", d.In.Until, &fields)
	if !q.Until.IsZero() && q.Until.Before(q.From) {
		fields = append(fields, api.FieldError{Path: "until", Detail: strconv.Quote(d.In.Until) + ": want a time after " + strconv.Quote(d.In.From)})
	}
	if fields != nil {
		return &api.Error{Kind: api.Invalid, Detail: "the filter is not understood", Fields: fields}
	}
	list, err := s.backend.Events(ctx, q)
	if err != nil {
		return err
	}
	slices.Reverse(list.Events)
	d.Events = list.Events
	if n := len(d.Events); n > 0 {
		d.Newest = d.Events[0].Revision
		d.StopURL = withQuery("/events", append([]string{"before"}, eventKeys...), in, "before", strconv.FormatInt(d.Newest+1, 10))
		if n >= eventRows {
			d.Older = withQuery("/events", append([]string{"before"}, eventKeys...), in, "before", strconv.FormatInt(d.Events[n-1].Revision, 10))
		}
	}
	return nil
}

// momentForms are how a time may be typed; without a zone it is UTC.
var momentForms = []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"}

func momentOf(path, text string, fields *[]api.FieldError) time.Time {
	if text = strings.TrimSpace(text); text == "" {
		return time.Time{}
	}
	for _, form := range momentForms {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC()
		}
	}
	*fields = append(*fields, api.FieldError{Path: path, Detail: strconv.Quote(text) + ": want a time such as 2026-11-24 14:30, in UTC, or one with a zone such as 2026-11-24T14:30:00+01:00"})
	return time.Time{}
}
