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

// scheduledGroup is a group that a blackout keeps, outside of its windows.
func scheduledGroup(now time.Time) api.Group {
	night := api.WindowSpec{Name: "night", Weekdays: []string{"mon-fri"}, Start: "22:00", Duration: "4h0m0s", Cutoff: "30m0s", TimeZone: "Europe/Berlin"}
	in := api.BlackoutSpec{Name: "release 7.2", Start: now.Add(-time.Hour), End: now.Add(time.Hour), Reason: "the shop is being released"}
	return api.Group{Name: "night", Spec: api.GroupSpec{
		Slots: "2", Windows: []api.WindowSpec{night, {Cron: "0 3 1-7 * sun", Duration: "2h0m0s"}}, GrantInterval: "10m0s",
		Blackouts: []api.BlackoutSpec{
			{Name: "last month", Start: now.Add(-600 * time.Hour), End: now.Add(-500 * time.Hour)}, in,
			{Name: "year-end", Start: now.Add(600 * time.Hour), End: now.Add(900 * time.Hour)},
		},
	}, Status: api.GroupStatus{
		Members: 24, Slots: 2, Waiting: 1, Window: &api.WindowStatus{Name: "night", TimeZone: "Europe/Berlin", Next: now.Add(8 * time.Hour)},
		Blackout: &in, NextGrant: now.Add(4 * time.Minute), Shut: "blackout \"release 7.2\" lasts",
	}, Queue: []api.Waiter{{Node: "night-1", Place: 1}}}
}

// busyFleet is a stage on which everything happens at once.
func busyFleet() *stage {
	b := newStage()
	now := time.Now()
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	hold := func(node, phase string, since time.Duration) api.Hold {
		heard := ago(3 * time.Second)
		return api.Hold{Group: "web", Node: node, State: "confirmed", Via: "agent", Fence: 41, Since: ago(since), Phase: phase, Deadline: ago(since - 30*time.Minute), Reason: "rollout ro-7k2f", Heard: &heard}
	}
	late := hold("web-014", "rebooting", 46*time.Minute)
	late.Overdue, late.Heard = true, nil
	broken := hold("web-052.rack-7.fra1.example.net", "failed", 76*time.Minute)
	broken.Failed = true
	b.status.OK, b.status.Sentence = false, "2 hosts are stuck; the fleet is otherwise well"
	b.status.Groups = []api.Group{
		{Name: "web", Spec: api.GroupSpec{Slots: "6", Limits: []api.Limit{{By: "zone", Max: "2"}}}, Status: api.GroupStatus{Members: 180, Slots: 6, Held: 6, Waiting: 30, Stuck: 2},
			Holds: []api.Hold{late, hold("web-077", "rebooting", 267*time.Second), broken, hold("web-081", "draining", 41*time.Second), hold("web-090", "verifying", 475*time.Second), hold("web-093", "applying", 106*time.Second)},
			Queue: []api.Waiter{{Node: "web-094", Place: 1, Since: ago(time.Hour), Via: "agent", Priority: 10}, {Node: "web-103", Place: 2, Since: ago(50 * time.Minute), Via: "agent"}}},
		{Name: "worker", Spec: api.GroupSpec{Slots: "5%"}, Status: api.GroupStatus{Members: 960, Slots: 48, Held: 3, Free: 45},
			Holds: []api.Hold{hold("worker-118", "rebooting", time.Minute), hold("worker-402", "verifying", 2*time.Minute), hold("worker-417", "draining", 20*time.Second)}},
		{Name: "edge", Spec: api.GroupSpec{Slots: "4"}, Status: api.GroupStatus{Members: 64, Slots: 4, Waiting: 2,
			Frozen: &api.Freeze{ID: "f2", Group: "edge", By: "ann", At: ago(time.Hour), Reason: "ceph backfill"}},
			Queue: []api.Waiter{{Node: "edge-1", Place: 1}, {Node: "edge-2", Place: 2}}},
		{Name: "big", Spec: api.GroupSpec{Slots: "200"}, Status: api.GroupStatus{Members: 4000, Slots: 200, Held: 40, Free: 160}},
		scheduledGroup(now),
		{Name: "default", Spec: api.GroupSpec{Slots: "1"}, Status: api.GroupStatus{Slots: 1, Free: 1}},
	}
	b.status.Figures = api.Figures{Nodes: 5204, Slots: 259, Held: 49, Waiting: 32, Stuck: 2, AtWanted: 1135, Wanted: 1317, OldestNode: "web-094", OldestWait: ago(time.Hour),
		ByState: map[api.NodeState]int{api.NodeFailed: 1, api.NodeOverdue: 1, api.NodeUnreachable: 3, api.NodeOut: 47, api.NodeWaiting: 32, api.NodeIdle: 5120}}
	b.status.Attention = []api.Attention{
		{Kind: "failed", Severity: "bad", Title: broken.Node + " failed its health check", Detail: "Holds a slot of web. Previous bundle restored; :8080/healthz answered 503 for 5 min.", Node: broken.Node, Group: "web", Since: broken.Since, Hold: &broken},
		{Kind: "overdue", Severity: "warn", Title: "web-014 has not come back", Detail: "Its deadline has passed and it was not heard since it rebooted.", Node: "web-014", Group: "web", Since: late.Deadline, Hold: &late},
		{Kind: "unreachable", Severity: "lost", Title: "3 nodes unreachable", Detail: "worker-312, worker-588, edge-019. None holds a slot.", Group: "worker"}}
	running := api.Rollout{ID: "ro-7k2f", BundleName: "base-2026.11.3", State: api.RolloutRunning, By: "ann", CreatedAt: ago(4 * time.Hour),
		Spec: api.RolloutSpec{Group: "web", Bundle: digest, MaxFailures: "3"}, Progress: api.RolloutProgress{Total: 180, Pending: 90, Waiting: 30, Updating: 5, Updated: 54, Failed: 1, EstimateS: 4200},
		Nodes: []api.RolloutNode{{Node: broken.Node, Group: "web", State: api.NodeBroken, Detail: "health check failed", Since: ago(time.Hour), Attempt: 2}, {Node: "web-077", Group: "web", State: api.NodeUpdating, Phase: api.PhaseRebooting, Since: ago(time.Minute)}}}
	paused := api.Rollout{ID: "ro-7k11", BundleName: "pg-17.4-tuning", State: api.RolloutPaused, Why: "Paused by ann.", By: "ann", CreatedAt: ago(time.Hour), Spec: api.RolloutSpec{Group: "edge", Bundle: digest},
		Progress: api.RolloutProgress{Total: 24, Pending: 23, Updated: 1}, Stalled: &api.Stalled{Since: ago(time.Hour), Blockers: []api.Blocker{{Kind: api.Frozen, Detail: "group edge is frozen"}}}}
	b.status.Rollouts = []api.Rollout{running, paused}
	b.rollouts = map[string]api.Rollout{running.ID: running, paused.ID: paused}
	b.bundles = []api.Bundle{{Digest: digest, Name: "base-2026.11.3", Size: 188416, By: "ci", CreatedAt: ago(24 * time.Hour), Interrupt: "reboot", Nodes: 1135}}
	for i := range 60 {
		b.nodes = append(b.nodes, api.Node{ID: fmt.Sprintf("web-%03d", i), Group: "web", State: api.NodeStates[i%7], Labels: map[string]string{"zone": "a", "role": "web"}, LastHeard: ago(4 * time.Second), Report: api.Report{Bundle: digest}})
	}
	b.nodes = append(b.nodes, api.Node{ID: "web-077", Group: "web", State: api.NodeOut, Via: "agent", LastHeard: ago(4 * time.Second), FirstSeen: ago(1000 * time.Hour), ChangedAt: ago(2 * time.Minute), BootID: "3f0c…", Hold: &b.status.Groups[0].Holds[1],
		Labels: map[string]string{"zone": "a"}, Wanted: &api.Wanted{Rollout: "ro-7k2f", Bundle: digest, Name: "base-2026.11.3"}, Report: api.Report{Phase: api.PhaseRebooting, Message: "It reboots into base-2026.11.3.", Healthy: true, OS: "Debian 12", Version: "1.4.0"}})
	for i, kind := range []string{"hold.confirmed", "hold.released", "rollout.created", "hold.granted", "hold.revoked"} {
		b.events = append(b.events, api.Event{Revision: int64(4821100 + i), Seq: int64(i), Scope: "group/web", Kind: kind, At: ago(time.Duration(50-i) * time.Second), Node: "web-081", Group: "web", Held: 6, Slots: 6, Actor: "ann"})
	}
	b.status.Cluster = api.Cluster{ID: "9c4177d0e5a8", Incarnation: 1, CreatedAt: ago(1000 * time.Hour), Quorum: true, Served: "coord-2",
		Members: []api.Member{{ID: "1", Name: "coord-1", Role: "leader", Version: "1.4.0"}, {ID: "2", Name: "coord-2", Role: "follower", Self: true, Version: "1.4.0"}, {ID: "3", Name: "coord-3", Role: "unknown"}},
		Store:   api.StoreInfo{Revision: 4821190, DBSize: 19 << 20, DBInUse: 12 << 20, Quota: 2 << 30, DiskFree: 40 << 30, EtcdVersion: "3.7.3", Embedded: true}}
	return b
}

const digest = "9c41d2a6b1f04c55b0f1e07a9c41d2a6b1f04c55b0f1e07a9c41d2a6b1f0e07a"

// pagesOfBusyFleet are the pages that a person looks at, by the picture's name.
var pagesOfBusyFleet = []struct{ name, path string }{
	{"overview", "/"}, {"group", "/groups/web"}, {"schedule", "/groups/night"}, {"nodes", "/nodes"}, {"node", "/nodes/web-077"}, {"rollouts", "/rollouts"}, {"rollout", "/rollouts/ro-7k2f"},
	{"rollout-new", "/rollouts/new"}, {"bundles", "/bundles"}, {"events", "/events"}, {"cluster", "/cluster"}, {"freeze", "/freeze"},
	{"free", "/groups/web/holds/web-014/free?fence=41"}, {"abort", "/rollouts/ro-7k2f/abort"}, {"login", "/login"},
}

func TestPages_FitAPhoneAndADeskInLightAndDark(t *testing.T) {
	p := openTab(t)
	url := open(t, busyFleet())
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
	p := openTab(t)
	b := busyFleet()
	url := open(t, b)
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
