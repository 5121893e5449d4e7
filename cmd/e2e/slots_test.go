package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// One slot, two protocols: whoever holds it, the other side waits, and neither
// can return it in the other's name.
func TestFleetLock_AnAgentsSlotIsNotItsToReturn(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t, "--fleetlock-wait", "0s")
	agent, err := client.New(client.Config{Servers: []string{c.url}})
	must0(t, err)
	t.Cleanup(agent.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = agent.Poll(ctx, "n", api.PollRequest{Instance: "i", BootID: "b", Report: api.Report{Seq: 1, Group: "default"}})
	must0(t, err)
	acquire := func() (api.AcquireResponse, error) {
		return agent.Acquire(ctx, "default", "n", api.AcquireRequest{Instance: "i", Request: "r", BootID: "b"}, 0)
	}
	got, err := acquire()
	must0(t, err)

	status, text := lock(t, c.url, "other")
	wantStatus(t, "another host while the agent holds", status, text, http.StatusLocked)
	status, text = lock(t, c.url, "n")
	wantStatus(t, "a FleetLock host under the agent's id", status, text, http.StatusLocked)
	status, text = unlock(t, c.url, "n")
	wantStatus(t, "returning in the agent's name", status, text, http.StatusOK)
	if got := holders(t, c.url); got != "n" {
		t.Fatalf("holders %q, want n still", got)
	}

	must0(t, agent.Release(ctx, "default", "n", got.Hold.Fence, "i"))
	status, text = lock(t, c.url, "other")
	wantStatus(t, "another host when the agent is done", status, text, http.StatusOK)
	_, err = acquire()
	wantKind(t, "the agent while the host holds", err, api.Full)
	for range 2 {
		status, text = unlock(t, c.url, "other")
		wantStatus(t, "returning, and once more", status, text, http.StatusOK)
	}
	_, err = acquire()
	wantKind(t, "the agent when the host is done", err, "")
	status, text = unlock(t, c.url, "other")
	wantStatus(t, "a late repetition of the return", status, text, http.StatusOK)
	if got := holders(t, c.url); got != "n" {
		t.Errorf("holders %q after a late return by another, want n", got)
	}
}

func TestFleetLock_AParkedHostHasTheSlotWithinASecond(t *testing.T) {
	c := startCoordinator(t)
	holder := "host-0"
	status, text := lock(t, c.url, holder)
	wantStatus(t, "a free slot", status, text, http.StatusOK)
	for i := range 5 {
		next := fmt.Sprintf("host-%d", i+1)
		granted := make(chan int, 1)
		go func() {
			status, _ := lock(t, c.url, next)
			granted <- status
		}()
		waits(t, c.url, next)
		status, text := unlock(t, c.url, holder)
		wantStatus(t, "returning the slot", status, text, http.StatusOK)
		freed := startStopwatch(c.process)
		wantStatus(t, "the parked host", <-granted, "", http.StatusOK)
		freed.within(t, time.Since(freed.began), time.Second, next+" had its slot when it was free")
		if got := holders(t, c.url); got != next {
			t.Fatalf("holders %q, want %s", got, next)
		}
		holder = next
	}
}

// hangUp makes a request that is parked and then drops its connection, as a
// host does that crashes (hard) or gives up.
func hangUp(t *testing.T, url, id string, hard bool) {
	t.Helper()
	addr := strings.TrimPrefix(url, "http://")
	conn, err := net.Dial("tcp", addr)
	must0(t, err)
	defer conn.Close()
	body := params(id, "default")
	_, err = fmt.Fprintf(conn, "POST /v1/pre-reboot HTTP/1.1\r\nHost: %s\r\nFleet-Lock-Protocol: true\r\nContent-Length: %d\r\n\r\n%s", addr, len(body), body)
	must0(t, err)
	waits(t, url, id)
	if hard {
		must0(t, conn.(*net.TCPConn).SetLinger(0))
	}
}

// A slot that is given to nobody who listens stays taken until its deadline.
func TestFleetLock_HostsThatHangUpNeverKeepASlot(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	for i := range 12 {
		status, text := lock(t, c.url, "holder")
		wantStatus(t, "a free slot", status, text, http.StatusOK)
		hangUp(t, c.url, fmt.Sprintf("gone-%d", i), i%2 == 0)
		status, text = unlock(t, c.url, "holder")
		wantStatus(t, "returning the slot", status, text, http.StatusOK)
		eventually(t, "nobody holds", func() bool { return holders(t, c.url) == "" })
	}
}

// A host that comes back for its place in the queue gets the slot, and is not
// mistaken for the connection that it left.
func TestFleetLock_WhoAsksAgainAfterHangingUpIsGranted(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	status, text := lock(t, c.url, "holder")
	wantStatus(t, "a free slot", status, text, http.StatusOK)
	hangUp(t, c.url, "back", true)
	granted := make(chan int, 1)
	go func() {
		status, _ := lock(t, c.url, "back")
		granted <- status
	}()
	waits(t, c.url, "back")
	status, text = unlock(t, c.url, "holder")
	wantStatus(t, "returning the slot", status, text, http.StatusOK)
	wantStatus(t, "the host that asked again", <-granted, "", http.StatusOK)
	if got := holders(t, c.url); got != "back" {
		t.Errorf("holders %q, want back", got)
	}
}

// What goes over the wire by the letter of the protocol, and what does not.
func TestFleetLock_OnTheWire(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t, "--fleetlock-wait", "0s")
	addr := strings.TrimPrefix(c.url, "http://")
	body := params("a", "default")
	send := func(head string) string {
		t.Helper()
		conn, err := net.Dial("tcp", addr)
		must0(t, err)
		defer conn.Close()
		must0(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = io.WriteString(conn, head)
		must0(t, err)
		answer, err := io.ReadAll(conn)
		must0(t, err)
		return string(answer)
	}
	request := func(method, path, header, body string) string {
		return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: %d\r\n%s\r\n%s", method, path, addr, len(body), header, body)
	}
	const protocol = "Fleet-Lock-Protocol: true\r\n"
	for what, r := range map[string]struct {
		request string
		want    []string
	}{
		"a lock":                   {request("POST", "/v1/pre-reboot", protocol, body), []string{" 200 ", "{}"}},
		"an unlock":                {request("POST", "/v1/steady-state", "fleet-lock-protocol: true\r\n", params("z", "default")), []string{" 200 ", "{}"}},
		"no protocol header":       {request("POST", "/v1/pre-reboot", "", body), []string{" 400 ", `"kind":"invalid"`, "fleet-lock-protocol"}},
		"another protocol":         {request("POST", "/v1/pre-reboot", "Fleet-Lock-Protocol: 2\r\n", body), []string{" 400 ", "fleet-lock-protocol"}},
		"PUT":                      {request("PUT", "/v1/pre-reboot", protocol, body), []string{" 405 ", "Allow: POST", `"kind":`}},
		"another path":             {request("POST", "/v1/reboot", protocol, body), []string{" 404 ", "/v1/pre-reboot", "/v1/steady-state"}},
		"an unknown group":         {request("POST", "/v1/pre-reboot", protocol, params("a", "nosuch")), []string{" 404 ", `"kind":"unknown_group"`, "nosuch"}},
		"a release of one":         {request("POST", "/v1/steady-state", protocol, params("a", "nosuch")), []string{" 404 ", `"kind":"unknown_group"`, "nosuch"}},
		"more than a body may be":  {fmt.Sprintf("POST /v1/pre-reboot HTTP/1.1\r\nHost: %s\r\n%sContent-Length: 1000000000\r\n\r\n", addr, protocol), []string{" 413 ", `"kind":"too_large"`}},
		"an id twice":              {request("POST", "/v1/pre-reboot", protocol, `{"client_params":{"id":"a","id":"b","group":"default"}}`), []string{" 400 ", "twice"}},
		"a number for an id":       {request("POST", "/v1/pre-reboot", protocol, `{"client_params":{"id":1,"group":"default"}}`), []string{" 400 ", "client_params.id"}},
		"a group with a slash":     {request("POST", "/v1/pre-reboot", protocol, params("a", "a/b")), []string{" 400 ", "client_params.group"}},
		"somebody else's Host":     {strings.Replace(request("POST", "/v1/pre-reboot", protocol, body), addr, "evil.example", 1), []string{" 421 ", `"kind":`, "evil.example"}},
		"a page of another origin": {request("POST", "/v1/pre-reboot", protocol+"Origin: https://evil.example\r\nSec-Fetch-Site: cross-site\r\n", body), []string{" 403 ", `"kind":"forbidden"`}},
	} {
		answer := send(r.request)
		for _, w := range r.want {
			if !strings.Contains(answer, w) {
				t.Errorf("%s: the answer has no %q:\n%s", what, w, answer)
			}
		}
	}
	if got := holders(t, c.url); got != "a" {
		t.Errorf("holders %q, want a, who locked rightly", got)
	}
}
