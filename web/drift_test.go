package web_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

func TestDrift_IsShownWhereSomebodyLooksForIt(t *testing.T) {
	b := busyFleet()
	for path, wants := range map[string][]string{
		"/nodes":              {`href="/nodes?drifted=true"`, "Drifted <span class=\"n\">3</span>", "web-030: drifted"},
		"/nodes?drifted=true": {"web-030", "web-060", "3 nodes match", `name="drifted" value="true"`, "3 nodes have drifted from", `href="/rollouts/new?drifted=` + digest + `">Bring them back</a>`, "Drifted from base 2026.11.3, brought by ro-7jz8"},
		"/nodes/web-030":      {"pill is-warn", "<dt>Drifted from</dt>", `href="/rollouts/ro-7jz8"`, "rollout start --drifted", `href="/rollouts/new?drifted=` + digest + `&amp;node=web-030">Bring it back</a>`},
		"/groups/web":         {`href="/nodes?group=web&amp;drifted=true">3 nodes have drifted</a> from what a rollout brought them to`},
	} {
		page := show(t, b, path)
		for _, want := range wants {
			if !strings.Contains(page, want) {
				t.Errorf("%s does not say %s", path, want)
			}
		}
	}
	if page := show(t, b, "/nodes?drifted=true"); strings.Contains(page, ">web-000<") {
		t.Error("a node that has what it was brought to is listed as drifted")
	}
	if page := show(t, b, "/groups/worker"); strings.Contains(page, "drifted</a>") {
		t.Error("a group without a drifted node speaks of some")
	}
	// A state and drift are chosen one at a time.
	if page := show(t, b, "/nodes?state=failed"); !strings.Contains(page, `href="/nodes?drifted=true"`) {
		t.Error("the drifted ones of a state are asked for")
	}
}

func TestNodes_AWrongFilterIsNamed(t *testing.T) {
	b := busyFleet()
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/nodes?drifted=maybe", nil), http.StatusBadRequest, `<code>drifted</code>: &#34;maybe&#34;: want true, or nothing`)
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/nodes?by=colour", nil), http.StatusBadRequest, `<code>by</code>: &#34;colour&#34;: want bundle, or nothing for states`)
}

func TestDrift_ARolloutBringsBackTheNodesOfTheFilter(t *testing.T) {
	b := busyFleet()
	for query, nodes := range map[string][]string{
		"":                    {"web-007", "web-030", "web-060"},
		"&group=web&q=web-03": {"web-030"},
		"&node=web-060":       {"web-060"},
	} {
		page := show(t, b, "/rollouts/new?drifted="+digest+query)
		for _, want := range []string{`<option value="` + digest + `" selected>`, ">" + strings.Join(nodes, "\n") + "</textarea>", "they have drifted"} {
			if !strings.Contains(page, want) {
				t.Errorf("%s: the form lacks %q:\n%s", query, want, page)
			}
		}
	}
	redirected(t, post(t, b, "/rollouts/new", url.Values{"do": {"start"}, "key": {"k"}, "bundle": {digest}, "max_failures": {"0"}, "nodes": {"web-007\r\n\r\n web-030 \r\n"}}), "/rollouts/ro-1")
	if got := b.rollouts["ro-1"].Spec.Nodes; !slices.Equal(got, []string{"web-007", "web-030"}) {
		t.Errorf("it was started for %q", got)
	}
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/rollouts/new?drifted="+digest+"&group=edge", nil), http.StatusNotFound, "Nothing to bring back", "no node that is asked for has drifted")
	if page := show(t, b, "/nodes"); strings.Contains(page, "Bring them back") {
		t.Error("a list that is not of drifted nodes offers to bring some back")
	}
}
