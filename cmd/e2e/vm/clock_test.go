package vm

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// longVariable is set where tests may take long: they compile a coordinator for
// guests, and emulate one.
const longVariable = "LOCKKEEPER_TEST_LONG"

// meet is an address of this host at which the guest's coordinator and those
// outside find each other. It is no loopback address to the guest.
const meet = "10.214.0.1"

// member is a coordinator of a cluster that spans this host and a guest.
type member struct {
	*client.Client
	name, api, peer string // HOST:PORT of this host
}

func newMember(t *testing.T, name string) *member {
	t.Helper()
	m := &member{name: name, api: freeTCP(t, "127.0.0.1"), peer: freeTCP(t, meet)}
	var err error
	m.Client, err = client.New(client.Config{Servers: []string{"http://" + m.api}})
	must(t, err)
	t.Cleanup(m.Close)
	return m
}

func (m *member) ready(t *testing.T) {
	t.Helper()
	eventually(t, m.name+" is ready", func() bool { return m.Readyz(t.Context()) == nil })
}

// grants has a host of its own ask for a slot, and return it.
func (m *member) grants(t *testing.T, group string) error {
	t.Helper()
	node := m.name + "-" + group
	poll := api.PollRequest{Instance: node, BootID: "boot", Report: api.Report{Seq: 1, Group: group}}
	if _, err := m.Poll(t.Context(), node, poll); err != nil {
		return err
	}
	got, err := m.Acquire(t.Context(), group, node, api.AcquireRequest{Instance: node, Request: fmt.Sprint(time.Now()), BootID: "boot"}, 0)
	if err != nil {
		return err
	}
	return m.Release(t.Context(), group, node, got.Hold.Fence, node)
}

// tokenFor is the token with which another one joins.
func (m *member) tokenFor(t *testing.T) string {
	t.Helper()
	made, err := m.CreateJoinToken(t.Context(), api.JoinTokenRequest{})
	must(t, err)
	return made.Token
}

// The clock of one of three coordinators is an hour ahead. It judges no windows
// and says why; the others do, and all goes on that needs no clock. When it is
// set, it judges them again.
func TestClock_ACoordinatorWhoseClockIsOffJudgesNoWindows(t *testing.T) {
	needLab(t, "qemu-system-x86_64", "mkfs.ext4", "ip")
	if os.Getenv(longVariable) == "" {
		t.Skip("takes some minutes, mostly for a coordinator that guests can run: .ci/nightly runs this, with " + longVariable + "=1")
	}
	tool(t, "ip", "addr", "add", meet+"/32", "dev", "lo")
	t.Cleanup(func() { tool(t, "ip", "addr", "del", meet+"/32", "dev", "lo") })
	guestBinary := filepath.Join(t.TempDir(), "lockkeeperd")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", guestBinary, "github.com/lockkeeper/lockkeeper/cmd/lockkeeperd")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}

	var outside []*member
	for _, name := range []string{"one", "two"} {
		m := newMember(t, name)
		args := []string{program("lockkeeperd"), "serve", "--name", name, "--data-dir", filepath.Join(t.TempDir(), name), "--listen", m.api, "--peer-listen", m.peer}
		if len(outside) > 0 {
			token := filepath.Join(t.TempDir(), "token")
			must(t, os.WriteFile(token, []byte(outside[0].tokenFor(t)), 0o600))
			args = append(args, "--join", "http://"+outside[0].api, "--join-token-file", token)
		}
		p, err := start(output(t, name), args...)
		must(t, err)
		t.Cleanup(p.kill)
		m.ready(t)
		outside = append(outside, m)
	}
	one, two := outside[0], outside[1]
	open := api.GroupSpec{Slots: "3", Windows: []api.WindowSpec{{Start: "00:00", Duration: "24h"}}}
	for group, spec := range map[string]api.GroupSpec{"windowed": open, "plain": {Slots: "3"}} {
		_, err := one.PutGroup(t.Context(), group, spec, "*")
		must(t, err)
	}

	k, err := theKernel()
	must(t, err)
	third := newMember(t, "three")
	_, port, err := net.SplitHostPort(one.api)
	must(t, err)
	disk := filepath.Join(t.TempDir(), "disk.img")
	makeDiskOf(t, k, disk, "1500M", map[string]string{"usr/bin/lockkeeperd": guestBinary}, map[string]string{
		"etc/lockkeeper/join.token":    one.tokenFor(t),
		"etc/lockkeeper/guest.forward": "127.0.0.1:9001 10.0.2.2:" + port + "\n10.0.2.15:8081 127.0.0.1:8080\n",
		"etc/lockkeeper/lockkeeperd.env": strings.Join([]string{
			"LOCKKEEPER_NAME=three", "LOCKKEEPER_DATA_DIR=/var/lib/lockkeeper", "LOCKKEEPER_LISTEN=127.0.0.1:8080",
			"LOCKKEEPER_PEER_LISTEN=0.0.0.0:2380", "LOCKKEEPER_PEER_URL=https://" + third.peer,
			"LOCKKEEPER_JOIN=http://127.0.0.1:9001", "LOCKKEEPER_JOIN_TOKEN_FILE=/etc/lockkeeper/join.token",
		}, "\n"),
	})
	m := newMachine(t, k, makeInitrd(t, k), disk, "three")
	m.give(t, "-m", "512")
	m.forward(t, "tcp:"+third.peer+"-10.0.2.15:2380", "tcp:"+third.api+"-10.0.2.15:8081")
	right := m.args
	m.args = append(right[:len(right):len(right)], "-rtc", "base="+time.Now().UTC().Add(time.Hour).Format("2006-01-02T15:04:05"))
	m.powerOn()
	third.ready(t)

	eventually(t, "the others show how far it is off", func() bool {
		c, err := two.Cluster(t.Context())
		must(t, err)
		for _, at := range c.Coordinators {
			if at.Name == "three" && at.ClockOffS != nil && *at.ClockOffS > 3000 && *at.ClockOffS < 4200 {
				return true
			}
		}
		return false
	})
	eventually(t, "it has heard both others, and judges no windows", func() bool {
		var refused *api.Error
		return errors.As(third.grants(t, "windowed"), &refused) && refused.Kind == api.Window &&
			strings.Contains(refused.Detail, "cannot judge windows") && strings.Contains(refused.Detail, "ahead of the median of the 2 other coordinators'")
	})
	if err := third.grants(t, "plain"); err != nil {
		t.Errorf("without windows: %v", err)
	}
	for _, m := range outside {
		for _, group := range []string{"windowed", "plain"} {
			if err := m.grants(t, group); err != nil {
				t.Errorf("%s, whose clock is right, in %s: %v", m.name, group, err)
			}
		}
	}
	for _, m := range append(outside, third) {
		st, err := m.Status(t.Context())
		must(t, err)
		if text := fmt.Sprint(st.Attention); !strings.Contains(text, "clock_off") || !strings.Contains(text, "Set its clock") {
			t.Errorf("the attention list of %s is %s", m.name, text)
		}
	}

	m.powerOff()
	m.args = right
	m.powerOn()
	third.ready(t)
	eventually(t, "it judges windows when its clock is right", func() bool { return third.grants(t, "windowed") == nil })
}
