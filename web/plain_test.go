package web_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// TestWithoutScript_EveryPageReads: what the server sends has a heading and
// content, and says that it stands still.
func TestWithoutScript_EveryPageReads(t *testing.T) {
	b := busyFleet()
	for _, page := range pagesOfBusyFleet {
		body := text(t, ask(t, b, auth.Local(), http.MethodGet, page.path, nil))
		_, main, found := strings.Cut(body, "<main")
		if !found || !strings.Contains(main, "<h1") || len(main) < 600 {
			t.Errorf("%s says nothing", page.path)
		}
		if !strings.Contains(body, "<noscript><span class=\"live\" data-state=\"still\">Not live: reload for newer figures") {
			t.Errorf("%s does not say that it stands still", page.path)
		}
	}
}

// withoutScript turns scripts off; those of the test still run.
func (p *tab) withoutScript() {
	p.Helper()
	p.plain = true
	if _, err := chromedp.Call(p.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		p.Fatal(err)
	}
}

// TestWithoutScript_FormsWork turns scripts off: forms are visited as pages.
func TestWithoutScript_FormsWork(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	url := open(t, b)
	p := openTab(t)
	p.look(1440, "light")
	p.withoutScript()
	p.load(url + "/")
	p.click("#freeze-button a")
	p.until("the form is a page", `location.pathname === '/freeze'`)
	p.fill("#reason", "no script")
	p.click("main button.btn")
	p.until("the banner is on the page", `document.querySelector('#banners').innerText.includes('no script')`)
	p.click("#banners button")
	p.until("the banner is gone", `document.querySelectorAll('#banners .banner').length === 0`)
	p.load(url + "/rollouts/ro-7k2f")
	p.click(`#rollout-head form[action$="/pause"] button`)
	for deadline := time.Now().Add(patience); len(b.wrote()) < 3 && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond)
	}
	if want := []string{`freeze "" "no script"`, `unfreeze "" "f1"`, `pause ro-7k2f ""`}; !slices.Equal(b.wrote(), want) {
		t.Errorf("calls %q, want %q", b.wrote(), want)
	}
}

// TestAssistance_MotionStopsAndChangesAreSaid: who asks for less motion gets none,
// and what changes by itself is in a live region, but not row by row.
func TestAssistance_MotionStopsAndChangesAreSaid(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	url := open(t, b)
	p := openTab(t)
	p.look(1440, "light")
	p.load(url + "/")
	p.until("the page is live", isLive)
	const dot = `getComputedStyle(document.getElementById('live'), '::before').animationName`
	if !p.truth(dot + ` === 'breathe'`) {
		t.Error("the mark of a live page does not breathe")
	}
	if _, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}}); err != nil {
		t.Fatal(err)
	}
	if !p.truth(dot + ` === 'none' && document.getAnimations().length === 0`) {
		t.Error("something moves although less motion is asked for")
	}
	for what, css := range map[string]string{"the mark of a live page": "#live[role=status]", "what needs attention": "#attention [aria-live=polite]"} {
		if !p.truth("document.querySelector('" + css + "') !== null") {
			t.Errorf("%s is not said when it changes", what)
		}
	}
	if p.truth(`document.querySelector('table[aria-live], table [aria-live], [aria-live] table') !== null`) {
		t.Error("a table is said row by row")
	}
	b.set(func(b *stage) { b.status.Stale = true })
	p.until("lost quorum is an alert", `document.querySelector('#banners [role=alert]') !== null`)
	for _, path := range []string{"/groups/web", "/nodes/web-077", "/rollouts/ro-7k2f"} {
		p.load(url + path)
		if !p.truth(`document.querySelector('h1 [aria-live=polite]') !== null`) {
			t.Errorf("the state of %s is not said when it changes", path)
		}
	}
}
