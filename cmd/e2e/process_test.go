package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

// process is one program that the test runs. Its output goes to a file, shown
// when the test fails.
type process struct {
	t    *testing.T
	name string
	args []string
	log  *os.File

	mu   sync.Mutex
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd ended
}

func startProcess(t *testing.T, name, program string, args ...string) *process {
	t.Helper()
	log, err := os.Create(filepath.Join(t.TempDir(), name+".log"))
	if err != nil {
		t.Fatal(err)
	}
	p := &process{t: t, name: name, args: append([]string{program}, args...), log: log}
	t.Cleanup(func() {
		p.kill()
		text, _ := os.ReadFile(log.Name())
		if bytes.Contains(text, []byte("WARNING: DATA RACE")) {
			t.Errorf("%s has a data race", name)
		}
		if t.Failed() {
			keepLog(t, name, text)
			if len(text) > 8000 {
				text = append([]byte("…"), text[len(text)-8000:]...)
			}
			t.Logf("output of %s:\n%s", name, text)
		}
		log.Close()
	})
	p.start()
	return p
}

// keepLog puts the whole output of a process of a failed test where it is found
// afterwards.
func keepLog(t *testing.T, name string, text []byte) {
	dir := os.Getenv("LOCKKEEPER_TEST_OUTPUT")
	if dir == "" {
		return
	}
	dir = filepath.Join(dir, "logs", filepath.FromSlash(t.Name()))
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, name+".log"), text, 0o644)); err != nil {
		t.Log(err)
	}
}

func (p *process) start() {
	p.mu.Lock()
	defer p.mu.Unlock()
	cmd := exec.Command(p.args[0], p.args[1:]...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		p.t.Fatalf("starting %s: %v", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() {
		_ = cmd.Wait()
		close(done)
	}()
}

// ended is closed when the process of now has ended.
func (p *process) ended() <-chan struct{} {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.done
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Pid
}

// send sends a signal and waits for nothing. A process that has ended gets none,
// and nobody else that has its number by now.
func (p *process) send(s syscall.Signal) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.Process.Signal(s)
}

// kill is kill -9, and waits for the end.
func (p *process) kill() { p.signal(syscall.SIGKILL) }

// terminate is what a supervisor sends; it returns the exit code.
func (p *process) terminate() int {
	p.signal(syscall.SIGTERM)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cmd.ProcessState.ExitCode()
}

func (p *process) signal(s syscall.Signal) {
	p.mu.Lock()
	cmd, done := p.cmd, p.done
	p.mu.Unlock()
	_ = cmd.Process.Signal(s)
	<-done
}

// patience is how long a test waits for what has to come, in case it never does.
// How fast it comes is not judged by it: on a busy machine all takes its time.
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

// settled asks until the coordinators answer and have a quorum. On a busy machine
// they may be late, or take their leader for gone for a moment, and refuse.
func settled(t *testing.T, ask func() error) {
	t.Helper()
	var err error
	eventually(t, "the coordinators have a quorum", func() bool {
		err = ask()
		return !isKind(err, api.NoQuorum) && !errors.Is(err, client.ErrUnreachable)
	})
	must0(t, err)
}

// freePort is a port of loopback that nobody listens on, and that no other test is
// given.
func freePort(t *testing.T) string {
	t.Helper()
	addr, err := freeport.Address()
	must0(t, err)
	return addr
}

// coordinatorProcess is a lockkeeperd that answers.
type coordinatorProcess struct {
	*process
	url string
}

func startCoordinator(t *testing.T, args ...string) *coordinatorProcess {
	t.Helper()
	addr := freePort(t)
	args = append([]string{"serve", "--data-dir", filepath.Join(t.TempDir(), "data"), "--listen", addr}, args...)
	c := &coordinatorProcess{startProcess(t, "lockkeeperd", program("lockkeeperd"), args...), "http://" + addr}
	c.waitReady()
	return c
}

// waitReady waits until it serves. One that gave up joining, since members did not
// answer in time on a busy machine, is given the same command again.
func (c *coordinatorProcess) waitReady() {
	c.t.Helper()
	eventually(c.t, "the coordinator is ready", func() bool {
		if !c.running() {
			said := c.output(c.t)
			late := strings.Contains(said, "no answer within") || strings.Contains(said, " can be reached and ")
			if !late || !strings.Contains(said, "lockkeeperd: joining the cluster: ") {
				c.t.Fatalf("%s ended with %d", c.name, c.exited())
			}
			c.start()
		}
		status, _ := get(c.url + "/readyz")
		return status == http.StatusOK
	})
}

func get(url string) (int, string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return 0, err.Error()
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(body)
}

// getJSON reads an answer of the API.
func getJSON(t *testing.T, url string, into any) {
	t.Helper()
	status, body := get(url)
	if status != http.StatusOK {
		t.Fatalf("GET %s: %d %s", url, status, body)
	}
	if err := json.Unmarshal([]byte(body), into); err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
}

// lockkeeper runs the CLI and returns what it printed and its exit code.
func lockkeeper(t *testing.T, server string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, program("lockkeeper"), append([]string{"--server", server}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatalf("lockkeeper %s: %v", strings.Join(args, " "), err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// replied is lockkeeper for a command that has to be answered. Where there is no
// quorum, or no answer in time, it is given again, as a person would: see settled.
func replied(t *testing.T, server string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	stdout, stderr, code, _ = insisted(t, unanswered, server, args...)
	return stdout, stderr, code
}

func unanswered(code int, errs string) bool {
	return code == 3 && (strings.Contains(errs, string(api.NoQuorum)) || strings.Contains(errs, "no answer within"))
}

// passes reports a refusal that is none on a machine with time to spare: members
// did not reach each other in time, or have not been in touch for long enough.
func passes(code int, errs string) bool {
	return unanswered(code, errs) ||
		code == 4 && (strings.Contains(errs, "can be reached") || strings.Contains(errs, "no answer within") || strings.Contains(errs, "; try again in "))
}

// insisted gives a command again for as long as its outcome asks for that, and says
// how often it was given.
func insisted(t *testing.T, again func(code int, errs string) bool, server string, args ...string) (stdout, stderr string, code, tries int) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; {
		stdout, stderr, code = lockkeeper(t, server, args...)
		if tries++; !again(code, stderr) || time.Now().After(deadline) {
			return stdout, stderr, code, tries
		}
	}
}

// must is lockkeeper for a command that has to succeed, and is given again where it
// was not answered or what refuses it passes. A member that is removed may have gone
// by a try of which there was no answer.
func must(t *testing.T, server string, args ...string) string {
	t.Helper()
	out, errs, code, tries := insisted(t, passes, server, args...)
	gone := code == 6 && tries > 1 && strings.HasPrefix(strings.Join(args, " "), "cluster remove ")
	if code != 0 && !gone {
		t.Fatalf("lockkeeper %s: exit %d\n%s%s", strings.Join(args, " "), code, out, errs)
	}
	return out
}

// writeFiles makes a folder of files: path → content.
func writeFiles(t *testing.T, dir string, files map[string]string) string {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(content, "#!") {
			mode = 0o755
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func must0(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
