package web_test

import (
	"slices"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"
)

// TestWithoutScript_PagesReadAndFormsWork turns scripts off: every page has its
// heading and says that it stands still, and forms are visited as pages.
func TestWithoutScript_PagesReadAndFormsWork(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	url := open(t, b)
	p := openTab(t)
	p.expect("400", "404")
	p.look(1440, "light")
	if _, err := chromedp.Call(p.ctx, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true}); err != nil {
		t.Fatal(err)
	}
	for _, page := range pagesOfBusyFleet {
		p.load(url + page.path)
		if !p.truth(`document.querySelector('h1').textContent.trim() !== '' && document.querySelector('main').innerText.length > 20`) {
			t.Errorf("%s says nothing without script", page.path)
		}
		if page.name != "login" && !p.truth(`document.querySelector('.top').innerText.includes('Not live: reload for newer figures')`) {
			t.Errorf("%s does not say that it stands still", page.path)
		}
	}
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
	p.until("the rollout's page comes again", `location.pathname === '/rollouts/ro-7k2f' && document.readyState === 'complete'`)
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
