package vm

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// process is a program that the test runs. Its output is appended to a file,
// whose end is shown when the test fails.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
}

// output is the file that the runs of one program write to, one after another.
func output(t *testing.T, name string) *os.File {
	t.Helper()
	log, err := os.OpenFile(filepath.Join(t.TempDir(), name+".log"), os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	must(t, err)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("output of %s:\n%s", name, tail(read(t, log.Name()), 6000))
		}
		log.Close()
	})
	return log
}

func tail(text string, n int) string {
	if len(text) <= n {
		return text
	}
	return "…" + text[len(text)-n:]
}

// start runs a program that is killed when the test ends in whatever way.
func start(log *os.File, args ...string) (*process, error) {
	return startBound(log, syscall.SIGKILL, args...)
}

// startBound is start with another signal at the test's end.
func startBound(log *os.File, end syscall.Signal, args ...string) (*process, error) {
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: end}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p := &process{cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // its exit code is in ProcessState
		close(p.done)
	}()
	return p, nil
}

// kill is kill -9, and waits for the end.
func (p *process) kill() {
	_ = p.cmd.Process.Kill() // it may have ended
	<-p.done
}

// patience is how long a test waits for what has to come, in case it never does:
// emulated machines on a busy one take their time.
const patience = 5 * time.Minute

// eventually polls until ok.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("after %s still not: %s", patience, what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	must(t, err)
	return string(text)
}

// tool runs a program that has to succeed, and returns what it printed.
func tool(t *testing.T, args ...string) string {
	t.Helper()
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	return string(out)
}

// writeFiles makes a folder of files: path → content. What begins with #! can
// be executed.
func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		mode := os.FileMode(0o644)
		if len(content) > 2 && content[:2] == "#!" {
			mode = 0o755
		}
		must(t, os.WriteFile(path, []byte(content), mode))
	}
}
