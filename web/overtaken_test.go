package web_test

import (
	"testing"

	"github.com/chromedp/chromedp/kb"
)

// The answer to a form that somebody has left for another one does not take the
// other one away, with what was typed into it.
func TestDialog_ALateAnswerLeavesTheNextFormAlone(t *testing.T) {
	t.Parallel()
	url := open(t, busyFleet())
	p := openTab(t)
	p.look(1440, "light")
	p.load(url + "/groups/web")
	p.stays()
	p.click(`#group-head a[href^="/freeze"]`)
	p.until("the form opens", `dialog.open`)
	p.fill("#dialog #reason", "disks")
	p.run(`window.late = new Promise((comes) => { window.comes = comes; }); window.real = fetch; window.answered = 0;
		window.fetch = async (...request) => {
			const answer = await real(...request), text = await answer.text();
			answer.text = async () => text;
			if (request[1]?.method === 'POST') { await late; setTimeout(() => answered++); } // behind whoever waits for it
			return answer;
		}`)
	p.click("#dialog button.btn")
	p.press(kb.Escape)
	p.until("the form is shut", isShut)
	p.click(`#group-head a[href$="/edit"]`)
	p.until("the next form opens", `dialog.open && dialog.querySelector('#slots') !== null`)
	p.put("slots", "17")
	p.run(`comes()`)
	p.until("the late answer was taken in", `answered === 1`)
	if !p.truth(`dialog.open && dialog.querySelector('#slots')?.value === '17'`) {
		t.Error("the next form is gone, or what was typed into it")
	}
}
