package gate_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate"
)

// script is a program that gates may run, and a Checker that allows it.
func script(t *testing.T, text string) (*gate.Checker, func(args ...string) api.GateSpec) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "smoke")
	// A process that another test begins meanwhile would have the file open for
	// writing until it runs its own program: "text file busy".
	syscall.ForkLock.RLock()
	err := os.WriteFile(file, []byte("#!/bin/sh\n"+text+"\n"), 0o700)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	return gate.New(gate.Config{Commands: []string{file}}), func(args ...string) api.GateSpec {
		return api.GateSpec{Timeout: "60s", Command: &api.CommandGate{Command: append([]string{file}, args...)}}
	}
}

func TestCommand_ItsExitCodeDecidesAndItsLastLinesAreShown(t *testing.T) {
	t.Parallel()
	c, run := script(t, `echo first; echo; echo second; echo third >&2; printf 'fourth\033[31m'; exit $1`)
	a := wants(t, c, run("0"), true, "ended with 0 after")
	if !strings.HasSuffix(a.Detail, ": second | third | fourth [31m") || a.Value != "0" {
		t.Errorf("value %q, detail %q: want the last three lines", a.Value, a.Detail)
	}
	a = wants(t, c, run("7"), false, "ended with 7, want 0: second | third | fourth")
	if a.Value != "7" {
		t.Errorf("value %q, want 7", a.Value)
	}
	c, run = script(t, `kill -9 $$`)
	wants(t, c, run(), false, "was ended by a signal")
	c, run = script(t, `yes | head -c 10000000; echo end`)
	if a = wants(t, c, run(), true, "end"); len(a.Detail) > 600 {
		t.Errorf("%d bytes of detail", len(a.Detail))
	}
}

func TestCommand_OnlyThatVeryProgramIsRun(t *testing.T) {
	t.Parallel()
	c, run := script(t, "exit 0")
	wants(t, c, run(), true, "")
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(run().Command.Command[0], link); err != nil {
		t.Fatal(err)
	}
	for _, program := range []string{"/bin/true", link, "smoke", filepath.Dir(run().Command.Command[0]) + "/./smoke"} {
		g := api.GateSpec{Command: &api.CommandGate{Command: []string{program}}}
		wants(t, c, g, false, "not among the programs that this coordinator runs")
		wantField(t, c.Validate(t.Context(), g), "command.command[0]", "not among the programs")
	}
	off := gate.New(gate.Config{})
	wants(t, off, run(), false, "runs no commands for gates")
	wantField(t, off.Validate(t.Context(), run()), "command.command[0]", "gates.commands")
	missing := gate.New(gate.Config{Commands: []string{"/nowhere/smoke"}})
	wants(t, missing, api.GateSpec{Command: &api.CommandGate{Command: []string{"/nowhere/smoke"}}}, false, "could not be run")
}

func TestCommand_GetsNothingOfTheCoordinatorsEnvironment(t *testing.T) {
	t.Setenv("LOCKKEEPER_TOKEN", "lk_secret")
	c, run := script(t, `env | sort; pwd; cat`)
	a := wants(t, c, run(), true, "")
	if strings.Contains(a.Detail, "secret") {
		t.Errorf("detail %q", a.Detail)
	}
	c, run = script(t, `test -z "$LOCKKEEPER_TOKEN" && test "$(pwd)" = / && test -z "$(cat)"`)
	wants(t, c, run(), true, "")
}

// TestCommand_IsKilledWithWhatItBegan: at its timeout, and what it left running
// when it ended in time.
func TestCommand_IsKilledWithWhatItBegan(t *testing.T) {
	t.Parallel()
	pids := filepath.Join(t.TempDir(), "pids")
	c, run := script(t, fmt.Sprintf(`trap '' TERM INT; sleep 300 & echo $! >>%[1]s; echo $$ >>%[1]s; echo began; [ "$1" = leave ] || wait`, pids))
	running := func() []string {
		text, _ := os.ReadFile(pids) // there is none before the first
		return strings.Fields(string(text))
	}
	// How long it takes to begin something is the machine's affair.
	for timeout := 2 * time.Second; len(running()) < 2 && timeout < time.Minute; timeout *= 2 {
		g := run()
		g.Timeout = timeout.String()
		began := time.Now()
		wants(t, c, g, false, "did not end in time and was killed after ")
		if took := time.Since(began); took > 2*time.Minute {
			t.Errorf("it took %s", took)
		}
	}
	wants(t, c, run("leave"), true, "ended with 0")
	left := running()
	if len(left) < 4 {
		t.Fatalf("pids %q", left)
	}
	for _, word := range left {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Fatal(err)
		}
		deadline := time.Now().Add(time.Minute)
		for alive(pid) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d is still there", pid)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

// alive reports whether a process runs; one that ended and that nobody has waited
// for does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}
