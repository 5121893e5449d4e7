package main

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func calm() api.Status {
	g := web("2")
	g.Status = api.GroupStatus{Members: 12, Slots: 2, Held: 1, Free: 1}
	return api.Status{
		OK: true, Sentence: "Nothing needs you.", AsOf: noon, Groups: []api.Group{g},
		Figures: api.Figures{Nodes: 12, Slots: 2, Held: 1},
	}
}

func TestStatus_ExitsWith1WhenSomethingNeedsAPerson(t *testing.T) {
	newShell(&fake{status: []api.Status{calm()}}).run(t, "status").want(t, exitOK,
		"Nothing needs you.\n12 nodes, 1 of 2 slots held, 0 waiting\n",
		"GROUP   SLOTS   HELD   FREE   WAITING   MEMBERS   LIMITS   NOTE\nweb     2       1      1      0         12        -\n")

	bad := calm()
	bad.OK, bad.Sentence = false, "1 host holds past its time."
	bad.Attention = []api.Attention{{Kind: "overdue", Severity: "bad", Title: "web1 is overdue", Group: "web", Node: "web1", Since: noon.Add(-80 * time.Minute)}}
	newShell(&fake{status: []api.Status{bad}}).run(t, "status").want(t, exitPerson,
		"Needs a person:\nWHAT      WHERE      SINCE   DETAIL\noverdue   web/web1   1h20m   web1 is overdue\n")

	stale := calm()
	stale.Stale, stale.AsOf = true, noon.Add(-3*time.Minute)
	newShell(&fake{status: []api.Status{stale}}).run(t, "status").want(t, exitPerson, "No quorum: this is what was known 3m ago.")
}

func TestStatus_InJSONIsTheAPIsObjectAndHasTheSameExitCode(t *testing.T) {
	bad := calm()
	bad.OK = false
	r := newShell(&fake{status: []api.Status{bad}}).run(t, "status", "-o", "json")
	r.want(t, exitPerson)
	var got api.Status
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || got.Groups[0].Spec.Slots != "2" {
		t.Errorf("%v: %s", err, r.out)
	}
	newShell(&fake{status: []api.Status{calm()}}).run(t, "status", "-o", "yaml").want(t, exitOK, "ok: true\nsentence: Nothing needs you.\n", "  spec:\n    slots: 2\n")
}

func TestStatus_HasColoursOnlyOnATerminalAndTheSameWords(t *testing.T) {
	plainly := newShell(&fake{status: []api.Status{calm()}}).run(t, "status")
	if strings.Contains(plainly.out, "\x1b") {
		t.Error("colours without a terminal")
	}
	s := newShell(&fake{status: []api.Status{calm()}})
	s.colour = true
	coloured := s.run(t, "status")
	if !strings.Contains(coloured.out, "\x1b[32m") || withoutColour(coloured.out) != plainly.out {
		t.Errorf("coloured:\n%q\nplain:\n%q", coloured.out, plainly.out)
	}
}

func TestStatus_AHostsTextCannotActOnTheTerminal(t *testing.T) {
	s := calm()
	s.Sentence = "x\x1b[2Jy\nz"
	r := newShell(&fake{status: []api.Status{s}}).run(t, "status")
	if !strings.HasPrefix(r.out, "x\uFFFD[2Jy z\n") {
		t.Errorf("output: %q", r.out)
	}
}
