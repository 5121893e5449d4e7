package web

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// page is a page that is kept live: what it reads, and which parts of it the
// stream sends anew when they change.
type page struct {
	nav       string
	title     func(arg string) string
	load      func(ctx context.Context, s *server, f *Frame, arg string) error
	fragments []string // templates, each rendering one element of that id
	// each adds fragments of one item, such as one group's lock.
	each func(f *Frame) []item
}

// item is one element among equals: the template renders Data.
type item struct {
	id, template string
	key          string // compared instead of the HTML when set
	data         any
}

// shell are the parts around every page's content.
var shell = []string{"banners", "nav", "revision"}

func livePages() map[string]*page {
	fixed := func(title string) func(string) string { return func(string) string { return title } }
	same := func(arg string) string { return arg }
	return map[string]*page{
		"overview": {nav: "overview", title: fixed("Overview"), load: loadOverview,
			fragments: []string{"headline", "figures", "attention", "rollouts", "coordinators", "latest"}, each: eachLock},
		"group":    {nav: "overview", title: same, load: loadGroup, fragments: []string{"group-head", "group-lock", "holds", "queue", "verdict", "schedule", "latest"}},
		"node":     {nav: "nodes", title: same, load: loadNode, fragments: []string{"node-head", "phases", "verdict", "report", "hold", "latest"}},
		"rollouts": {nav: "rollouts", title: fixed("Rollouts"), load: loadRollouts, fragments: []string{"rollout-list"}},
		"rollout":  {nav: "rollouts", title: same, load: loadRollout, fragments: []string{"rollout-head", "progress", "rollout-nodes"}},
		"bundles":  {nav: "bundles", title: fixed("Bundles"), load: loadBundles, fragments: []string{"bundle-list"}},
		"cluster":  {nav: "cluster", title: fixed("Cluster"), load: loadCluster, fragments: []string{"cluster-head", "members", "store"}},
		"page":     {load: func(context.Context, *server, *Frame, string) error { return nil }},
	}
}

// loadFrame reads a live page.
func (s *server) loadFrame(ctx context.Context, name, arg string) (Frame, error) {
	p := s.pages[name]
	topic := name
	if arg != "" {
		topic += "/" + arg
	}
	f, err := s.newFrame(ctx, p.nav, topic)
	if err != nil {
		return f, err
	}
	return f, p.load(ctx, s, &f, arg)
}

func (s *server) showPage(w http.ResponseWriter, r *http.Request, name, arg string) {
	f, err := s.loadFrame(r.Context(), name, arg)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.render(w, r, http.StatusOK, name, view{Frame: f, Title: s.pages[name].title(arg)})
}

// splitTopic takes "group/web" apart, and "page:nodes", which names the section
// of the menu of a page whose shell alone is live.
func splitTopic(topic string) (name, nav, arg string) {
	name, arg, _ = strings.Cut(topic, "/")
	name, nav, _ = strings.Cut(name, ":")
	return name, nav, arg
}

// pageOf is nil for a topic that no page has.
func (s *server) pageOf(topic string) *page {
	name, _, _ := splitTopic(topic)
	return s.pages[name]
}

// renderTopic renders the live parts of a page for all who look at it. It
// reads as a viewer: who may watch was asked when the stream was opened.
func (s *server) renderTopic(ctx context.Context, topic string) ([]fragment, error) {
	name, nav, arg := splitTopic(topic)
	p := s.pages[name]
	ctx = auth.With(ctx, auth.Principal{Name: "dashboard", Role: api.RoleViewer})
	f, err := s.loadFrame(ctx, name, arg)
	if err != nil {
		return nil, err
	}
	if nav != "" {
		f.Nav = nav
	}
	f.Now = time.Time{} // a fragment tells times, the browser ages
	set := sets[name]
	if name == "page" {
		set = sets["problem"] // any set has the shell
	}
	var out []fragment
	for _, id := range append(append([]string{}, shell...), p.fragments...) {
		var b bytes.Buffer
		if err := set.ExecuteTemplate(&b, id, view{Frame: f, Version: s.opts.Version}); err != nil {
			return nil, fmt.Errorf("fragment %s: %w", id, err)
		}
		out = append(out, fragment{ID: id, HTML: b.String()})
	}
	if p.each == nil {
		return out, nil
	}
	for _, it := range p.each(&f) {
		var b bytes.Buffer
		if err := set.ExecuteTemplate(&b, it.template, it.data); err != nil {
			return nil, fmt.Errorf("fragment %s: %w", it.id, err)
		}
		out = append(out, fragment{ID: it.id, HTML: b.String(), key: it.key})
	}
	return out, nil
}
