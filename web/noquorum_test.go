package web_test

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/internal/etcdtest"
)

// Without a quorum nothing is offered that would write, on whichever page: what is
// left of it is off, and says why beside it.
func TestNoQuorum_EveryButtonIsOffAndSaysWhy(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	b.status.Stale = true
	b.status.Frozen = &api.Freeze{ID: "f1", By: "ann", At: time.Now(), Reason: "an incident"}
	b.status.Groups[0].Holds[1].Revoked = &api.Mark{By: "ann", At: time.Now()}
	harmless := []string{"look", "plan"} // they only ask
	pages := []string{"/groups/web/holds/web-077/free?fence=41", "/nodes/web-052.rack-7.fra1.example.net/retry", "/nodes/web-000/rollback", "/nodes/web-001/duplicate", "/rollouts/ro-7k2f/retry"}
	for _, p := range pagesOfBusyFleet {
		pages = append(pages, p.path)
	}
	for _, path := range pages {
		page := text(t, ask(t, b, auth.Local(), http.MethodGet, path, nil))
		if path == "/login" || path == "/nowhere" {
			continue
		}
		_, main, _ := strings.Cut(page, "<main")
		off, post := 0, false
		eachToken(t, main, func(token xml.Token) {
			e, is := token.(xml.StartElement)
			if !is {
				return
			}
			switch href, _ := attr(e, "href"); e.Name.Local {
			case "form":
				method, _ := attr(e, "method")
				post = method == "post"
			case "a":
				if _, opens := attr(e, "data-dialog"); opens && href != "/keys" && !strings.HasSuffix(href, "remove=true") { // which only asks on
					t.Errorf("%s still offers %s", path, href)
				}
			case "button":
				does, _ := attr(e, "value")
				_, disabled := attr(e, "disabled")
				if disabled {
					off++
				} else if post && !slices.Contains(harmless, does) {
					t.Errorf("%s has a button that is on: %+v", path, e.Attr)
				}
			}
		})
		if off > 0 && !strings.Contains(main, "Needs a quorum") {
			t.Errorf("%s has %d buttons that are off, and does not say why", path, off)
		}
	}
}

// TestNoQuorum_OfARealStore loses the etcd of a coordinator while a form is open:
// what was typed stays, the answer is the reason, and all goes on by itself.
func TestNoQuorum_OfARealStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	etcd, err := etcdtest.Start(etcdtest.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { etcd.Stop() })
	config := coordinator.DefaultConfig()
	config.Etcd.Endpoints = []string{etcd.URL}
	s := startConfigured(t, config)
	p := openTab(t)
	p.expect("503")
	p.look(1440, "light")
	p.load(s.c.URL() + "/")
	p.stays()
	p.click("#freeze-button a")
	p.until("the form opens", `document.getElementById('dialog').open`)
	p.fill("#dialog #reason", "disks")

	etcd.Stop()
	p.until("the loss is shown as an alert", `document.querySelector('#banners [role=alert]')?.innerText.includes('No quorum')`)
	p.until("the button is off, and says why", `document.querySelector('#freeze-button button')?.disabled && document.querySelector('#freeze-button button').title === 'Needs a quorum'`)
	if !p.truth(`document.getElementById('dialog').open && document.querySelector('#dialog #reason').value === 'disks'`) {
		t.Error("the open form is gone, or what was typed into it")
	}
	p.click("#dialog button.btn")
	p.says("#dialog [role=alert]", "Not frozen", "quorum", "503")
	p.until("what was typed is kept, and the button is off", `document.querySelector('#dialog #reason').value === 'disks' && document.querySelector('#dialog button.btn').disabled`)
	p.says("#dialog .acts", "Needs a quorum")
	p.picture("no-quorum-refused")

	if etcd, err = etcdtest.Start(etcdtest.Config{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	// An etcd with much else to do may be lost once more: then it is not known whether
	// the fleet was frozen, until one looks.
	const refused, frozen = `document.querySelector('#dialog [role=alert]') !== null`, `document.querySelector('#banners').innerText.includes('disks after all')`
	for {
		p.until("the quorum is back", `document.querySelector('#banners [role=alert]') === null`)
		if p.truth(frozen) {
			break
		}
		p.click("#dialog [data-cancel]")
		p.click("#freeze-button a")
		p.until("the form opens again", `document.getElementById('dialog').open && !(`+refused+`)`)
		p.fill("#dialog #reason", "disks after all")
		p.click("#dialog button.btn")
		p.until("it is done or refused", refused+` || `+frozen)
	}
	if p.truth(reloaded) {
		t.Error("the page was loaded anew; it should have been live")
	}
}
