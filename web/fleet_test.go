package web_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle"
)

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
	b.status.Figures = api.Figures{Nodes: 5204, Slots: 259, Held: 49, Waiting: 32, Stuck: 2, AtWanted: 1135, Wanted: 1317, Drifted: 3, OldestNode: "web-094", OldestWait: ago(time.Hour),
		ByState: map[api.NodeState]int{api.NodeFailed: 1, api.NodeOverdue: 1, api.NodeUnreachable: 3, api.NodeOut: 47, api.NodeWaiting: 32, api.NodeIdle: 5120}}
	b.status.Attention = []api.Attention{
		{Kind: "failed", Severity: "bad", Title: broken.Node + " failed its health check", Detail: "Holds a slot of web. Previous bundle restored; :8080/healthz answered 503 for 5 min.", Node: broken.Node, Group: "web", Since: broken.Since, Hold: &broken},
		{Kind: "overdue", Severity: "warn", Title: "web-014 has not come back", Detail: "Its deadline has passed and it was not heard since it rebooted.", Node: "web-014", Group: "web", Since: late.Deadline, Hold: &late},
		{Kind: "unreachable", Severity: "lost", Title: "3 nodes unreachable", Detail: "worker-312, worker-588, edge-019. None holds a slot.", Group: "worker"}}
	running := api.Rollout{Wave: 3, Budget: api.RolloutBudget{Failed: 1, Max: 3}, Estimate: now.Add(220 * time.Minute), EstimateBasis: "the last 50 holds of web, 8 m 36 s each",
		Waves: []api.RolloutWave{
			{Name: "canary", State: api.WaveDone, Total: 2, Updated: 2, MaxFailures: 0, StartedAt: ago(4 * time.Hour), DoneAt: ago(230 * time.Minute)},
			{Name: "10%", State: api.WaveDone, Total: 16, Updated: 16, MaxFailures: -1, DoneAt: ago(200 * time.Minute)},
			{Name: "50%", State: api.WaveRunning, Total: 72, Updated: 36, Failed: 1, MaxFailures: -1, Estimate: now.Add(50 * time.Minute)},
			{Name: "100%", State: api.WavePending, Total: 90, MaxFailures: -1, Estimate: now.Add(200 * time.Minute)}},
		Gates: []api.RolloutGate{
			{Wave: 3, Name: "error rate", Kind: "promql", Condition: "sum(rate(http_5xx[5m])) / sum(rate(http[5m])) < 0.01", Passes: true, Value: "0.0021", Since: ago(20 * time.Minute), Checked: ago(8 * time.Second), Threshold: &errorLimit, Past: pastOfGate(now)},
			{Wave: 3, Name: "front door", Kind: "http", Condition: "GET https://web.example.net/healthz answers 200", Detail: "no answer within 10 s", Since: ago(time.Minute), Checked: ago(21 * time.Second)},
			{Wave: 3, Name: "release", Kind: "approval", Condition: "2 operators approve", Needed: 2, Role: "operator", Approvals: []api.Approval{{By: "ann", At: ago(time.Minute), Reason: "canary looks fine"}}}},
		Concurrency: &api.Concurrency{Nodes: 6, Bound: "slots", Detail: "At most 6 at once: web has 6 slots, the wave 72 nodes."},
		Undelivered: []api.Undelivered{{To: "hooks.example.net", What: "halted", At: ago(time.Hour), Tries: 5, Detail: "answered 502"}},
		ID:          "ro-7k2f", BundleName: "base-2026.11.3", State: api.RolloutRunning, By: "ann", CreatedAt: ago(4 * time.Hour),
		Spec: api.RolloutSpec{Group: "web", Bundle: digest, MaxFailures: "3", Waves: []api.WaveSpec{{Count: 2, Soak: "10m0s"}, {Percent: 10, Soak: "20m0s"}, {Percent: 50, Soak: "20m0s"}, {Soak: "20m0s"}}}, Progress: api.RolloutProgress{Total: 180, Pending: 90, Waiting: 30, Updating: 5, Updated: 54, Failed: 1, EstimateS: 13200},
		Nodes: rolloutNodes(now, broken.Node)}
	asks := api.Rollout{ID: "ro-7k19", BundleName: "valkey-8.1.2", State: api.RolloutApproval, Why: "Wave 1 is done; a person's word is missing.", By: "token:ci", CreatedAt: ago(2 * time.Hour), Wave: 1, Spec: api.RolloutSpec{Group: "worker", Bundle: digest, MaxFailures: "2%"},
		Progress: api.RolloutProgress{Total: 960, Pending: 864, Updated: 96}, Budget: api.RolloutBudget{Max: 19}, Nodes: manyNodes(960),
		Waves: []api.RolloutWave{{Name: "10%", State: api.WaveGates, Total: 96, Updated: 96, MaxFailures: -1, FinishedAt: ago(time.Hour)}, {Name: "rest", State: api.WavePending, Total: 864, MaxFailures: -1}},
		Gates: []api.RolloutGate{{Wave: 1, Name: "approval", Kind: "approval", Condition: "1 operator approves", Needed: 1, Role: "operator"}}}
	over := api.Rollout{ID: "ro-7jz8", BundleName: "base-2026.10.2", State: api.RolloutSucceeded, By: "token:ci", CreatedAt: ago(600 * time.Hour), EndedAt: ago(590 * time.Hour), Spec: api.RolloutSpec{Selector: "role!=storage", Bundle: digest}, Progress: api.RolloutProgress{Total: 1269, Updated: 1267, Failed: 2}, Budget: api.RolloutBudget{Failed: 2, Max: 13}}
	paused := api.Rollout{ID: "ro-7k11", BundleName: "pg-17.4-tuning", State: api.RolloutPaused, Why: "Paused by ann.", By: "ann", CreatedAt: ago(time.Hour), Spec: api.RolloutSpec{Group: "edge", Bundle: digest},
		Progress: api.RolloutProgress{Total: 24, Pending: 23, Updated: 1}, Stalled: &api.Stalled{Since: ago(time.Hour), Blockers: []api.Blocker{{Kind: api.Frozen, Detail: "group edge is frozen"}}}}
	b.status.Rollouts = []api.Rollout{running, asks, paused}
	b.rollouts = map[string]api.Rollout{running.ID: running, paused.ID: paused, asks.ID: asks, over.ID: over}
	b.addBundles(now)
	b.nodes = hosts(now, b.status.Groups)
	b.change("web-077", api.Node{ID: "web-077", Group: "web", State: api.NodeOut, Via: "agent", LastHeard: ago(4 * time.Second), FirstSeen: ago(1000 * time.Hour), ChangedAt: ago(2 * time.Minute), BootID: "3f0c…", Hold: &b.status.Groups[0].Holds[1],
		Labels: map[string]string{"zone": "a"}, Wanted: &api.Wanted{Rollout: "ro-7k2f", Bundle: digest, Name: "base-2026.11.3"}, Report: api.Report{Phase: api.PhaseRebooting, Message: "It reboots into base-2026.11.3.", Healthy: true, OS: "Debian 12", Version: "1.4.0"}})
	b.events = pastOf(now, b.status.Groups[0].Holds)
	b.status.Cluster = api.Cluster{ID: "9c4177d0e5a8", Incarnation: 1, CreatedAt: ago(1000 * time.Hour), Quorum: true, Served: "coord-2",
		Members: []api.Member{{ID: "1", Name: "coord-1", Role: "leader", Version: "1.4.0"}, {ID: "2", Name: "coord-2", Role: "follower", Self: true, Version: "1.4.0"}, {ID: "3", Name: "coord-3", Role: "unknown"}},
		Store:   api.StoreInfo{Revision: 4821190, DBSize: 19 << 20, DBInUse: 12 << 20, Quota: 2 << 30, DiskFree: 40 << 30, EtcdVersion: "3.7.3", Embedded: true}}
	return b
}

var errorLimit = 0.01

// pastOfGate is a metric that was too high, was silent, and is fine.
func pastOfGate(now time.Time) (list []api.GatePoint) {
	for i := range 60 {
		p := api.GatePoint{At: now.Add(time.Duration(i-60) * 30 * time.Second), Value: fmt.Sprintf("%.4f", 0.002+float64(i*7%5)*0.0002)}
		switch {
		case i < 12:
			p.Value = fmt.Sprintf("%.4f", 0.014-float64(i)*0.0008)
		case i < 15:
			p.Value = ""
		}
		list = append(list, p)
	}
	return list
}

// rolloutNodes are 180 nodes in four waves, the third half done.
func rolloutNodes(now time.Time, broken string) (list []api.RolloutNode) {
	for i := range 180 {
		n := api.RolloutNode{Node: fmt.Sprintf("web-%03d", i), Group: "web", State: api.NodeUpdated, Wave: 1, Since: now.Add(-time.Hour)}
		switch {
		case i >= 90:
			n.Wave, n.State, n.Since, n.Estimate = 4, api.NodePending, time.Time{}, now.Add(time.Duration(i)*time.Minute)
		case i >= 60:
			n.Wave, n.State, n.Estimate = 3, api.NodeQueued, now.Add(time.Duration(i-50)*time.Minute)
		case i >= 56:
			n.Wave, n.State, n.Phase, n.Since = 3, api.NodeUpdating, api.PhaseRebooting, now.Add(-time.Minute)
		case i == 55:
			n.Node, n.Wave, n.State, n.Detail, n.Attempt = broken, 3, api.NodeBroken, "health check failed", 2
		case i >= 18:
			n.Wave = 3
		case i >= 2:
			n.Wave = 2
		}
		list = append(list, n)
	}
	return list
}

// manyNodes are in two waves, of which the second is too large to draw each.
func manyNodes(total int) (list []api.RolloutNode) {
	for i := range total {
		n := api.RolloutNode{Node: fmt.Sprintf("worker-%03d", i), Group: "worker", State: api.NodeUpdated, Wave: 1}
		if i >= total/10 {
			n.Wave, n.State = 2, api.NodePending
		}
		list = append(list, n)
	}
	return list
}

// hosts are the nodes of the groups: those that hold are out, those in the queue
// wait, a few are silent, the others are idle.
func hosts(now time.Time, groups []api.Group) (list []api.Node) {
	for _, g := range groups {
		holds := map[string]*api.Hold{}
		for i := range g.Holds {
			holds[g.Holds[i].Node] = &g.Holds[i]
		}
		for i := range min(g.Status.Members, 1000) {
			n := api.Node{ID: fmt.Sprintf("%s-%03d", g.Name, i), Group: g.Name, State: api.NodeIdle, Via: "agent", LastHeard: now.Add(-4 * time.Second), FirstSeen: now.Add(-1000 * time.Hour),
				Labels: map[string]string{"zone": string(rune('a' + i%3)), "role": g.Name}, Report: api.Report{Phase: api.PhaseIdle, Bundle: digest, Healthy: true}}
			switch {
			case g.Name == "worker" && i >= 700:
				n.Report.Bundle = before
			case g.Name == "edge" && i%9 == 4:
				n.Report.Bundle = ""
			case g.Name == "edge" && i == 20:
				n.Report.Bundle = strings.Repeat("5d", 32) // not stored any more
			}
			if g.Name == "web" && (i == 7 || i == 30 || i == 60) {
				n.Report.Bundle, n.Drift = before, &api.Drift{Bundle: digest, Name: "base 2026.11.3", Rollout: "ro-7jz8", Since: now.Add(-2 * time.Hour)}
			}
			if i%160 == 150 {
				n.State, n.LastHeard = api.NodeUnreachable, now.Add(-time.Hour)
			}
			if i >= 94 && i < 94+g.Status.Waiting && i%2 == 0 {
				n.State, n.Report.Phase = api.NodeWaiting, api.PhaseWaiting
			}
			if h := holds[n.ID]; h != nil {
				delete(holds, n.ID)
				holdingNow(&n, h)
			}
			list = append(list, n)
		}
		for _, h := range holds {
			n := api.Node{ID: h.Node, Group: g.Name, LastHeard: now}
			holdingNow(&n, h)
			list = append(list, n)
		}
	}
	slices.SortFunc(list, func(a, b api.Node) int { return strings.Compare(a.ID, b.ID) })
	return list
}

func holdingNow(n *api.Node, h *api.Hold) {
	n.Hold, n.State, n.Report.Phase = h, api.NodeOut, api.Phase(h.Phase)
	switch {
	case h.Failed:
		n.State, n.Report.Failure = api.NodeFailed, &api.Failure{Reason: "unhealthy", Detail: ":8080/healthz answered 503 for 5 min", Bundle: digest, Rollout: "ro-7k2f", At: h.Since}
	case h.Overdue:
		n.State = api.NodeOverdue
	}
}

// change replaces a node.
func (b *stage) change(id string, n api.Node) {
	i := slices.IndexFunc(b.nodes, func(n api.Node) bool { return n.ID == id })
	b.nodes[i] = n
}

// pastOf is a trail of two and a half hours in which six slots were used one
// host after another, up to the holds of now.
func pastOf(now time.Time, holds []api.Hold) (events []api.Event) {
	node := 100
	for lane, h := range holds {
		t := now.Add(-150 * time.Minute).Add(time.Duration(lane) * 47 * time.Second)
		add := func(kind, node string, at time.Time) {
			events = append(events, api.Event{Scope: "group/web", Kind: kind, At: at, Node: node, Group: "web", Held: 6, Slots: 6, Actor: node, Detail: map[string]string{"hold.granted": "rollout ro-7k2f"}[kind]})
		}
		for i := 0; ; i++ {
			took := time.Duration(440+(lane*67+i*113)%170) * time.Second
			if t.Add(took + 20*time.Second).After(h.Since) {
				break
			}
			id := fmt.Sprintf("web-%03d", node)
			node++
			add("hold.granted", id, t)
			add("hold.released", id, t.Add(took))
			t = t.Add(took + 3*time.Second)
		}
		add("hold.granted", h.Node, h.Since)
		add("hold.confirmed", h.Node, h.Since.Add(time.Second))
	}
	slices.SortStableFunc(events, func(a, b api.Event) int { return a.At.Compare(b.At) })
	events = append(events, api.Event{Scope: "group/web", Kind: "hold.revoked", At: now.Add(-30 * time.Second), Node: "web-052.rack-7.fra1.example.net", Group: "web", Held: 6, Slots: 6, Actor: "ann", Detail: "its power supply burnt"})
	for i := range events {
		events[i].Revision, events[i].Seq = int64(4821100+i), int64(i+1)
	}
	return events
}

// before is the digest of the bundle that the newest one replaces.
const before = "04ad7731e2c94d0c8f0b6a1504ad7731e2c94d0c8f0b6a1504ad7731e2c97731"

// addBundles stores two bundles that follow each other, and one that lies
// elsewhere.
func (b *stage) addBundles(now time.Time) {
	b.bodies = map[string][]byte{}
	make := func(version, sshd string, files map[string][]byte) (bundle.Manifest, []byte) {
		m := bundle.Manifest{Name: "base", Version: version, Check: &bundle.Command{Run: "sshd -t -f $LOCKKEEPER_STAGED/etc/ssh/sshd_config"},
			Health: []bundle.Probe{{TCP: "127.0.0.1:22"}}}
		files["/etc/ssh/sshd_config"] = []byte(sshd)
		for path := range files {
			m.Files = append(m.Files, bundle.File{Path: path, Mode: "0644", Interrupt: bundle.InterruptReboot})
		}
		slices.SortFunc(m.Files, func(a, b bundle.File) int { return strings.Compare(a.Path, b.Path) })
		body, err := bundle.Encode(m, files)
		if err != nil {
			panic(err)
		}
		open, err := bundle.Parse(body)
		if err != nil {
			panic(err)
		}
		return open.Manifest, body
	}
	old, oldBody := make("2026.10.2", "Port 22\nPermitRootLogin yes\nX11Forwarding no\n", map[string][]byte{"/etc/motd": []byte("Welcome.\n")})
	newer, newBody := make("2026.11.3", "Port 22\nPermitRootLogin no\nX11Forwarding no\nMaxAuthTries 3\n", map[string][]byte{"/etc/sysctl.d/10-net.conf": []byte("net.core.somaxconn = 4096\n")})
	b.bodies[before], b.bodies[digest] = oldBody, newBody
	b.bundles = []api.Bundle{
		{Digest: digest, Name: "base", Version: "2026.11.3", Size: 188416, By: "token:ci", CreatedAt: now.Add(-24 * time.Hour), Interrupt: "reboot", Nodes: 1135, Manifest: asMap(newer), Files: newer.APIFiles(),
			SignedBy: []string{"SHA256:zCFi4gVJbq8TcYgBM0nZ1c2q0kCk1Yf0m0dPq1mZ5Xs"}},
		{Digest: before, Name: "base", Version: "2026.10.2", Size: 182200, By: "token:ci", CreatedAt: now.Add(-600 * time.Hour), Interrupt: "reboot", Nodes: 82, Manifest: asMap(old), Files: old.APIFiles()},
		{Digest: elsewhere, Name: "model-weights", Version: "7", Size: 700 << 20, By: "ann", CreatedAt: now.Add(-700 * time.Hour), URL: "https://artifacts.example.net/bundles/model-weights-7.tar.zst", Manifest: asMap(old)},
	}
}

const elsewhere = "e5a890f1c0de4b5592aa1d0fe5a890f1c0de4b5592aa1d0fe5a890f1c0de90f1"

func asMap(m bundle.Manifest) (out map[string]any) {
	text, err := json.Marshal(m)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		panic(err)
	}
	return out
}
