// Package monitortest runs a real Prometheus and a real Alertmanager for tests.
package monitortest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

// readyWithin is how long a server may take until it answers.
const readyWithin = 30 * time.Second

// Server is one that runs until the test ends.
type Server struct {
	URL string
	t   testing.TB
	cmd *exec.Cmd
}

// Prometheus starts one that scrapes metrics every 200 ms, as the job test.
func Prometheus(t testing.TB, metrics *Metrics) *Server {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf("global: {scrape_interval: 200ms, scrape_timeout: 200ms}\nscrape_configs:\n  - job_name: test\n    static_configs: [{targets: [%q]}]\n",
		metrics.listener.Addr().String())
	file := write(t, dir, "prometheus.yml", config)
	return start(t, "/-/ready", func(addr string) *exec.Cmd {
		return exec.Command(tool(t, "prometheus"), "--config.file="+file, "--storage.tsdb.path="+filepath.Join(dir, "tsdb"),
			"--web.listen-address="+addr, "--log.level=error")
	})
}

// Alertmanager starts one with a receiver that tells nobody. An alert with
// severity="critical" inhibits one with severity="warning" of the same host.
func Alertmanager(t testing.TB) *Server {
	t.Helper()
	dir := t.TempDir()
	file := write(t, dir, "alertmanager.yml", `
route: {receiver: nobody, group_wait: 100ms, group_interval: 1s}
receivers: [{name: nobody}]
inhibit_rules:
  - {source_matchers: [severity="critical"], target_matchers: [severity="warning"], equal: [host]}
`)
	return start(t, "/-/ready", func(addr string) *exec.Cmd {
		return exec.Command(tool(t, "prometheus-alertmanager"), "--config.file="+file, "--storage.path="+filepath.Join(dir, "data"),
			"--web.listen-address="+addr, "--cluster.listen-address=", "--log.level=error")
	})
}

// Metrics is what there is to scrape.
type Metrics struct {
	listener net.Listener
	text     atomic.Pointer[string]
}

// NewMetrics serves a text of metrics.
func NewMetrics(t testing.TB, text string) *Metrics {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &Metrics{listener: l}
	m.Set(text)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, *m.text.Load())
	})}
	go func() { _ = srv.Serve(l) }()
	t.Cleanup(func() { _ = srv.Close() })
	return m
}

// Set changes them.
func (m *Metrics) Set(text string) { m.text.Store(&text) }

// Alert fires an alert with these labels, until Resolve or for 10 minutes.
func (s *Server) Alert(labels map[string]string) { s.alert(labels, time.Now().Add(10*time.Minute)) }

// Resolve ends it.
func (s *Server) Resolve(labels map[string]string) { s.alert(labels, time.Now().Add(-time.Second)) }

func (s *Server) alert(labels map[string]string, ends time.Time) {
	s.t.Helper()
	s.Call(http.MethodPost, "/api/v2/alerts", []map[string]any{{
		"labels": labels, "startsAt": time.Now().Add(-time.Minute), "endsAt": ends,
	}}, nil)
}

// Call asks the server, with JSON both ways, and wants a 200.
func (s *Server) Call(method, path string, body, answer any) {
	s.t.Helper()
	var text []byte
	if body != nil {
		var err error
		if text, err = json.Marshal(body); err != nil {
			s.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		s.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, got, err)
	}
	if answer != nil {
		if err := json.Unmarshal(got, answer); err != nil {
			s.t.Fatalf("%s %s: %s: %v", method, path, got, err)
		}
	}
}

// Pause stops the process where it is; connections to it are accepted, and
// nothing answers.
func (s *Server) Pause() {
	s.t.Helper()
	s.signal(syscall.SIGSTOP)
	for deadline := time.Now().Add(readyWithin); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		// PID (NAME) STATE …
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.cmd.Process.Pid))
		if err != nil {
			s.t.Fatal(err)
		}
		if _, state, _ := strings.Cut(string(stat), ") "); strings.HasPrefix(state, "T") {
			return
		}
	}
	s.t.Fatal("it does not stop")
}

// Continue lets a paused one go on.
func (s *Server) Continue() { s.signal(syscall.SIGCONT) }

// Kill ends the process at once.
func (s *Server) Kill() { s.signal(syscall.SIGKILL) }

func (s *Server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// start tries other ports when one was taken meanwhile.
func start(t testing.TB, ready string, command func(addr string) *exec.Cmd) *Server {
	t.Helper()
	for try := 1; ; try++ {
		s := &Server{t: t}
		addr := freeAddr(t)
		s.URL = "http://" + addr
		s.cmd = command(addr)
		var out bytes.Buffer
		s.cmd.Stdout, s.cmd.Stderr = &out, &out
		s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		if err := s.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() { _ = s.cmd.Wait(); close(ended) }()
		t.Cleanup(func() { _ = s.cmd.Process.Kill(); <-ended })
		if s.waitReady(ready, ended) {
			return s
		}
		if try == 3 {
			<-ended
			t.Fatalf("%s is not ready: %s", s.cmd.Path, out.String())
		}
	}
}

func (s *Server) waitReady(path string, ended <-chan struct{}) bool {
	for deadline := time.Now().Add(readyWithin); time.Now().Before(deadline); {
		if resp, err := http.Get(s.URL + path); err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return true
			}
		}
		select {
		case <-ended:
			return false
		case <-time.After(50 * time.Millisecond):
		}
	}
	_ = s.cmd.Process.Kill()
	return false
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}

// tool is a program that must be there where all tests must run.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
			t.Fatalf("%s is needed: %v", name, err)
		}
		t.Skipf("%s is not installed", name)
	}
	return path
}

func write(t testing.TB, dir, name, text string) string {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
