package web_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// press sends keys to whatever has the focus.
func (p *tab) press(keys string) {
	p.Helper()
	if keys != kb.Enter {
		p.do(chromedp.KeyEvent(keys))
		return
	}
	// One event, as a keyboard's: what comes of the key being down, such as a
	// dialog, must not find its character still to come.
	for _, key := range []input.DispatchKeyEventParams{{Type: kb.KeyDown, Text: "\r"}, {Type: kb.KeyUp}} {
		key.Key, key.Code, key.WindowsVirtualKeyCode, key.NativeVirtualKeyCode = "Enter", "Enter", 13, 13
		_, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, key)
		if err != nil && (key.Type == kb.KeyDown || p.ctx.Err() != nil) { // the key that went down may lead away from the page
			p.Fatal(err)
		}
	}
}

// load opens a page. What is still under way of the one before, such as a form
// that was just sent, may end the first try.
func (p *tab) load(url string) {
	p.Helper()
	err := chromedp.Do(p.ctx, chromedp.Navigate(url))
	if err != nil && strings.Contains(err.Error(), "ERR_ABORTED") {
		err = chromedp.Do(p.ctx, chromedp.Navigate(url))
	}
	if err != nil {
		p.Fatal(err)
	}
}

// tabTo moves the focus with the tab key, and nothing else, until it is on what is
// meant; the ring that shows the focus must then be seen.
func (p *tab) tabTo(css string) {
	p.Helper()
	p.until(css+" is there", isWhole+fmt.Sprintf(" && document.querySelector(%q) !== null", css))
	for range 150 {
		p.press(kb.Tab)
		state, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](`(() => {
			const e = document.activeElement;
			if (!e.matches(`+"`"+css+"`"+`)) return '';
			const s = getComputedStyle(e), r = e.getBoundingClientRect();
			return r.width > 0 && s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 1.5 ? 'seen' : 'hidden';
		})()`))
		if err != nil {
			p.Fatal(err)
		}
		switch state {
		case "seen":
			return
		case "hidden":
			p.Errorf("%s has the focus, and nothing shows it", css)
			return
		}
	}
	where, _ := chromedp.Run(p.ctx, chromedp.Evaluate[string](`document.activeElement.outerHTML.slice(0, 200) + ' on ' + location.href + ', dialog open: ' + document.getElementById('dialog').open`))
	p.Fatalf("the tab key never comes to %s; the focus is on %s", css, where)
}

// enter moves the focus to a control and presses the enter key there. A live page
// may take the focus away between the two, with what had it: then it does nothing,
// and the focus is moved there anew, as a hand would.
func (p *tab) enter(css string) {
	p.Helper()
	for range 100 {
		p.tabTo(css)
		p.run(fmt.Sprintf(`window.entered = undefined; addEventListener('keydown', (e) => {
			entered = e.target.closest(%q) !== null;
			if (!entered) { e.preventDefault(); e.stopImmediatePropagation(); }
		}, { capture: true, once: true })`, css))
		p.press(kb.Enter)
		if p.truthOver(`typeof entered === 'undefined' || entered`) { // a page that was left was left by it
			return
		}
	}
	p.Fatalf("the focus never stays on %s", css)
}

// opens presses the control that opens a form as a dialog.
func opens(css string) func(p *tab) {
	return func(p *tab) {
		p.Helper()
		p.enter(css)
		p.until(css+" opens a dialog with the focus in it", `document.getElementById('dialog').open && document.getElementById('dialog').contains(document.activeElement)`)
	}
}

// types fills the field that has the focus, once it is the one that is meant.
func (p *tab) types(css, text string) {
	p.Helper()
	if !p.truth("document.activeElement.matches(`" + css + "`)") {
		p.tabTo(css)
	}
	p.press(text)
}

// goes presses "g" and a letter by a clock that stands still: the letter counts for
// three seconds, and a busy machine may take longer from key to key.
func (p *tab) goes(letter string) {
	p.Helper()
	p.run(`((at) => { Date.now = () => at; })(Date.now())`)
	p.press("g")
	p.press(letter)
}

// TestKeyboard_ADialogEndsWithEscapeWhereItBegan: the focus comes back to what
// opened it, and "/" finds a node from anywhere.
func TestKeyboard_ADialogEndsWithEscapeWhereItBegan(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	url := open(t, b)
	p := openTab(t)
	p.look(1440, "light")
	p.do(chromedp.Navigate(url + "/"))
	p.until("the page is live", isLive)
	opens("#freeze-button a")(p)
	p.axe("the open dialog", everyRule)
	p.press(kb.Escape)
	p.until("the dialog is shut and the focus is back", `!document.getElementById('dialog').open && document.activeElement.matches('#freeze-button a')`)
	if calls := b.wrote(); len(calls) != 0 {
		t.Errorf("calls %q", calls)
	}
	p.press("/")
	p.until("the search has the focus", `document.activeElement.id === 'q'`)
	p.press(kb.Backspace) // the debugger sends the character all the same
	p.press("web-077")
	p.press(kb.Enter)
	p.until("the node's page comes", `location.pathname === '/nodes/web-077'`)
}

// Keys lead to the pages, and are off while somebody types, while a form is open,
// and for who turned them off.
func TestKeyboard_KeysLeadToThePagesUnlessSomebodyTypesOrTurnedThemOff(t *testing.T) {
	t.Parallel()
	url := open(t, busyFleet())
	p := openTab(t)
	p.look(1440, "light")
	p.load(url + "/rollouts/ro-7k2f")
	for _, page := range []struct{ key, path string }{{"n", "/nodes"}, {"r", "/rollouts"}, {"b", "/bundles"}, {"e", "/events"}, {"c", "/cluster"}, {"o", "/"}} {
		p.until("the page is live", isLive)
		p.goes(page.key)
		p.until("g "+page.key+" leads to "+page.path, `location.pathname === '`+page.path+`'`)
	}
	p.until("the page is live", isLive)
	p.press("x")
	p.press("n") // without g before it
	p.press("?")
	p.until("the list of keys opens", `document.getElementById('dialog').open && document.querySelectorAll('#dialog .keys tr').length === 9 && document.getElementById('keys-on').checked`)
	if !p.truth(`location.pathname === '/'`) {
		t.Error("a letter alone led away")
	}
	p.axe("the list of keys", everyRule)
	p.press("g")
	p.press("n") // in a dialog they are off
	p.press(kb.Escape)
	p.until("the list is shut", `!document.getElementById('dialog').open`)
	p.press("/")
	p.until("the search has the focus", `document.activeElement.id === 'q'`)
	for _, letter := range []string{kb.Backspace, "g", "n", "?"} { // the debugger sends the slash all the same
		p.press(letter)
	}
	p.until("what is typed is text", `document.activeElement.value === 'gn?' && location.pathname === '/' && !document.getElementById('dialog').open`)

	p.load(url + "/nodes")
	p.until("the page is live", isLive)
	p.press("/")
	p.until("the filter has the focus, and says which key it has", `document.activeElement.id === 'f-q' && document.activeElement.getAttribute('aria-keyshortcuts') === '/'`)

	p.load(url + "/keys") // it is a page as well
	p.tabTo("#keys-on")
	p.press(" ")
	p.until("they are off", `!document.getElementById('keys-on').checked && localStorage.getItem('keys') === 'off'`)
	p.load(url + "/")
	p.until("the page is live, and offers no key", isLive+` && document.querySelector('footer kbd').hidden && document.querySelector('[aria-keyshortcuts]') === null`)
	for _, letter := range []string{"/", "g", "n", "?"} {
		p.press(letter)
	}
	p.tabTo("footer a[href='/keys']")
	if !p.truth(`location.pathname === '/' && document.activeElement.id !== 'q'`) {
		t.Error("a key acts that was turned off")
	}
	p.press(kb.Enter)
	p.until("the list opens without them", `document.getElementById('dialog').open && document.getElementById('keys-on') !== null && !document.getElementById('keys-on').checked && document.activeElement.id === 'keys-on'`)
	p.press(" ")
	p.press(kb.Escape)
	p.until("the list is shut, and the focus is back", `!document.getElementById('dialog').open && document.activeElement.matches("footer a")`)
	p.goes("n")
	p.until("they are on again", `location.pathname === '/nodes'`)
}
