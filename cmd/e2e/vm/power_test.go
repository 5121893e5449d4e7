package vm

import (
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// parts is how many files the bundle of powerLost has.
const parts = 400

func part(i int) string { return fmt.Sprintf("/etc/parts/%04d", i) }

// powerLost cuts the power while the agent writes files. Each is rendered, so
// that the content of a part is on the disk only once that part is written.
func powerLost(t *testing.T, f *fleet) {
	m := f.machines[0]
	files := map[string]string{}
	manifest := "name: parts\nmin_healthy_time: 1s\nfiles:\n"
	for i := range parts {
		files["files"+part(i)] = fmt.Sprintf("{{node}} has part %04d\n", i)
		manifest += fmt.Sprintf("  %s: {render: true, interrupt: reboot}\n", part(i))
	}
	content := func(i int) string { return fmt.Sprintf("%s has part %04d\n", m.node, i) }
	began := time.Now()
	r := f.roll(t, api.RolloutSpec{Nodes: []string{m.node}}, manifest, files)
	eventually(t, "some parts are on the disk", func() bool { return holds(t, m.disk, content(parts/4)) })
	m.powerOff()
	if holds(t, m.disk, content(parts-1)) {
		t.Fatal("the power was cut after the last part was written: the test shows nothing")
	}
	cut := openDisk(t, m.disk)
	if journal, _ := cut.file(t, "/var/lib/lockkeeper-agent/journal.json"); !strings.Contains(journal, `"phase":"applying"`) {
		t.Errorf("the journal on the disk: %s; want phase applying", journal)
	}
	if _, there := cut.file(t, part(0)); there {
		t.Error("the first part is in place before the last was written")
	}
	if got := f.holders(t); len(got) != 1 || got[0] != m.node {
		t.Errorf("holders %v, want %s", got, m.node)
	}
	m.powerOn()
	f.waitState(t, r.ID, api.RolloutSucceeded)
	f.waitReleased(t)
	if boots := f.boots(m.node, began); boots != 3 {
		t.Errorf("%d boots, want 3: before, after the power was back, and after the bundle's reboot", boots)
	}
	m.powerOff() // and nothing of it is in memory only
	whole := openDisk(t, m.disk).folder(t, "/etc/parts")
	for i := range parts {
		if got := whole[path.Base(part(i))]; got != content(i) {
			t.Fatalf("%s is %q", part(i), got)
		}
	}
	if len(whole) != parts {
		t.Errorf("%d files, want %d: something was left behind", len(whole), parts)
	}
	f.startAgain(t, m)
}

// startAgain powers a machine on and waits until it answers.
func (f *fleet) startAgain(t *testing.T, m *machine) {
	t.Helper()
	began := time.Now()
	m.powerOn()
	eventually(t, m.node+" is up", func() bool { return f.answered(m.node, began) })
}

// powerLostAgain cuts the power in the bundle's command, in each attempt.
func powerLostAgain(t *testing.T, f *fleet) {
	m := f.machines[0]
	began := time.Now()
	r := f.roll(t, api.RolloutSpec{Nodes: []string{m.node}},
		"name: app-heavy\nmin_healthy_time: 1s\ncommand: {run: \"touch /etc/unsynced; echo the command runs > /dev/console; sleep 300\", timeout: 10m}\n",
		map[string]string{"files/etc/app.conf": "heavy\n"})
	for attempt := range 2 {
		m.waitFor(t, "the command runs", attempt)
		m.powerOff()
		cut := openDisk(t, m.disk)
		if got, _ := cut.file(t, "/etc/app.conf"); got != "heavy\n" {
			t.Errorf("attempt %d: /etc/app.conf is %q although the command had begun", attempt+1, got)
		}
		if _, there := cut.file(t, "/etc/unsynced"); there {
			t.Error("what nobody had synced is on the disk: the power was not cut")
		}
		m.powerOn()
	}
	r = f.waitState(t, r.ID, api.RolloutHalted)
	f.waitReleased(t)
	if boots := f.boots(m.node, began); boots != 4 {
		t.Errorf("%d boots, want 4: before, two with the new files, and one of its own on the way back, since nobody knows what those have read", boots)
	}
	fail := f.node(t, m.node).Report.Failure
	if fail == nil || fail.Bundle != r.Spec.Bundle || fail.Reason != "attempts" || !fail.Healthy {
		t.Errorf("%s reports %+v, want that its attempts are used up, and healthy", m.node, fail)
	}
	m.powerOff()
	if got, _ := openDisk(t, m.disk).file(t, "/etc/app.conf"); got != "new\n" {
		t.Errorf("/etc/app.conf is %q, want what it was before", got)
	}
	f.startAgain(t, m)
	_, err := f.RolloutAction(t.Context(), r.ID, "abort", api.RolloutActionRequest{Reason: "seen"})
	must(t, err)
}
