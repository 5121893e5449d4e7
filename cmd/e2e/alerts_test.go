package e2e

import (
	"fmt"
	"path/filepath"
	"testing"
)

func TestMetrics_PrometheusLoadsTheAlertsAndSeesACoordinatorGo(t *testing.T) {
	t.Parallel()
	rules, err := filepath.Abs("../../deploy/prometheus/lockkeeper.rules.yml")
	must0(t, err)
	c := startCoordinator(t)
	server := startPrometheus(t, c.url, fmt.Sprintf("rule_files: [%q]", rules))

	type rule struct{ Name, State, Health, LastError string }
	alerts := func() map[string]rule {
		var answer struct {
			Data struct {
				Groups []struct{ Rules []rule }
			}
		}
		byName := map[string]rule{}
		getJSON(t, server+"/api/v1/rules?type=alert", &answer)
		for _, g := range answer.Data.Groups {
			for _, r := range g.Rules {
				byName[r.Name] = r
			}
		}
		return byName
	}
	eventually(t, "every alert was evaluated without a fault", func() bool {
		all := alerts()
		for _, r := range all {
			if r.Health != "ok" {
				if r.LastError != "" {
					t.Fatalf("%s: %s", r.Name, r.LastError)
				}
				return false
			}
		}
		return len(all) >= 5 && all["LockkeeperDown"].Health == "ok"
	})
	eventually(t, "a healthy coordinator raises nothing", func() bool {
		for _, r := range alerts() {
			if r.State != "inactive" {
				return false
			}
		}
		return true
	})
	c.kill()
	eventually(t, "LockkeeperDown is pending", func() bool { return alerts()["LockkeeperDown"].State == "pending" })
}
