package e2e

import (
	"fmt"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// promQL is the one value of a query, "none" without a series.
func promQL(t *testing.T, server, query string) string {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}
	getJSON(t, server+"/api/v1/query?query="+url.QueryEscape(query), &answer)
	switch len(answer.Data.Result) {
	case 0:
		return "none"
	case 1:
		return fmt.Sprint(answer.Data.Result[0].Value[1])
	}
	t.Fatalf("%s: %d series, want one", query, len(answer.Data.Result))
	return ""
}

// startPrometheus lets one scrape a coordinator every other second, as the job
// lockkeeper, with what else is to be in its configuration. It returns its URL.
func startPrometheus(t *testing.T, coordinator, more string) string {
	t.Helper()
	return runPrometheus(t, fmt.Sprintf(`
global: {scrape_interval: 2s, scrape_timeout: 2s, evaluation_interval: 1s}
%s
scrape_configs:
  - job_name: lockkeeper
    static_configs: [{targets: [%q]}]
`, more, strings.TrimPrefix(coordinator, "http://")))
}

// runPrometheus starts one with a configuration, and returns its URL.
func runPrometheus(t *testing.T, config string) string {
	t.Helper()
	dir := writeFiles(t, t.TempDir(), map[string]string{"prometheus.yml": config})
	addr := freePort(t)
	startProcess(t, "prometheus", needTool(t, "prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yml"),
		"--storage.tsdb.path="+filepath.Join(dir, "tsdb"), "--web.listen-address="+addr)
	eventually(t, "Prometheus is ready", func() bool {
		status, _ := get("http://" + addr + "/-/ready")
		return status == http.StatusOK
	})
	return "http://" + addr
}

func TestMetrics_PrometheusSeesTheSlotsAndTheHolds(t *testing.T) {
	t.Parallel()
	promtool := needTool(t, "promtool")
	c := startCoordinator(t)
	must(t, c.url, "group", "set", "default", "--slots", "3")
	server := startPrometheus(t, c.url, "")

	shows := func(query, want string) {
		t.Helper()
		eventually(t, query+" is "+want, func() bool { return promQL(t, server, query) == want })
	}
	held := `lockkeeper_holds{group="default",state="confirmed"}`
	shows(`up{job="lockkeeper"}`, "1")
	shows(`lockkeeper_slots{group="default"}`, "3")
	shows(held, "0")
	status, text := lock(t, c.url, "a")
	wantStatus(t, "a slot for a", status, text, http.StatusOK)
	status, text = lock(t, c.url, "b")
	wantStatus(t, "a slot for b", status, text, http.StatusOK)
	shows(held, "2")
	shows(`sum by (group) (lockkeeper_holds)`, "2")
	shows(`lockkeeper_slots{group="default"}`, "3")
	shows(`lockkeeper_members{group="default"}`, "2")
	status, text = unlock(t, c.url, "a")
	wantStatus(t, "returning the slot of a", status, text, http.StatusOK)
	shows(held, "1")
	shows(`max_over_time(`+held+`[1h])`, "2")

	_, text = get(c.url + "/metrics")
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = strings.NewReader(text)
	// It complains of etcd's and Go's names too, which are not ours to choose.
	out, err := check.CombinedOutput()
	if len(out) == 0 && err != nil {
		t.Fatalf("promtool: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, "lockkeeper_") || strings.Contains(line, "parsing") {
			t.Errorf("promtool: %s", line)
		}
	}
}
