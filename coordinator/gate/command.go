package gate

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
)

const (
	// maxOutput is how much of a command's output is kept, its end, in bytes.
	maxOutput = 8 << 10
	// linesShown is how many of its last lines an answer has.
	linesShown = 3
	// pipeDelay is how long to wait for what a command left behind to close its
	// output.
	pipeDelay = time.Second
)

// environment of a command: nothing of the coordinator's own.
var environment = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "HOME=/"}

// command runs a program. It and all that it began in its process group are
// killed when the time is over, or when the coordinator ends.
func (c *Checker) command(ctx context.Context, g *api.CommandGate) condition.Answer {
	if len(g.Command) == 0 {
		return missed("there is no command")
	}
	program := g.Command[0]
	if !slices.Contains(c.cfg.Commands, program) {
		return missed("%s", c.notAllowed(program))
	}
	var out tail
	cmd := exec.CommandContext(ctx, program, g.Command[1:]...)
	cmd.Env, cmd.Dir = environment, "/"
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = pipeDelay
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	began := time.Now()
	err := run(cmd)
	took := time.Since(began)
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ended("", fmt.Sprintf("%s did not end in time and was killed after %s", program, took.Round(100*time.Millisecond)), &out)
	case errors.As(err, &exit) && exit.Exited():
		return ended(fmt.Sprint(exit.ExitCode()), fmt.Sprintf("%s ended with %d, want 0", program, exit.ExitCode()), &out)
	case errors.As(err, &exit):
		return ended("", fmt.Sprintf("%s was ended by a signal: %s", program, exit.ProcessState), &out)
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return missed("%s could not be run: %v", program, err)
	}
	a := ended("0", fmt.Sprintf("%s ended with 0 after %s", program, took.Round(time.Millisecond)), &out)
	a.Passes = true
	return a
}

// run keeps to one thread, by whose end the kernel would kill the command. When
// the command has ended, what it left in its group is killed, before the group's
// number can be anybody else's.
func run(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		if err := cmd.Start(); err != nil {
			done <- err
			return
		}
		for unix.Waitid(unix.P_PID, cmd.Process.Pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
			continue
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		done <- cmd.Wait()
	}()
	return <-done
}

func ended(value, how string, out *tail) condition.Answer {
	if last := out.lines(); last != "" {
		how += ": " + last
	}
	return condition.Answer{Value: value, Detail: how}
}

func (c *Checker) notAllowed(program string) string {
	if len(c.cfg.Commands) == 0 {
		return fmt.Sprintf("%q: this coordinator runs no commands for gates: its configuration would have to list the program in gates.commands", program)
	}
	return fmt.Sprintf("%q is not among the programs that this coordinator runs: want one of gates.commands in its configuration (%s)", program, strings.Join(c.cfg.Commands, ", "))
}

// tail keeps the end of what is written.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p...)
	if over := len(t.text) - maxOutput; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

// lines are the last ones that are not empty.
func (t *tail) lines() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	var last []string
	for _, line := range slices.Backward(strings.Split(string(t.text), "\n")) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		if last = append(last, line); len(last) == linesShown {
			break
		}
	}
	slices.Reverse(last)
	return strings.Join(last, " | ")
}
