package web_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/web"
)

// open serves a stage to a browser as a local administrator sees it.
func open(t *testing.T, b web.Backend) string {
	t.Helper()
	page := web.New(b, web.Options{Version: "test"})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(api.HeaderRequestID, "req-7f31")
		page.ServeHTTP(w, r.WithContext(auth.With(r.Context(), auth.Local())))
	}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

const digest = "9c41d2a6b1f04c55b0f1e07a9c41d2a6b1f04c55b0f1e07a9c41d2a6b1f0e07a"

// pagesOfBusyFleet are the pages that a person looks at, by the picture's name.
var pagesOfBusyFleet = []struct{ name, path string }{
	{"overview", "/"}, {"group", "/groups/web"}, {"schedule", "/groups/night"}, {"nodes", "/nodes"}, {"node", "/nodes/web-077"}, {"rollouts", "/rollouts"}, {"rollout", "/rollouts/ro-7k2f"},
	{"rollout-new", "/rollouts/new"}, {"bundles", "/bundles"}, {"events", "/events"}, {"cluster", "/cluster"}, {"freeze", "/freeze"},
	{"free", "/groups/web/holds/web-014/free?fence=41"}, {"abort", "/rollouts/ro-7k2f/abort"}, {"login", "/login"},
}

func TestPages_FitAPhoneAndADeskInLightAndDark(t *testing.T) {
	url := open(t, busyFleet())
	p := openTab(t) // it is closed before the server is
	for _, look := range []struct {
		width int64
		theme string
	}{{390, "light"}, {1440, "light"}, {1440, "dark"}, {390, "dark"}, {320, "light"}} {
		p.look(look.width, look.theme)
		for _, page := range pagesOfBusyFleet {
			p.do(chromedp.Navigate(url + page.path))
			if page.name != "login" {
				p.until(page.path+" is live", `document.getElementById('live')?.dataset.state === 'live'`)
			}
			if !p.truth(`document.documentElement.scrollWidth <= document.documentElement.clientWidth`) {
				p.Errorf("%s scrolls sideways at %d px", page.path, look.width)
			}
			if look.width != 320 && (page.name == "overview" || look.theme == "light" || look.width == 1440) {
				p.picture(fmt.Sprintf("%s-%d-%s", page.name, look.width, look.theme))
			}
		}
	}
}

func TestPages_LostQuorumAndFreezeStandAboveEverything(t *testing.T) {
	b := busyFleet()
	url := open(t, b)
	p := openTab(t)
	p.look(1440, "light")
	p.do(chromedp.Navigate(url))
	p.until("the page is live", isLive)
	b.set(func(b *stage) {
		b.status.Stale, b.status.Sentence = true, "No quorum: nobody gets a slot"
		b.status.Cluster.Quorum = false
		b.status.Frozen = &api.Freeze{ID: "f1", By: "ann", At: time.Now(), Reason: "payment incident"}
	})
	p.until("the banners appear", `document.querySelectorAll('#banners .banner').length === 2`)
	p.until("the gates shut", `document.querySelector('#lock-worker .note').innerText.includes('no quorum')`)
	p.until("what writes is off", `document.querySelectorAll('main a[data-dialog]').length === 0`)
	p.picture("no-quorum-1440-light")
	p.look(390, "dark")
	if !p.truth(`document.documentElement.scrollWidth <= document.documentElement.clientWidth`) {
		t.Error("the page scrolls sideways at 390 px")
	}
	p.picture("no-quorum-390-dark")
}
