package web_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
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
		if _, err := chromedp.Call(p.ctx, input.DispatchKeyEvent, key); err != nil {
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

// keyed is an action of a person without a mouse: a page, the keys, the call that
// the service sees.
type keyed struct {
	name, path string
	prepare    func(*stage)
	skip       bool // over the menu, by the first link of the page
	do         func(p *tab)
	want       string
}

// opens presses the control that opens a form as a dialog.
func opens(css string) func(p *tab) {
	return func(p *tab) {
		p.Helper()
		p.tabTo(css)
		p.press(kb.Enter)
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

// sends presses a button of the dialog.
func (p *tab) sends(css string) {
	p.Helper()
	p.tabTo("#dialog " + css)
	p.press(kb.Enter)
}

func TestKeyboard_IsEnoughForEveryAction(t *testing.T) {
	t.Parallel()
	then := func(steps ...func(p *tab)) func(p *tab) {
		return func(p *tab) {
			for _, step := range steps {
				step(p)
			}
		}
	}
	typed := func(css, text string) func(p *tab) { return func(p *tab) { p.types("#dialog "+css, text) } }
	sent := func(p *tab) { p.sends("button.btn") }
	pressed := func(css string) func(p *tab) { return func(p *tab) { p.tabTo(css); p.press(kb.Enter) } }
	stateOf := func(id string, state api.RolloutState) func(*stage) {
		return func(b *stage) { r := b.rollouts[id]; r.State = state; b.rollouts[id] = r }
	}
	node := func(id string, change func(n *api.Node)) func(*stage) {
		return func(b *stage) {
			i := slices.IndexFunc(b.nodes, func(n api.Node) bool { return n.ID == id })
			change(&b.nodes[i])
		}
	}
	actions := []keyed{
		{name: "freeze the fleet", path: "/", do: then(opens("#freeze-button a"), typed("#reason", "incident"), sent), want: `freeze "" "incident"`},
		{name: "unfreeze", path: "/", prepare: func(b *stage) { b.status.Frozen = &api.Freeze{ID: "f1", By: "ann", Reason: "x"} }, do: pressed("#banners button"), want: `unfreeze "" "f1"`},
		{name: "freeze a group", path: "/groups/web", skip: true, do: then(opens(`a[href^="/freeze?group"]`), typed("#reason", "disks"), sent), want: `freeze "web" "disks"`},
		{name: "add a group", path: "/", do: then(opens("#add-group a"), typed("#name", "cache"), sent), want: "group cache slots=1"},
		{name: "change a group", path: "/groups/web", skip: true, do: then(opens(`a[href$="/edit"]`), func(p *tab) { p.tabTo("#interval") }, typed("#interval", "5m"), sent), want: "group web slots=6 limits=[{zone 2}] hold= interval=5m"},
		{name: "add a blackout", path: "/groups/night", skip: true, do: then(opens(`a[href$="/blackout"]`), typed("#name", "fair"), typed("#from", "2026-12-24 18:00"), typed("#until", "2026-12-27"), sent), want: "blackouts=4"},
		{name: "remove a blackout", path: "/groups/night", skip: true, do: then(opens(`a[href*="year-end"]`), sent), want: "blackouts=2"},
		{name: "add a window", path: "/groups/night", skip: true, do: then(opens(`#settings a[href$="/window"]`), typed("#start", "22:00"), typed("#duration", "4h"), func(p *tab) { p.sends("button[value=save]") }), want: "windows=3"},
		{name: "change a window", path: "/groups/night", skip: true, do: then(opens(`#settings a[href$="/window?n=0"]`), typed("#cutoff", "0"), func(p *tab) { p.sends("button[value=save]") }), want: "windows="},
		{name: "remove a window", path: "/groups/night", skip: true, do: then(opens(`#settings a[href$="/window?n=1"]`), func(p *tab) { p.tabTo(`#dialog a[href*="remove"]`); p.press(kb.Enter) },
			func(p *tab) {
				p.until("it asks", `document.querySelector('#dialog h1').innerText.startsWith('Remove ')`)
			}, func(p *tab) { p.sends("button.btn") }), want: "windows="},
		{name: "priority", path: "/nodes/web-094", skip: true, do: then(opens(`#node-head a[href$="/priority"]`), func(p *tab) { p.press("5") }, sent), want: "priority web web-094 "},
		{name: "free a slot", path: "/groups/web", skip: true, do: then(opens(`#holds a[data-dialog]`), typed("#name", "web-014"), typed("#reason", "dead"), sent), want: `revoke web web-014 fence=41 name="web-014" reason="dead"`},
		{name: "retry a node", path: "/nodes/web-052.rack-7.fra1.example.net", skip: true, do: then(opens(`a[href$="/retry"]`), typed("#reason", "again"), sent), want: "node retry web-052"},
		{name: "roll a node back", path: "/nodes/web-000", skip: true, do: then(opens(`a[href$="/rollback"]`), sent), want: "node rollback web-000"},
		{name: "forget a node", path: "/nodes/web-150", skip: true, do: then(opens(`a[href$="/forget"]`), typed("#name", "web-150"), sent), want: "forget web-150"},
		{name: "clear a doubled id", path: "/nodes/web-001", prepare: node("web-001", func(n *api.Node) { n.Duplicate = "two machine ids" }), skip: true, do: then(opens(`a[href$="/duplicate"]`), sent), want: "patch web-001 clear=true"},
		{name: "pause", path: "/rollouts/ro-7k2f", skip: true, do: pressed(`#rollout-head form[action$="/pause"] button`), want: `pause ro-7k2f ""`},
		{name: "resume", path: "/rollouts/ro-7k11", skip: true, do: pressed(`#rollout-head form[action$="/resume"] button`), want: `resume ro-7k11 ""`},
		{name: "halt", path: "/rollouts/ro-7k2f", skip: true, do: then(opens(`a[href$="/halt"]`), typed("#reason", "smoke"), sent), want: `halt ro-7k2f "smoke"`},
		{name: "abort", path: "/rollouts/ro-7k2f", skip: true, do: then(opens(`#rollout-head a[href$="/abort"]`), sent), want: "abort ro-7k2f"},
		{name: "approve", path: "/rollouts/ro-7k2f", skip: true, do: then(opens(`#gates a[data-dialog]`), typed("#reason", "fine"), sent), want: `approve ro-7k2f "fine" wave=3 gate=release`},
		{name: "skip a wave", path: "/rollouts/ro-7k2f", skip: true, do: then(opens(`a[href$="/skip"]`), sent), want: `skip ro-7k2f "" wave=3`},
		{name: "try failed nodes again", path: "/rollouts/ro-7k2f", prepare: stateOf("ro-7k2f", api.RolloutHalted), skip: true, do: then(opens(`a[href$="/retry"]`), sent), want: "retry ro-7k2f"},
		{name: "start a rollout", path: "/rollouts/new", skip: true, do: then(func(p *tab) { p.tabTo("#bundle") }, pressed(`button[value=plan]`),
			func(p *tab) {
				p.until("the plan", `document.querySelector('#plan').innerText.includes('nodes would change')`)
			},
			pressed(".skip"), pressed(`button[value=start]`)), want: "rollout " + digest},
	}
	// Some at a time: each has a page, and a service, of its own.
	const lanes = 3
	for lane := range lanes {
		t.Run("lane "+string(rune('1'+lane)), func(t *testing.T) {
			t.Parallel()
			b := busyFleet()
			url := open(t, b)
			p := openTab(t)
			p.look(1440, "light")
			for i, a := range actions {
				if i%lanes != lane {
					continue
				}
				if a.prepare != nil {
					b.set(a.prepare)
				}
				p.load(url + a.path)
				p.until(a.name+": the page is live", isLive)
				if a.skip {
					p.tabTo(".skip")
					p.press(kb.Enter)
				}
				before := len(b.wrote())
				a.do(p)
				deadline := time.Now().Add(patience)
				for len(b.wrote()) == before && time.Now().Before(deadline) {
					time.Sleep(10 * time.Millisecond)
				}
				if calls := b.wrote()[before:]; len(calls) != 1 || !strings.Contains(calls[0], a.want) {
					t.Errorf("%s: the service saw %q, want %q", a.name, calls, a.want)
				}
			}
		})
	}
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
		p.press("g")
		p.press(page.key)
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
	p.press("g")
	p.press("n")
	p.until("they are on again", `location.pathname === '/nodes'`)
}
