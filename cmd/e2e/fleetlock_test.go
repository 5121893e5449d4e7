package e2e

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/fleetlock"
)

// fleetLock asks as a host that speaks the protocol does.
func fleetLock(ctx context.Context, t *testing.T, url, path, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+path, strings.NewReader(body))
	must0(t, err)
	req.Header.Set("fleet-lock-protocol", "true")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(text)
}

func params(id, group string) string {
	return `{"client_params":{"id":"` + id + `","group":"` + group + `"}}`
}

func lock(t *testing.T, url, id string) (int, string) {
	t.Helper()
	return fleetLock(t.Context(), t, url, fleetlock.PreReboot, params(id, "default"))
}

func unlock(t *testing.T, url, id string) (int, string) {
	t.Helper()
	return fleetLock(t.Context(), t, url, fleetlock.SteadyState, params(id, "default"))
}

// holders are the nodes that hold a slot of the group default.
func holders(t *testing.T, url string) string {
	t.Helper()
	var g api.Group
	getJSON(t, url+"/api/v1/groups/default", &g)
	names := make([]string, len(g.Holds))
	for i, h := range g.Holds {
		names[i] = h.Node
	}
	return strings.Join(names, " ")
}

func wantStatus(t *testing.T, what string, got int, text string, want int) {
	t.Helper()
	if got != want {
		t.Fatalf("%s: %d %s, want %d", what, got, text, want)
	}
}

func TestFleetLock_HostsShareTheSlotsAndWaitTheirTurn(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	status, text := lock(t, c.url, "a")
	wantStatus(t, "a free slot", status, text, http.StatusOK)
	status, text = lock(t, c.url, "a")
	wantStatus(t, "the holder again", status, text, http.StatusOK)
	status, text = unlock(t, c.url, "b")
	wantStatus(t, "returning what is not held", status, text, http.StatusOK)
	if got := holders(t, c.url); got != "a" {
		t.Fatalf("holders %q, want a", got)
	}

	granted := make(chan int, 1)
	go func() {
		status, _ := lock(t, c.url, "b")
		granted <- status
	}()
	eventually(t, "b waits", func() bool {
		var g api.Group
		getJSON(t, c.url+"/api/v1/groups/default", &g)
		return len(g.Queue) == 1
	})
	status, text = unlock(t, c.url, "a")
	wantStatus(t, "returning the slot", status, text, http.StatusOK)
	select {
	case status := <-granted:
		wantStatus(t, "the parked request", status, "", http.StatusOK)
	case <-time.After(patience):
		t.Fatal("the parked request was not granted though the slot is free")
	}
}

func TestFleetLock_AClientThatHangsUpLeavesNoHold(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	status, text := lock(t, c.url, "a")
	wantStatus(t, "a free slot", status, text, http.StatusOK)
	ctx, hangUp := context.WithCancel(t.Context())
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		fleetLock(ctx, t, c.url, fleetlock.PreReboot, params("b", "default"))
	}()
	eventually(t, "b waits", func() bool {
		var g api.Group
		getJSON(t, c.url+"/api/v1/groups/default", &g)
		return len(g.Queue) == 1
	})
	hangUp()
	<-gone
	status, text = unlock(t, c.url, "a")
	wantStatus(t, "returning the slot", status, text, http.StatusOK)
	status, text = lock(t, c.url, "c")
	wantStatus(t, "the next host", status, text, http.StatusOK)
	if got := holders(t, c.url); got != "c" {
		t.Errorf("holders %q, want c alone", got)
	}
}

func TestFleetLock_AGrantOutlivesKill9(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t, "--fleetlock-wait", "1s")
	status, text := lock(t, c.url, "a")
	wantStatus(t, "a free slot", status, text, http.StatusOK)
	c.kill()
	c.start()
	c.waitReady()
	if got := holders(t, c.url); got != "a" {
		t.Fatalf("holders %q after the restart, want a", got)
	}
	status, text = lock(t, c.url, "b")
	wantStatus(t, "another host", status, text, http.StatusLocked)
	wantWords(t, text, `"kind":"full"`, `"value":`)
}

func TestFleetLock_AgentsAndHostsShareOneSlot(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	w := newWitness(t)
	startFleet(t, w, c.url, 1)
	status, text := lock(t, c.url, "zincati")
	wantStatus(t, "a free slot", status, text, http.StatusOK)
	id := startRollout(t, c.url, pushBundle(t, c.url, "new", ""))
	eventually(t, "the agent waits", func() bool { return rolloutOf(t, c.url, id).Progress.Waiting == 1 })
	if w.most(t) != 0 {
		t.Fatal("the agent's host went out of service while the only slot was taken")
	}
	status, text = unlock(t, c.url, "zincati")
	wantStatus(t, "returning the slot", status, text, http.StatusOK)
	eventually(t, "the rollout has succeeded", func() bool { return rolloutOf(t, c.url, id).State == api.RolloutSucceeded })
}

func TestFleetLock_BadRequestsAreRefusedAndChangeNothing(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	good := params("a", "default")
	for _, b := range []struct {
		what, path, body string
		want             int
	}{
		{"an unknown group", fleetlock.PreReboot, params("a", "nosuch"), http.StatusNotFound},
		{"a group that cannot be", fleetlock.PreReboot, params("a", "a/b"), http.StatusBadRequest},
		{"another path", "/v1/pre-reboot/", good, http.StatusNotFound},
		{"broken JSON", fleetlock.PreReboot, good[:20], http.StatusBadRequest},
		{"something behind it", fleetlock.PreReboot, good + good, http.StatusBadRequest},
		{"no id", fleetlock.PreReboot, `{"client_params":{"group":"default"}}`, http.StatusBadRequest},
		{"a huge body", fleetlock.PreReboot, strings.Repeat(" ", 65<<10) + good, http.StatusRequestEntityTooLarge},
	} {
		status, text := fleetLock(t.Context(), t, c.url, b.path, b.body)
		if status != b.want || !strings.Contains(text, `"kind"`) || !strings.Contains(text, `"value"`) {
			t.Errorf("%s: %d %s, want %d with kind and value", b.what, status, text, b.want)
		}
	}
	if status, _ := get(c.url + fleetlock.PreReboot); status != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d, want 405", status)
	}
	if got := holders(t, c.url); got != "" {
		t.Errorf("holders %q, want nobody", got)
	}
}

func TestFleetLock_ItsOwnListenerLetsInWhomTheConfigNames(t *testing.T) {
	t.Parallel()
	addr := freePort(t)
	dir := writeFiles(t, t.TempDir(), map[string]string{
		"lockkeeperd.yaml": "fleetlock:\n  listen: " + addr + "\n  wait: 0s\n  networks:\n    - {cidr: 127.0.0.0/8, groups: [default]}\n",
	})
	c := startCoordinator(t, "--config", filepath.Join(dir, "lockkeeperd.yaml"))
	must(t, c.url, "group", "set", "web", "--slots", "1")
	url := "http://" + addr
	status, text := fleetLock(t.Context(), t, url, fleetlock.PreReboot, params("a", "default"))
	wantStatus(t, "a group of the network", status, text, http.StatusOK)
	status, text = fleetLock(t.Context(), t, url, fleetlock.PreReboot, params("a", "web"))
	wantStatus(t, "another group", status, text, http.StatusForbidden)
	if status, _ := get(url + "/api/v1/status"); status != http.StatusNotFound {
		t.Errorf("the API answers %d on the FleetLock listener, want 404", status)
	}
}
