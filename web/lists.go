package web

import (
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// The rows of a page.
const (
	nodeRows  = 50
	eventRows = 100
)

// nodesData is one page of nodes and the filter that made it.
type nodesData struct {
	Query  api.NodeQuery
	List   api.NodeList
	States []stateChip
	Groups []string
}

// stateChip filters by a state.
type stateChip struct {
	Look    look
	Count   int
	URL     string
	Current bool
}

func (s *server) showNodes(w http.ResponseWriter, r *http.Request) {
	in := r.URL.Query()
	q := api.NodeQuery{Text: in.Get("q"), Group: in.Get("group"), State: in.Get("state"), Selector: in.Get("selector"), After: in.Get("after"), Limit: nodeRows}
	f, err := s.newFrame(r.Context(), "nodes", "")
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	d := nodesData{Query: q}
	d.States = append(d.States, stateChip{look{"is-calm", "slots", "All"}, f.Status.Figures.Nodes, withQuery(in, "state", ""), q.State == ""})
	for _, st := range api.NodeStates {
		if n := f.Status.Figures.ByState[st]; n > 0 || q.State == string(st) {
			d.States = append(d.States, stateChip{known(nodeLooks, st), n, withQuery(in, "state", string(st)), q.State == string(st)})
		}
	}
	for _, g := range f.Status.Groups {
		d.Groups = append(d.Groups, g.Name)
	}
	status := http.StatusOK
	v := view{Title: "Nodes"}
	if d.List, err = s.backend.Nodes(r.Context(), q); err != nil {
		v.Problem = newProblem(w, "Nodes not listed", err)
		status = v.Problem.Kind.Status()
	}
	f.Data = d
	v.Frame = f
	s.render(w, r, status, "nodes", v)
}

// NextURL is the next page under the same filter.
func (d nodesData) NextURL() string {
	in := url.Values{}
	for k, v := range map[string]string{"q": d.Query.Text, "group": d.Query.Group, "state": d.Query.State, "selector": d.Query.Selector, "after": d.List.Next} {
		if v != "" {
			in.Set(k, v)
		}
	}
	return "/nodes?" + in.Encode()
}

// withQuery is the list's address with one value of the filter replaced; the
// page starts anew.
func withQuery(in url.Values, key, value string) string {
	out := url.Values{}
	for _, k := range []string{"q", "group", "state", "selector"} {
		if v := in.Get(k); v != "" && k != key {
			out.Set(k, v)
		}
	}
	if value != "" {
		out.Set(key, value)
	}
	return "/nodes?" + out.Encode()
}

// eventsData is one page of the audit trail, newest first.
type eventsData struct {
	Events []api.Event
	Query  api.EventQuery
	Newest bool
}

// showEvents shows the newest events, or with after= those that follow a
// revision.
func (s *server) showEvents(w http.ResponseWriter, r *http.Request) {
	in := r.URL.Query()
	q := api.EventQuery{Group: in.Get("group"), Node: in.Get("node"), Limit: eventRows, Last: true}
	f, err := s.newFrame(r.Context(), "events", "")
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	v := view{Title: "Events"}
	status := http.StatusOK
	if text := in.Get("after"); text != "" {
		q.Last = false
		if q.After, err = strconv.ParseInt(text, 10, 64); err != nil || q.After < 0 {
			err = api.Errorf(api.Invalid, "after=%q: want a store revision, a whole number such as 4821190", text)
		}
	}
	var list api.EventList
	if err == nil {
		list, err = s.backend.Events(r.Context(), q)
	}
	if err != nil {
		v.Problem = newProblem(w, "Events not listed", err)
		status = v.Problem.Kind.Status()
	}
	slices.Reverse(list.Events)
	f.Data = eventsData{Events: list.Events, Query: q, Newest: q.Last}
	v.Frame = f
	s.render(w, r, status, "events", v)
}
