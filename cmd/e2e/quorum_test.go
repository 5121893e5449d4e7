package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// startQuorum is an etcd of three members, and the URLs for its clients.
func startQuorum(t *testing.T) (members []*process, urls []string) {
	t.Helper()
	path, err := buildEtcd()
	must0(t, err)
	var peers, cluster []string
	for i := range 3 {
		urls = append(urls, "http://"+freePort(t))
		peers = append(peers, "http://"+freePort(t))
		cluster = append(cluster, fmt.Sprintf("m%d=%s", i, peers[i]))
	}
	for i := range 3 {
		name := fmt.Sprintf("m%d", i)
		members = append(members, startProcess(t, "etcd-"+name, path, t.TempDir(), urls[i], name, peers[i], strings.Join(cluster, ",")))
	}
	return members, urls
}

// The promise of several members: one may die, whichever it is. Without two
// nothing is granted, and nobody has to help afterwards.
func TestTwins_OverThreeMembersOneMayDieAndWithoutTwoNothingIsGranted(t *testing.T) {
	t.Parallel()
	members, urls := startQuorum(t)
	serve := func(name string, endpoints ...string) *coordinatorProcess {
		addr := freePort(t)
		return &coordinatorProcess{startProcess(t, name, program("lockkeeperd"), "serve", "--etcd-endpoints", strings.Join(endpoints, ","),
			"--data-dir", filepath.Join(t.TempDir(), "data"), "--listen", addr), "http://" + addr}
	}
	a, b := serve("coordinator-a", urls...), serve("coordinator-b", urls[2], urls[1], urls[0])
	a.waitReady()
	b.waitReady()
	holder, other := newCaller(t, "holder", a.url), newCaller(t, "other", b.url)
	hold := holder.take()

	leader := -1
	eventually(t, "three members are shown, and who leads", func() bool { // it asks them every few seconds
		shown := clusterOf(t, a.url).Members
		leads := slices.IndexFunc(shown, func(m api.Member) bool { return m.Role == "leader" })
		if leads >= 0 {
			leader = int(shown[leads].Name[1] - '0')
		}
		return leads >= 0 && len(shown) == 3
	})
	follower := (leader + 1) % 3

	members[leader].kill()
	began := time.Now()
	parked := other.parkEventually(a.url)
	t.Logf("without its leader the etcd took a waiter after %s", time.Since(began).Round(time.Millisecond))
	holder.again(hold)
	got := granted(t, "the other", parked)
	heldBy(t, a.url, "other")

	members[follower].kill()
	for _, c := range []*coordinatorProcess{a, b} {
		eventually(t, "the loss is known at "+c.url, func() bool {
			status, _ := get(c.url + "/readyz")
			return status == http.StatusServiceUnavailable
		})
		resp := answerOf(t, http.MethodPut, c.url+"/api/v1/groups/default/holds/holder?wait=10s", `{"instance":"holder","request":"r","boot_id":"boot"}`)
		if resp.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("acquiring: %s", resp.Status)
		}
		if st := statusOf(t, c.url); !st.Stale || st.Figures.Held != 1 {
			t.Errorf("status is stale %v with %d holds", st.Stale, st.Figures.Held)
		}
	}
	members[leader].start()
	began = time.Now()
	a.waitReady()
	b.waitReady()
	t.Logf("both were ready %s after a member was back", time.Since(began).Round(time.Millisecond))
	other.again(got.hold)
	eventually(t, "the slot is free again", func() bool { return holders(t, b.url) == "" })
	if most := largestHeld(t, b.url, "default"); most != 1 {
		t.Errorf("%d holds at once, want 1", most)
	}
}

func clusterOf(t *testing.T, url string) (c api.Cluster) {
	t.Helper()
	getJSON(t, url+"/api/v1/cluster", &c)
	return c
}

// again releases until it is answered, as an agent does.
func (c *caller) again(h api.Hold) {
	c.t.Helper()
	eventually(c.t, c.node+" has returned its slot", func() bool {
		return c.Release(c.t.Context(), "default", c.node, h.Fence, c.node) == nil
	})
}

// parkEventually is park through a time in which nothing is taken.
func (c *caller) parkEventually(url string) <-chan answer {
	c.t.Helper()
	eventually(c.t, c.node+" is taken in", func() bool {
		_, err := c.Poll(c.t.Context(), c.node, api.PollRequest{Instance: c.node, BootID: "boot", Report: api.Report{Seq: 1, Group: "default"}})
		return err == nil
	})
	return c.park(url)
}
