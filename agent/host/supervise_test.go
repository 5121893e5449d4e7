package host

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// runsACommand as the first argument makes this program an agent that runs one
// command, to be killed in the middle of it.
const runsACommand = "runs-a-command"

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == SuperviseArg {
		os.Exit(Supervise(os.Args[2:]))
	}
	if len(os.Args) > 2 && os.Args[1] == runsACommand {
		out, err := supervised().Run(context.Background(), Command{Line: os.Args[2], Timeout: time.Hour})
		fmt.Println(out, err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func supervised() *Linux { return NewLinux(LinuxConfig{Supervised: true}) }

// escapes is a line that leaves two processes behind which no group or session
// of its own finds: each writes its id into a file of dir.
func escapes(dir string) string {
	return fmt.Sprintf(`setsid sh -c 'echo $$ > %[1]s/session; exec sleep 600' >/dev/null 2>&1 &
		(setsid setsid env -i /bin/sh -c 'echo $$ > %[1]s/orphan; exec sleep 600' &) </dev/null >/dev/null 2>&1
		while ! [ -s %[1]s/session -a -s %[1]s/orphan ]; do sleep 0.01; done; echo escaped; `, dir)
}

// pid waits for the id in a file.
func pid(t *testing.T, file string) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		b, _ := os.ReadFile(file)
		if id, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			return id
		}
	}
	t.Fatalf("%s: no process has written its id", file)
	return 0
}

// gone waits for a process to end; one that nobody has reaped has ended too.
func gone(t *testing.T, what string, pid int) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(b), ") Z ") {
			return
		}
	}
	_ = syscall.Kill(pid, syscall.SIGKILL)
	t.Errorf("%s lives on", what)
}

func TestSupervise_WhatACommandLeavesBehindEndsWithIt(t *testing.T) {
	dir := t.TempDir()
	out, err := supervised().Run(t.Context(), Command{Line: escapes(dir) + "exit 3", Timeout: time.Minute})
	if out != "escaped" || err == nil || err.Error() != "exit status 3" {
		t.Errorf("%q, %v", out, err)
	}
	gone(t, "what has a session of its own", pid(t, filepath.Join(dir, "session")))
	gone(t, "what became an orphan without an environment", pid(t, filepath.Join(dir, "orphan")))
}

func TestSupervise_TheTimeoutEndsWhatHasEscaped(t *testing.T) {
	dir := t.TempDir()
	// How long it takes to escape is the machine's affair: the timeout is long
	// enough for it once the output says so.
	for timeout := time.Second; ; timeout *= 2 {
		start := time.Now()
		out, err := supervised().Run(t.Context(), Command{Line: "trap '' TERM; " + escapes(dir) + "sleep 600", Timeout: timeout})
		if err == nil || err.Error() != "did not end within "+timeout.String() {
			t.Fatalf("got %v", err)
		}
		if took := time.Since(start) - timeout; took > time.Minute {
			t.Errorf("took %s more than its timeout of %s", took, timeout)
		}
		if out == "escaped" || timeout > time.Minute {
			break
		}
	}
	gone(t, "what has a session of its own", pid(t, filepath.Join(dir, "session")))
	gone(t, "what became an orphan without an environment", pid(t, filepath.Join(dir, "orphan")))
}

// Nobody but the supervisor is left to end them then.
func TestSupervise_NothingOutlivesAnAgentThatIsKilled(t *testing.T) {
	dir := t.TempDir()
	agent := exec.Command("/proc/self/exe", runsACommand, escapes(dir)+fmt.Sprintf("echo $$ > %s/hook; sleep 600", dir))
	if err := agent.Start(); err != nil {
		t.Fatal(err)
	}
	hook, session, orphan := pid(t, filepath.Join(dir, "hook")), pid(t, filepath.Join(dir, "session")), pid(t, filepath.Join(dir, "orphan"))
	if err := agent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = agent.Wait() // it was killed
	gone(t, "the hook", hook)
	gone(t, "what has a session of its own", session)
	gone(t, "what became an orphan without an environment", orphan)
}

func TestSupervise_TellsHowTheCommandEnded(t *testing.T) {
	l := supervised()
	for line, want := range map[string]string{
		"exit 75": "exit status 75", "kill -9 $$": "exit status 137", "exec /nonexistent": "exit status 127", "true": "<nil>",
	} {
		if _, err := l.Run(t.Context(), Command{Line: line, Timeout: time.Minute}); fmt.Sprint(err) != want {
			t.Errorf("%s: %v, want %s", line, err, want)
		}
	}
	if _, err := l.run(t.Context(), time.Minute, nil, "/nonexistent/hook"); err == nil || !strings.Contains(err.Error(), "/nonexistent/hook: no such file") {
		t.Errorf("got %v", err)
	}
}

func TestSupervise_AGigabyteOfOutputIsReadAndItsEndKept(t *testing.T) {
	out, err := supervised().Run(t.Context(), Command{Line: "head -c 1G /dev/zero | tr '\\0' x; echo the end; exit 1", Timeout: 10 * time.Minute})
	if err == nil || len(out) > maxOutput || !strings.HasSuffix(out, "xthe end") {
		t.Errorf("%d bytes, %v", len(out), err)
	}
}
