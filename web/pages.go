package web

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// page is a page that is kept live: what it reads, and which parts of it the
// stream sends anew when they change.
type page struct {
	nav   string
	title func(arg string) string
	load  func(ctx context.Context, s *server, f *Frame, arg string, q url.Values) error
	// query are the keys of the address that choose what the page shows; the
	// stream is told them too.
	query     []string
	fragments []string // templates, each rendering one element of that id
	// each adds fragments of one item, such as one group's lock.
	each func(f *Frame) []item
}

// item is one element among equals: the template renders Data.
type item struct {
	id, template string
	within       string // the item that it is a part of
	key          string // compared instead of the HTML when set
	data         any
}

// shell are the parts around every page's content.
var shell = []string{"banners", "nav", "freeze-button", "revision"}

func livePages() map[string]*page {
	fixed := func(title string) func(string) string { return func(string) string { return title } }
	same := func(arg string) string { return arg }
	return map[string]*page{
		"overview": {nav: "overview", title: fixed("Overview"), load: loadOverview,
			fragments: []string{"headline", "figures", "attention", "add-group", "rollouts", "coordinators", "latest"}, each: eachLock},
		"group": {nav: "overview", title: same, load: loadGroup, query: []string{"span", "zone"},
			fragments: []string{"group-head", "group-lock", "slots-strip", "holds", "queue", "verdict", "settings", "calendar", "latest"}},
		"node": {nav: "nodes", title: same, load: loadNode, fragments: []string{"node-head", "phases", "verdict", "report", "hold", "history", "journal"}},
		"nodes": {nav: "nodes", title: fixed("Nodes"), load: loadNodes, query: append([]string{"after"}, nodeKeys...),
			fragments: []string{"nodes-head", "map-legend", "node-states", "node-rows"}, each: eachTile},
		"events": {nav: "events", title: fixed("Events"), load: loadEvents, query: append([]string{"before"}, eventKeys...),
			fragments: []string{"event-rows"}},
		"rollouts": {nav: "rollouts", title: fixed("Rollouts"), load: loadRollouts, fragments: []string{"rollouts-head", "rollout-list"}},
		"rollout":  {nav: "rollouts", title: same, load: loadRollout, fragments: []string{"rollout-head", "waves", "gates", "budget", "ahead", "undelivered", "rollout-nodes", "latest"}},
		"bundles":  {nav: "bundles", title: fixed("Bundles"), load: loadBundles, fragments: []string{"bundle-list"}},
		"cluster":  {nav: "cluster", title: fixed("Cluster"), load: loadCluster, fragments: []string{"cluster-head", "members", "store", "latest"}},
		"page":     {load: func(context.Context, *server, *Frame, string, url.Values) error { return nil }},
	}
}

// loadFrame reads a live page.
func (s *server) loadFrame(ctx context.Context, name, arg string, q url.Values) (Frame, error) {
	p := s.pages[name]
	t := topicName{name: name, arg: arg, query: p.chosen(q)}
	f, err := s.newFrame(ctx, p.nav, t.String())
	if err != nil {
		return f, err
	}
	return f, p.load(ctx, s, &f, arg, t.query)
}

// showPage answers with a live page. What was asked for wrongly is said in the
// page, where that can be: a list whose filter is not understood.
func (s *server) showPage(w http.ResponseWriter, r *http.Request, name, arg string) {
	f, err := s.loadFrame(r.Context(), name, arg, r.URL.Query())
	v := view{Frame: f, Title: s.pages[name].title(arg)}
	status := http.StatusOK
	if err != nil {
		if f.Data == nil {
			s.refuse(w, r, err)
			return
		}
		v.Topic = "" // what cannot be read cannot be followed
		v.Problem = newProblem(w, "Not listed", err)
		status = v.Problem.Kind.Status()
	}
	s.render(w, r, status, name, v)
}

// chosen are the values of the page's own keys.
func (p *page) chosen(q url.Values) url.Values {
	out := url.Values{}
	for _, key := range p.query {
		if v := q.Get(key); v != "" {
			out.Set(key, v)
		}
	}
	return out
}

// topicName names what a stream is about: a page with what it is of and how it
// is filtered, or, as "page:nodes", the section of the menu of a page whose
// shell alone is live.
type topicName struct {
	name, nav, arg string
	query          url.Values
}

func (t topicName) String() string {
	out := t.name
	if t.nav != "" {
		out += ":" + t.nav
	}
	if t.arg != "" {
		out += "/" + url.PathEscape(t.arg)
	}
	if len(t.query) > 0 {
		out += "?" + t.query.Encode()
	}
	return out
}

// parseTopic reads a name; nothing is known yet of its page.
func parseTopic(text string) (t topicName, err error) {
	rest, query, _ := strings.Cut(text, "?")
	if t.query, err = url.ParseQuery(query); err != nil {
		return t, err
	}
	rest, arg, _ := strings.Cut(rest, "/")
	if t.arg, err = url.PathUnescape(arg); err != nil {
		return t, err
	}
	t.name, t.nav, _ = strings.Cut(rest, ":")
	return t, nil
}

// topicOf is the one name of a topic, however it was written; false when no page
// has it.
func (s *server) topicOf(text string) (string, bool) {
	t, err := parseTopic(text)
	p := s.pages[t.name]
	if err != nil || p == nil {
		return "", false
	}
	t.query = p.chosen(t.query)
	return t.String(), true
}

// renderTopic renders the live parts of a page for all who look at it. It
// reads as a viewer: who may watch was asked when the stream was opened.
func (s *server) renderTopic(ctx context.Context, topic string) ([]fragment, error) {
	t, err := parseTopic(topic)
	if err != nil {
		return nil, err
	}
	p := s.pages[t.name]
	ctx = auth.With(ctx, auth.Principal{Name: "dashboard", Role: api.RoleViewer})
	f, err := s.loadFrame(ctx, t.name, t.arg, t.query)
	if err != nil {
		return nil, err
	}
	if t.nav != "" {
		f.Nav = t.nav
	}
	f.Now = time.Time{} // a fragment tells times, the browser ages
	set := sets[t.name]
	if t.name == "page" {
		set = sets["problem"] // any set has the shell
	}
	var out []fragment
	for _, id := range append(append([]string{}, shell...), p.fragments...) {
		var b bytes.Buffer
		if err := set.ExecuteTemplate(&b, id, view{Frame: f, Version: s.opts.Version}); err != nil {
			return nil, fmt.Errorf("fragment %s: %w", id, err)
		}
		// Every write anywhere moves the revision on.
		out = append(out, fragment{ID: id, HTML: string(straight(b.Bytes())), minor: id == "revision"})
	}
	if p.each == nil {
		return out, nil
	}
	for _, it := range p.each(&f) {
		var b bytes.Buffer
		if err := set.ExecuteTemplate(&b, it.template, it.data); err != nil {
			return nil, fmt.Errorf("fragment %s: %w", it.id, err)
		}
		out = append(out, fragment{ID: it.id, HTML: string(straight(b.Bytes())), key: it.key, within: it.within})
	}
	return out, nil
}
