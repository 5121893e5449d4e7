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
	endsBehindPages(t, func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	return srv.URL
}

const digest = "9c41d2a6b1f04c55b0f1e07a9c41d2a6b1f04c55b0f1e07a9c41d2a6b1f0e07a"

// pagesOfBusyFleet are the pages that a person looks at, by the picture's name.
var pagesOfBusyFleet = []struct{ name, path string }{
	{"overview", "/"}, {"group", "/groups/web"}, {"schedule", "/groups/night"}, {"group-week", "/groups/web?span=7d"}, {"group-big", "/groups/big"},
	{"nodes", "/nodes"}, {"nodes-group", "/nodes?group=worker&sort=id&after=worker-049"}, {"nodes-bundles", "/nodes?by=bundle"}, {"nodes-drifted", "/nodes?drifted=true"}, {"node", "/nodes/web-077"}, {"node-drifted", "/nodes/web-030"}, {"node-waits", "/nodes/web-094"}, {"node-failed", "/nodes/web-052.rack-7.fra1.example.net"},
	{"rollouts", "/rollouts"}, {"rollout", "/rollouts/ro-7k2f"}, {"rollout-asks", "/rollouts/ro-7k19"},
	{"rollout-like", "/rollouts/new?from=ro-7k2f"}, {"halt", "/rollouts/ro-7k2f/halt"}, {"approve", "/rollouts/ro-7k19/approve?wave=1&gate=approval"}, {"skip", "/rollouts/ro-7k2f/skip"},
	{"rollout-new", "/rollouts/new"}, {"bundles", "/bundles"}, {"bundle", "/bundles/" + digest}, {"bundle-diff", "/bundles/diff"},
	{"events", "/events"}, {"events-refused", "/events?from=yesterday"}, {"cluster", "/cluster"}, {"freeze", "/freeze"},
	{"free", "/groups/web/holds/web-014/free?fence=41"}, {"abort", "/rollouts/ro-7k2f/abort"}, {"login", "/login"},
	{"group-edit", "/groups/web/edit"}, {"group-new", "/new-group"}, {"window", "/groups/night/window?n=0"}, {"window-remove", "/groups/night/window?n=1&remove=true"}, {"blackout", "/groups/night/blackout"}, {"blackout-remove", "/groups/night/blackout?name=year-end"},
	{"priority", "/nodes/web-094/priority"}, {"forget", "/nodes/web-150/forget"}, {"keys", "/keys"}, {"not-found", "/nowhere"},
}

// TestPages_FitEveryScreenAndPassAxe looks at every page in both themes, from a
// desk to a small phone: nothing scrolls sideways, axe-core finds nothing, no error
// is logged, and pictures are kept.
func TestPages_FitEveryScreenAndPassAxe(t *testing.T) {
	t.Parallel()
	url := open(t, busyFleet())
	const lanes = 3
	for lane := range lanes {
		t.Run(fmt.Sprint("lane ", lane+1), func(t *testing.T) {
			t.Parallel()
			p := openTab(t)
			p.expect("400", "404") // what the page tells of
			for i, page := range pagesOfBusyFleet {
				if i%lanes == lane {
					p.lookAt(url, page.name, page.path)
				}
			}
		})
	}
}

// lookAt loads a page once and looks at it in every size and theme.
func (p *tab) lookAt(url, name, path string) {
	p.Helper()
	p.look(1440, "light")
	p.do(chromedp.Navigate(url + path))
	if name != "login" {
		p.until(path+" is live", isLive)
	}
	// TestDialogs asks about forms in the light on a desk and in the dark on a phone.
	form := p.truth(`document.querySelector('main .formpage') !== null`)
	for _, look := range []struct {
		width   int64
		theme   string
		rules   []string // nil: axe is not asked
		picture bool
	}{
		{1440, "light", everyRule, true}, {1440, "dark", colourRules, true}, {1024, "dark", nil, false},
		{390, "light", everyRule, true}, {390, "dark", colourRules, false}, {320, "dark", nil, false},
	} {
		where := at(path, look.width, look.theme)
		p.look(look.width, look.theme)
		p.fits(where)
		if look.rules != nil && !(form && (look.width == 1440) == (look.theme == "light")) {
			p.axe(where, look.rules)
		}
		if look.picture {
			p.picture(fmt.Sprintf("%s-%d-%s", name, look.width, look.theme))
		}
	}
}

func TestPages_LostQuorumAndFreezeStandAboveEverything(t *testing.T) {
	t.Parallel()
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
