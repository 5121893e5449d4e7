package web_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

func TestWindow_IsLookedAtAddedChangedAndRemoved(t *testing.T) {
	b := busyFleet()
	windows := func() []api.WindowSpec { g, _ := b.Group(t.Context(), "night"); return g.Spec.Windows }
	in := url.Values{"revision": {"5"}, "do": {"look"}, "weekdays": {"Sat, sun"}, "start": {"22:00"}, "duration": {"4 hours"}, "time_zone": {"Europe/Berlin"}}
	// What is wrong stands beside its field, by the name and in the words of the API.
	refused(t, post(t, b, "/groups/night/window", in), http.StatusBadRequest,
		`value="4 hours" aria-invalid="true" aria-describedby="duration-hint duration-wrong"`, `id="duration-wrong"><code>windows[2].duration</code>: &#34;4 hours&#34;: want a duration such as 30m or 1h30m`, `name="revision" value="5"`)
	in.Set("duration", "4h")
	in.Set("time_zone", "Europe/Berln")
	refused(t, post(t, b, "/groups/night/window", in), http.StatusBadRequest, `id="time_zone-wrong"><code>windows[2].time_zone</code>`)
	in.Set("time_zone", "Europe/Berlin")
	look := text(t, post(t, b, "/groups/night/window", in))
	if !strings.Contains(look, "It would be open") || strings.Count(look, " 22:00 CE") != 4 || strings.Count(look, ">Sun ") != 4 {
		t.Errorf("four openings on Saturdays and Sundays, until the next day, are not shown:\n%s", look)
	}
	if calls := b.wrote(); len(calls) != 0 {
		t.Errorf("a look wrote %q", calls)
	}
	in.Set("do", "save")
	redirected(t, post(t, b, "/groups/night/window", in), "/groups/night")
	if got := windows(); len(got) != 3 || !slices.Equal(got[2].Weekdays, []string{"sat", "sun"}) || got[2].TimeZone != "Europe/Berlin" {
		t.Errorf("windows %+v", got)
	}
	in.Set("n", "0")
	in.Set("name", "late")
	redirected(t, post(t, b, "/groups/night/window", in), "/groups/night")
	if got := windows(); len(got) != 3 || got[0].Name != "late" || got[0].Cutoff != "" {
		t.Errorf("windows %+v", got)
	}
	redirected(t, post(t, b, "/groups/night/window", url.Values{"revision": {"5"}, "n": {"1"}, "remove": {"true"}}), "/groups/night")
	if got := windows(); len(got) != 2 || got[1].Start != "22:00" {
		t.Errorf("windows %+v", got)
	}
	if calls := b.wrote(); len(calls) != 3 || !strings.HasSuffix(calls[2], "if=5") {
		t.Errorf("calls %q", calls)
	}
	for _, n := range []string{"2", "-1", "first"} {
		refused(t, ask(t, b, auth.Local(), http.MethodGet, "/groups/night/window?n="+n, nil), http.StatusNotFound, "night has 2 windows, the first is 0")
	}
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/groups/night/window?remove=true", nil), http.StatusBadRequest, "n is missing")
}

// Whoever removes the last window opens the group: the form says so.
func TestWindow_TheLastAndTheFirstSayWhatTheyDo(t *testing.T) {
	b := busyFleet()
	b.status.Groups[4].Spec.Windows = b.status.Groups[4].Spec.Windows[:1]
	if page := show(t, b, "/groups/night/window?n=0&remove=true"); !strings.Contains(page, "<b>nodes may start at any time</b>") {
		t.Error("the form does not say what goes with the last window")
	}
	first := url.Values{"revision": {"5"}, "do": {"look"}, "start": {"22:00"}, "duration": {"1h"}}
	if page := text(t, post(t, b, "/groups/web/window", first)); !strings.Contains(page, "outside of it nothing starts any more") {
		t.Error("the form does not say what comes with the first window")
	}
}

// A group's settings are changed from its page against a real coordinator: what it
// refuses stands beside its field, what it takes is drawn without a reload and is
// in the audit trail.
func TestGroup_ItsHoursAreSetFromItsPage(t *testing.T) {
	t.Parallel()
	p, q := openTab(t), openTab(t)
	p.expect("400")
	s := startCoordinator(t)
	p.look(1440, "light")
	p.load(s.c.URL() + "/groups/default")
	p.stays()
	q.load(s.c.URL() + "/groups/default")
	q.stays()

	p.hit(`#settings a[href$="/window"]`)
	p.until("the form opens", `document.getElementById('dialog').open`)
	p.put("weekdays", "mon-fri")
	p.put("start", "25:00")
	p.put("duration", "4h")
	p.put("cutoff", "30m")
	p.put("time_zone", "Europe/Berlin")
	p.hit("#dialog button[value=save]")
	p.until("what is refused stands beside its field", `document.querySelector('#dialog #start[aria-invalid=true]') !== null && document.querySelector('#dialog #start-wrong').innerText.startsWith('windows[0].start: ')`)
	p.axe("a form that was refused", everyRule)
	p.put("start", "22:00")
	p.hit("#dialog button[value=look]")
	p.says("#dialog .note", "It would be open", "22:00 CE", "outside of it nothing starts")
	p.picture("window-real")
	p.hit("#dialog button[value=save]")
	for _, page := range []*tab{p, q} {
		page.says("#settings", "mon-fri 22:00 for 4 h, Europe/Berlin; nothing starts in its last 30 m")
		page.says("#calendar", "Windows and blackouts", "Europe/Berlin")
		page.says("#latest", "had its settings changed")
	}
	p.until("the form is shut", isShut) // its answer would shut the next one

	q.hit(`#settings a[href$="/window?n=0"]`)
	q.until("the form has what is declared", `document.querySelector('#dialog #cutoff')?.value === '30m' && document.querySelector('#dialog #weekdays').value === 'mon-fri'`)
	// Meanwhile somebody else adds a blackout: the older form is refused once.
	p.hit(`#settings a[href$="/blackout"]`)
	p.until("the other form opens", `document.getElementById('dialog').open`)
	p.put("name", "year-end")
	p.put("from", "2099-12-24 18:00")
	p.put("until", "2099-12-20")
	p.put("reason", "nobody is here")
	p.hit("#dialog button.btn")
	p.until("the end before the start is refused at its field", `document.querySelector('#dialog #until-wrong')?.innerText.startsWith('blackouts[0].end: ')`)
	p.put("until", "2100-01-02")
	p.hit("#dialog button.btn")
	p.says("#settings", "year-end", "nobody is here")
	p.until("the other form is shut", isShut)
	q.expect("412")
	q.put("cutoff", "1h")
	q.hit("#dialog button[value=save]")
	q.says("#dialog [role=alert]", "412 changed")
	q.hit("#dialog button[value=save]")
	p.says("#settings", "nothing starts in its last 1 h", "year-end")
	q.until("the form is shut", isShut)

	q.hit(`#settings a[href$="/window?n=0"]`)
	q.hit(`#dialog a[href*="remove"]`)
	q.says("#dialog", "nodes may start at any time")
	q.hit("#dialog button.btn")
	p.until("the window is gone", `!document.querySelector('#settings').innerText.includes('22:00')`)
	if p.truth(reloaded) || q.truth(reloaded) {
		t.Error("a page was loaded anew; it should have been live")
	}
	s.told(api.EventQuery{Kind: "group.changed"}, "local windows", "local blackouts", "local windows", "local windows")
}

// Without script a form is a page, and a look at it comes back with what was typed.
func TestWindow_WithoutScript(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	at := open(t, b)
	p := openTab(t)
	p.withoutScript()
	p.load(at + "/groups/night")
	p.click(`#settings a[href$="/window"]`)
	p.until("the form is a page", `location.pathname === '/groups/night/window'`)
	p.fill("#start", "03:00")
	p.fill("#duration", "2h")
	p.click("button[value=look]")
	p.until("the openings are shown, and what was typed", `document.querySelector('.note')?.innerText.includes('03:00 UTC') && document.querySelector('#duration').value === '2h'`)
	p.click("button[value=save]")
	p.until("the group's page follows", `location.pathname === '/groups/night'`)
	if calls := b.wrote(); len(calls) != 1 || !strings.Contains(calls[0], "windows=3") {
		t.Errorf("calls %q", calls)
	}
}
