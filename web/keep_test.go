package web_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// A page that changes by itself leaves alone what a person does with it at that
// moment: where the focus is and what is selected, how far it is scrolled, what is
// folded open, and a form that is half filled.
func TestLive_AChangeLeavesAloneWhatAPersonDoesAtThatMoment(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	url := open(t, b)
	p := openTab(t)
	p.look(390, "light")
	p.load(url + "/groups/web")
	p.stays()
	run := func(script string) { p.Helper(); p.do(ignore(chromedp.Evaluate[bool](script + "; true"))) }
	// changes makes everything on the page new, and waits until it is there.
	n := 0
	changes := func() {
		p.Helper()
		n++
		at := time.Now()
		b.set(func(b *stage) {
			g := b.status.Groups[0]
			g.Holds = append([]api.Hold{}, g.Holds...)
			g.Holds[1], g.Holds[3] = g.Holds[3], g.Holds[1]
			g.Holds[0].Reason = at.String()
			g.Queue = append([]api.Waiter{{Node: fmt.Sprintf("wait-%d", n), Place: 1, Since: at, Priority: n}}, g.Queue...)
			g.Status.Waiting++
			g.Spec.Limits = nil
			b.status.Groups[0] = g
			b.events = append(b.events, api.Event{Scope: "group/web", Kind: "hold.granted", At: at, Node: "web-150", Group: "web", Revision: 5000000 + int64(n)})
		})
		p.until("the page has changed", `document.querySelector('#holds').textContent.includes(`+"`"+at.String()+"`"+`) && document.querySelectorAll('#queue tbody tr').length === `+strconv.Itoa(2+n))
	}

	// Above what changes, since a row that comes there pushes the rest down.
	run(`document.querySelector('#slots-strip details summary').click(); document.querySelector('#slots-strip .scroll').scrollLeft = 30; scrollTo(0, 150)`)
	if !p.truth(`document.querySelector('#slots-strip details').open && document.querySelector('#slots-strip .scroll').scrollLeft === 30 && scrollY === 150`) {
		t.Fatal("the page is not as a person would have left it")
	}
	changes()
	for what, is := range map[string]string{
		"what was folded open":  `document.querySelector('#slots-strip details').open`,
		"the strip's place":     `document.querySelector('#slots-strip .scroll').scrollLeft === 30`,
		"the page's place":      `scrollY === 150`,
		"the range of the past": `document.querySelector('#slots-strip [data-opens-at=now]') !== null`,
	} {
		if !p.truth(is) {
			t.Errorf("a change took away %s", what)
		}
	}

	p.look(1440, "light")
	for what, css := range map[string]string{
		"a row of the queue": `#queue tr[data-key="web-103"] a`, "a row of the holds": `#holds tr[data-key="web-081"] a[data-dialog]`,
		"the search": "#q", "a control of the head": `#group-head a[href$="/edit"]`, "a table that scrolls": "#holds .scroll",
	} {
		run(`document.querySelector('` + css + `').focus({ preventScroll: true })`)
		if css == "#q" {
			run(`document.getElementById('q').value = 'web-07'; document.getElementById('q').setSelectionRange(2, 5)`)
		}
		for range 2 { // one of the two moves what has the focus
			changes()
			if !p.truth(`document.activeElement.matches('` + css + `')`) {
				t.Errorf("the focus left %s when the page changed", what)
			}
		}
	}
	if !p.truth(`(() => { const q = document.getElementById('q'); return q.value === 'web-07' && q.selectionStart === 2 && q.selectionEnd === 5; })()`) {
		t.Error("what was typed and selected is gone")
	}

	run(`getSelection().selectAllChildren(document.querySelector('#queue tr[data-key="web-103"] th'))`)
	changes()
	if !p.truth(`getSelection().toString() === 'web-103'`) {
		t.Error("text that was selected, to be copied, is selected no more")
	}

	run(`document.querySelector('#holds tr[data-key="web-014"] a[data-dialog]').click()`)
	p.until("the form opens", `document.getElementById('dialog').open`)
	p.fill("#dialog #name", "web-0")
	changes()
	if !p.truth(`document.getElementById('dialog').open && document.activeElement.id === 'name' && document.activeElement.value === 'web-0' && document.querySelector('#dialog [data-armed]').disabled`) {
		t.Error("a form that is half filled is not as it was")
	}
	if p.truth(reloaded) {
		t.Error("the page was loaded anew; it should have been live")
	}
}
