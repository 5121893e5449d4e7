package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

func TestDrift_IsShownWhereSomebodyLooksForIt(t *testing.T) {
	b := busyFleet()
	for path, wants := range map[string][]string{
		"/nodes":              {`href="/nodes?drifted=true"`, "Drifted <span class=\"n\">3</span>", "web-030: drifted"},
		"/nodes?drifted=true": {"web-030", "web-060", "3 nodes match", `name="drifted" value="true"`, ">base 2026.11.3</a>, brought by"},
		"/nodes/web-030":      {"pill is-warn", "<dt>Drifted from</dt>", `href="/rollouts/ro-7jz8"`, "rollout start --drifted"},
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
