package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Two people have a browser each, and a token each: what one does, the other sees
// without a reload, with the name of who did it.
func TestPeople_EachSeesInABrowserOfTheirOwnWhatTheOtherDoes(t *testing.T) {
	t.Parallel()
	s := startConfigured(t, coordinator.Config{RequireToken: true})
	ann, bob := openTab(t), openBrowser(t)
	byAnn, byBob := s.token(api.RoleOperator, "ann"), s.token(api.RoleOperator, "bob")
	for _, who := range []struct {
		p     *tab
		token api.TokenCreated
		path  string
	}{{ann, byAnn, "/"}, {bob, byBob, "/groups/default"}} {
		who.p.look(1440, "light")
		who.p.load(s.c.URL() + who.path)
		who.p.until("nobody else is logged in here", `location.pathname === '/login'`)
		who.p.logIn(who.token.Secret)
		who.p.until("the page is there", fmt.Sprintf("location.pathname === %q", who.path))
		who.p.stays()
	}

	ann.click("#freeze-button a")
	ann.until("the form opens", `document.getElementById('dialog').open`)
	ann.fill("#dialog #reason", "a look at the disks")
	ann.click("#dialog button.btn")
	for _, p := range []*tab{ann, bob} {
		p.says("#banners", "a look at the disks", actor(byAnn))
	}
	bob.until("no gate is open", `document.querySelector('#group-head .pill').innerText.includes('Frozen')`)

	bob.asksFor(`#group-head a[href$="/edit"]`, "slots", "3")
	ann.until("the lock has the slots that the other gave it", `document.querySelectorAll('#lock-default li.berth').length === 3`)
	ann.says("#latest", actor(byBob))
	if ann.truth(reloaded) || bob.truth(reloaded) {
		t.Error("a page was loaded anew; it should have been live")
	}
	bob.click("#banners button")
	ann.until("the freeze is lifted by the other", `document.querySelectorAll('#banners .banner').length === 0`)
	ann.says("#latest", "unfrozen", actor(byBob))
	if ann.truth(reloaded) {
		t.Error("the page was loaded anew; it should have been live")
	}
}

// asksFor opens a form as a dialog, puts a value in place of what a field holds,
// and sends it.
func (p *tab) asksFor(css, field, value string) {
	p.Helper()
	p.click(css)
	p.until(css+" opens a dialog", `document.getElementById('dialog').open`)
	p.put(field, value)
	p.click("#dialog button.btn")
	p.until("the dialog closes", `!document.getElementById('dialog').open`)
}

// On loopback no token is asked for: a page of another site, which a browser on
// this host shows, must not act through it.
func TestPeople_APageOfAnotherSiteCannotSendAFormHere(t *testing.T) {
	t.Parallel()
	s := startCoordinator(t)
	trap := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<form method="post" action="%s/ui/freeze"><input name="reason" value="trap"></form><script>document.forms[0].submit()</script>`, s.c.URL())
	}))
	t.Cleanup(trap.Close)
	p := openTab(t)
	p.expect("403", "favicon.ico")
	p.load(trap.URL)
	p.until("the form was sent, and refused", `location.pathname === '/ui/freeze' && document.body.innerText.includes("another site's page")`)
	st, err := s.api.Status(t.Context())
	if err != nil || st.Frozen != nil {
		t.Errorf("frozen: %+v, error %v", st.Frozen, err)
	}
	if list, err := s.api.Events(t.Context(), api.EventQuery{Kind: "freeze", Limit: 10}); err != nil || len(list.Events) != 0 {
		t.Errorf("events %+v, error %v", list.Events, err)
	}
}
