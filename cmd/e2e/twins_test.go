package e2e

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// buildEtcd builds the etcd of these tests, once.
var buildEtcd = sync.OnceValues(func() (string, error) {
	path := program("etcd")
	out, err := exec.Command("go", "build", "-o", path, "github.com/lockkeeper/lockkeeper/internal/etcdtest/etcd").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// twins are two coordinators on one etcd that others run.
type twins struct {
	etcd    *process
	etcdURL string
	a, b    *coordinatorProcess
}

func startEtcd(t *testing.T) (*process, string) {
	t.Helper()
	path, err := buildEtcd()
	must0(t, err)
	url := "http://" + freePort(t)
	return startProcess(t, "etcd", path, t.TempDir(), url), url
}

// startTwins starts both at the same moment, on an etcd that is empty.
func startTwins(t *testing.T) *twins {
	t.Helper()
	p := &twins{}
	p.etcd, p.etcdURL = startEtcd(t)
	serve := func(name string) *coordinatorProcess {
		addr := freePort(t)
		return &coordinatorProcess{startProcess(t, name, program("lockkeeperd"), "serve", "--etcd-endpoints", p.etcdURL,
			"--data-dir", filepath.Join(t.TempDir(), "data"), "--listen", addr), "http://" + addr}
	}
	p.a, p.b = serve("coordinator-a"), serve("coordinator-b")
	p.a.waitReady()
	p.b.waitReady()
	if a, b := statusOf(t, p.a.url).Cluster.ID, statusOf(t, p.b.url).Cluster.ID; a != b || a == "" {
		t.Fatalf("clusters %q and %q, want one", a, b)
	}
	return p
}

// caller is an agent without a host: it asks as one does.
type caller struct {
	t    *testing.T
	node string
	*client.Client
}

func newCaller(t *testing.T, node string, servers ...string) *caller {
	t.Helper()
	c, err := client.New(client.Config{Servers: servers})
	must0(t, err)
	t.Cleanup(c.Close)
	return &caller{t, node, c}
}

func (c *caller) poll() {
	c.t.Helper()
	settled(c.t, func() error {
		_, err := c.Poll(c.t.Context(), c.node, api.PollRequest{Instance: c.node, BootID: "boot", Report: api.Report{Seq: 1, Group: "default"}})
		return err
	})
}

func (c *caller) ask(ctx context.Context, wait time.Duration) (api.Hold, error) {
	got, err := c.Acquire(ctx, "default", c.node, api.AcquireRequest{Instance: c.node, Request: "first", BootID: "boot"}, wait)
	return got.Hold, err
}

// take asks for a slot that is free, and confirms it.
func (c *caller) take() (h api.Hold) {
	c.t.Helper()
	c.poll()
	settled(c.t, func() (err error) { h, err = c.ask(c.t.Context(), 10*time.Second); return err })
	return c.confirm(h)
}

func (c *caller) confirm(h api.Hold) (now api.Hold) {
	c.t.Helper()
	settled(c.t, func() (err error) {
		now, err = c.Confirm(c.t.Context(), "default", c.node, api.ConfirmRequest{Fence: h.Fence, Instance: c.node, BootID: "boot"})
		return err
	})
	return now
}

func (c *caller) release(h api.Hold) {
	c.t.Helper()
	settled(c.t, func() error { return c.Release(c.t.Context(), "default", c.node, h.Fence, c.node) })
}

// answer is what a parked request came back with.
type answer struct {
	hold api.Hold
	err  error
	at   time.Time
}

// park waits for a slot in the background, and returns once it stands in the
// queue as the coordinator at url sees it. Where there is no quorum for a moment it
// asks again, as an agent does.
func (c *caller) park(url string) <-chan answer {
	c.t.Helper()
	c.poll()
	out := make(chan answer, 1)
	go func() {
		var a answer
		for a = c.wait(); isKind(a.err, api.NoQuorum) && c.t.Context().Err() == nil; a = c.wait() {
			time.Sleep(50 * time.Millisecond) // paces the attempts
		}
		out <- a
	}()
	waits(c.t, url, c.node)
	return out
}

// wait is one request that waits.
func (c *caller) wait() answer {
	h, err := c.ask(c.t.Context(), time.Minute)
	return answer{h, err, time.Now()}
}

func granted(t *testing.T, who string, parked <-chan answer) answer {
	t.Helper()
	select {
	case a := <-parked:
		if a.err != nil {
			t.Fatalf("%s: %v", who, a.err)
		}
		return a
	case <-time.After(patience):
		t.Fatalf("%s still waits", who)
		return answer{}
	}
}

func queueOf(t *testing.T, url string) (list []api.Waiter) {
	t.Helper()
	var g api.Group
	getJSON(t, url+"/api/v1/groups/default", &g)
	return g.Queue
}

func TestTwins_AgentsMoveOverAndTheRolloutGoesOnWhenACoordinatorDies(t *testing.T) {
	t.Parallel()
	p := startTwins(t)
	w := newWitness(t)
	both := []string{p.a.url + "," + p.b.url, p.b.url + "," + p.a.url}
	for i := range 4 {
		startMachine(t, w, fmt.Sprintf("host-%d", i+1), both[i%2])
	}
	for _, url := range []string{p.a.url, p.b.url} {
		allReport(t, url, 4)
	}
	eventually(t, "both are shown", func() bool {
		said := must(t, p.b.url, "cluster")
		return strings.Contains(said, p.a.url) && strings.Contains(said, p.b.url) && strings.Contains(said, "external")
	})

	id := startRollout(t, p.a.url, pushBundle(t, p.a.url, "new", ""))
	eventually(t, "the rollout is half done", func() bool { return rolloutOf(t, p.b.url, id).Progress.Updated >= 2 })
	p.a.kill()
	eventually(t, "the rollout has succeeded", func() bool { return rolloutOf(t, p.b.url, id).State == api.RolloutSucceeded })
	if most := w.most(t); most != 1 {
		t.Errorf("%d hosts were out at once, want 1", most)
	}
	if most := largestHeld(t, p.b.url, "default"); most != 1 {
		t.Errorf("%d holds at once in the events of both, want 1", most)
	}
}

func TestTwins_AWaiterKeepsItsPlaceOverTheDeathOfItsCoordinator(t *testing.T) {
	t.Parallel()
	p := startTwins(t)
	holder := newCaller(t, "holder", p.b.url)
	hold := holder.take()
	first := newCaller(t, "first", p.a.url)
	lost := first.park(p.b.url)
	second := newCaller(t, "second", p.b.url)
	behind := second.park(p.a.url)
	before := queueOf(t, p.b.url)[0]

	p.a.kill()
	<-lost
	p.a.start()
	p.a.waitReady()
	again := first.park(p.b.url)
	// Its place is there without it. A quarter of a second after it came it counts
	// as one that waits.
	eventually(t, "the first is there itself", func() bool { return waitingBy(p.a.url) == 1 })
	if now := queueOf(t, p.b.url)[0]; now.Node != "first" || !now.Since.Equal(before.Since) {
		t.Errorf("the place is %+v, was %+v", now, before)
	}
	holder.release(hold)
	got := granted(t, "the first in order", again)
	select {
	case a := <-behind:
		t.Fatalf("the second was answered first: %+v", a)
	default:
	}
	first.release(first.confirm(got.hold))
	granted(t, "the second", behind)
}

// The first in order waits at a coordinator that stands still. Its place is
// order and no reservation: the other's waiter goes.
func TestTwins_AStoppedCoordinatorOfTheFirstWaiterHoldsNobodyUp(t *testing.T) {
	p := startTwins(t)
	holder := newCaller(t, "holder", p.b.url)
	hold := holder.take()
	first := newCaller(t, "first", p.a.url).park(p.b.url)
	second := newCaller(t, "second", p.b.url)
	behind := second.park(p.b.url)

	must0(t, p.a.send(syscall.SIGSTOP))
	since := startStopwatch(p.b.process, p.etcd)
	holder.release(hold)
	got := granted(t, "the second", behind)
	must0(t, p.a.send(syscall.SIGCONT))
	took := got.at.Sub(since.began)
	t.Logf("the next grant came %s after the release", took.Round(time.Millisecond))
	since.within(t, took, 5*time.Second, "the next grant came when the slot was released")
	second.release(second.confirm(got.hold))
	granted(t, "the first", first)
	heldBy(t, p.b.url, "first")
}

// With one slot, whoever is told of a hold is the only one.
func TestTwins_WithoutEtcdBothRefuseAndComeBackByThemselves(t *testing.T) {
	t.Parallel()
	p := startTwins(t)
	holder := newCaller(t, "holder", p.a.url)
	hold := holder.take()
	newCaller(t, "other", p.b.url).poll()

	p.etcd.kill()
	for _, c := range []*coordinatorProcess{p.a, p.b} {
		eventually(t, "it is known at "+c.url, func() bool {
			status, _ := get(c.url + "/readyz")
			return status == http.StatusServiceUnavailable
		})
		if resp := answerOf(t, http.MethodGet, c.url+"/api/v1/status", ""); resp.StatusCode != http.StatusOK || resp.Header.Get("Lockkeeper-Stale") != "true" {
			t.Errorf("reading: %s, stale %q", resp.Status, resp.Header.Get("Lockkeeper-Stale"))
		}
		if st := statusOf(t, c.url); !st.Stale || st.Figures.Held != 1 {
			t.Errorf("status is stale %v with %d holds", st.Stale, st.Figures.Held)
		}
		body := `{"instance":"other","request":"r","boot_id":"boot"}`
		since := startStopwatch(c.process)
		resp := answerOf(t, http.MethodPut, c.url+"/api/v1/groups/default/holds/other?wait=10s", body)
		since.within(t, time.Since(since.began), 3*time.Second, "it refused")
		if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
			t.Errorf("acquiring: %s, Retry-After %q", resp.Status, resp.Header.Get("Retry-After"))
		}
	}

	p.etcd.start()
	began := time.Now()
	p.a.waitReady()
	p.b.waitReady()
	t.Logf("both were ready %s after etcd was started", time.Since(began).Round(time.Millisecond))
	other := newCaller(t, "other", p.b.url)
	parked := other.park(p.a.url)
	if got := holders(t, p.b.url); got != "holder" {
		t.Fatalf("holders are %q", got)
	}
	holder.release(holder.confirm(hold))
	granted(t, "the other", parked)
	heldBy(t, p.a.url, "other")
}

// heldBy waits until a coordinator shows who holds the slot of the group default.
// What was answered by another it shows a moment later.
func heldBy(t *testing.T, url, node string) {
	t.Helper()
	eventually(t, node+" holds, by "+url, func() bool { return holders(t, url) == node })
}

func answerOf(t *testing.T, method, url, body string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	must0(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	must0(t, err)
	resp.Body.Close()
	return resp
}

func TestTwins_AFreezeHoldsAtBothAtOnce(t *testing.T) {
	t.Parallel()
	p := startTwins(t)
	c := newCaller(t, "n", p.b.url)
	c.poll()
	must(t, p.a.url, "freeze", "looking")
	wantRefusal(t, "at the other coordinator", api.Frozen, func() error { _, err := c.ask(t.Context(), 0); return err })
	eventually(t, "the other shows it", func() bool { return statusOf(t, p.b.url).Frozen != nil })
	must(t, p.b.url, "unfreeze")
	settled(t, func() error { _, err := c.ask(t.Context(), 5*time.Second); return err })
}

// Emptied, the etcd looks like a new one. Its hosts would be given slots that
// others hold.
func TestServe_AnEtcdThatLostItsDataIsNoNewCluster(t *testing.T) {
	t.Parallel()
	path, err := buildEtcd()
	must0(t, err)
	dir, url := t.TempDir(), "http://"+freePort(t)
	etcd := startProcess(t, "etcd", path, dir, url)
	data := filepath.Join(t.TempDir(), "data")
	c := startCoordinator(t, "--etcd-endpoints", url, "--data-dir", data)
	id := statusOf(t, c.url).Cluster.ID
	etcd.kill()
	must0(t, os.RemoveAll(filepath.Join(dir, "data")))
	etcd.start()
	select {
	case <-c.ended():
	case <-time.After(patience):
		t.Fatal("the coordinator goes on with what it remembers")
	}
	wantWords(t, c.output(t), "restored or replaced")
	out := refused(t, 2, "serve", "--etcd-endpoints", url, "--data-dir", data, "--listen", "127.0.0.1:0")
	wantWords(t, out, id, "there is none", "cluster.json")
	out = refused(t, 2, "serve", "--data-dir", data, "--listen", "127.0.0.1:0")
	wantWords(t, out, "not a folder of Lockkeeper")
}

func TestServe_SaysWhatIsWrongWithAnExistingEtcd(t *testing.T) {
	t.Parallel()
	_, url := startEtcd(t)
	first := startCoordinator(t, "--etcd-endpoints", url, "--etcd-prefix", "/a/b/")
	must(t, first.url, "group", "list")
	data := filepath.Join(t.TempDir(), "data")
	for _, c := range []struct {
		code int
		args []string
		want []string
	}{
		{2, []string{"--etcd-endpoints", url, "--etcd-prefix", "/a/"}, []string{"/a/b/", "holds data", "another prefix"}},
		{2, []string{"--etcd-endpoints", "http://192.0.2.1:2379"}, []string{"https", "--etcd-insecure"}},
		{2, []string{"--etcd-endpoints", url, "--etcd-prefix", "a b"}, []string{"etcd-prefix", "/lockkeeper/"}},
		{2, []string{"--etcd-prefix", "/x/"}, []string{"etcd-prefix", "etcd.endpoints"}},
		{2, []string{"--etcd-endpoints", url, "--etcd-username", "u"}, []string{"password_file"}},
		{2, []string{"--etcd-endpoints", url, "--etcd-username", "u", "--etcd-password-file", "/nonexistent"}, []string{"/nonexistent"}},
	} {
		out := refused(t, c.code, append([]string{"serve", "--data-dir", data, "--listen", "127.0.0.1:0"}, c.args...)...)
		wantWords(t, out, c.want...)
	}
}
