package web_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// hostile is what an attacker would name things.
const hostile = `"><script>alert('x')</script>&`

// hostileFleet has one of everything, and everything that anybody may name, or
// give as a reason, is the same text.
func hostileFleet(name string) *stage {
	b := newStage()
	now := time.Now()
	h := api.Hold{Group: "web", Node: name, State: "confirmed", Via: name, Since: now, Fence: 7, Reason: name, Phase: name,
		Revoked: &api.Mark{By: name, At: now, Reason: name}}
	b.status.Sentence = name
	b.status.Frozen = &api.Freeze{ID: name, By: name, Reason: name, At: now}
	b.status.Figures = api.Figures{Nodes: 1, OldestNode: name, OldestWait: now, Waiting: 1}
	b.status.Attention = []api.Attention{{Kind: name, Severity: "bad", Title: name, Detail: name, Node: name, Group: "web", Rollout: name, Hold: &h}}
	b.status.Groups = []api.Group{{Name: "web", Spec: api.GroupSpec{Slots: api.Slots(name), Limits: []api.Limit{{By: name, Max: api.Slots(name)}}},
		Status: api.GroupStatus{Slots: 2, Members: 1, Held: 1, Waiting: 1, Frozen: b.status.Frozen},
		Holds:  []api.Hold{h}, Queue: []api.Waiter{{Node: name, Via: name, Reason: name, Place: 1}}}}
	ro := api.Rollout{ID: name, BundleName: name, State: api.RolloutRunning, By: name, Why: name,
		Spec: api.RolloutSpec{Bundle: name, Name: name, Group: name, Selector: name, Nodes: []string{name}, Reason: name,
			Waves: []api.WaveSpec{{Name: name, Gates: []api.GateSpec{{Name: name, PromQL: &api.PromQLGate{Query: name}}}}}, OnHalt: []api.NotifySpec{{Webhook: name}}},
		After: []string{name}, RollbackOf: name, Wave: 1, EstimateBasis: name,
		Waves:       []api.RolloutWave{{Name: name, State: name, Total: 1}, {Name: name, State: api.WavePending}},
		Gates:       []api.RolloutGate{{Wave: 1, Name: name, Kind: "approval", Condition: name, Value: name, Detail: name, Approvals: []api.Approval{{By: name, Reason: name, At: now}}}},
		Concurrency: &api.Concurrency{Detail: name}, Undelivered: []api.Undelivered{{To: name, What: name, Detail: name}},
		Stalled: &api.Stalled{Since: now, Blockers: []api.Blocker{{Kind: api.Kind(name), Detail: name}}},
		Nodes:   []api.RolloutNode{{Node: name, Group: name, State: api.NodeBroken, Detail: name}}}
	ro.Estimate = now.Add(time.Hour)
	nameless := api.Rollout{ID: "ro-2", BundleName: name, State: api.RolloutRunning, Spec: api.RolloutSpec{Bundle: digest}}
	b.status.Rollouts = []api.Rollout{ro, nameless}
	b.rollouts[ro.ID], b.rollouts[nameless.ID] = ro, nameless
	b.bundles = []api.Bundle{{Digest: digest, Name: name, Version: name, By: name, Interrupt: name, URL: name, SignedBy: []string{name}, Nodes: 1}, {Digest: before, Name: name}, {Digest: elsewhere, Name: name}}
	b.nodes = []api.Node{{ID: name, Group: "web", Labels: map[string]string{name: name}, State: api.NodeFailed, Hold: &h, Duplicate: name, Via: name, BootID: name, Drift: &api.Drift{Bundle: name, Name: name, Rollout: name},
		Wanted: &api.Wanted{Rollout: name, Bundle: name, Name: name},
		Report: api.Report{Phase: api.PhaseApplying, Message: name, Bundle: name, OS: name, Version: name, Failure: &api.Failure{Reason: name, Detail: name, Bundle: name}}}}
	b.events = []api.Event{{Kind: name, Actor: name, Node: name, Group: "web", Detail: name, Scope: name, At: now, Slots: 1}}
	for i, kind := range []string{"hold.granted", "hold.released", "hold.granted"} {
		b.events = append(b.events, api.Event{Kind: kind, Node: name, Actor: name, Group: "web", Detail: name, Scope: name, At: now.Add(time.Duration(i-3) * 10 * time.Minute), Slots: 2})
	}
	b.status.Cluster = api.Cluster{ID: name, Quorum: true, Warnings: []string{name}, Served: name, Members: []api.Member{{ID: name, Name: name, Role: name, URL: name, Version: name}}, Store: api.StoreInfo{EtcdVersion: name}}

	b.status.Groups[0].Spec.Blackouts = []api.BlackoutSpec{{Name: name, Reason: name, Start: now, End: now.Add(time.Hour)}}
	b.status.Groups[0].Spec.Windows = []api.WindowSpec{{Name: name, Weekdays: []string{name}, Start: "00:00", Duration: "1h", TimeZone: "UTC"}}
	b.snapshots = api.SnapshotList{Scheduled: true, Dir: name, Failure: name, Snapshots: []api.Snapshot{{Name: name, At: now}}}
	b.bodies = map[string][]byte{}
	for digest, more := range map[string]string{elsewhere: name, before: ""} {
		body, err := bundle.Encode(bundle.Manifest{Name: "motd", Check: &bundle.Command{Run: "true " + more}, Files: []bundle.File{{Path: "/etc/motd", Mode: "0644"}}},
			map[string][]byte{"/etc/motd": []byte("as before\n" + more)})
		if err != nil {
			panic(err)
		}
		parsed, err := bundle.Parse(body)
		if err != nil {
			panic(err)
		}
		b.bodies[digest] = body
		i := slices.IndexFunc(b.bundles, func(b api.Bundle) bool { return b.Digest == digest })
		b.bundles[i].Manifest = asMap(parsed.Manifest)
	}
	b.tokens = []api.Token{{ID: name, Description: name, By: name, Node: name}}
	return b
}

// hostilePages are the addresses of everything in it.
func hostilePages(name string) []string {
	id, q := semaphore.EscapeID(name), url.QueryEscape(name)
	return []string{"/", "/nodes?q=" + q + "&selector=" + q + "&state=" + q + "&group=" + q + "&bundle=" + q, "/nodes?group=web&sort=id", "/nodes?by=bundle",
		"/nodes/" + id, "/nodes/" + id + "/forget", "/nodes/" + id + "/priority", "/nodes/" + id + "/duplicate", "/nodes/" + id + "/retry",
		"/groups/web?span=" + q + "&zone=" + q, "/groups/web/edit", "/groups/web/window?n=0", "/groups/web/window?n=0&remove=true", "/groups/web/blackout?name=" + q, "/new-group", "/rollouts", "/rollouts/" + id, "/bundles", "/bundles/" + digest, "/bundles/diff", "/bundles/diff?from=" + before + "&to=" + elsewhere, "/rollouts/ro-2",
		"/events?q=" + q + "&node=" + q + "&kind=" + q + "&from=" + q + "&rollout=" + q, "/events", "/cluster", "/rollouts/new?bundle=" + q, "/rollouts/new?from=" + id, "/rollouts/new?from=" + q,
		"/groups/web/holds/" + id + "/free?fence=7", "/rollouts/" + id + "/abort", "/rollouts/" + id + "/approve?gate=" + q, "/rollouts/" + id + "/skip", "/freeze?group=" + q, "/" + id, "/find?q=" + q}
}

func TestHostile_NamesNeverBecomeMarkup(t *testing.T) {
	b := hostileFleet(hostile)
	for _, target := range hostilePages(hostile) {
		body := text(t, ask(t, b, auth.Local(), http.MethodGet, target, nil))
		if strings.Contains(body, "<script>") || strings.Contains(body, `"><`+"script") {
			t.Errorf("GET %s: a name became markup", target)
		}
		if !strings.Contains(body, "&lt;script&gt;") && target != "/new-group" && !strings.HasPrefix(target, "/find") {
			t.Errorf("GET %s: the name is not shown", target)
		}
	}
}

// TestHostile_NamesAreTextInABrowser opens every page with names of several kinds:
// none runs, none makes an element, and what is sent anew by the stream does not
// either.
func TestHostile_NamesAreTextInABrowser(t *testing.T) {
	t.Parallel()
	for i, name := range []string{
		`"><script>pwned=1</script><img src=x onerror=pwned=1>&amp;<svg onload=pwned=1>`,
		"' onfocus='pwned=1' autofocus='\u202egnp.exe {{7*7}} ${7*7} javascript:pwned=1//",
	} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			b := hostileFleet(name)
			at := open(t, b)
			p := openTab(t)
			p.expect("400", "404", "409")
			p.look(390, "light")
			for _, target := range hostilePages(name) {
				p.do(chromedp.Navigate(at + target))
				if !strings.HasSuffix(target, "/forget") {
					p.until(target+" is there", `document.querySelector('h1') !== null`)
				}
				p.clean(target)
				p.fits(target)
			}
			p.do(chromedp.Navigate(at + "/"))
			p.until("the page is live", isLive)
			b.set(func(b *stage) { b.status.Sentence = "Anew: " + name })
			p.until("the stream brings a name", `document.querySelector('h1').textContent.startsWith('Anew: ')`)
			p.clean("the stream")
			p.click(`#attention a[data-dialog]`)
			p.until("a dialog has a name", `document.getElementById('dialog').open`)
			p.clean("the dialog")
		})
	}
}

// clean fails if anything in the page is there only because of a name.
func (p *tab) clean(where string) {
	p.Helper()
	for what, is := range map[string]string{
		"a name ran":            `typeof pwned !== 'undefined'`,
		"a script is there":     `[...document.scripts].some((s) => s.text !== '' || !s.src.startsWith(location.origin + '/static/'))`,
		"an element is there":   `document.querySelector('img, iframe, object, embed, [onerror], [onload], [onfocus], [autofocus]') !== null`,
		"a link runs something": `[...document.links].some((a) => a.protocol !== 'http:')`,
		"text is turned around": `/[\u202a-\u202e\u2066-\u2069]/.test(document.body.innerText)`,
	} {
		if p.truth(is) {
			p.Errorf("%s: %s", where, what)
		}
	}
}
