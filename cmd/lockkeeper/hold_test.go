package main

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// oneHold is a fleet in which web1 holds a slot.
func oneHold(revoked bool) *fake {
	heard := noon.Add(-40 * time.Minute)
	h := api.Hold{Group: "web", Node: "web1", State: "confirmed", Via: "agent", Fence: 42, Since: noon.Add(-50 * time.Minute), Overdue: true, Heard: &heard}
	if revoked {
		h.State, h.Revoked = "revoked", &api.Mark{By: "ann", At: noon.Add(-time.Minute)}
	}
	g := web("1")
	g.Holds = []api.Hold{h}
	return &fake{groups: map[string]api.Group{"web": g}}
}

func TestHoldList_ShowsAHoldPastItsDeadline(t *testing.T) {
	newShell(oneHold(false)).run(t, "hold", "list").want(t, exitOK,
		"GROUP   NODE   STATE                VIA     FENCE   HELD   HEARD   PHASE   REASON\n"+
			"web     web1   confirmed, overdue   agent   42      50m    40m     -\n")
}

func TestDueText_SaysWhenAHoldIsOverdueAndWhatStopsItsClock(t *testing.T) {
	for want, h := range map[string]api.Hold{
		"":                                       {},
		"overdue in 12m":                         {Deadline: noon.Add(12 * time.Minute)},
		"overdue in 1s":                          {Deadline: noon},
		"overdue since 12m":                      {Deadline: noon.Add(-12 * time.Minute), Overdue: true},
		"overdue 12m after the freeze is lifted": {Deadline: noon.Add(12 * time.Minute), DeadlineStill: api.DeadlineFrozen},
		"overdue 12m after a quorum is back":     {Deadline: noon.Add(12 * time.Minute), DeadlineStill: api.DeadlineNoQuorum},
	} {
		if got := dueText(&h, noon); got != want {
			t.Errorf("%+v: %q, want %q", h, got, want)
		}
	}
}

func TestHoldRevoke_IsBoundToTheFenceAndSaysWhatComesNext(t *testing.T) {
	f := oneHold(false)
	newShell(f).run(t, "hold", "revoke", "web1", "--reason", "stuck").want(t, exitOK,
		"the hold of web1 (fence 42) is revoked", "lockkeeper hold release --host-is-down --reason REASON web1, in 15 s")
	if len(f.revoked) != 1 || f.revoked[0] != (api.RevokeRequest{Fence: 42, Name: "web1", Reason: "stuck"}) {
		t.Errorf("asked: %+v", f.revoked)
	}
	newShell(f).run(t, "hold", "revoke", "web2", "--reason", "stuck").want(t, exitNotFound, `node "web2" holds no slot`)
}

func TestHoldRelease_OnATerminalWantsTheNameTyped(t *testing.T) {
	f := oneHold(true)
	s := newShell(f)
	s.inTTY, s.stdin = true, "y\n"
	s.run(t, "hold", "release", "web1", "--host-is-down", "--reason", "dead").want(t, exitUsage,
		"last heard 40m ago", "Type the node's name", `"y" is not the node's name: nothing was changed`)
	if len(f.released) != 0 {
		t.Fatal("released without the name")
	}
	s.stdin = "web1\n"
	s.run(t, "hold", "release", "web1", "--host-is-down", "--reason", "dead").want(t, exitOK, "the slot of web1 (fence 42) is free")
	if len(f.released) != 1 || f.released[0] != (api.ReleaseRequest{Fence: 42, Name: "web1", Reason: "dead", HostIsDown: true}) {
		t.Errorf("asked: %+v", f.released)
	}
}

func TestHoldRelease_WithoutATerminalWantsTheNameAsAFlag(t *testing.T) {
	f := oneHold(true)
	s := newShell(f)
	s.run(t, "hold", "release", "web1", "--host-is-down", "--reason", "dead").want(t, exitUsage, "--name web1")
	s.run(t, "hold", "release", "web1", "--host-is-down", "--name", "web1", "--reason", "dead").want(t, exitOK, "is free")
}

func TestHoldRelease_HasNoDefaultAndNoVariable(t *testing.T) {
	t.Setenv("LOCKKEEPER_HOST_IS_DOWN", "true")
	t.Setenv("LOCKKEEPER_NAME", "web1")
	f := oneHold(true)
	s := newShell(f)
	s.run(t, "hold", "release", "web1").want(t, exitUsage, "want --host-is-down")
	s.run(t, "hold", "release", "web1", "--yes").want(t, exitUsage, "unknown flag: --yes")
	if len(f.released) != 0 {
		t.Error("released without --host-is-down")
	}
}

func TestHoldRelease_NamesTheFirstStepWhenItWasLeftOut(t *testing.T) {
	f := oneHold(false)
	f.refuse = api.Errorf(api.Conflict, "the hold is not revoked")
	newShell(f).run(t, "hold", "release", "web1", "--host-is-down", "--name", "web1", "--reason", "dead").
		want(t, exitRefused, "first: lockkeeper hold revoke --reason REASON web1")
}

// A command that is shown is copied into a shell, which must run no part of an id.
func TestHold_CommandsThatAreShownHaveIDsAsAShellReadsThem(t *testing.T) {
	s := newShell(oneHold(false))
	s.run(t, "hold", "release", "--reason", "dead", "--", "-w; reboot").want(t, exitUsage, "`lockkeeper hold revoke --reason REASON -- '-w; reboot'`")
	s.run(t, "hold", "release", "--host-is-down", "--reason", "dead", "web 1").want(t, exitUsage, "once more, --name 'web 1'")
}

func TestHoldHelp_ExplainsBothSteps(t *testing.T) {
	for _, step := range []string{"revoke", "release"} {
		r := newShell(nil).run(t, "hold", step, "--help")
		if !strings.Contains(r.out, "1. lockkeeper hold revoke NODE") || !strings.Contains(r.out, "2. lockkeeper hold release NODE --host-is-down") {
			t.Errorf("hold %s --help does not explain the two steps:\n%s", step, r.out)
		}
	}
}
