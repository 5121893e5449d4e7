package host

import (
	"bytes"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// SuperviseArg as the first argument makes a program call Supervise with what
// follows. The program that runs a Linux host with Supervised set must do so.
const SuperviseArg = "supervise-command"

// sweepFor bounds how long what a command left behind is being ended.
const sweepFor = 5 * time.Second

// Supervise runs one command and returns its exit status, once nothing that it
// started is left: not what moved to another session or process group, and not
// what became an orphan. It ends all of that at once when it gets SIGTERM,
// which it also gets when its parent dies, however that dies.
//
// It is a process of its own because only the parent of orphans can find them
// all, and only a process that outlives the agent can end them after it.
func Supervise(argv []string) int {
	if len(argv) == 0 {
		fmt.Fprintln(os.Stderr, SuperviseArg+": want a command")
		return 2
	}
	runtime.LockOSThread() // the command dies with this thread
	var c child
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	go func() {
		<-stop
		c.stop()
	}()
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "cannot look after the command's children:", err)
		return 126
	}
	ordinary()
	if err := c.start(argv); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", argv[0], err)
		return 127
	}
	status := c.wait()
	sweep()
	return status
}

// ordinary gives back the protection from the kernel's memory killer that the
// agent has and its commands must not. It fails where there is none to give back.
func ordinary() {
	const file = "/proc/self/oom_score_adj"
	if b, err := os.ReadFile(file); err == nil && strings.HasPrefix(string(b), "-") {
		_ = os.WriteFile(file, []byte("0"), 0)
	}
}

// child is the command, in a process group of its own.
type child struct {
	mu      sync.Mutex
	pid     int
	stopped bool
}

func (c *child) start(argv []string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stopped {
		return syscall.ECANCELED
	}
	pid, err := syscall.ForkExec(argv[0], argv, &syscall.ProcAttr{
		Env: os.Environ(), Files: []uintptr{0, 1, 2},
		Sys: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL},
	})
	c.pid = pid
	return err
}

// stop ends the command; wait returns then.
func (c *child) stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stopped = true
	if c.pid != 0 {
		_ = syscall.Kill(-c.pid, syscall.SIGKILL) // it may be gone
		_ = syscall.Kill(c.pid, syscall.SIGKILL)
	}
}

// wait returns the command's exit status, as a shell tells it, and reaps the
// orphans that end before it.
func (c *child) wait() int {
	for {
		var ws syscall.WaitStatus
		pid, err := syscall.Wait4(-1, &ws, 0, nil)
		switch {
		case err == syscall.EINTR:
			continue
		case err != nil:
			return 126
		case pid != c.pid:
			continue
		}
		c.mu.Lock()
		c.pid = 0 // it may be another's from now on
		c.mu.Unlock()
		if ws.Signaled() {
			return 128 + int(ws.Signal())
		}
		return ws.ExitStatus()
	}
}

// sweep ends what is left. Each child that ends may leave children of its own,
// which are this process's then.
func sweep() {
	for deadline := time.Now().Add(sweepFor); time.Now().Before(deadline); {
		pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil)
		switch {
		case err == syscall.EINTR, err == nil && pid > 0:
			continue
		case err != nil:
			return // no child is left
		}
		for _, pid := range children(os.Getpid()) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
		time.Sleep(time.Millisecond)
	}
}

// children are the processes whose parent is pid.
func children(pid int) []int {
	names, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var out []int
	for _, e := range names {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue // it has ended
		}
		// The name may hold anything; what follows its last parenthesis is
		// the state and the parent.
		f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
		if len(f) > 1 && f[1] == strconv.Itoa(pid) {
			out = append(out, id)
		}
	}
	return out
}
