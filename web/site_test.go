package web_test

import (
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

// site is a real coordinator with its etcd, and a client of its API.
type site struct {
	*testing.T
	config coordinator.Config
	c      *coordinator.Coordinator
	api    *client.Client
}

// startCoordinator starts one on a free port of loopback; it ends with the test.
func startCoordinator(t *testing.T) *site {
	return startConfigured(t, coordinator.Config{})
}

func startConfigured(t *testing.T, config coordinator.Config) *site {
	t.Helper()
	return startAt(t, "127.0.0.1:0", config)
}

func startAt(t *testing.T, addr string, config coordinator.Config) *site {
	t.Helper()
	config.DataDir, config.Listen = t.TempDir(), addr
	s := &site{T: t, config: config}
	s.start()
	endsBehindPages(t, s.stop)
	s.api = s.client()
	return s
}

// client speaks to it as an administrator.
func (s *site) client() *client.Client {
	s.Helper()
	at := s.c.URL()
	if s.config.RequireToken {
		at = "unix:" + filepath.Join(s.config.DataDir, "admin.sock")
	}
	c, err := client.New(client.Config{Servers: []string{at}})
	if err != nil {
		s.Fatal(err)
	}
	return c
}

// token makes one for a person of that role.
func (s *site) token(role api.Role, whose string) api.TokenCreated {
	s.Helper()
	var token api.TokenCreated
	s.sure(func() (err error) {
		token, err = s.api.CreateToken(s.Context(), api.TokenRequest{Role: role, Description: whose})
		return err
	})
	return token
}

// sure asks for what a test begins with, again while the store has so much else to
// do that it does not answer in time: that is safe with the same request.
func (s *site) sure(ask func() error) {
	s.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(100 * time.Millisecond) {
		err := ask()
		if err == nil {
			return
		}
		if !isNoQuorum(err) || time.Now().After(deadline) {
			s.Fatal(err)
		}
	}
}

func isNoQuorum(err error) bool {
	var refused *api.Error
	return errors.As(err, &refused) && refused.Kind == api.NoQuorum
}

func (s *site) start() {
	s.Helper()
	c, err := coordinator.New(s.config, coordinator.Options{Logger: slog.New(slog.DiscardHandler), Version: "test"})
	if err != nil {
		s.Fatal(err)
	}
	if err := c.Start(s.Context()); err != nil {
		s.Fatal(err)
	}
	s.c = c
}

func (s *site) stop() {
	s.Helper()
	if err := s.c.Stop(); err != nil {
		s.Error(err)
	}
}

// report is a node's first word, or a later one.
func (s *site) report(node string, seq uint64, phase api.Phase) {
	s.Helper()
	s.sure(func() error {
		_, err := s.api.Poll(s.Context(), node, api.PollRequest{Instance: "i-" + node, BootID: "b-" + node,
			Report: api.Report{Seq: seq, Group: "default", Phase: phase, Healthy: true}})
		return err
	})
}

// told waits until the trail has the events that are asked for, each as its actor
// and what it says, oldest first. It comes by a watch of its own, a moment after a
// page or an answer shows what it tells of.
func (s *site) told(q api.EventQuery, want ...string) {
	s.Helper()
	var said []string
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		list, err := s.api.Events(s.Context(), q)
		said = nil
		for _, e := range list.Events {
			said = append(said, e.Actor+" "+e.Detail)
		}
		if err == nil && len(said) >= len(want) || time.Now().After(deadline) {
			break
		}
	}
	match := len(said) == len(want)
	for i := range min(len(said), len(want)) {
		match = match && strings.HasPrefix(said[i], want[i])
	}
	if !match {
		s.Errorf("the trail says of %+v %q, want %q", q, said, want)
	}
}

// take gives a node a slot and confirms it, as its agent would.
func (s *site) take(node string) {
	s.Helper()
	s.sure(func() error {
		got, err := s.api.Acquire(s.Context(), "default", node, api.AcquireRequest{Instance: "i-" + node, Request: "r-" + node, BootID: "b-" + node, Reason: "a test"}, 0)
		if err == nil {
			_, err = s.api.Confirm(s.Context(), "default", node, api.ConfirmRequest{Fence: got.Hold.Fence, Instance: "i-" + node, BootID: "b-" + node})
		}
		return err
	})
}

const (
	// A page may be live before it is whole: one of its scripts may be still to come,
	// and what the debugger knew of its elements counts no more when it is.
	isLive      = isWhole + ` && document.getElementById('live')?.dataset.state === 'live'`
	isShut      = `!document.getElementById('dialog').open`
	isLost      = `document.getElementById('live')?.dataset.state === 'reconnecting'`
	oneFree     = `document.querySelectorAll('#lock-default li.berth').length === 1 && document.querySelectorAll('#lock-default .boat').length === 0`
	webOneIsOut = `document.querySelector('#lock-default .boat b')?.textContent === 'web-1'`
)

// TestDashboard_ShowsAndFreesASlotLive drives a browser against a coordinator
// with a real store: a holder appears without a reload, and is freed in two
// steps once its host is dead.
func TestDashboard_ShowsAndFreesASlotLive(t *testing.T) {
	t.Parallel()
	p := openTab(t)
	s := startCoordinator(t)
	p.look(1440, "light")
	p.do(chromedp.Navigate(s.c.URL() + "/"))
	p.until("the page is live", isLive)
	p.until("the default group has one free slot", oneFree)
	p.do(ignore(chromedp.Evaluate[int](`window.neverReloaded = 1`)))

	s.report("web-1", 1, api.PhaseIdle)
	s.take("web-1")
	p.until("the holder appears", webOneIsOut)
	s.report("web-1", 2, api.PhaseRebooting)
	p.until("its phase appears", `document.querySelector('#lock-default .boat')?.title === 'web-1: Rebooting'`)
	p.until("the figures follow", `document.querySelector('#figures .v').textContent === '1'`)
	p.until("the events follow", `document.querySelector('#latest').textContent.includes('took its slot')`)
	p.picture("live-1440-light")
	p.look(390, "dark")
	if !p.truth(`document.documentElement.scrollWidth <= document.documentElement.clientWidth`) {
		t.Error("the page scrolls sideways at 390 px")
	}
	p.picture("live-390-dark")
	p.look(1440, "light")

	if !p.truth(`window.neverReloaded === 1`) {
		t.Fatal("the page was loaded anew; it should have been live")
	}

	// Beside it somebody does the same without script, for a host of another group.
	// Of the two hosts that one is heard first, so that it is silent for long enough
	// when the other is.
	plain, release := s.revokePlainly("edge", "edge-1")
	s.report("web-1", 3, api.PhaseRebooting)

	p.do(chromedp.Navigate(s.c.URL() + "/groups/default"))
	p.until("the group's page is live", isLive)
	p.click(`#holds a[data-dialog]`)
	p.until("the first step opens as a dialog", `document.getElementById('dialog').open && document.querySelector('#dialog').innerText.includes('Step 1 of 2')`)
	if !p.truth(`document.querySelector('#dialog [data-armed]').disabled`) {
		t.Error("the button is armed before the name is typed")
	}
	p.fill(`#dialog input[name=name]`, "web-1")
	p.fill(`#dialog input[name=reason]`, "its power supply burnt")
	p.until("the typed name arms the button", `!document.querySelector('#dialog [data-armed]').disabled`)
	p.picture("free-step-1")
	p.click(`#dialog [data-armed]`)
	p.until("the second step follows", `document.querySelector('#dialog').innerText.includes('Step 2 of 2')`)
	p.until("the page behind shows the revoke", `document.querySelector('#holds').textContent.includes('Revoked')`)
	p.fill(`#dialog input[name=name]`, "web-1")
	p.click(`#dialog input[name=host_is_down]`)
	p.picture("free-step-2")
	// A host counts as dead when it has been silent for a minute.
	p.untilIn(time.Minute+patience, "the button wakes in time", `!document.querySelector('#dialog [data-armed]').disabled`)
	p.click(`#dialog [data-armed]`)
	p.until("the dialog closes", `!document.getElementById('dialog').open`)
	p.until("the slot is free", `document.querySelector('#holds').innerText.includes('Nobody is out of service') && document.querySelectorAll('#group-lock .berth').length === 1`)
	holds, err := s.api.Group(t.Context(), "default")
	if err != nil || len(holds.Holds) != 0 {
		t.Errorf("holds %v, error %v", holds.Holds, err)
	}
	if done := plain.send(http.MethodPost, s.c.URL()+"/ui/groups/edge/holds/edge-1/release", release); done.status != http.StatusOK || done.url.Path != "/groups/edge" {
		t.Errorf("without script: status %d at %s\n%s", done.status, done.url, done.said())
	}
	for _, node := range []string{"web-1", "edge-1"} {
		s.told(api.EventQuery{Kind: "hold.freed", Node: node}, "local ")
	}
}

// revokePlainly makes a node hold a slot, and the first step of freeing it by plain
// forms. The second one is then too early, which is refused; its input is given
// back for when the host has been silent for long enough.
func (s *site) revokePlainly(group, node string) (*paper, url.Values) {
	s.Helper()
	ctx := s.Context()
	s.sure(func() error { _, err := s.api.PutGroup(ctx, group, api.GroupSpec{Slots: "1"}, "*"); return err })
	s.sure(func() error {
		_, err := s.api.Poll(ctx, node, api.PollRequest{Instance: "i", BootID: "b", Report: api.Report{Seq: 1, Group: group}})
		return err
	})
	s.sure(func() error {
		got, err := s.api.Acquire(ctx, group, node, api.AcquireRequest{Instance: "i", Request: "r", BootID: "b"}, 0)
		if err == nil {
			_, err = s.api.Confirm(ctx, group, node, api.ConfirmRequest{Fence: got.Hold.Fence, Instance: "i", BootID: "b"})
		}
		return err
	})
	plain := &paper{T: s.T, site: s.c.URL(), from: "same-origin"}
	page := plain.open("/groups/"+group, "/free?fence=")
	for _, step := range []struct {
		form   string
		fields [][2]string
	}{
		{"/revoke", [][2]string{{"name", node}, {"reason", "burnt"}}},
		{"/release", [][2]string{{"name", node}, {"host_is_down", "on"}}},
	} {
		f, _ := page.form(step.form)
		in, err := f.filled(step.fields, "")
		if err != nil {
			s.Fatalf("%s: %v\n%s", step.form, err, page.said())
		}
		page = plain.send(http.MethodPost, s.c.URL()+f.action, in)
		if step.form == "/release" {
			if page.status == http.StatusOK || !strings.Contains(page.said(), "silent for") {
				s.Errorf("a host that was just heard: status %d\n%s", page.status, page.said())
			}
			return plain, in
		}
	}
	return nil, nil
}

func TestDashboard_OutlivesTheCoordinatorsRestart(t *testing.T) {
	t.Parallel()
	p := openTab(t)
	p.expect("net::ERR_", "503")    // nobody is there, or one who takes long to start says so
	addr, err := freeport.Address() // where it can be started again: nobody else is given it meanwhile
	if err != nil {
		t.Fatal(err)
	}
	s := startAt(t, addr, coordinator.Config{})
	p.look(1440, "light")
	p.do(chromedp.Navigate(s.c.URL() + "/"))
	p.until("the page is live", isLive)
	p.do(ignore(chromedp.Evaluate[int](`window.neverReloaded = 1`)))
	s.report("web-1", 1, api.PhaseIdle)
	s.take("web-1")
	p.until("the holder appears", webOneIsOut)

	s.stop()
	p.until("the lost stream is shown", isLost)
	p.picture("stream-lost")
	s.start()
	p.until("the page is live again", isLive)
	p.until("the hold is still there", webOneIsOut)
	if !p.truth(`window.neverReloaded === 1`) {
		t.Fatal("the page was loaded anew; it should have been live")
	}
	s.sure(func() error { return s.api.Release(t.Context(), "default", "web-1", 1, "i-web-1") })
	p.until("what happens next is seen", oneFree)
}

func TestLogin_ThroughTheDoorOfACoordinatorThatAsksForTokens(t *testing.T) {
	t.Parallel()
	s := startConfigured(t, coordinator.Config{RequireToken: true})
	p := openTab(t)
	p.expect("401", "403") // the wrong token, and what a viewer may not do
	p.do(chromedp.Navigate(s.c.URL() + "/nodes"))
	p.until("the login page comes instead", `location.pathname === '/login' && document.querySelector('h1').textContent === 'Log in'`)
	p.fill("#token", "lk_wrong")
	p.click("main button")
	p.until("a wrong token is refused", `document.querySelector('[role=alert]')?.innerText.includes('Not logged in')`)
	p.logIn(s.token(api.RoleViewer, "").Secret)
	p.until("the right one leads where one wanted to go", `location.pathname === '/nodes' && `+isLive)
	if p.truth(`document.cookie !== ''`) {
		t.Error("scripts can read the token's cookie")
	}
	if !p.truth(`getComputedStyle(document.getElementById('freeze-button')).display === 'none'`) {
		t.Error("a viewer is offered the freeze")
	}
	p.do(chromedp.Navigate(s.c.URL() + "/freeze"))
	p.fill("#reason", "a viewer tries")
	p.run(`document.querySelector('main button').disabled = false`) // which only tells beforehand
	p.click("main button")
	p.until("the service refuses a viewer's freeze", `document.querySelector('[role=alert]')?.innerText.includes('403 forbidden')`)

	// A browser sends a cookie to every port of a host: another coordinator there
	// has one of its own.
	other := startConfigured(t, coordinator.Config{RequireToken: true})
	p.do(chromedp.Navigate(other.c.URL() + "/"))
	p.until("another coordinator of this host asks for its own token", `location.pathname === '/login'`)
	p.logIn(other.token(api.RoleViewer, "").Secret)
	p.until("who is signed in there", `location.pathname === '/' && `+isLive)
	p.do(chromedp.Navigate(s.c.URL() + "/"))
	p.until("is signed in here still", `location.pathname === '/' && `+isLive)
	p.click("footer button")
	p.until("logging out leads to the login page", `location.pathname === '/login'`)
	p.do(chromedp.Navigate(other.c.URL() + "/"))
	p.until("and logs nobody out elsewhere", `location.pathname === '/' && `+isLive)
}

// logIn gives the login page a token.
func (p *tab) logIn(secret string) {
	p.Helper()
	p.fill("#token", secret)
	p.click("main button")
}
