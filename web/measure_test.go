package web_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/performance"
	"github.com/chromedp/chromedp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/internal/freeport"
)

// The measurements run when they are asked for, on a machine that does nothing
// else, and report figures; nothing is asserted of time.
//
//	LOCKKEEPER_MEASURE=1 go test ./web -run Measure -v -timeout 30m
func measures(t *testing.T) {
	t.Helper()
	if os.Getenv("LOCKKEEPER_MEASURE") == "" {
		t.Skip("a measurement: LOCKKEEPER_MEASURE=1 go test ./web -run Measure -v -timeout 30m")
	}
}

// TestMeasure_ListOfTenThousandNodes registers 10,000 nodes at a real coordinator
// and loads the list, filters it and pages through it in Chromium.
func TestMeasure_ListOfTenThousandNodes(t *testing.T) {
	measures(t)
	s := startCoordinator(t)
	began := time.Now()
	s.reportMany(10_000)
	t.Logf("10,000 nodes registered in %.1f s", time.Since(began).Seconds())

	for _, page := range []struct{ what, path string }{
		{"first load", "/nodes"}, {"again", "/nodes"}, {"by name", "/nodes?q=host-0999"}, {"by label", "/nodes?q=zone%3Db"}, {"by state", "/nodes?state=idle"},
		{"a tile", "/nodes?group=default&sort=id&after=host-05049"}, {"overview", "/"}, {"group", "/groups/default"},
	} {
		p := openTab(t)
		p.look(1440, "light")
		if _, err := chromedp.Call(p.ctx, performance.Enable, performance.EnableParams{TimeDomain: performance.EnableTimeDomainThreadTicks}); err != nil {
			t.Fatal(err)
		}
		p.load(s.c.URL() + "/cluster") // so that no process has to be started
		p.until("the tab is warm", isLive)
		before := p.busy()
		p.load(s.c.URL() + page.path)
		p.until(page.path+" is painted", `performance.getEntriesByName('first-contentful-paint').length > 0`)
		painted := p.busy()
		if painted >= before { // else the page was given another process
			painted -= before
		}
		p.until(page.path+" is live", isLive)
		got, err := chromedp.Run(p.ctx, chromedp.Evaluate[[]float64](`(() => { const n = performance.getEntriesByType('navigation')[0], f = performance.getEntriesByName('first-contentful-paint')[0];
			return [n.responseEnd - n.requestStart, f.startTime, n.decodedBodySize, n.encodedBodySize]; })()`))
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("%-10s answer %4.0f ms, first paint %4.0f ms, for which the page worked %3.0f ms; %3.0f KB, %2.0f KB sent", page.what, got[0], got[1], painted, got[2]/1024, got[3]/1024)
		chromedp.Cancel(p.ctx)
	}
}

// busy is for how long the page's thread has had a processor, in milliseconds:
// what else the machine does is not in it.
func (p *tab) busy() float64 {
	p.Helper()
	got, err := chromedp.Call(p.ctx, performance.GetMetrics, cdp.Empty{})
	if err != nil {
		p.Fatal(err)
	}
	for _, m := range got.Metrics {
		if m.Name == "TaskDuration" {
			return m.Value * 1000
		}
	}
	p.Fatal("the browser does not tell how long the page worked")
	return 0
}

// nodeName is the name of a node of a measurement, counted from 0.
func nodeName(i int) string { return fmt.Sprintf("host-%05d", i) }

// reportMany makes so many nodes known.
func (s *site) reportMany(n int) {
	s.Helper()
	var wg sync.WaitGroup
	next := make(chan int)
	for range 64 {
		wg.Go(func() {
			for i := range next {
				id := nodeName(i)
				if _, err := s.api.Poll(s.Context(), id, api.PollRequest{Instance: "i-" + id, BootID: "b-" + id,
					Report: api.Report{Seq: 1, Group: "default", Phase: api.PhaseIdle, Healthy: true, Labels: map[string]string{"zone": string(rune('a' + i%3))}}}); err != nil {
					s.Error(err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// dashboards is how many the measurement keeps open.
const dashboards = 500

// TestMeasure_FiveHundredDashboards runs a fleet in a process of its own, with a
// rollout, and compares what that costs with nobody looking and with 500 streams.
func TestMeasure_FiveHundredDashboards(t *testing.T) {
	measures(t)
	program := filepath.Join(t.TempDir(), "lockkeeperd")
	if out, err := exec.Command("go", "build", "-o", program, "../cmd/lockkeeperd").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	for _, open := range []int{0, dashboards} {
		cpu, events, bytes, took := rolloutWatchedBy(t, program, open)
		t.Logf("%3d dashboards: %.2f s of CPU in %.1f s, %.3f of a core; %d events, %.1f MB sent", open, cpu.Seconds(), took.Seconds(), cpu.Seconds()/took.Seconds(), events, float64(bytes)/1e6)
	}
}

// rolloutWatchedBy is the CPU time of a dev fleet over one rollout that so many
// streams show.
func rolloutWatchedBy(t *testing.T, program string, open int) (cpu time.Duration, events, bytes int64, took time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	addr, err := freeport.Address()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, program, "dev", "--nodes", "100", "--slots", "5", "--groups", "web,db", "--listen", addr)
	cmd.Dir = t.TempDir()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { cancel(); _ = cmd.Wait() }()
	c, err := client.New(client.Config{Servers: []string{"http://" + addr}})
	if err != nil {
		t.Fatal(err)
	}
	var ro api.Rollout
	for ro.ID == "" {
		if ctx.Err() != nil {
			t.Fatal("no rollout begins")
		}
		time.Sleep(200 * time.Millisecond)
		if list, err := c.Rollouts(ctx); err == nil && len(list) > 0 {
			ro = list[0]
		}
	}
	topics := []string{"overview", "overview", "overview", "group/web", "group/db", "nodes", "rollout/" + ro.ID, "rollouts", "events", "cluster"}
	var got, read atomic.Int64
	var wg sync.WaitGroup
	hc := &http.Client{Transport: &http.Transport{MaxConnsPerHost: 0}}
	watching, stop := context.WithCancel(ctx)
	for i := range open {
		wg.Go(func() { follow(watching, hc, "http://"+addr+"/ui/stream?topic="+topics[i%len(topics)], &got, &read) })
	}
	before, began := cpuOf(t, cmd.Process.Pid), time.Now()
	for ro.State.Active() {
		if ctx.Err() != nil {
			t.Fatalf("the rollout does not end: %+v", ro.Progress)
		}
		time.Sleep(200 * time.Millisecond)
		if now, err := c.Rollout(ctx, ro.ID); err == nil {
			ro = now
		}
	}
	took, cpu = time.Since(began), cpuOf(t, cmd.Process.Pid)-before
	stop()
	wg.Wait()
	return cpu, got.Load(), read.Load(), took
}

// follow reads a stream until it is told to stop.
func follow(ctx context.Context, hc *http.Client, url string, events, bytes *atomic.Int64) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return
	}
	resp, err := hc.Do(req)
	if err != nil {
		return
	}
	defer resp.Body.Close()
	lines := bufio.NewReaderSize(resp.Body, 64<<10)
	for {
		line, err := lines.ReadSlice('\n')
		bytes.Add(int64(len(line)))
		if strings.HasPrefix(string(line), "event: ") {
			events.Add(1)
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// cpuOf is the CPU time that a process has used, user and system.
func cpuOf(t *testing.T, pid int) time.Duration {
	t.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(string(stat[strings.LastIndexByte(string(stat), ')')+1:]))
	var ticks int64
	for _, i := range []int{11, 12} { // utime, stime
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100
}
