package main

import (
	"context"
	goflag "flag" // flag is a function here
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/docpage"
)

func example() agent.Stats {
	return agent.Stats{
		Group: "a\"b\\c\n", Phase: api.PhaseWaiting, PhaseSince: time.UnixMilli(1700000000250), Healthy: true, NeedsReboot: true,
		Polls: map[string]uint64{"answered": 3},
		Acts:  map[agent.ActResult]uint64{{Do: agent.DoReboot, Status: agent.Failed}: 1, {Do: agent.DoDrain, Status: agent.Done}: 2},
	}
}

var update = goflag.Bool("update", false, "write the page's table anew")

// The page's table is the program's, with its own words.
func TestMetrics_AreThoseOfThePage(t *testing.T) {
	table := docpage.Table(docpage.Families(string(metrics(example()))))
	if err := docpage.Check("../../docs/metrics.md", "agent metrics", table, *update); err != nil {
		t.Error(err)
	}
}

func TestMetrics_SayWhatTheAgentDoes(t *testing.T) {
	text := string(metrics(example()))
	for _, want := range []string{
		`lockkeeper_agent_info{version="devel",group="a\"b\\c\n"} 1`,
		`lockkeeper_agent_phase{phase="waiting"} 1`,
		`lockkeeper_agent_phase{phase="idle"} 0`,
		`lockkeeper_agent_phase_start_timestamp_seconds 1.70000000025e+09`,
		`lockkeeper_agent_reboot_needed 1`,
		`lockkeeper_agent_last_answer_timestamp_seconds 0`,
		`lockkeeper_agent_polls_total{result="answered"} 3`,
		`lockkeeper_agent_polls_total{result="failed"} 0`,
		`lockkeeper_agent_acts_total{act="drain",result="done"} 2`,
		`lockkeeper_agent_acts_total{act="reboot",result="failed"} 1`,
	} {
		if !strings.Contains(text, want+"\n") {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}

func TestMetrics_TheFileIsReplacedAsAWholeAtEachChange(t *testing.T) {
	dir := t.TempDir()
	file, changed := filepath.Join(dir, "agent.prom"), make(chan struct{})
	var rebooting atomic.Bool
	stats := func() agent.Stats {
		s := example()
		if rebooting.Load() {
			s.Phase = api.PhaseRebooting
		}
		return s
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		writeMetrics(ctx, file, changed, stats, func(err error) { t.Error(err) })
	}()
	changed <- struct{}{} // taken when the first file is there
	old, err := os.Open(file)
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	rebooting.Store(true)
	changed <- struct{}{}
	changed <- struct{}{} // taken when the third file is there
	cancel()
	<-ended
	before, after := make([]byte, 1<<16), []byte(nil)
	n, err := old.Read(before)
	if err != nil || !strings.Contains(string(before[:n]), `phase="waiting"} 1`) {
		t.Errorf("who had opened it reads %q, %v", before[:n], err)
	}
	if after, err = os.ReadFile(file); err != nil || !strings.Contains(string(after), `phase="rebooting"} 1`) {
		t.Errorf("%q, %v", after, err)
	}
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o644 {
		t.Errorf("%v, %v: node_exporter must be able to read it", info, err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 1 {
		t.Errorf("left behind: %v, %v", names, err)
	}
}

func TestMetrics_AFolderThatIsNotThereIsSaidOnce(t *testing.T) {
	said, changed := 0, make(chan struct{})
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		writeMetrics(ctx, filepath.Join(t.TempDir(), "nowhere", "agent.prom"), changed, example, func(error) { said++ })
	}()
	changed <- struct{}{}
	changed <- struct{}{}
	cancel()
	<-ended
	if said != 1 {
		t.Errorf("said %d times", said)
	}
}

func TestMetrics_TheListenerIsForThisHostOnly(t *testing.T) {
	for address, ok := range map[string]bool{
		"127.0.0.1:9817": true, "localhost:0": true, "[::1]:9817": true,
		"0.0.0.0:9817": false, ":9817": false, "10.0.0.1:9817": false, "lock.example.com:9817": false, "9817": false,
	} {
		if err := loopback(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
	h := localOnly(serveMetrics(example))
	for host, want := range map[string]int{"127.0.0.1:9817": 200, "localhost": 200, "[::1]:9817": 200, "evil.example.com": 421, "": 421} {
		r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
		r.Host = host
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != want || (want == 200) != strings.Contains(w.Body.String(), "lockkeeper_agent_info") {
			t.Errorf("asked as %q: %d %s", host, w.Code, w.Body)
		}
	}
}
