package web_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// An address that asks for what is not here says so, and leads to what is: a form
// that seemed to have chosen something else would be sent.
func TestAddresses_WhatIsNotHereIsSaidAndNothingElseIsChosen(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	for _, c := range []struct {
		path   string
		status int
		says   []string
	}{
		{"/nodes/nobody", 404, []string{`There is no node &#34;nobody&#34;`, `href="/nodes">All nodes`}},
		{"/rollouts/ro-none", 404, []string{`There is no rollout`, `href="/rollouts">All rollouts`}},
		{"/bundles/" + strings.Repeat("0", 64), 404, []string{`href="/bundles">All bundles`}},
		{"/nowhere", 404, []string{`href="/">Back to the overview`}},
		{"/freeze?group=nobody", 404, []string{`There is no group`}},
		{"/groups/night/blackout?name=none", 404, []string{`night has no such blackout`}},
		{"/nodes?group=nobody", 404, []string{`there is no such group`}},
		{"/events?from=2026-11-24&until=2026-11-01", 400, []string{`want a time after &#34;2026-11-24&#34;`}},
		{"/groups/web?span=99y", 200, []string{`There is no range &#34;99y&#34;`}},
		{"/rollouts/new?group=nobody", 404, []string{"Choose another group", `<option value="nobody" selected>`}},
		{"/rollouts/new?bundle=" + strings.Repeat("0", 64), 404, []string{"Choose another bundle", `<option value="` + strings.Repeat("0", 64) + `" selected>`}},
	} {
		r := ask(t, b, auth.Local(), http.MethodGet, c.path, nil)
		page := text(t, r)
		if r.StatusCode != c.status {
			t.Errorf("%s answers %d, want %d", c.path, r.StatusCode, c.status)
		}
		for _, part := range c.says {
			if !strings.Contains(page, part) {
				t.Errorf("%s does not say %s", c.path, part)
			}
		}
	}
}

// A refusal says each thing once, though its sentence and its fields may have it both.
func TestRefusals_SayEachThingOnce(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	b.refuse = &api.Error{Kind: api.Invalid, Detail: "slots: want a number such as 2", Fields: []api.FieldError{{Path: "slots", Detail: "want a number such as 2"}}}
	page := text(t, post(t, b, "/groups/web/edit", map[string][]string{"slots": {"many"}}))
	_, alert, _ := strings.Cut(page, `role="alert"`)
	alert, _, _ = strings.Cut(alert, "</div>")
	if n := strings.Count(alert, "want a number such as 2"); n != 1 {
		t.Errorf("said %d times: %s", n, alert)
	}
}

// Whoever may not read sees nothing of the fleet, and can log out.
func TestRoles_ATokenOfANodeSeesNothingButWhy(t *testing.T) {
	t.Parallel()
	r := ask(t, busyFleet(), auth.Principal{Name: "web-1", Role: api.RoleNode, Node: "web-1"}, http.MethodGet, "/nodes", nil)
	page := text(t, r)
	if r.StatusCode != http.StatusForbidden || !strings.Contains(page, "<h1>Not allowed</h1>") || !strings.Contains(page, "Log out") {
		t.Errorf("answer %d: %s", r.StatusCode, page)
	}
	for _, part := range []string{"5,204", "Freeze fleet", "data-stream"} {
		if strings.Contains(page, part) {
			t.Errorf("it shows %s", part)
		}
	}
}

// What the service says of a wave, counted from 0 among those that were typed, is said
// of the row in which it was typed.
func TestRefusals_OfAWaveAreSaidOfItsRow(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	b.refuse = &api.Error{Kind: api.Invalid, Detail: `waves[1].soak: "soon": want a duration such as 10m (and 1 more)`,
		Fields: []api.FieldError{{Path: "waves[1].soak", Detail: `"soon": want a duration such as 10m`}, {Path: "progress_deadline", Detail: `"x": want a duration`}}}
	page := text(t, post(t, b, "/rollouts/new", map[string][]string{"bundle": {digest}, "group": {"web"}, "max_failures": {"0"}, "do": {"start"}, "progress_deadline": {"x"},
		"wave1_upto": {"1"}, "wave3_upto": {"100%"}, "wave3_soak": {"soon"}}))
	for _, part := range []string{`<p>Wave 3, soak: &#34;soon&#34;: want a duration such as 10m</p>`, `<input name="wave3_soak" aria-invalid="true"`} {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %s", part)
		}
	}
	if strings.Contains(page, "waves[1]") || strings.Contains(page, "and 1 more") {
		t.Error("the page speaks of waves[1]")
	}
}

// A form that is sent after the session has ended leads to the login page.
func TestSession_AFormSentAfterItsEndLeadsToTheLogin(t *testing.T) {
	t.Parallel()
	r := ask(t, busyFleet(), auth.Principal{}, http.MethodPost, "/ui/freeze", map[string][]string{"reason": {"x"}})
	if page := text(t, r); r.StatusCode != http.StatusUnauthorized || !strings.Contains(page, `<a class="link" href="/login">Log in</a>`) {
		t.Errorf("answer %d: %s", r.StatusCode, page)
	}
}
