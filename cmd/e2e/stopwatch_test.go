package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// stopwatch judges how long processes take for something. What they are promised
// to take they are promised on a machine that lets them work: the time in which
// their threads, and those of the test, stood in line for a processor is added to
// what is allowed. On a machine with time to spare that is next to nothing.
type stopwatch struct {
	began  time.Time
	pids   []int
	queued time.Duration
}

func startStopwatch(processes ...*process) stopwatch {
	w := stopwatch{pids: []int{os.Getpid()}}
	for _, p := range processes {
		w.pids = append(w.pids, p.pid())
	}
	w.queued = queued(w.pids)
	w.began = time.Now()
	return w
}

// stopwatch starts one for the members that run, but some.
func (c *cluster) stopwatch(but ...*memberProcess) stopwatch {
	var list []*process
	for _, m := range c.live() {
		if !slices.Contains(but, m) {
			list = append(list, m.process)
		}
	}
	return startStopwatch(list...)
}

// stretch is a limit with what the machine took of it since the start.
func (w stopwatch) stretch(limit time.Duration) time.Duration {
	return limit + max(0, queued(w.pids)-w.queued)
}

// within fails the test when something took longer than it may.
func (w stopwatch) within(t *testing.T, took, limit time.Duration, what string) {
	t.Helper()
	if most := w.stretch(limit); took > most {
		t.Errorf("%s after %s, want within %s, and %s on this busy machine", what, took.Round(time.Millisecond), limit, most.Round(time.Millisecond))
	}
}

// endsWithin is terminate of a process that has so much time to end well.
func (p *process) endsWithin(limit time.Duration) {
	p.t.Helper()
	w := startStopwatch(p)
	must0(p.t, p.send(syscall.SIGTERM))
	most := limit
	for p.running() { // what it waited is known as long as it is there
		most = max(most, w.stretch(limit))
		time.Sleep(10 * time.Millisecond)
	}
	if took := time.Since(w.began); took > most {
		p.t.Errorf("%s ended after %s, want within %s, and %s on this busy machine", p.name, took.Round(time.Millisecond), limit, most.Round(time.Millisecond))
	}
	if code := p.exited(); code != 0 {
		p.t.Errorf("%s ended with %d, want 0", p.name, code)
	}
}

// queued is how long the threads of processes have waited for a processor in all.
// Where the kernel does not count it, it is zero.
func queued(pids []int) (all time.Duration) {
	for _, pid := range pids {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		for _, file := range threads {
			text, _ := os.ReadFile(file) // it may have ended
			var ran, waited time.Duration
			if n, _ := fmt.Sscan(string(text), &ran, &waited); n == 2 {
				all += waited
			}
		}
	}
	return all
}
