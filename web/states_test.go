package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/internal/freeport"
	"github.com/lockkeeper/lockkeeper/web"
)

// run evaluates a script in the page.
func (p *tab) run(script string) {
	p.Helper()
	p.do(ignore(chromedp.Evaluate[bool](script + "; true")))
}

// passes looks at a part of the page in two sizes and themes that have nothing in
// common.
func (p *tab) passes(css, what string) {
	p.Helper()
	for _, look := range []struct {
		width int64
		theme string
	}{{1440, "light"}, {1024, "dark"}, {390, "dark"}} {
		p.look(look.width, look.theme)
		p.fits(at(what, look.width, look.theme))
		if look.width != 1024 {
			p.axeOf(css, at(what, look.width, look.theme), everyRule)
		}
	}
}

// TestStates_PassAxeAndFit looks at what a page is when there is nothing yet, or
// when something is wrong.
func TestStates_PassAxeAndFit(t *testing.T) {
	t.Parallel()
	empty := func(*stage) {}
	stale := func(b *stage) {
		b.status.Stale, b.status.Cluster.Quorum = true, false
		b.status.Frozen = &api.Freeze{ID: "f1", By: "ann", At: time.Now(), Reason: "an incident of the payment service"}
	}
	refused := `document.querySelector('main [role=alert]') !== null`
	cases := []struct {
		name, path string
		new        func() *stage
		set        func(*stage)
		do         func(p *tab)
	}{
		{name: "first run", path: "/", new: newStage, set: empty}, {name: "no node", path: "/nodes", new: newStage, set: empty}, {name: "no rollout", path: "/rollouts", new: newStage, set: empty},
		{name: "no bundle", path: "/bundles", new: newStage, set: empty}, {name: "no event", path: "/events", new: newStage, set: empty}, {name: "nothing to start", path: "/rollouts/new", new: newStage, set: empty},
		{name: "no quorum", path: "/", new: busyFleet, set: stale}, {name: "a group without quorum", path: "/groups/web", new: busyFleet, set: stale},
		{name: "a rollout without quorum", path: "/rollouts/ro-7k2f", new: busyFleet, set: stale}, {name: "the cluster without quorum", path: "/cluster", new: busyFleet, set: stale},
		{name: "a form without quorum", path: "/freeze", new: busyFleet, set: stale}, {name: "a frozen group", path: "/groups/edge", new: busyFleet, set: empty},
		{name: "a plan", path: "/rollouts/new", new: busyFleet, set: empty, do: func(p *tab) {
			p.click("button[value=plan]")
			p.until("the plan is there", `document.querySelector('#plan').innerText.includes('nodes would change')`)
		}},
		{name: "a refused rollout", path: "/rollouts/new", new: busyFleet, set: empty, do: func(p *tab) {
			p.put("wave2_upto", "lots")
			p.click("button[value=start]")
			p.until("the refusal is there", refused)
		}},
		{name: "a refused login", path: "/login", new: busyFleet, set: empty, do: func(p *tab) {
			p.logIn("lk_bad")
			p.until("the refusal is there", refused)
		}},
		{name: "a list that matches nothing", path: "/nodes?q=nobody", new: busyFleet, set: empty},
	}
	const lanes = 2
	for lane := range lanes {
		t.Run(fmt.Sprint("lane ", lane+1), func(t *testing.T) {
			t.Parallel()
			urls := map[int]string{} // of servers that outlive the page
			for i := lane; i < len(cases); i += lanes {
				b := cases[i].new()
				cases[i].set(b)
				urls[i] = open(t, b)
			}
			p := openTab(t)
			p.expect("400", "401")
			for i, c := range cases {
				if i%lanes != lane {
					continue
				}
				p.look(1440, "light")
				p.load(urls[i] + c.path)
				if c.path != "/login" {
					p.until(c.name+": the page is live", isLive)
				}
				if c.do != nil {
					c.do(p)
				}
				p.passes("html", c.name)
			}
		})
	}
}

// TestStates_ALostStreamPassesAxe: first the mark says so, and after half a minute
// a banner.
func TestStates_ALostStreamPassesAxe(t *testing.T) {
	t.Parallel()
	page := web.New(busyFleet(), web.Options{Version: "test"})
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page.ServeHTTP(w, r.WithContext(auth.With(r.Context(), auth.Local())))
	}))
	srv.Listener.Close()
	var err error
	if srv.Listener, err = freeport.Listen(); err != nil { // nobody else listens there when it is lost
		t.Fatal(err)
	}
	srv.Start()
	p := openTab(t)
	p.expect("ERR_")
	p.look(1440, "light")
	p.load(srv.URL)
	p.until("the page is live", isLive)
	srv.Listener.Close()
	srv.CloseClientConnections()
	p.until("the loss is shown", isLost+` && document.getElementById('live').innerText.includes('numbers are from')`)
	p.run(`heard -= 31000; tick()`)
	p.until("and said in a banner", `!document.getElementById('lost').hidden && document.getElementById('lost').matches('[role=status]')`)
	p.passes("html", "a lost stream")
	srv.Close()
}

// TestDialogs_PassAxeAndFit opens each form as a dialog.
func TestDialogs_PassAxeAndFit(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	b.status.Groups[0].Holds[1].Revoked = &api.Mark{By: "ann", At: time.Now(), Reason: "its power supply burnt"}
	i := slices.IndexFunc(b.nodes, func(n api.Node) bool { return n.ID == "web-001" })
	b.nodes[i].Duplicate = "two agents report as this node"
	url := open(t, b)
	p := openTab(t)
	p.expect("400", "404")
	p.load(url + "/nowhere") // which has little that axe would have to look at behind them
	p.until("the page is live", isLive)
	for width, theme := range map[int64]string{1440: "light", 390: "dark"} {
		p.look(width, theme)
		for _, path := range []string{
			"/freeze", "/freeze?group=web", "/new-group", "/groups/web/edit", "/groups/night/window", "/groups/night/window?n=0", "/groups/night/window?n=1&remove=true",
			"/groups/night/blackout", "/groups/night/blackout?name=year-end", "/groups/web/holds/web-014/free?fence=41", "/groups/web/holds/web-077/free?fence=41", "/groups/web/holds/web-014/free?fence=40",
			"/nodes/web-094/priority", "/nodes/web-150/forget", "/nodes/web-001/duplicate", "/nodes/web-014/retry", "/nodes/web-000/rollback",
			"/rollouts/ro-7k2f/halt", "/rollouts/ro-7k2f/abort", "/rollouts/ro-7k2f/skip", "/rollouts/ro-7k2f/retry", "/rollouts/ro-7k2f/approve?wave=3&gate=release", "/keys",
		} {
			p.run(fmt.Sprintf(`dialog.close(); dialog.replaceChildren(); show(%q)`, path))
			p.until(path+" opens, and has a name", `dialog.open && document.getElementById(dialog.getAttribute('aria-labelledby'))?.innerText.length > 3`)
			p.fits(at(path, width, theme))
			p.axeOf("#dialog", at(path, width, theme), everyRule)
		}
		p.run(`dialog.close(); dialog.replaceChildren(); show('/new-group')`)
		p.until("the form opens", `dialog.open && dialog.querySelector('#limits') !== null`)
		p.put("name", "x")
		p.put("limits", "zone")
		p.click("#dialog button.btn")
		p.until("it is refused where it stands", `dialog.open && dialog.querySelector('[role=alert]') !== null && document.activeElement.matches('[aria-invalid]')`)
		p.axeOf("#dialog", at("a refused form", width, theme), everyRule)
	}
}
