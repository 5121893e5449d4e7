package e2e

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Whatever a hook or a health check does: the host has the files of before, its
// slot is back if it is in service and kept if not, and who looks is told why.
func TestAgent_BadHooksAndHealthChecksLeaveTheOldFilesAndSayWhy(t *testing.T) {
	t.Parallel()
	const good = "min_healthy_time: 1s\n"
	// Every other call of the check passes.
	flaps := "min_healthy_time: 2s\nhealthy_deadline: 5s\nhealth:\n  - command: cd \"$LOCKKEEPER_ROOT\"; %sn=$(cat ../calls || echo 0); echo $((n + 1)) > ../calls; test $((n %% 2)) = 0\n"
	cases := []struct {
		group    string
		hooks    map[string]string // path below hooks.d → script
		manifest string
		want     string // in the failure
		kept     bool   // the slot
	}{
		{"hangs", map[string]string{"drain/10-lb": "sleep 600"}, good, "drain/10-lb: did not end within 2s", false},
		{"floods", map[string]string{"pre-apply/10-log": "head -c 1G /dev/zero | tr '\\0' x; echo that was all; exit 3"}, good, "that was all", false},
		{"forks", map[string]string{"pre-reboot": "setsid sleep 604 & echo $! > $LOCKKEEPER_ROOT/../forked; exit 1"}, good, "pre-reboot: exit status 1", false},
		{"missing", map[string]string{"post-reboot/10-warm": "/opt/no/such/program"}, good, "post-reboot/10-warm: exit status 127", true},
		{"not-yet", map[string]string{"drain": "echo two pods are left; exit 75"}, good, "not yet: two pods are left, for longer than 3s", false},
		{"flaps", nil, fmt.Sprintf(flaps, "grep -q old etc/app.conf && exit; "), "not healthy for 2s without a break before the deadline of 5s", false},
		{"flaps-on", nil, fmt.Sprintf(flaps, ""), "rolled back, and then: ", true},
	}
	c := startCoordinator(t)
	w := newWitness(t)
	machines := map[string]*machine{}
	for _, tc := range cases {
		must(t, c.url, "group", "set", tc.group, "--slots", "1")
		args := []string{"--group", tc.group, "--not-yet-for", "3s"}
		if tc.group == "hangs" {
			args = append(args, "--hook-timeout", "2s")
		}
		m := startMachine(t, w, "host-"+tc.group, c.url, args...)
		machines[tc.group] = m
		for path, script := range tc.hooks {
			if filepath.Dir(path) != "." {
				must0(t, os.RemoveAll(filepath.Join(m.dir, "hooks", filepath.Dir(path))))
			}
			writeFiles(t, m.dir, map[string]string{"hooks/" + path: "#!/bin/sh\n" + script + "\n"})
		}
	}
	for _, tc := range cases {
		reports(t, c.url, "host-"+tc.group)
		dir := writeFiles(t, t.TempDir(), map[string]string{
			"bundle.yaml": "name: app-new\ndefault_interrupt: reboot\n" + tc.manifest, "files/etc/app.conf": "new\n",
		})
		must(t, c.url, "rollout", "start", "--dir", dir, "--group", tc.group)
	}
	for _, tc := range cases {
		t.Run(tc.group, func(t *testing.T) {
			m := machines[tc.group]
			var n api.Node
			eventually(t, "the failure is reported", func() bool {
				n = api.Node{}
				getJSON(t, c.url+"/api/v1/nodes/"+m.node, &n)
				f := n.Report.Failure
				return f != nil && (f.Healthy && n.Report.Phase == api.PhaseIdle && n.Hold == nil || !f.Healthy && n.Report.Phase == api.PhaseFailed)
			})
			if f := n.Report.Failure; f.Healthy == tc.kept || !strings.Contains(f.Reason+": "+f.Detail, tc.want) || (n.Hold != nil) != tc.kept {
				t.Errorf("failure %+v, hold %+v", f, n.Hold)
			}
			if got := m.file(t, "etc/app.conf"); got != "old\n" {
				t.Errorf("the file is %q", got)
			}
			for where, text := range map[string]string{
				"lockkeeper node show": must(t, c.url, "node", "show", m.node), "the dashboard": page(t, c.url+"/nodes/"+m.node),
			} {
				if !strings.Contains(text, tc.want) {
					t.Errorf("%s does not say %q:\n%s", where, tc.want, text)
				}
			}
		})
	}
	forked, err := os.ReadFile(filepath.Join(machines["forks"].dir, "forked"))
	must0(t, err)
	// Another process may have its number by now.
	if line, err := os.ReadFile("/proc/" + strings.TrimSpace(string(forked)) + "/cmdline"); err == nil && string(line) == "sleep\x00604\x00" {
		t.Error("what a hook left behind lives on")
	}
}

// page is the text of a page of the dashboard.
func page(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	must0(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	must0(t, err)
	return html.UnescapeString(string(text))
}

func TestReboot_APersonOnTheHostWaitsForASlotAndMayLeave(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	w := newWitness(t)
	must(t, c.url, "group", "set", "default", "--slots", "0")
	m := startFleet(t, w, c.url, 1)[0]
	ask := func() *process {
		return startProcess(t, "reboot", program("lockkeeper-agent"), "reboot", "--state-dir", filepath.Join(m.dir, "state"), "--reason", "new firmware")
	}
	queued := func() int {
		var g api.Group
		getJSON(t, c.url+"/api/v1/groups/default", &g)
		return len(g.Queue)
	}
	first := ask()
	eventually(t, "the person is told the place", func() bool { return strings.Contains(first.output(t), "(place 1)") })
	second := ask()
	<-second.ended()
	if out := second.output(t); !strings.Contains(out, "a reboot has been asked for already: new firmware") {
		t.Errorf("a second person: %s", out)
	}
	first.signal(syscall.SIGINT)
	if out := first.output(t); first.cmd.ProcessState.ExitCode() != 1 || !strings.Contains(out, "left the queue: the host is not rebooted") {
		t.Errorf("exit code %d: %s", first.cmd.ProcessState.ExitCode(), out)
	}
	eventually(t, "the queue is empty", func() bool { return queued() == 0 })

	third := ask()
	eventually(t, "it waits again", func() bool { return queued() == 1 })
	m.crash()
	eventually(t, "it waits again after the agent was killed", func() bool {
		return queued() == 1 && strings.Contains(third.output(t), "the agent has gone away") && strings.HasSuffix(strings.TrimSpace(third.output(t)), "(place 1)")
	})
	must(t, c.url, "group", "set", "default", "--slots", "1")
	select {
	case <-third.ended():
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
	if out := third.output(t); third.cmd.ProcessState.ExitCode() != 0 || !strings.Contains(out, "The host reboots.") && !strings.Contains(out, "The host has rebooted.") {
		t.Errorf("exit code %d: %s", third.cmd.ProcessState.ExitCode(), out)
	}
	eventually(t, "the host is back in service", func() bool { return w.count(t, "up host-1") == 1 })
	if n := w.count(t, "reboot host-1"); n != 1 || w.count(t, "down host-1") != 1 {
		t.Errorf("%d reboots:\n%s", n, strings.Join(w.lines(t), "\n"))
	}
	if out := must(t, c.url, "events"); !strings.Contains(out, "new firmware") {
		t.Errorf("the audit trail does not say why:\n%s", out)
	}
}

// A host whose command says that it needs a reboot gets one, without any bundle,
// and is shown with the reason before.
func TestReboot_TheHostsOwnWishNeedsNoBundle(t *testing.T) {
	t.Parallel()
	c := startCoordinator(t)
	w := newWitness(t)
	must(t, c.url, "group", "set", "default", "--slots", "0")
	dir := t.TempDir()
	command := fmt.Sprintf("grep -qs reboot %s && exit 1; test -e %s/broken && exit 2; echo the kernel is an old one", w, dir)
	must0(t, os.WriteFile(filepath.Join(dir, "broken"), nil, 0o600))
	m := startFleet(t, w, c.url, 1, "--reboot-when-required", "--reboot-needed-command", command, "--reboot-needed-every", "1s",
		"--metrics-file", filepath.Join(dir, "agent.prom"))[0]
	shown := func(want string) func() bool {
		return func() bool { return strings.Contains(must(t, c.url, "node", "show", m.node), want) }
	}
	metric := func(want string) func() bool {
		return func() bool {
			text, _ := os.ReadFile(filepath.Join(dir, "agent.prom"))
			return strings.Contains(string(text), want+"\n")
		}
	}
	eventually(t, "no answer is shown as that", shown("is no answer whether a reboot is needed: exit status 2"))
	must0(t, os.Remove(filepath.Join(dir, "broken")))
	eventually(t, "the reason is shown", shown("the host asks for one: the kernel is an old one"))
	eventually(t, "the metrics say that it waits", metric(`lockkeeper_agent_phase{phase="waiting"} 1`))
	if n := w.count(t, "reboot host-1"); n != 0 {
		t.Errorf("%d reboots without a slot", n)
	}
	must(t, c.url, "group", "set", "default", "--slots", "1")
	eventually(t, "it reboots", func() bool { return w.count(t, "reboot host-1") == 1 })
	eventually(t, "it is back", func() bool { return w.count(t, "up host-1") == 1 })
	eventually(t, "the metrics say so", metric(`lockkeeper_agent_phase{phase="idle"} 1`))
}
