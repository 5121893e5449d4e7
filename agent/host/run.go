package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// maxOutput is how much of a command's output is kept, in bytes: the end.
const maxOutput = 4 << 10

// path is what commands and hooks find programs in.
const path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// leave is how long a command that was told to end may take to.
const leave = sweepFor + 2*time.Second

// run runs a program below a supervisor, where the host has one: with the end
// of ctx, after the timeout, and when this process dies, everything ends that
// the program has started. What it left behind ends with it in any case.
func (l *Linux) run(ctx context.Context, timeout time.Duration, env []string, name string, args ...string) (string, error) {
	if !l.cfg.Supervised {
		return run(ctx, timeout, env, name, args...)
	}
	name, err := exec.LookPath(name)
	if err != nil {
		return "", err
	}
	// This very program, also where an update has replaced its file.
	r := runner{path: "/proc/self/exe", args: append([]string{"lockkeeper-agent", SuperviseArg, name}, args...), stop: syscall.SIGTERM, leave: leave}
	return r.run(ctx, timeout, env)
}

// run runs a program in a process group of its own, which is killed with the end
// of ctx and after the timeout. What the program leaves in the background stays.
func run(ctx context.Context, timeout time.Duration, env []string, name string, args ...string) (string, error) {
	r := runner{path: name, args: append([]string{name}, args...), stop: syscall.SIGKILL, leave: 2 * time.Second}
	return r.run(ctx, timeout, env)
}

// runner starts one process.
type runner struct {
	path string
	args []string
	// stop is sent to its group to end it, and to itself when this process dies.
	stop syscall.Signal
	// leave is how long it may take to end then, before it is killed; and how
	// long others may keep its output open when it has ended.
	leave time.Duration
}

func (r *runner) run(ctx context.Context, timeout time.Duration, env []string) (string, error) {
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	cmd := exec.CommandContext(limited, r.path)
	cmd.Args = r.args
	cmd.Env = append([]string{path, "LANG=C.UTF-8"}, env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: r.stop}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, r.stop) }
	cmd.WaitDelay = r.leave
	var out tail
	cmd.Stdout, cmd.Stderr = &out, &out
	// Pdeathsig is sent when the thread ends that has started the process.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	err := cmd.Run()
	text := strings.TrimSpace(strings.ToValidUTF8(out.String(), "\uFFFD"))
	switch {
	case err == nil, errors.Is(err, exec.ErrWaitDelay) && limited.Err() == nil:
		return text, nil
	case ctx.Err() != nil:
		return text, context.Cause(ctx)
	case limited.Err() != nil:
		return text, fmt.Errorf("did not end within %s", timeout)
	}
	return text, err
}

// tail keeps the last maxOutput bytes that are written to it.
type tail struct{ buf bytes.Buffer }

func (t *tail) Write(p []byte) (int, error) {
	n := len(p)
	if len(p) > maxOutput {
		p = p[len(p)-maxOutput:]
	}
	if over := t.buf.Len() + len(p) - maxOutput; over > 0 {
		t.buf.Next(over)
	}
	t.buf.Write(p)
	return n, nil
}

func (t *tail) String() string { return t.buf.String() }
