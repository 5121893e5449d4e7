package web_test

import (
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// post sends a form as a local administrator, without following a redirect.
func post(t *testing.T, b *stage, target string, form url.Values) *http.Response {
	t.Helper()
	return ask(t, b, auth.Local(), http.MethodPost, "/ui"+target, form)
}

// redirected fails unless the form was accepted and leads to the page.
func redirected(t *testing.T, r *http.Response, to string) {
	t.Helper()
	if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != to {
		t.Fatalf("answer %d to %q, want 303 to %q\n%s", r.StatusCode, r.Header.Get("Location"), to, text(t, r))
	}
}

// refused fails unless the page shows each of the texts, with its status.
func refused(t *testing.T, r *http.Response, status int, texts ...string) {
	t.Helper()
	body := text(t, r)
	if r.StatusCode != status {
		t.Errorf("status %d, want %d", r.StatusCode, status)
	}
	for _, want := range texts { // a page begins a sentence with a capital letter
		if !strings.Contains(body, want) && !strings.Contains(body, strings.ToUpper(want[:1])+want[1:]) {
			t.Errorf("the page lacks %q:\n%s", want, body)
		}
	}
}

func oneHold(node string) *stage {
	b := newStage()
	b.status.Groups = []api.Group{{Name: "web", Status: api.GroupStatus{Slots: 1, Held: 1}, Holds: []api.Hold{{Group: "web", Node: node, Fence: 41, Since: time.Now()}}}}
	return b
}

func TestFree_TakesTwoStepsEachWithFenceAndName(t *testing.T) {
	for _, node := range []string{"web-014", "a/b c"} {
		b := oneHold(node)
		path := "/groups/web/holds/" + semaphore.EscapeID(node)
		if body := show(t, b, path+"/free?fence=41"); !strings.Contains(body, "Step 1 of 2") || strings.Contains(body, "host_is_down") {
			t.Fatalf("the first step is not offered alone:\n%s", body)
		}
		redirected(t, post(t, b, path+"/revoke", url.Values{"fence": {"41"}, "name": {node}, "reason": {"burnt"}}), path+"/free?fence=41")
		if body := show(t, b, path+"/free?fence=41"); !strings.Contains(body, "Step 2 of 2") || !strings.Contains(body, "I have looked: the host is down") {
			t.Fatalf("the second step is not offered:\n%s", body)
		}
		redirected(t, post(t, b, path+"/release", url.Values{"fence": {"41"}, "name": {node}, "reason": {"burnt"}, "host_is_down": {"on"}}), "/groups/web")
		want := []string{"revoke web " + node + ` fence=41 name="` + node + `" reason="burnt"`, "release web " + node + ` fence=41 name="` + node + `" down=true`}
		if got := b.wrote(); !slices.Equal(got, want) {
			t.Errorf("calls %q, want %q", got, want)
		}
	}
}

func TestFree_AWrongNameIsRefusedAndTheInputKept(t *testing.T) {
	b := oneHold("web-014")
	r := post(t, b, "/groups/web/holds/web-014/revoke", url.Values{"fence": {"41"}, "name": {"web-013"}, "reason": {"it burns"}})
	refused(t, r, http.StatusBadRequest, "Slot not freed", "type the node&#39;s id", "req-7f31", `value="it burns"`, `value="web-013"`)
}

func TestFree_TheUntickedBoxIsRefusedByTheServer(t *testing.T) {
	b := oneHold("web-014")
	b.status.Groups[0].Holds[0].Revoked = &api.Mark{By: "ann", At: time.Now()}
	r := post(t, b, "/groups/web/holds/web-014/release", url.Values{"fence": {"41"}, "name": {"web-014"}})
	refused(t, r, http.StatusBadRequest, "look at the host first", "Step 2 of 2")
	if len(b.status.Groups[0].Holds) != 1 {
		t.Error("the hold is gone")
	}
}

func TestFree_AnOldPageDoesNotOfferToFreeTheNextHold(t *testing.T) {
	b := oneHold("web-014")
	body := show(t, b, "/groups/web/holds/web-014/free?fence=40")
	if strings.Contains(body, `action="/ui/groups/`) || !strings.Contains(body, "it came back and asked again") {
		t.Errorf("the form is offered for another hold:\n%s", body)
	}
	b.status.Groups[0].Holds = nil
	if body := show(t, b, "/groups/web/holds/web-014/free?fence=41"); !strings.Contains(body, "nothing to free") {
		t.Errorf("a hold that is gone:\n%s", body)
	}
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/groups/web/holds/web-014/free", nil), http.StatusBadRequest, "fence", "want the number of the hold")
}

func TestFreeze_NeedsAReason(t *testing.T) {
	b := newStage()
	refused(t, post(t, b, "/freeze", url.Values{"reason": {""}, "stop": {"on"}}), http.StatusBadRequest, "Not frozen", "needs a reason", `name="stop" checked`)
	if calls := b.wrote(); len(calls) != 0 {
		t.Errorf("frozen all the same: %q", calls)
	}
	redirected(t, post(t, b, "/freeze", url.Values{"reason": {"payment incident"}}), "/")
	if body := show(t, b, "/"); !strings.Contains(body, "Fleet frozen") || !strings.Contains(body, "payment incident") {
		t.Error("the banner does not say that the fleet is frozen, and why")
	}
	redirected(t, post(t, b, "/unfreeze", url.Values{"id": {"f1"}}), "/")
	redirected(t, post(t, b, "/freeze", url.Values{"reason": {"x"}, "group": {"web"}}), "/groups/web")
}

func TestRollout_PreviewStartsNothing(t *testing.T) {
	b := busyFleet()
	form := url.Values{"bundle": {digest}, "group": {"web"}, "max_failures": {"2"}, "key": {"k1"}, "do": {"plan"}, "reason": {"monthly"}}
	r := post(t, b, "/rollouts/new", form)
	refused(t, r, http.StatusOK, "10 of 12 nodes would change", "both slots of web are held", `value="monthly"`, `<option selected>web</option>`, `value="k1"`)
	if calls := b.wrote(); len(calls) != 0 {
		t.Errorf("the preview wrote: %q", calls)
	}
	form.Set("do", "start")
	redirected(t, post(t, b, "/rollouts/new", form), "/rollouts/ro-1")
	if want := []string{"rollout " + digest + " web 2 key=true"}; !slices.Equal(b.wrote(), want) {
		t.Errorf("calls %q, want %q", b.wrote(), want)
	}
}

func TestRollout_BadInputSaysWhatIsAcceptedAndKeepsTheForm(t *testing.T) {
	b := busyFleet()
	r := post(t, b, "/rollouts/new", url.Values{"bundle": {digest}, "max_failures": {"a few"}, "name": {"monthly base"}, "do": {"start"}})
	refused(t, r, http.StatusBadRequest, "max_failures", "want a whole number", `value="a few" aria-invalid="true" aria-describedby="max_failures-hint max_failures-wrong"`, `value="monthly base"`, "400 invalid, request req-7f31")
	r = post(t, b, "/rollouts/new", url.Values{"bundle": {digest}, "wave2_upto": {"lots"}, "do": {"start"}})
	refused(t, r, http.StatusBadRequest, `name="wave2_upto" aria-invalid="true"`, `Wave 2, up to: &#34;lots&#34;: want up to how many nodes`)
	b.refuse = api.Errorf(api.NoQuorum, "no quorum: nothing can be written")
	r = post(t, b, "/rollouts/new", url.Values{"bundle": {digest}, "max_failures": {"0"}, "name": {"monthly base"}, "do": {"start"}})
	refused(t, r, http.StatusServiceUnavailable, "Rollout not started", "no quorum", `value="monthly base"`)
}

func TestNode_IsTriedAgainOrRolledBackOnceConfirmed(t *testing.T) {
	b := busyFleet()
	for _, action := range []string{"retry", "rollback"} {
		page := ask(t, b, auth.Local(), http.MethodGet, "/nodes/web-014/"+action, nil)
		text, err := io.ReadAll(page.Body)
		if err != nil || page.StatusCode != http.StatusOK || !strings.Contains(string(text), `action="/ui/nodes/web-014/`+action+`"`) || len(b.wrote()) != 0 {
			t.Errorf("%s: %d %s, calls %q", action, page.StatusCode, text, b.wrote())
		}
	}
	for _, action := range []string{"retry", "rollback"} {
		redirected(t, post(t, b, "/nodes/web-014/"+action, url.Values{"reason": {"look"}}), "/nodes/web-014")
	}
	if want := []string{`node retry web-014 "look"`, `node rollback web-014 "look"`}; !slices.Equal(b.wrote(), want) {
		t.Errorf("calls %q, want %q", b.wrote(), want)
	}
	b.refuse = api.Errorf(api.Conflict, "no bundle is in place")
	refused(t, post(t, b, "/nodes/web-014/rollback", url.Values{"reason": {"kept"}}), http.StatusConflict, "no bundle is in place", `value="kept"`)
	refused(t, post(t, b, "/nodes/web-014/explode", url.Values{}), http.StatusNotFound, "there is no page")
}

func TestRollout_ButtonsActAndARefusalIsShown(t *testing.T) {
	b := busyFleet()
	for _, action := range []string{"pause", "resume", "abort"} {
		redirected(t, post(t, b, "/rollouts/ro-7k2f/"+action, url.Values{"reason": {"look"}}), "/rollouts/ro-7k2f")
	}
	if want := []string{`pause ro-7k2f "look"`, `resume ro-7k2f "look"`, `abort ro-7k2f "look"`}; !slices.Equal(b.wrote(), want) {
		t.Errorf("calls %q, want %q", b.wrote(), want)
	}
	b.refuse = api.Errorf(api.Conflict, "the rollout has succeeded")
	refused(t, post(t, b, "/rollouts/ro-7k2f/pause", url.Values{}), http.StatusConflict, "Rollout not changed", "has succeeded", "req-7f31")
	b.refuse = api.Errorf(api.Conflict, "the rollout has succeeded")
	refused(t, post(t, b, "/rollouts/ro-7k2f/abort", url.Values{"reason": {"kept"}}), http.StatusConflict, "has succeeded", `value="kept"`)
	refused(t, post(t, b, "/rollouts/ro-7k2f/explode", url.Values{}), http.StatusNotFound, "there is no page")
}

func TestNoQuorum_WritesAreOffAndThePageSaysWhy(t *testing.T) {
	b := busyFleet()
	b.status.Stale = true
	body := show(t, b, "/")
	for _, want := range []string{"No quorum: showing what was last known at <time", "nobody gets a slot", "Needs a quorum", "<code>lockkeeperd recover</code>"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	b.status.Cluster.Store.Embedded = false
	if strings.Contains(show(t, b, "/"), "lockkeeperd recover") {
		t.Error("of an etcd that others run the page says how to recover a member")
	}
	for _, bad := range []string{`href="/rollouts/new"`, `/free?fence=`, `/abort"`} {
		if strings.Contains(body, bad) {
			t.Errorf("the page still offers %q", bad)
		}
	}
}

// A deadline that stands still moves with the clock: the page says why instead.
func TestNode_ADeadlineThatStandsStillIsNoTime(t *testing.T) {
	for still, want := range map[string]string{
		"": `<dt>Deadline</dt><dd><time`, api.DeadlineFrozen: "stands still while frozen", api.DeadlineNoQuorum: "stands still without a quorum",
	} {
		b := busyFleet()
		at := time.Now()
		b.nodes = []api.Node{{ID: "a", Group: "web", State: api.NodeOut, Hold: &api.Hold{
			Group: "web", Node: "a", State: "confirmed", Since: at, Deadline: at.Add(time.Hour), DeadlineStill: still,
		}}}
		if body := show(t, b, "/nodes/a"); !strings.Contains(body, want) {
			t.Errorf("%q: the page lacks %q", still, want)
		}
	}
}

func TestLogin_ATokenBecomesACookieOutOfReach(t *testing.T) {
	b := newStage()
	nobody := auth.Principal{}
	r := ask(t, b, nobody, http.MethodGet, "/nodes?q=web", nil)
	redirected(t, r, "/login?next=%2Fnodes%3Fq%3Dweb")
	refused(t, ask(t, b, nobody, http.MethodGet, "/login?next=%2Fnodes", nil), http.StatusOK, `type="password"`, `name="next" value="/nodes"`)

	r = ask(t, b, nobody, http.MethodPost, "/ui/login", url.Values{"token": {" lk_good\n"}, "next": {"/nodes"}})
	redirected(t, r, "/nodes")
	c := r.Cookies()[0]
	if c.Name != "lockkeeper-token" || c.Value != "lk_good" || !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Secure {
		t.Errorf("cookie %+v", c)
	}
	r = ask(t, b, nobody, http.MethodPost, "https://lockkeeper.example:8443/ui/login", url.Values{"token": {"lk_good"}})
	if c := r.Cookies()[0]; c.Name != "__Host-lockkeeper-token-8443" || !c.Secure || c.Path != "/" || c.Domain != "" {
		t.Errorf("over TLS: cookie %+v", c)
	}
	refused(t, ask(t, b, nobody, http.MethodPost, "/ui/login", url.Values{"token": {"lk_bad"}}), http.StatusUnauthorized, "Not logged in", "No such token")
	refused(t, ask(t, b, nobody, http.MethodPost, "/ui/login", url.Values{"token": {"lk_node"}}), http.StatusForbidden, "the dashboard needs viewer or more")
}

func TestLogin_NeverLeadsToAnotherSite(t *testing.T) {
	for _, next := range []string{"https://evil.example/", "//evil.example", "/\\evil.example", "javascript:alert(1)", "/\t/evil.example"} {
		r := ask(t, newStage(), auth.Principal{}, http.MethodPost, "/ui/login", url.Values{"token": {"lk_good"}, "next": {next}})
		redirected(t, r, "/")
	}
}

func TestDashboard_NobodyReadsWithoutAToken(t *testing.T) {
	b := busyFleet()
	for _, target := range []string{"/ui/stream?topic=overview"} {
		if r := ask(t, b, auth.Principal{}, http.MethodGet, target, nil); r.StatusCode != http.StatusUnauthorized {
			t.Errorf("GET %s: %d", target, r.StatusCode)
		}
	}
	refused(t, ask(t, b, auth.Principal{}, http.MethodPost, "/ui/freeze", url.Values{"reason": {"x"}}), http.StatusUnauthorized, "log in first")
	refused(t, ask(t, b, auth.Principal{Name: "web-1", Role: api.RoleNode, Node: "web-1"}, http.MethodGet, "/", nil), http.StatusForbidden, "needs viewer")
	if calls := b.wrote(); len(calls) != 0 {
		t.Errorf("calls %q", calls)
	}
}

func TestLists_FilterAndPageLiveInTheAddress(t *testing.T) {
	b := busyFleet()
	body := show(t, b, "/nodes?q=web&group=web&selector=zone%3Da&state=idle")
	for _, want := range []string{`value="web"`, `value="zone=a"`, "after=idle%2Fweb-0", "&amp;group=web&amp;q=web&amp;selector=zone%3Da&amp;state=idle", `aria-current="true"`} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/nodes?selector=%3D", nil), http.StatusBadRequest, "want label=value", `value="="`)
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/events?before=soon&from=yesterday", nil), http.StatusBadRequest, "want a store revision", "want a time such as", `value="yesterday"`)
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/nodes/nobody", nil), http.StatusNotFound, "there is no node", "req-7f31")
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/nowhere", nil), http.StatusNotFound, "there is no page")
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/ui/stream?topic=nothing", nil), http.StatusNotFound, "there is no topic")
}

func TestGroup_IsChangedOnlyIfNobodyElseDidMeanwhile(t *testing.T) {
	b := busyFleet()
	b.status.Groups[0].Revision = 77
	page := show(t, b, "/groups/web/edit")
	for _, want := range []string{`name="revision" value="77"`, `value="zone=2"`, `name="slots" required value="6"`} {
		if !strings.Contains(page, want) {
			t.Errorf("the form lacks %q", want)
		}
	}
	in := url.Values{"revision": {"77"}, "slots": {"5%"}, "limits": {"zone=1, rack=10%"}, "hold": {"45m"}, "interval": {""}}
	redirected(t, post(t, b, "/groups/web/edit", in), "/groups/web")
	in.Set("limits", "zone")
	refused(t, post(t, b, "/groups/web/edit", in), http.StatusBadRequest, "want label=most", `value="zone"`, `value="45m"`)
	b.refuse = api.Errorf(api.Changed, "the group was changed meanwhile")
	in.Set("limits", "")
	refused(t, post(t, b, "/groups/web/edit", in), http.StatusPreconditionFailed, "changed meanwhile", `value="5%"`)
	redirected(t, post(t, b, "/new-group", url.Values{"name": {"cache"}, "slots": {"2"}}), "/groups/cache")
	want := []string{"group web slots=5% limits=[{zone 1} {rack 10%}] hold=45m interval= windows=0 blackouts=0 if=77", "group web slots=5% limits=[] hold=45m interval= windows=0 blackouts=0 if=77", "group cache slots=2 limits=[] hold= interval= windows=0 blackouts=0 if=*"}
	if got := b.wrote(); !slices.Equal(got, want) {
		t.Errorf("calls %q, want %q", got, want)
	}
}

func TestBlackout_IsAddedByTimesAndRemovedByName(t *testing.T) {
	b := busyFleet()
	in := url.Values{"revision": {"5"}, "name": {"fair"}, "from": {"tomorrow"}, "until": {"2026-12-27"}}
	refused(t, post(t, b, "/groups/night/blackout", in), http.StatusBadRequest, "want a time such as", `value="tomorrow"`, `value="fair"`)
	in.Set("from", "2026-12-24 18:00")
	redirected(t, post(t, b, "/groups/night/blackout", in), "/groups/night")
	last := b.status.Groups[4].Spec.Blackouts
	if got := last[len(last)-1]; got.Name != "fair" || !got.Start.Equal(time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)) {
		t.Errorf("blackout %+v", got)
	}
	redirected(t, post(t, b, "/groups/night/blackout", url.Values{"revision": {"5"}, "name": {"year-end"}, "do": {"remove"}}), "/groups/night")
	if slices.ContainsFunc(b.status.Groups[4].Spec.Blackouts, func(s api.BlackoutSpec) bool { return s.Name == "year-end" }) {
		t.Error("it is still there")
	}
	refused(t, post(t, b, "/groups/night/blackout", url.Values{"revision": {"5"}, "name": {"year-end"}, "do": {"remove"}}), http.StatusNotFound, "no blackout")
}

func TestDiff_ShowsWhatTwoBundlesDoNotShare(t *testing.T) {
	b := busyFleet()
	page := show(t, b, "/bundles/diff?from="+before+"&to="+digest)
	for _, want := range []string{
		"1 changed, 1 added, 1 removed", "<ins>+PermitRootLogin no</ins>", "<del>-PermitRootLogin yes</del>", "<span> Port 22</span>",
		`aria-label="/etc/motd"`, "Not in it any more", "/etc/sysctl.d/10-net.conf", "Checks, commands and health", "2026.10.2",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if page := show(t, b, "/bundles/diff"); !strings.Contains(page, "1 changed, 1 added, 1 removed") {
		t.Error("without a choice it is not the newest beside the one before it")
	}
	if page := show(t, b, "/bundles/diff?from="+elsewhere+"&to="+digest); !strings.Contains(page, "A bundle that lies elsewhere") {
		t.Error("it does not say why there is no text")
	}
	refused(t, ask(t, b, auth.Local(), http.MethodGet, "/bundles/diff?from=nothing&to="+digest, nil), http.StatusNotFound, "there is no bundle", "Not compared")
}

func TestFind_LeadsToANodeAGroupOrTheList(t *testing.T) {
	b := busyFleet()
	for q, to := range map[string]string{"web-077": "/nodes/web-077", "night": "/groups/night", "web": "/groups/web", "web-0": "/nodes?q=web-0", "a b": "/nodes?q=a+b", "": "/nodes"} {
		redirected(t, ask(t, b, auth.Local(), http.MethodGet, "/find?q="+url.QueryEscape(q), nil), to)
	}
}

func TestEvents_ArePagedAndStandStillWhenAsked(t *testing.T) {
	b := busyFleet()
	page := show(t, b, "/events?kind=hold")
	if !strings.Contains(page, "Stop following") || !strings.Contains(page, "Older") || strings.Contains(page, "Newest</a>") {
		t.Error("the newest page does not follow, or leads nowhere")
	}
	oldest := b.events[len(b.events)-50].Revision
	older := show(t, b, "/events?kind=hold&before="+strconv.FormatInt(oldest, 10))
	if !strings.Contains(older, "Follow the newest") || !strings.Contains(older, strconv.FormatInt(oldest-1, 10)) || strings.Contains(older, ">"+strconv.FormatInt(oldest, 10)+"<") {
		t.Error("the older page is not what lies before it")
	}
}

func TestRollout_ApprovalAndSkipNameTheirWave(t *testing.T) {
	b := busyFleet()
	if page := show(t, b, "/rollouts/ro-7k2f/approve?wave=3&gate=release"); !strings.Contains(page, `name="wave" value="3"`) || !strings.Contains(page, `name="gate" value="release"`) {
		t.Error("the form does not say which gate")
	}
	redirected(t, post(t, b, "/rollouts/ro-7k2f/approve", url.Values{"wave": {"3"}, "gate": {"release"}, "reason": {"fine"}}), "/rollouts/ro-7k2f")
	redirected(t, post(t, b, "/rollouts/ro-7k2f/skip", url.Values{"wave": {"3"}}), "/rollouts/ro-7k2f")
	if want := []string{`approve ro-7k2f "fine" wave=3 gate=release`, `skip ro-7k2f "" wave=3`}; !slices.Equal(b.wrote(), want) {
		t.Errorf("calls %q, want %q", b.wrote(), want)
	}
	refused(t, post(t, b, "/rollouts/ro-7k2f/skip", url.Values{"wave": {"next"}}), http.StatusBadRequest, "want the number of a wave")
}

// What a rollout has and the form has no room for is named, before anybody starts
// something else.
func TestRollout_OneLikeItSaysWhatTheFormLeavesOut(t *testing.T) {
	b := busyFleet()
	simple := api.RolloutSpec{Bundle: digest, Group: "web", MaxFailures: "1", Reason: "monthly", Waves: []api.WaveSpec{
		{Count: 1, Soak: "10m", Gates: []api.GateSpec{{PromQL: &api.PromQLGate{Query: "up", Compare: ">", Value: 0.5}}, {Name: "approval", Approval: &api.ApprovalGate{}}}}, {},
	}}
	full := simple
	full.Order, full.OnHalt = &api.OrderSpec{Spread: "zone"}, []api.NotifySpec{{Webhook: "ops"}}
	full.Waves = []api.WaveSpec{{Count: 1, Gates: []api.GateSpec{{HTTP: &api.HTTPGate{URL: "https://example.org"}}}}, {}}
	b.set(func(b *stage) {
		b.rollouts["ro-simple"], b.rollouts["ro-full"] = api.Rollout{ID: "ro-simple", Spec: simple}, api.Rollout{ID: "ro-full", Spec: full}
	})
	if page := show(t, b, "/rollouts/new?from=ro-simple"); strings.Contains(page, "fits into this form") {
		t.Error("a rollout that fits is said not to fit")
	}
	page := show(t, b, "/rollouts/new?from=ro-full")
	for _, part := range []string{"Not all of ro-full fits", "<code>on_halt</code>, <code>order</code>, <code>waves</code>"} {
		if !strings.Contains(page, part) {
			t.Errorf("the page does not say %q", part)
		}
	}
}
