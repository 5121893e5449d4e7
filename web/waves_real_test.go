package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// put sets a field as a person who chooses or types would leave it.
func (p *tab) put(field, value string) {
	p.Helper()
	p.do(ignore(chromedp.Evaluate[string](fmt.Sprintf(`document.querySelector('[name="%s"]').value = %q`, field, value))))
}

// says waits until the text of an element has all the parts.
func (p *tab) says(css string, parts ...string) {
	p.Helper()
	for _, part := range parts {
		p.until(css+" says "+part, fmt.Sprintf("document.querySelector(%q)?.innerText.includes(%q)", css, part))
	}
}

// drawn waits until the drawing of a wave says so of its nodes.
func (p *tab) drawn(wave int, counts string) {
	p.Helper()
	p.until(fmt.Sprintf("wave %d is drawn with %s", wave, counts),
		fmt.Sprintf("document.querySelectorAll('#waves .wave')[%d]?.querySelector('svg[role=img]').getAttribute('aria-label').includes(%q)", wave-1, counts))
}

// hit clicks what is seen by then, wherever it moves meanwhile: a live page may be
// laid out anew between the aim and the click of a mouse. A dialog that is shut
// still has the form that was in it.
func (p *tab) hit(css string) {
	p.Helper()
	for range 100 {
		p.until(css+" is seen", fmt.Sprintf("document.querySelector(%q)?.checkVisibility()", css))
		if p.truth(fmt.Sprintf("(() => { const e = document.querySelector(%q), seen = e?.checkVisibility(); if (seen) e.click(); return !!seen; })()", css)) {
			return
		}
	}
	p.Fatalf("%s comes and goes", css)
}

// asks opens a form as a dialog, gives its reason and sends it.
func (p *tab) asks(css, reason string) {
	p.Helper()
	p.hit(css)
	p.until(css+" opens a dialog", `document.getElementById('dialog').open`)
	p.fill("#dialog #reason", reason)
	p.hit("#dialog button.btn")
	p.until("the dialog closes", `!document.getElementById('dialog').open`)
}

// typesWaves fills the form of a new rollout.
func (p *tab) typesWaves(bundle, budget string, waves ...map[string]string) {
	p.Helper()
	p.put("bundle", bundle)
	p.put("group", "web")
	p.put("max_failures", budget)
	for i, w := range waves {
		for field, value := range w {
			if name := fmt.Sprintf("wave%d_%s", i+1, field); field == "approval" {
				p.hit(`[name="` + name + `"]`)
			} else {
				p.put(name, value)
			}
		}
	}
}

const reloaded = `window.neverReloaded !== 1`

// stays marks the page, so that it is known if it was loaded anew.
func (p *tab) stays() {
	p.Helper()
	p.until("the page is live", isLive)
	p.do(ignore(chromedp.Evaluate[int](`window.neverReloaded = 1`)))
}

// TestRollout_InWavesFromTheFormToItsEndAgainstRealAgents drives two browsers
// against a coordinator with a real store and ten hosts with real agents: a good
// bundle in three waves, with an approval and a pause, then a bad one that halts
// in its canary wave, is tried again, skips a wave and is aborted. Where a
// rollout has to stand still to be looked at, its hosts are slow to be healthy.
func TestRollout_InWavesFromTheFormToItsEndAgainstRealAgents(t *testing.T) {
	t.Parallel()
	p, q := openTab(t), openTab(t)
	s := startCoordinator(t)
	s.sure(func() error { _, err := s.api.PutGroup(t.Context(), "web", api.GroupSpec{Slots: "3"}, "*"); return err })
	hosts := s.startHosts(t, "web", 10)
	good, bad := s.upload(t, "base-2", 5*time.Minute), s.upload(t, "base-3", time.Second)
	p.look(1440, "light")
	q.look(1440, "dark")

	p.load(s.c.URL() + "/rollouts/new")
	p.typesWaves(good, "0", map[string]string{"upto": "2", "approval": "on"}, map[string]string{"upto": "50%"}, map[string]string{"upto": "100%"})
	p.hit("button[value=plan]")
	p.says("#plan", "10 nodes to bundle base-2 in 3 waves", "approval", "web: nothing", "web-01")
	p.axe("a plan", everyRule)
	p.picture("rollout-real-plan")
	if list, err := s.api.Rollouts(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("the preview made %d rollouts, error %v", len(list), err)
	}
	p.hit("button[value=start]")
	p.until("the rollout's page comes", `location.pathname.startsWith('/rollouts/') && location.pathname !== '/rollouts/new' && document.querySelector('#rollout-head') !== null`)
	id := p.text(`location.pathname.split('/').pop()`)
	p.stays()
	q.load(s.c.URL() + "/rollouts/" + id)
	q.stays()

	for who, page := range map[string]*tab{"who started it": p, "the other": q} {
		page.drawn(1, "2 updated, 0 in work, 0 waiting, 0 not started, 0 failed")
		page.says("#rollout-head .pill", "Waiting for approval")
		page.says("#gates", "0 of 1 approved")
		if page.truth(reloaded) {
			t.Errorf("%s loaded the page anew", who)
		}
	}
	if r := s.rollout(id); r.Progress.Updated != 2 || r.Progress.Pending != 8 {
		t.Errorf("before the approval: %+v", r.Progress)
	}
	p.picture("rollout-real-approval")

	hosts.say(good, "its caches are cold") // the next wave stays in work
	q.asks("#gates a[data-dialog]", "the canaries look fine")
	p.drawn(2, "0 updated, 3 in work")
	p.says("#latest", "the canaries look fine")
	p.hit(`#rollout-head form[action$="/pause"] button`)
	q.says("#rollout-head .pill", "Paused")
	hosts.say(good, "")
	q.drawn(2, "3 updated, 0 in work, 0 waiting, 0 not started, 0 failed")
	if r := s.rollout(id); r.State != api.RolloutPaused || r.Progress.Updated != 5 || r.Progress.Updating+r.Progress.Waiting != 0 {
		t.Errorf("paused: %s, %+v", r.State, r.Progress)
	}
	q.hit(`#rollout-head form[action$="/resume"] button`)
	for who, page := range map[string]*tab{"the one": p, "the other": q} {
		page.says("#rollout-head .pill", "Succeeded")
		page.drawn(3, "5 updated")
		page.until("all waves are done", `document.querySelectorAll('#waves .wave[data-s=done]').length === 3`)
		page.says("#budget", "0 of 0 used")
		if page.truth(`location.pathname !== '/rollouts/` + id + `'`) {
			t.Errorf("%s is elsewhere", who)
		}
	}
	p.picture("rollout-real-succeeded")

	hosts.say(bad, "GET :8080/healthz answered 503")
	p.load(s.c.URL() + "/rollouts/new?bundle=" + bad + "&group=web")
	p.typesWaves(bad, "1", map[string]string{"upto": "2"}, map[string]string{"upto": "50%", "soak": "30m"}, map[string]string{"upto": "100%"})
	q.load(s.c.URL() + "/")
	q.stays()
	p.hit("button[value=start]")
	p.until("the second rollout's page comes", `/^\/rollouts\/.*/.test(location.pathname) && location.pathname !== '/rollouts/new' && document.querySelector('#rollout-head') !== null`)
	id = p.text(`location.pathname.split('/').pop()`)
	p.stays()
	p.says("#rollout-head .pill", "Halted")
	p.says("#rollout-head", "Stopped ")
	p.drawn(1, "0 updated, 0 in work, 0 waiting, 0 not started, 2 failed")
	p.drawn(2, "0 updated, 0 in work, 0 waiting, 3 not started, 0 failed")
	p.says("#budget", "2 of 1 used", "nothing starts until somebody decides")
	if !p.truth(`document.querySelectorAll('#budget .budget .used').length === 2 && document.querySelector('#budget .budget .halt') !== null`) {
		t.Error("the gauge does not show two failures and the mark at which it halts")
	}
	p.says("#rollout-nodes", "answered 503")
	p.axe("a halted rollout", everyRule)
	p.fits("a halted rollout at 1440 px")
	p.picture("rollout-real-halted")
	q.says("#attention", "halted")

	hosts.say(bad, "")
	p.asks(`#rollout-head a[href$="/retry"]`, "the proxy was down")
	p.drawn(1, "2 updated")
	p.drawn(2, "3 updated")
	p.says("#rollout-head .pill", "Soaking")
	p.says("#budget", "0 of 1 used")
	hosts.say(bad, "its caches are cold")
	p.asks(`#rollout-head a[href$="/skip"]`, "soaked in the test fleet")
	p.says("#waves", "Skipped")
	p.until("the third wave has begun", `document.querySelectorAll('#waves .wave')[2].dataset.s !== 'pending'`)
	p.asks(`#rollout-head a[href$="/abort"]`, "enough for today")
	p.says("#rollout-head .pill", "Aborted")
	q.until("the other sees that nothing needs attention any more", `!document.querySelector('#attention').innerText.includes('halted')`)
	hosts.say(bad, "")
	if p.truth(reloaded) || q.truth(reloaded) {
		t.Error("a page was loaded anew; it should have been live")
	}
	for kind, reason := range map[string]string{"rollout.retried": "the proxy was down", "rollout.wave.skipped": "soaked in the test fleet", "rollout.aborted": "enough for today"} {
		s.told(api.EventQuery{Rollout: id, Kind: kind, Text: reason}, "local ")
	}
}

// text is what a JavaScript expression says.
func (p *tab) text(expression string) string {
	p.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](expression))
	if err != nil {
		p.Fatal(err)
	}
	return v
}

func (s *site) rollout(id string) api.Rollout {
	s.Helper()
	r, err := s.api.Rollout(s.Context(), id)
	if err != nil {
		s.Fatal(err)
	}
	return r
}

// What a gate's metric says is drawn against its threshold as it is asked, and the
// rollout goes on when it passes.
func TestRollout_AGatesMetricIsDrawnAsItIsAsked(t *testing.T) {
	t.Parallel()
	var value atomic.Value
	value.Store("0.9")
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[%d,%q]}]}}`, time.Now().Unix(), value.Load())
	}))
	t.Cleanup(prometheus.Close)
	p := openTab(t)
	config := coordinator.DefaultConfig()
	config.Gates.PrometheusURL = prometheus.URL
	s := startConfigured(t, config)
	s.startHosts(t, "default", 2)
	bundle := s.upload(t, "base-2", time.Minute)
	var r api.Rollout
	s.sure(func() (err error) {
		r, _, err = s.api.CreateRollout(t.Context(), api.RolloutSpec{Bundle: bundle, Group: "default", Waves: []api.WaveSpec{
			{Count: 1, Gates: []api.GateSpec{{Name: "errors", Every: "1s", PromQL: &api.PromQLGate{Query: "errors", Compare: "<", Value: 0.5}}}}, {}}}, "gate")
		return err
	})
	p.look(1440, "light")
	p.load(s.c.URL() + "/rollouts/" + r.ID)
	p.stays()
	p.says("#gates", "Does not pass", "errors < 0.5")
	p.until("three answers are drawn, against the threshold", `(document.querySelector('#gates .spark path')?.getAttribute('d').match(/L/g) ?? []).length >= 2`)
	p.until("and said", `/^0\.9 since \d\d:\d\d UTC, \d+ tries; threshold 0\.5$/.test(document.querySelector('#gates .spark').getAttribute('aria-label'))`)
	p.axe("a gate that does not pass", everyRule)
	p.picture("rollout-real-gate")
	value.Store("0.1")
	p.says("#rollout-head .pill", "Succeeded")
	if p.truth(reloaded) {
		t.Error("the page was loaded anew; it should have been live")
	}
}
