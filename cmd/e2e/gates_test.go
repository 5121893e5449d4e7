package e2e

import (
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/monitortest"
)

// TestGates_ARolloutGoesOnOnlyAsFarAsPrometheusAlertmanagerAndAPersonLetIt takes
// three waves past a value that is too high at first, an alert that fires until
// somebody silences it, and a person's word. Meanwhile the alerts of a host are
// silenced as long as it is out.
func TestGates_ARolloutGoesOnOnlyAsFarAsPrometheusAlertmanagerAndAPersonLetIt(t *testing.T) {
	t.Parallel()
	metrics := monitortest.NewMetrics(t, "errors 7\n")
	prometheus, alertmanager := monitortest.Prometheus(t, metrics), monitortest.Alertmanager(t)
	c := startCoordinator(t, "--gates-prometheus-url", prometheus.URL, "--gates-alertmanager-url", alertmanager.URL,
		"--gates-alertmanager-settle", "1ms", "--silences-alertmanager-url", alertmanager.URL, "--silences-matcher", `instance="{node}"`, "--silences-linger", "1s")
	must(t, c.url, "group", "set", "default", "--slots", "2")
	startFleet(t, newWitness(t), c.url, 3)
	bundle := pushBundle(t, c.url, "new", "")
	file := filepath.Join(writeFiles(t, t.TempDir(), map[string]string{"rollout.yaml": fmt.Sprintf(`
bundle: %s
group: default
waves:
  - name: canary
    count: 1
    gates:
      - {name: errors, every: 1s, promql: {query: sum(errors), compare: "<", value: 5}}
  - name: more
    count: 2
    gates:
      - {name: alerts, every: 1s, alertmanager: {matchers: ['severity="critical"']}}
  - name: rest
    gates:
      - {name: word, approval: {count: 1}}
`, bundle)}), "rollout.yaml")

	_, errs, code := lockkeeper(t, c.url, "rollout", "start", "--bundle", bundle, "--group", "default", "-f",
		filepath.Join(writeFiles(t, t.TempDir(), map[string]string{"broken.yaml": `waves: [{count: 1}, {gates: [{promql: {query: "sum(errors", compare: "<", value: 5}}]}]`}), "broken.yaml"))
	if code != 2 || !strings.Contains(errs, "waves[1].gates[0].promql.query") || !strings.Contains(errs, "1:11: parse error") {
		t.Errorf("exit %d, %s: want the field, and the place in the query", code, errs)
	}

	firing := map[string]string{"alertname": "HighErrors", "severity": "critical", "instance": "lb-1"}
	alertmanager.Alert(firing)
	out := must(t, c.url, "rollout", "start", "-f", file, "-o", "json")
	_, rest, _ := strings.Cut(out, `"id": "`)
	id, _, _ := strings.Cut(rest, `"`)

	stands := func(what, gate, detail string, updated int) {
		t.Helper()
		eventually(t, what, func() bool {
			r := rolloutOf(t, c.url, id)
			if !r.State.Active() || r.State == api.RolloutHalted {
				t.Fatalf("the rollout is %s: %s", r.State, r.Why)
			}
			if r.Progress.Updated > updated {
				t.Fatalf("%d hosts are updated, %d may be: %s %+v", r.Progress.Updated, updated, r.Why, r.Gates)
			}
			for _, g := range r.Gates {
				if g.Name == gate && !g.Passes && strings.Contains(g.Detail, detail) {
					return r.Progress.Updated == updated
				}
			}
			return false
		})
	}
	stands("the canary is updated and the errors are too many", "errors", "it is 7, want < 5", 1)
	metrics.Set("errors 1\n")
	stands("two are updated and an alert fires", "alerts", `fires: HighErrors{instance="lb-1"`, 2)
	eventually(t, "a host was silenced when it went out of service", func() bool { return len(silences(alertmanager)) > 0 })
	alertmanager.Call(http.MethodPost, "/api/v2/silences", map[string]any{
		"matchers": []map[string]any{{"name": "alertname", "value": "HighErrors", "isRegex": false, "isEqual": true}},
		"startsAt": time.Now(), "endsAt": time.Now().Add(time.Hour), "createdBy": "a person", "comment": "known",
	}, nil)
	stands("all are updated and a person is asked", "word", "", 3)
	eventually(t, "only a person's word is missing", func() bool { return rolloutOf(t, c.url, id).State == api.RolloutApproval })
	must(t, c.url, "rollout", "approve", id, "--reason", "looks good")
	eventually(t, "it has succeeded", func() bool { return rolloutOf(t, c.url, id).State == api.RolloutSucceeded })
	eventually(t, "no host is silenced any more", func() bool { return !slices.Contains(silences(alertmanager), "active") })
}

// silences are the states of those of the hosts that there were: "active", or
// "expired".
func silences(alertmanager *monitortest.Server) (states []string) {
	var list []struct {
		CreatedBy string `json:"createdBy"`
		Status    struct {
			State string `json:"state"`
		} `json:"status"`
	}
	alertmanager.Call(http.MethodGet, "/api/v2/silences", nil, &list)
	for _, s := range list {
		if strings.HasPrefix(s.CreatedBy, "lockkeeper/") {
			states = append(states, s.Status.State)
		}
	}
	return states
}
