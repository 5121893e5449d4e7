package vm

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const (
	agentUnit  = "lockkeeper-agent.service"
	daemonUnit = "lockkeeperd.service"
)

// unitHost is a container that runs the shipped unit, and its coordinator.
type unitHost struct {
	*container
	*coordinator
}

func startUnitHost(t *testing.T) *unitHost {
	t.Helper()
	h := &unitHost{coordinator: startCoordinator(t)}
	h.container = newContainer(t, map[string]string{
		"etc/systemd/system/" + agentUnit: read(t, "../../../deploy/systemd/"+agentUnit),
		"etc/systemd/system/app.service":  "[Service]\nExecStart=/bin/sleep infinity\n",
		// nspawn lays a new boot id over this machine's, at each boot; in the name
		// space of a hardened unit systemd loses it. What has none can hand it over.
		"etc/systemd/system/boot-id.service": "[Unit]\nBefore=" + agentUnit + "\n[Service]\nType=oneshot\nExecStart=/bin/cp /proc/sys/kernel/random/boot_id /run/boot_id\n",
		"etc/systemd/system/" + daemonUnit:   read(t, "../../../deploy/systemd/"+daemonUnit),
		"etc/lockkeeper/lockkeeperd.env":     "LOCKKEEPER_LISTEN=unix:/run/lockkeeper/lockkeeperd.sock\n",
		"etc/app.conf":                       "old\n",
		"etc/lockkeeper/agent.token":         h.token(t, "unit-1") + "\n",
		"etc/lockkeeper/agent.env": strings.Join([]string{
			"LOCKKEEPER_SERVER=https://127.0.0.1:" + h.port, "LOCKKEEPER_PIN=" + h.pin,
			"LOCKKEEPER_TOKEN_FILE=/etc/lockkeeper/agent.token", "LOCKKEEPER_NODE=unit-1", "LOCKKEEPER_BOOT_ID_FILE=/run/boot_id",
		}, "\n"),
	})
	must(t, os.Chmod(filepath.Join(h.root, "etc/lockkeeper/agent.token"), 0o600))
	for _, name := range []string{"lockkeeper-agent", "lockkeeperd"} {
		copyFile(t, program(name), filepath.Join(h.over, "bin", name))
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the agent's log:\n%s", tail(h.journal(t, agentUnit), 6000))
		}
	})
	h.enable(agentUnit, "app.service", "boot-id.service")
	h.boot()
	return h
}

// mainPID is a unit's process as the container numbers it, 0 for none.
func (h *unitHost) mainPID(t *testing.T, unit string) string {
	t.Helper()
	return h.property(t, unit, "MainPID")
}

// status is what the kernel says of a process of the container.
func (h *unitHost) status(t *testing.T, pid string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for line := range strings.Lines(h.exec(t, "cat", "/proc/"+pid+"/status")) {
		name, value, _ := strings.Cut(line, ":")
		all[name] = strings.TrimSpace(value)
	}
	return all
}

// reported waits until the node's report is so.
func (h *unitHost) reported(t *testing.T, what string, is func(api.Node) bool) {
	t.Helper()
	eventually(t, what, func() bool {
		n, err := h.Node(t.Context(), "unit-1")
		return err == nil && is(n)
	})
}

// journalFile is the agent's own journal as it is on the disk.
func (h *unitHost) journalFile(t *testing.T) string {
	t.Helper()
	return read(t, filepath.Join(h.root, "var/lib/lockkeeper-agent/journal.json"))
}

func TestSystemd(t *testing.T) {
	t.Parallel()
	needLab(t, "systemd-nspawn", "dbus-daemon", "nsenter", "pgrep", "journalctl")
	h := startUnitHost(t)
	for _, part := range []struct {
		name string
		run  func(*testing.T, *unitHost)
	}{
		{"TheShippedUnitIsReadyAndHardened", unitRuns},
		{"AnAgentThatHangsIsEndedByTheWatchdogAndStartedAgain", watchdog},
		{"UnitsAreRestartedOverTheBus", restartsUnit},
		{"ARebootGoesThroughLogindOnceNobodyInhibitsIt", logindReboot},
		{"AShutdownInTheMiddleOfAnApplyIsGoneOnFrom", shutdownMidway},
		{"TheCoordinatorsUnitIsHardenedAndStartsAgainAfterAPanic", daemonRuns},
	} {
		if !t.Run(part.name, func(t *testing.T) { part.run(t, h) }) {
			return
		}
	}
}

func unitRuns(t *testing.T, h *unitHost) {
	h.reported(t, "the host has reported", func(n api.Node) bool { return n.Report.Phase == api.PhaseIdle })
	if status := h.exec(t, "systemctl", "status", "--no-pager", agentUnit); !strings.Contains(status, "active (running)") {
		t.Errorf("systemctl status says: %s", status)
	}
	if got := h.property(t, agentUnit, "Type"); got != "notify" {
		t.Errorf("the unit's type is %s, want notify: it is active only once the agent has said so", got)
	}
	if out := h.exec(t, "systemctl", "list-units", "--failed", "--plain", "--no-legend"); out != "" {
		t.Errorf("failed units: %s", out)
	}
	// The kernel has taken the unit's bounds; that the agent can do its work inside
	// of them is what the other parts show.
	filters := func(pid string) int {
		n, err := strconv.Atoi(h.status(t, pid)["Seccomp_filters"])
		must(t, err)
		return n
	}
	if agent, first := filters(h.mainPID(t, agentUnit)), filters("1"); agent <= first {
		t.Errorf("the agent has %d filters of system calls, as many as the container's first process (%d) or fewer", agent, first)
	}
}

func watchdog(t *testing.T, h *unitHost) {
	// As shipped it waits two minutes. On a busy machine an agent that is well may be
	// late by seconds.
	writeFiles(t, h.root, map[string]string{"etc/systemd/system/" + agentUnit + ".d/watchdog.conf": "[Service]\nWatchdogSec=10\n"})
	h.exec(t, "systemctl", "daemon-reload")
	h.exec(t, "systemctl", "restart", agentUnit)
	was := h.mainPID(t, agentUnit)
	h.exec(t, "kill", "-STOP", was)
	eventually(t, "the agent was started again", func() bool {
		now := h.mainPID(t, agentUnit)
		return now != was && now != "0" && h.property(t, agentUnit, "ActiveState") == "active"
	})
	if got := h.property(t, agentUnit, "NRestarts"); got != "1" {
		t.Errorf("systemd restarted the agent %s times, want once", got)
	}
	eventually(t, "systemd's log says that it was the watchdog", func() bool {
		return strings.Contains(h.exec(t, "journalctl", "--no-pager", "-u", agentUnit), "Watchdog timeout")
	})
	must(t, os.RemoveAll(filepath.Join(h.root, "etc/systemd/system", agentUnit+".d")))
	h.exec(t, "systemctl", "daemon-reload")
}

func restartsUnit(t *testing.T, h *unitHost) {
	was := h.property(t, "app.service", "InvocationID")
	r := h.roll(t, api.RolloutSpec{Group: "default"}, "name: app-restart\nmin_healthy_time: 1s\nhealth:\n  - unit: app.service\nfiles:\n  /etc/app.conf: {interrupt: restart, units: [app.service]}\n",
		map[string]string{"files/etc/app.conf": "restarted\n"})
	h.waitState(t, r.ID, api.RolloutSucceeded)
	if is := h.property(t, "app.service", "InvocationID"); is == was || h.property(t, "app.service", "ActiveState") != "active" {
		t.Errorf("app.service was invoked as %s before and is as %s", was, is)
	}
}

// logindReboot asks for a soft reboot, which a systemd older than 254 does not
// have, while somebody blocks any.
func logindReboot(t *testing.T, h *unitHost) {
	was := h.node(t, "unit-1").BootID
	block := h.background(t, "systemd-inhibit", "--what=shutdown", "--mode=block", "--who=dpkg", "--why=packages are being installed", "sleep", "infinity")
	eventually(t, "a shutdown is blocked", func() bool { return strings.Contains(h.exec(t, "systemd-inhibit", "--list", "--no-pager"), "dpkg") })
	r := h.roll(t, api.RolloutSpec{Group: "default"}, "name: app-reboot\ndefault_interrupt: reboot\nmin_healthy_time: 1s\nhealth:\n  - unit: app.service\n",
		map[string]string{"files/etc/app.conf": "rebooted\n"})
	h.reported(t, "the host waits for the inhibitor and says so", func(n api.Node) bool {
		return strings.Contains(n.Report.Message, "packages are being installed")
	})
	block()
	h.rebooted(t)
	if journal := h.journalFile(t); !strings.Contains(journal, `"phase":"rebooting"`) {
		t.Errorf("the journal on the disk: %s; want phase rebooting", journal)
	}
	if log := h.journal(t, agentUnit); !strings.Contains(log, agentUnit+": Deactivated successfully") {
		t.Errorf("the agent did not end by itself in the shutdown: %s", tail(log, 2000))
	}
	h.boot()
	h.waitState(t, r.ID, api.RolloutSucceeded)
	if is := h.node(t, "unit-1").BootID; is == was {
		t.Error("the boot id is the one of before")
	}
}

func shutdownMidway(t *testing.T, h *unitHost) {
	r := h.roll(t, api.RolloutSpec{Group: "default"}, "name: app-slow\nmin_healthy_time: 1s\ncommand: {run: \"test -e /etc/again || { touch /etc/again; exec sleep 300; }\", timeout: 10m}\n",
		map[string]string{"files/etc/app.conf": "slow\n"})
	eventually(t, "the command runs", func() bool {
		_, err := os.Stat(filepath.Join(h.root, "etc/again"))
		return err == nil
	})
	h.exec(t, "systemctl", "reboot")
	h.rebooted(t)
	if log := h.journal(t, agentUnit); strings.Contains(log, "timed out") || !strings.Contains(log, agentUnit+": Deactivated successfully") {
		t.Errorf("the agent did not end by itself in the shutdown, within the unit's TimeoutStopSec: %s", tail(log, 2000))
	}
	if journal := h.journalFile(t); !strings.Contains(journal, `"phase":"applying"`) {
		t.Errorf("the journal on the disk: %s; want phase applying", journal)
	}
	h.boot()
	h.waitState(t, r.ID, api.RolloutSucceeded)
}

// daemonRuns runs a second coordinator, by its shipped unit.
func daemonRuns(t *testing.T, h *unitHost) {
	h.exec(t, "systemctl", "start", daemonUnit)
	ready := func() bool {
		out, err := h.try("systemctl", "show", "--value", "--property=ActiveState", daemonUnit)
		return err == nil && out == "active"
	}
	eventually(t, "the coordinator is ready", ready)
	was := h.mainPID(t, daemonUnit)
	status := h.status(t, was)
	if uid, _, _ := strings.Cut(status["Uid"], "\t"); uid == "0" || status["NoNewPrivs"] != "1" || strings.Trim(status["CapBnd"], "0") != "" {
		t.Errorf("the coordinator runs as user %s, NoNewPrivs %s, with capabilities %s; want another than root, 1, and none", uid, status["NoNewPrivs"], status["CapBnd"])
	}
	h.exec(t, "kill", "-ABRT", was) // a panic ends as this does
	eventually(t, "the coordinator was started again", func() bool {
		return h.mainPID(t, daemonUnit) != was && ready()
	})
	if got := h.property(t, daemonUnit, "NRestarts"); got != "1" {
		t.Errorf("systemd restarted the coordinator %s times, want once", got)
	}
}
