package web_test

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// The most that a page and its style may be, in bytes before compression, so that
// a phone on a bad line shows them soon.
const (
	mostOfAPage  = 100_000
	mostOfAStyle = 40_000
)

// tenThousand is a fleet in four groups with a fault in every so manieth host; none
// if that is 0.
func tenThousand(faulty int) *stage {
	b := busyFleet()
	b.nodes, b.status.Groups = nil, nil
	states := []api.NodeState{api.NodeFailed, api.NodeOverdue, api.NodeUnreachable, api.NodeOut, api.NodeWaiting}
	for g := range 4 {
		group := api.Group{Name: fmt.Sprintf("group-%d", g), Spec: api.GroupSpec{Slots: "4%"}, Status: api.GroupStatus{Members: 2500, Slots: 100, Held: 90, Waiting: 400}}
		for i := range 2500 {
			n := api.Node{ID: fmt.Sprintf("%s-%04d.example.net", group.Name, i), Group: group.Name, State: api.NodeIdle, Via: "agent", LastHeard: time.Now(),
				Labels: map[string]string{"zone": string(rune('a' + i%3))}, Report: api.Report{Phase: api.PhaseIdle, Bundle: []string{before, digest}[i/1200%2], Healthy: true}}
			if faulty > 0 && i%faulty == 0 {
				n.State = states[i/faulty%len(states)]
			}
			if faulty > 0 && i%faulty == 1 {
				n.Drift = &api.Drift{Bundle: digest, Name: "base 2026.11.3", Rollout: "ro-7jz8", Since: time.Now()}
			}
			b.nodes = append(b.nodes, n)
			if len(group.Holds) < 90 {
				group.Holds = append(group.Holds, api.Hold{Group: group.Name, Node: n.ID, State: "confirmed", Via: "agent", Fence: int64(i), Since: time.Now(), Phase: "rebooting"})
			} else if len(group.Queue) < 400 {
				group.Queue = append(group.Queue, api.Waiter{Node: n.ID, Place: len(group.Queue) + 1, Since: time.Now(), Via: "agent"})
			}
		}
		b.status.Groups = append(b.status.Groups, group)
	}
	b.status.Figures.Nodes = len(b.nodes)
	large := b.rollouts["ro-7k19"]
	large.Nodes = manyNodes(10_000)
	b.rollouts["ro-large"] = large
	return b
}

// A map with a fault in every tile is larger, for each mark is drawn; it stays
// within twice as much.
func TestPages_AreSmallWithTenThousandNodes(t *testing.T) {
	t.Parallel()
	for faulty, most := range map[int]int{0: mostOfAPage, 200: mostOfAPage, 10: 2 * mostOfAPage} {
		b := tenThousand(faulty)
		for _, path := range []string{"/nodes", "/nodes?by=bundle", "/nodes?drifted=true", "/nodes?state=failed&sort=id"} {
			if page := show(t, b, path); len(page) > most {
				t.Errorf("%s of a fleet with a fault in every %dth host has %d bytes, want at most %d", path, faulty, len(page), most)
			}
		}
	}
	b := tenThousand(10)
	for _, path := range []string{"/", "/groups/group-1", "/nodes/group-1-0007.example.net", "/rollouts", "/rollouts/ro-large", "/rollouts/ro-7k2f", "/rollouts/new", "/bundles", "/events", "/cluster"} {
		if page := show(t, b, path); len(page) > mostOfAPage {
			t.Errorf("%s has %d bytes, want at most %d", path, len(page), mostOfAPage)
		}
	}
	style := regexp.MustCompile(`href="([^"]+\.css[^"]*)"`).FindStringSubmatch(show(t, b, "/"))
	if style == nil {
		t.Fatal("the page has no style sheet")
	}
	css := text(t, ask(t, b, auth.Local(), http.MethodGet, style[1], nil))
	if !strings.Contains(css, "@media") || len(css) > mostOfAStyle {
		t.Errorf("the style sheet has %d bytes, want at most %d", len(css), mostOfAStyle)
	}
}
