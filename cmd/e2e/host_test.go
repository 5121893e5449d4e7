package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// machine is a host as the agent sees it: a root folder, a boot id, a reboot
// command and hooks. Its reboot changes the boot id and kills the agent in the
// middle of its work; the machine then starts the agent again, as it does
// after any other end of it. It was rebooted when its boot id is another: an agent
// that is killed takes its reboot command with it, which may have come to nothing.
type machine struct {
	t     *testing.T
	w     witness
	node  string
	dir   string
	agent *process

	mu      sync.Mutex
	off     bool
	watcher sync.WaitGroup
}

// witness is the file in which every machine notes going out of service and
// coming back, in the order in which it happened. It knows nothing of slots.
type witness string

func newWitness(t *testing.T) witness { return witness(filepath.Join(t.TempDir(), "witness")) }

// lines is what was noted, "down NODE", "up NODE" and "reboot NODE".
func (w witness) lines(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile(string(w))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSpace(string(text)), "\n")
}

// most is the largest number of machines that were out at once.
func (w witness) most(t *testing.T) int {
	t.Helper()
	out, most := map[string]bool{}, 0
	for _, line := range w.lines(t) {
		what, node, _ := strings.Cut(line, " ")
		switch what {
		case "down", "reboot":
			out[node] = true
		case "up":
			delete(out, node)
		}
		most = max(most, len(out))
	}
	return most
}

// count is how often a line was noted.
func (w witness) count(t *testing.T, line string) (n int) {
	t.Helper()
	for _, l := range w.lines(t) {
		if l == line {
			n++
		}
	}
	return n
}

func startMachine(t *testing.T, w witness, node, server string, args ...string) *machine {
	t.Helper()
	return startMachineOf(t, w, node, server, []string{program("lockkeeper-agent")}, args...)
}

// startMachineOf starts a machine whose agent is started by that command.
func startMachineOf(t *testing.T, w witness, node, server string, agent []string, args ...string) *machine {
	t.Helper()
	dir := t.TempDir()
	m := &machine{t: t, w: w, node: node, dir: dir}
	writeFiles(t, dir, map[string]string{
		"boot_id":           firstBoot + "\n",
		"reboot":            fmt.Sprintf("#!/bin/sh\ncat /proc/sys/kernel/random/uuid > %[1]s/boot_id.new\nmv %[1]s/boot_id.new %[1]s/boot_id\nkill -9 $(cat %[1]s/agent.pid)\n", dir),
		"hooks/drain":       fmt.Sprintf("#!/bin/sh\necho 'down %s' >> %s\n", node, string(w)),
		"hooks/undrain":     fmt.Sprintf("#!/bin/sh\necho 'up %s' >> %s\n", node, string(w)),
		"root/etc/app.conf": "old\n",
	})
	// The shell writes the pid before it becomes the agent.
	line := fmt.Sprintf(`echo $$ > %s/agent.pid; exec "$@"`, dir)
	command := append([]string{"-c", line, "sh"}, agent...)
	m.agent = startProcess(t, "agent-"+node, "/bin/sh", append(append(command, "run",
		"--server", server, "--node", node, "--state-dir", filepath.Join(dir, "state"), "--root", filepath.Join(dir, "root"),
		"--boot-id-file", filepath.Join(dir, "boot_id"), "--reboot-command", filepath.Join(dir, "reboot"),
		"--hooks-dir", filepath.Join(dir, "hooks"), "--reboot-required-file", filepath.Join(dir, "reboot-required"),
	), args...)...)
	m.watcher.Go(m.supervise)
	t.Cleanup(m.powerOff)
	return m
}

// firstBoot is the boot id of a machine that was not rebooted yet.
const firstBoot = "boot-0"

// supervise starts the agent again whenever it ended, and notes reboots.
func (m *machine) supervise() {
	for boot := firstBoot; ; {
		<-m.agent.ended()
		m.mu.Lock()
		if m.off {
			m.mu.Unlock()
			return
		}
		text, err := os.ReadFile(filepath.Join(m.dir, "boot_id"))
		if now := strings.TrimSpace(string(text)); err == nil && now != boot {
			boot = now
			witnessed(m.w).note("reboot " + m.node)
		}
		m.agent.start()
		m.mu.Unlock()
	}
}

// powerOff ends the machine for good.
func (m *machine) powerOff() {
	m.mu.Lock()
	m.off = true
	m.mu.Unlock()
	m.agent.kill()
	m.watcher.Wait()
}

// crash is kill -9 of the agent.
func (m *machine) crash() { _ = m.agent.send(syscall.SIGKILL) }

func (m *machine) file(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(m.dir, "root", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// startFleet starts n machines and waits until the coordinator knows them all.
func startFleet(t *testing.T, w witness, server string, n int, args ...string) []*machine {
	t.Helper()
	fleet := make([]*machine, n)
	for i := range fleet {
		fleet[i] = startMachine(t, w, fmt.Sprintf("host-%d", i+1), server, args...)
	}
	allReport(t, server, n)
	return fleet
}

// allReport waits until the agents of so many nodes have reported. A node is in its
// group a moment earlier, and no rollout selects it before.
func allReport(t *testing.T, server string, n int) {
	t.Helper()
	eventually(t, "all hosts have reported", func() bool {
		var list api.NodeList
		getJSON(t, server+"/api/v1/nodes?limit=1000", &list)
		return len(list.Nodes) == n && !slices.ContainsFunc(list.Nodes, func(n api.Node) bool { return n.FirstSeen.IsZero() })
	})
}

// reports waits until the agent of a node has reported; see allReport. The server is
// any that the command line takes.
func reports(t *testing.T, server, node string) {
	t.Helper()
	eventually(t, node+" has reported", func() bool {
		var n api.Node
		out, _, code := lockkeeper(t, server, "node", "show", node, "-o", "json")
		return code == 0 && json.Unmarshal([]byte(out), &n) == nil && !n.FirstSeen.IsZero()
	})
}

// pushBundle makes and uploads a bundle whose one file needs a reboot.
func pushBundle(t *testing.T, server, content, manifest string) string {
	t.Helper()
	dir := writeFiles(t, t.TempDir(), map[string]string{
		"bundle.yaml":        "name: app-" + content + "\ndefault_interrupt: reboot\nmin_healthy_time: 1s\n" + manifest,
		"files/etc/app.conf": content + "\n",
	})
	out := must(t, server, "bundle", "create", dir)
	for word := range strings.FieldsSeq(out) {
		if digest := strings.TrimPrefix(word, "sha256:"); len(digest) == 64 {
			return digest
		}
	}
	t.Fatalf("bundle create printed no digest: %q", out)
	return ""
}
