package web_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// deed is something that a person does to the fleet in the dashboard.
type deed struct {
	name   string
	ready  func(y *yard) // makes it possible, and waits until it is
	page   string        // where it is offered; {id} is the newest rollout
	links  []string      // parts of the addresses that lead from there to its form
	form   string        // end of the form's address
	fields [][2]string
	button string // its value, among several
	kind   string // of the event that it leaves
	about  string // group, node or rollout of the event
	detail string // part of its text
}

// deeds are all of them, in an order in which each leaves what the next needs.
// Who logs in and out changes nothing of the fleet.
var deeds = []deed{
	{name: "freeze the fleet", page: "/", links: []string{"/freeze"}, form: "/ui/freeze", fields: [][2]string{{"reason", "incident 7"}}, kind: "freeze.set", detail: "incident 7"},
	{name: "unfreeze the fleet", page: "/", form: "/ui/unfreeze", kind: "freeze.lifted"},
	{name: "freeze a group", page: "/groups/web", links: []string{"/freeze?group=web"}, form: "/ui/freeze", fields: [][2]string{{"reason", "disks"}}, kind: "freeze.set", about: "web", detail: "disks"},
	{name: "unfreeze a group", page: "/groups/web", form: "/ui/unfreeze", kind: "freeze.lifted", about: "web"},
	{name: "add a group", page: "/", links: []string{"/new-group"}, form: "/ui/new-group", fields: [][2]string{{"name", "cache"}}, kind: "group.created", about: "cache"},
	{name: "change a group", page: "/groups/cache", links: []string{"/edit"}, form: "/edit", fields: [][2]string{{"interval", "5m"}}, kind: "group.changed", about: "cache"},
	{name: "add a window", page: "/groups/cache", links: []string{"/window"}, form: "/window", fields: [][2]string{{"start", "22:00"}, {"duration", "4h"}}, button: "save", kind: "group.changed", about: "cache"},
	{name: "change a window", page: "/groups/cache", links: []string{"/window?n=0"}, form: "/window", fields: [][2]string{{"cutoff", "30m"}}, button: "save", kind: "group.changed", about: "cache"},
	{name: "remove a window", page: "/groups/cache", links: []string{"/window?n=0", "remove=true"}, form: "/window", kind: "group.changed", about: "cache"},
	{name: "add a blackout", page: "/groups/cache", links: []string{"/blackout"}, form: "/blackout", fields: [][2]string{{"name", "fair"}, {"from", "2099-12-24 18:00"}, {"until", "2099-12-27"}}, kind: "group.changed", about: "cache"},
	{name: "remove a blackout", page: "/groups/cache", links: []string{"/blackout?name=fair"}, form: "/blackout", kind: "group.changed", about: "cache"},
	{name: "set a priority", ready: (*yard).queue, page: "/nodes/second", links: []string{"/priority"}, form: "/priority", fields: [][2]string{{"priority", "5"}}, kind: "queue.priority", about: "second", detail: "5"},
	{name: "revoke a hold", page: "/groups/default", links: []string{"/free?fence="}, form: "/revoke", fields: [][2]string{{"name", "first"}, {"reason", "burnt"}}, kind: "hold.revoked", about: "first", detail: "burnt"},
	{name: "clear a doubled id", ready: (*yard).double, page: "/nodes/twin", links: []string{"/duplicate"}, form: "/duplicate", kind: "node.duplicate", about: "twin", detail: "cleared"},
	{name: "forget a node", page: "/nodes/twin/forget", form: "/forget", fields: [][2]string{{"name", "twin"}}, kind: "node.removed", about: "twin"}, // offered once it was silent for two minutes
	{name: "start a rollout", page: "/rollouts/new?group=web&bundle={good}", form: "/rollouts/new", button: "start", kind: "rollout.created",
		fields: [][2]string{{"wave1_upto", "1"}, {"wave1_approval", "on"}, {"wave2_upto", "2"}, {"wave2_soak", "30m"}, {"wave3_upto", "100%"}}},
	{name: "pause", ready: is(api.RolloutApproval), page: "/rollouts/{id}", form: "/pause", kind: "rollout.paused", about: "{id}"},
	{name: "resume", page: "/rollouts/{id}", form: "/resume", kind: "rollout.resumed", about: "{id}"},
	{name: "approve", ready: is(api.RolloutApproval), page: "/rollouts/{id}", links: []string{"/approve?wave=1"}, form: "/approve", fields: [][2]string{{"reason", "looks fine"}}, kind: "rollout.approved", about: "{id}", detail: "looks fine"},
	{name: "skip a wave", ready: func(y *yard) { is(api.RolloutSoaking)(y); y.hosts.say(y.good, "its caches are cold") }, page: "/rollouts/{id}", links: []string{"/skip"}, form: "/skip", fields: [][2]string{{"reason", "soaked"}}, kind: "rollout.wave.skipped", about: "{id}"},
	{name: "halt", ready: is(api.RolloutRunning), page: "/rollouts/{id}", links: []string{"/halt"}, form: "/halt", fields: [][2]string{{"reason", "smoke"}}, kind: "rollout.halted", about: "{id}", detail: "smoke"},
	{name: "abort", page: "/rollouts/{id}", links: []string{"/abort"}, form: "/abort", fields: [][2]string{{"reason", "enough"}}, kind: "rollout.aborted", about: "{id}", detail: "enough"},
	{name: "try a node again", ready: (*yard).fail, page: "/nodes/{failed}", links: []string{"/retry"}, form: "/retry", fields: [][2]string{{"reason", "cable"}}, kind: "rollout.retried", about: "{failed}", detail: "cable"},
	{name: "try failed nodes again", ready: func(y *yard) { y.failedAgain(); y.hosts.say(y.bad, "") }, page: "/rollouts/{id}", links: []string{"/retry"}, form: "/retry", fields: [][2]string{{"reason", "fixed"}}, kind: "rollout.retried", about: "{id}", detail: "fixed"},
	{name: "roll a node back", ready: is(api.RolloutSucceeded), page: "/nodes/{failed}", links: []string{"/rollback"}, form: "/rollback", fields: [][2]string{{"reason", "on second thoughts"}}, kind: "node.rollback", about: "{failed}", detail: "on second thoughts"},
}

// yard is a coordinator that asks for tokens, with a person who may act, one who
// may look, and hosts with real agents.
type yard struct {
	*site
	hosts       *hosted
	good, bad   string // bundles
	failed      string // node that the bad one failed on
	ann, viewer api.TokenCreated
}

func newYard(t *testing.T) *yard {
	t.Helper()
	y := &yard{site: startConfigured(t, coordinator.Config{RequireToken: true})}
	y.ann, y.viewer = y.token(api.RoleOperator, "ann"), y.token(api.RoleViewer, "vic")
	y.sure(func() error {
		_, err := y.api.PutGroup(t.Context(), "web", api.GroupSpec{Slots: "4"}, "*")
		return err
	})
	y.hosts = y.startHosts(t, "web", 4)
	y.good, y.bad = y.upload(t, "good", 5*time.Minute), y.upload(t, "bad", time.Second)
	return y
}

// fill writes what is known only now into a text of a deed.
func (y *yard) fill(text string) string {
	if strings.Contains(text, "{id}") {
		text = strings.ReplaceAll(text, "{id}", y.newest().ID)
	}
	return strings.NewReplacer("{good}", y.good, "{failed}", y.failed).Replace(text)
}

func (y *yard) newest() (last api.Rollout) {
	y.Helper()
	list, err := y.api.Rollouts(y.Context())
	if err != nil {
		y.Fatal(err)
	}
	for _, r := range list {
		if r.CreatedAt.After(last.CreatedAt) {
			last = r
		}
	}
	return last
}

// eventually waits for something of the coordinator.
func (y *yard) eventually(what string, is func() bool) {
	y.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			y.Fatalf("never: %s; the newest rollout is %s: %s", what, y.newest().State, y.newest().Why)
		}
	}
}

func is(state api.RolloutState) func(y *yard) {
	return func(y *yard) {
		y.Helper()
		y.eventually("the rollout is "+string(state), func() bool { return y.newest().State == state })
	}
}

// queue makes one node hold the slot of the default group, and one wait.
func (y *yard) queue() {
	y.Helper()
	y.report("first", 1, api.PhaseIdle)
	y.take("first")
	y.report("second", 1, api.PhaseIdle)
	go func() {
		for y.Context().Err() == nil { // until the test ends, or it has the slot
			if _, err := y.api.Acquire(y.Context(), "default", "second", api.AcquireRequest{Instance: "i-second", Request: "r", BootID: "b-second"}, time.Minute); err == nil {
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
	}()
	y.eventually("the second waits", func() bool {
		g, err := y.api.Group(y.Context(), "default")
		return err == nil && len(g.Queue) == 1
	})
}

// double makes two agents report as one node.
func (y *yard) double() {
	y.Helper()
	y.report("twin", 1, api.PhaseIdle)
	y.sure(func() error {
		_, err := y.api.Poll(y.Context(), "twin", api.PollRequest{Instance: "i-other", BootID: "b-other", Report: api.Report{Seq: 1, Group: "default", Phase: api.PhaseIdle}})
		if err == nil {
			y.Fatal("two agents may go by one id")
		}
		if isNoQuorum(err) {
			return err
		}
		return nil
	})
}

// fail starts a rollout that its first node fails.
func (y *yard) fail() {
	y.Helper()
	y.hosts.say(y.good, "")
	y.hosts.say(y.bad, "GET :8080/healthz answered 503")
	y.eventually("all slots are back", func() bool {
		g, err := y.api.Group(y.Context(), "web")
		return err == nil && len(g.Holds) == 0 && len(g.Queue) == 0
	})
	y.sure(func() error {
		_, _, err := y.api.CreateRollout(y.Context(), api.RolloutSpec{Bundle: y.bad, Group: "web", MaxFailures: "0", Waves: []api.WaveSpec{{Count: 1}, {}}}, "the bad one")
		return err
	})
	is(api.RolloutHalted)(y)
	for _, n := range y.rollout(y.newest().ID).Nodes {
		if n.State == api.NodeBroken {
			y.failed = n.Node
		}
	}
}

// failedAgain waits until the node that was tried again has failed once more. Its
// rollout was halted before that, and is seen to be for a moment after the trail
// tells of the retry.
func (y *yard) failedAgain() {
	y.Helper()
	y.eventually("the node that was tried again has failed again", func() bool {
		r := y.rollout(y.newest().ID)
		return r.State == api.RolloutHalted && slices.ContainsFunc(r.Nodes, func(n api.RolloutNode) bool {
			return n.Node == y.failed && n.State == api.NodeBroken && n.Attempt > 1
		})
	})
}

// after is the newest revision that an event has.
func (y *yard) after() int64 {
	y.Helper()
	var list api.EventList
	y.sure(func() (err error) {
		list, err = y.api.Events(y.Context(), api.EventQuery{Limit: 1, Last: true})
		return err
	})
	if len(list.Events) == 0 {
		return 0
	}
	return list.Events[0].Revision
}

// audited reports whether the trail has the deed, behind a revision.
func (y *yard) audited(d deed, actor string, after int64) bool {
	y.Helper()
	var list api.EventList
	y.sure(func() (err error) {
		list, err = y.api.Events(y.Context(), api.EventQuery{After: after, Kind: d.kind, Limit: 100})
		return err
	})
	about := y.fill(d.about)
	for _, e := range list.Events {
		if e.Actor == actor && (about == "" || about == e.Node || about == e.Rollout || about == e.Group) && strings.Contains(e.Detail, d.detail) {
			return true
		}
	}
	return false
}

// actor is how the trail names who has the token.
func actor(token api.TokenCreated) string { return token.Description + " (token " + token.ID + ")" }

// TestActions_WorkWithoutScriptAreRefusedToOthersAndAudited does everything that
// the dashboard offers by plain forms. First each form comes from somebody who may
// only look, and from another site's page: both are refused with the reason, and
// nothing is done.
func TestActions_WorkWithoutScriptAreRefusedToOthersAndAudited(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	person := func(token api.TokenCreated, from string) *paper { return &paper{t, y.c.URL(), token.Secret, from} }
	ann, viewer, trap := person(y.ann, "same-origin"), person(y.viewer, "same-origin"), person(y.ann, "cross-site")
	for _, d := range deeds {
		if d.ready != nil {
			d.ready(y)
		}
		page := ann.open(y.fill(d.page), d.links...)
		f, found := page.form(d.form)
		if !found {
			t.Fatalf("%s: %s has no form %s", d.name, page.url, d.form)
		}
		in, err := f.filled(d.fields, d.button)
		if err != nil {
			t.Fatalf("%s: %v", d.name, err)
		}
		before, to := y.after(), y.c.URL()+f.action
		for who, refused := range map[string]struct {
			sheet *sheet
			why   string
		}{
			"a viewer":     {viewer.send(http.MethodPost, to, in), "needs the role "},
			"another site": {trap.send(http.MethodPost, to, in), "comes from another site"},
		} {
			if refused.sheet.status != http.StatusForbidden || !strings.Contains(refused.sheet.text, refused.why) {
				t.Errorf("%s by %s: status %d, want 403 because it %q:\n%s", d.name, who, refused.sheet.status, refused.why, refused.sheet.said())
			}
		}
		if s := ann.open(f.action); s.status == http.StatusOK {
			t.Errorf("%s: a link does it", d.name)
		}
		if y.audited(d, actor(y.viewer), before) || y.audited(d, actor(y.ann), before) {
			t.Errorf("%s: it was done although it was refused", d.name)
		}
		// What has to be typed is asked for by the server too.
		for i, field := range d.fields {
			if field[0] == "name" && (d.form == "/revoke" || d.form == "/forget") || d.form == "/ui/freeze" {
				wrong := append([][2]string{}, d.fields...)
				wrong[i][1] = ""
				in, _ := f.filled(wrong, d.button)
				if s := ann.send(http.MethodPost, to, in); s.status != http.StatusBadRequest || !strings.Contains(s.text, `role="alert"`) {
					t.Errorf("%s without its %s: status %d\n%s", d.name, field[0], s.status, s.said())
				}
			}
		}
		if s := ann.send(http.MethodPost, to, in); s.status != http.StatusOK || s.url.Path == f.action {
			t.Errorf("%s: status %d at %s\n%s", d.name, s.status, s.url, s.said())
		}
		y.eventually(d.name+" is in the trail", func() bool { return y.audited(d, actor(y.ann), before) })
	}
}

// inBrowser does everything in Chromium, by the hands that it is given.
func inBrowser(t *testing.T, do func(p *tab, d deed)) {
	t.Parallel()
	y := newYard(t)
	p := openTab(t)
	p.look(1440, "light")
	p.load(y.c.URL() + "/")
	p.logIn(y.ann.Secret)
	p.until("somebody is logged in", `location.pathname === '/' && `+isLive)
	for _, d := range deeds {
		if d.ready != nil {
			d.ready(y)
		}
		before := y.after()
		p.load(y.c.URL() + y.fill(d.page))
		p.until(d.name+": the page is live", isLive)
		p.run(asks)
		do(p, d)
		p.until(d.name+" is answered", d.answered())
		y.eventually(d.name+" is in the trail", func() bool { return y.audited(d, actor(y.ann), before) })
	}
}

// control is the selector of what leads to a deed's form.
func (d deed) control(i int) string {
	within := "main"
	switch {
	case i > 0:
		within = "#dialog"
	case d.links[0] == "/freeze":
		within = "#freeze-button"
	}
	return fmt.Sprintf(`%s a[href*="%s"]`, within, d.links[i])
}

// send is the selector of the button that does it.
func (d deed) send() string {
	form := fmt.Sprintf(`form[action$="%s"]`, d.form)
	if len(d.links) > 0 {
		form = "#dialog " + form
	}
	if d.button != "" {
		return form + fmt.Sprintf(` button[value="%s"]`, d.button)
	}
	return form + " button"
}

// field is the selector of a field of its form.
func (d deed) field(name string) string {
	if len(d.links) > 0 {
		return fmt.Sprintf(`#dialog [name="%s"]`, name)
	}
	return fmt.Sprintf(`main [name="%s"]`, name)
}

// asks marks the page from which a form is sent.
const asks = `window.asked = true`

// answered is when the form has led on: its dialog is shut or has the next form, or
// another page is there. The trail tells of it before that, and whatever else is shown may follow.
func (d deed) answered() string {
	if len(d.links) > 0 {
		return isShut + fmt.Sprintf(` || document.querySelector('#dialog form[action$="%s"]') === null`, d.form)
	}
	return isWhole + ` && window.asked === undefined`
}

// above reports whether it is offered before the content of the page.
func (d deed) above() bool { return strings.HasSuffix(d.name, "the fleet") }

// opened waits until a link has led to the next form, with the focus in it.
func (p *tab) opened(d deed, i int) {
	p.Helper()
	is := `document.getElementById('dialog').open && document.getElementById('dialog').contains(document.activeElement)`
	if i > 0 {
		is += fmt.Sprintf(" && document.querySelector(%q) === null", d.control(i))
	}
	p.until(d.name+": its form opens with the focus in it", is)
}

func TestActions_ByMouse(t *testing.T) {
	inBrowser(t, func(p *tab, d deed) {
		for i := range d.links {
			p.click(d.control(i))
			p.opened(d, i)
		}
		for _, field := range d.fields {
			css := d.field(field[0])
			p.click(css)
			if field[1] == "on" {
				continue
			}
			p.do(ignore(chromedp.Evaluate[bool](fmt.Sprintf("document.querySelector(%q).select() ?? true", css))))
			if _, err := chromedp.Call(p.ctx, input.InsertText, input.InsertTextParams{Text: field[1]}); err != nil {
				p.Fatal(err)
			}
		}
		p.click(d.send())
	})
}

func TestActions_ByKeysAlone(t *testing.T) {
	inBrowser(t, func(p *tab, d deed) {
		if !d.above() {
			p.enter(".skip")
		}
		for i := range d.links {
			p.enter(d.control(i))
			p.opened(d, i)
		}
		for _, field := range d.fields {
			if field[1] == "on" {
				field[1] = " "
			}
			p.types(d.field(field[0]), field[1])
		}
		if d.kind == "rollout.created" {
			p.enter("button[value=plan]")
			p.until("the plan comes", isWhole+` && document.querySelector('#plan').innerText.includes('4 nodes to bundle')`)
			p.run(asks)
			p.enter(".skip")
		}
		p.enter(d.send())
	})
}
