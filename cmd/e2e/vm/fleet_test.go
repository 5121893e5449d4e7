package vm

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// fleet is three machines of one group with one slot, and what sees them from
// outside.
type fleet struct {
	*coordinator
	*pinger
	machines []*machine
}

// clocks are what two of the machines believe at each boot. That of the third is
// right.
var clocks = map[string]string{"host-2": "2001-02-03T04:05:06", "host-3": "2037-12-31T23:59:50"}

func startFleet(t *testing.T) *fleet {
	t.Helper()
	k, err := theKernel()
	must(t, err)
	ram := makeInitrd(t, k)
	f := &fleet{coordinator: startCoordinator(t)}
	for _, node := range []string{"host-1", "host-2", "host-3"} {
		disk := filepath.Join(t.TempDir(), "disk.img")
		makeDisk(t, k, disk, map[string]string{
			"etc/app.conf":               "old\n",
			"etc/os-release":             "PRETTY_NAME=\"Lockkeeper test guest\"\n",
			"etc/lockkeeper/agent.token": f.token(t, node) + "\n",
			"etc/lockkeeper/agent.env": strings.Join([]string{
				"LOCKKEEPER_SERVER=https://10.0.2.2:" + f.port, "LOCKKEEPER_PIN=" + f.pin,
				"LOCKKEEPER_TOKEN_FILE=/etc/lockkeeper/agent.token", "LOCKKEEPER_NODE=" + node,
				// At once and without a sync: what is not on the disk by then is lost.
				"LOCKKEEPER_REBOOT_COMMAND=reboot -n -f",
			}, "\n"),
		})
		var extra []string
		if clock, ok := clocks[node]; ok {
			extra = []string{"-rtc", "base=" + clock}
		}
		m := newMachine(t, k, ram, disk, node, extra...)
		f.machines = append(f.machines, m)
		m.powerOn()
	}
	f.pinger = startPinger(t, f.machines)
	eventually(t, "all machines have reported", func() bool {
		list, err := f.Nodes(t.Context(), api.NodeQuery{})
		must(t, err)
		// One that is listed may only wait for its first report to be stored.
		return list.Total == len(f.machines) && !slices.ContainsFunc(list.Nodes, func(n api.Node) bool { return n.FirstSeen.IsZero() })
	})
	return f
}

// waitReleased waits until nobody holds a slot.
func (f *fleet) waitReleased(t *testing.T) {
	t.Helper()
	eventually(t, "the slot is returned", func() bool { return len(f.holders(t)) == 0 })
}

// One fleet goes through all of it, one after another: what is left behind by
// one is what the next starts from, as in a fleet's life.
func TestMachines(t *testing.T) {
	t.Parallel()
	needLab(t, "qemu-system-x86_64", "dpkg", "lz4", "mkfs.ext4", "e2fsck", "debugfs")
	f := startFleet(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *fleet)
	}{
		{"ABundleReachesAllAndEachRebootsAloneThoughTwoClocksAreYearsOff", reachesAll},
		{"PowerLostWhileFilesAreWrittenIsGoneOnFrom", powerLost},
		{"PowerLostInEachAttemptEndsWithTheOldFiles", powerLostAgain},
		{"ABundleThatFailsItsHealthCheckIsTakenBackByASecondReboot", takenBack},
		{"AHostThatNeverComesBackKeepsItsSlotAndHaltsTheRollout", neverBack},
	} {
		began := time.Now()
		if !t.Run(part.name, func(t *testing.T) { part.run(t, f) }) {
			break // the next would fail of this
		}
		for _, o := range f.neverTwoDown(t, began) {
			t.Logf("down: %s", o)
		}
	}
}

func reachesAll(t *testing.T, f *fleet) {
	began := time.Now()
	r := f.roll(t, api.RolloutSpec{Group: "default"}, "name: app-new\ndefault_interrupt: reboot\nmin_healthy_time: 1s\nhealth:\n  - command: grep -q new /etc/app.conf\n",
		map[string]string{"files/etc/app.conf": "new\n"})
	f.waitState(t, r.ID, api.RolloutSucceeded)
	f.waitReleased(t)
	for _, m := range f.machines {
		if boots, reboots := f.boots(m.node, began), m.rebooted(); boots != 2 || reboots != 1 {
			t.Errorf("%s answered in %d boots and rebooted %d times, want once", m.node, boots, reboots)
		}
		var a answer
		eventually(t, m.node+" answers in the boot that the coordinator knows, with the bundle", func() (up bool) {
			n := f.node(t, m.node)
			a, up = f.last(m.node)
			return up && n.BootID == a.boot && n.Report.Bundle == r.Spec.Bundle
		})
		if off := a.clock.Sub(a.at).Abs(); clocks[m.node] != "" && off < 5*365*24*time.Hour {
			t.Errorf("the clock of %s is off by %s only: the test shows nothing", m.node, off)
		}
	}
	if n := len(f.outages(began)); n != 3 {
		t.Errorf("%d outages were seen from outside, want 3", n)
	}
}

// waitOff waits until a reboot of one of the machines was its end.
func (f *fleet) waitOff(t *testing.T) (m *machine) {
	t.Helper()
	eventually(t, "a machine has gone down", func() bool {
		for _, m = range f.machines {
			if m.isOff() {
				return true
			}
		}
		return false
	})
	return m
}

func takenBack(t *testing.T, f *fleet) {
	began := time.Now()
	r := f.roll(t, api.RolloutSpec{Group: "default"}, "name: app-bad\ndefault_interrupt: reboot\nmin_healthy_time: 1s\nhealthy_deadline: 2s\nhealth:\n  - command: grep -q new /etc/app.conf\n",
		map[string]string{"files/etc/app.conf": "bad\n"})
	r = f.waitState(t, r.ID, api.RolloutHalted)
	f.waitReleased(t)
	if r.Progress.Failed != 1 || r.Progress.Updated != 0 {
		t.Errorf("progress %+v, want one failed and none updated", r.Progress)
	}
	for _, m := range f.machines {
		n, boots := f.node(t, m.node), f.boots(m.node, began)
		if n.Report.Failure == nil || n.Report.Failure.Bundle != r.Spec.Bundle {
			if boots != 1 {
				t.Errorf("%s was not asked to do anything, and answered in %d boots", m.node, boots)
			}
			continue
		}
		if boots != 3 {
			t.Errorf("%s answered in %d boots, want 3: before, with the bad bundle, and with the old files", m.node, boots)
		}
		if fail := n.Report.Failure; fail.Reason != "unhealthy" || !fail.Healthy {
			t.Errorf("%s reports %+v, want unhealthy, and healthy again", m.node, fail)
		}
	}
	_, err := f.RolloutAction(t.Context(), r.ID, "abort", api.RolloutActionRequest{Reason: "seen"})
	must(t, err)
}

func neverBack(t *testing.T, f *fleet) {
	g, err := f.Group(t.Context(), "default")
	must(t, err)
	g.Spec.Timeouts.Hold = "20s"
	_, err = f.PutGroup(t.Context(), "default", g.Spec, strconv.FormatInt(g.Revision, 10))
	must(t, err)
	began := time.Now()
	for _, m := range f.machines {
		m.stayDown() // whoever reboots first
	}
	r := f.roll(t, api.RolloutSpec{Group: "default"}, "name: app-newer\ndefault_interrupt: reboot\nmin_healthy_time: 1s\n", map[string]string{"files/etc/app.conf": "newer\n"})
	dead := f.waitOff(t)
	// What is on its disk is all that it will go on by: the reboot was intended.
	journal, _ := openDisk(t, dead.disk).file(t, "/var/lib/lockkeeper-agent/journal.json")
	if !strings.Contains(journal, `"phase":"rebooting"`) {
		t.Errorf("the journal on the disk of %s: %s; want phase rebooting", dead.node, journal)
	}
	r = f.waitState(t, r.ID, api.RolloutHalted) // overdue is judged 2 min after the coordinator's start at the earliest
	if got := f.holders(t); len(got) != 1 || got[0] != dead.node {
		t.Errorf("holders %v, want %s, which is down", got, dead.node)
	}
	for _, m := range f.machines {
		eventually(t, fmt.Sprintf("%s answers: %v", m.node, m != dead), func() bool { _, up := f.last(m.node); return up == (m != dead) })
		if m != dead && f.boots(m.node, began) != 1 {
			t.Errorf("%s went down although the slot was taken", m.node)
		}
	}
	dead.powerOn()
	f.waitReleased(t)
	if n := f.node(t, dead.node); n.Report.Bundle != r.Spec.Bundle {
		t.Errorf("%s is back with bundle %s, want %s", dead.node, n.Report.Bundle, r.Spec.Bundle)
	}
}
