package web_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// changes is how many the measurement of a page takes the time of.
const changes = 20

// seen is evaluated before a change: a promise of when the condition holds in a
// frame that the browser draws, in milliseconds of the machine's clock.
const seen = `window.seen = new Promise((done, failed) => {
	const drawn = () => requestAnimationFrame(() => setTimeout(() => done(performance.timeOrigin + performance.now())));
	const holds = () => %s;
	if (holds()) { failed('it was there before the change'); return; }
	setTimeout(() => failed('not shown within 15 s'), 15000);
	const eye = new MutationObserver(() => { if (holds()) { eye.disconnect(); drawn(); } });
	eye.observe(document.body, { subtree: true, childList: true, characterData: true, attributes: true });
}), true`

// TestMeasure_HowSoonAChangeIsOnScreen takes a slot through the API, again and
// again, and the time from asking for it, that is from before the commit, until a
// page shows it. In between nothing happens, for a time that differs from change
// to change.
func TestMeasure_HowSoonAChangeIsOnScreen(t *testing.T) {
	measures(t)
	for _, fleet := range []int{200, 10_000} {
		t.Run(fmt.Sprintf("of %d nodes", fleet), func(t *testing.T) { changesOnScreen(t, fleet) })
	}
}

func changesOnScreen(t *testing.T, fleet int) {
	s := startCoordinator(t)
	s.reportMany(fleet)
	if _, err := s.api.PutGroup(t.Context(), "default", api.GroupSpec{Slots: "1000"}, ""); err != nil {
		t.Fatal(err)
	}
	ro, _, err := s.api.CreateRollout(t.Context(), api.RolloutSpec{Bundle: s.upload(t, "measured", time.Minute), Group: "default"}, "")
	if err != nil {
		t.Fatal(err)
	}
	taken := 0
	next := func() string { taken++; return nodeName(taken - 1) }
	// One more is out: in the figures, in the list, in the count below the waves.
	count := func(expression string) func() (node, shown string) {
		return func() (string, string) { return next(), fmt.Sprintf(expression, taken) }
	}
	for _, page := range []struct {
		what, path string
		change     func() (node, shown string)
	}{
		{"overview", "/", count(`document.querySelector('#figures .v').textContent === '%d'`)},
		{"group", "/groups/default", func() (string, string) {
			node := next()
			return node, fmt.Sprintf(`document.querySelector('#holds tr[data-key="%s"]') !== null`, node)
		}},
		{"node", "", func() (string, string) { return next(), `document.querySelector('#hold dl') !== null` }},
		{"nodes", "/nodes", count(`document.querySelector('#node-states a[href="/nodes?state=out"] .n')?.textContent === '%d'`)},
		{"rollout", "/rollouts/" + ro.ID, count(`document.querySelector('#waves .legend').textContent.includes('updating, %d')`)},
	} {
		p := openTab(t)
		p.look(1440, "light")
		var took []float64
		for i := range changes {
			node, shown := page.change()
			path := page.path
			if path == "" {
				path = "/nodes/" + semaphore.EscapeID(node)
			}
			if i == 0 || page.path == "" {
				p.load(s.c.URL() + path)
				p.until(path+" is live", isLive)
			}
			time.Sleep(1500*time.Millisecond + time.Duration(i*377%1000)*time.Millisecond)
			p.do(ignore(chromedp.Evaluate[bool](fmt.Sprintf(seen, shown))))
			at := float64(time.Now().UnixMicro()) / 1000
			s.take(node)
			when, err := chromedp.Run(p.ctx, chromedp.Evaluate[float64](`window.seen`, chromedp.EvalAwaitPromise))
			if err != nil {
				t.Fatalf("%s, change %d: %v", page.what, i, err)
			}
			took = append(took, when-at)
		}
		slices.Sort(took)
		t.Logf("%-9s %d changes: min %3.0f, median %3.0f, p99 %3.0f, max %3.0f ms", page.what, len(took), took[0], quantile(took, 0.5), quantile(took, 0.99), took[len(took)-1])
		chromedp.Cancel(p.ctx)
	}
}

// quantile of sorted values, by the nearest rank.
func quantile(sorted []float64, q float64) float64 {
	return sorted[max(0, int(math.Ceil(q*float64(len(sorted))))-1)]
}
