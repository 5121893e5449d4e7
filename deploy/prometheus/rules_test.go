// Package prometheus_test runs the checks of Prometheus itself over the files
// in this folder.
package prometheus_test

import (
	"os"
	"os/exec"
	"testing"
)

func TestPromtool_AcceptsTheFilesAndTheAlertsFireWhenTheyShould(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
			t.Fatal("promtool is missing")
		}
		t.Skip("needs promtool, which is missing (make test installs it)")
	}
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"},
		{"check", "rules", "lockkeeper.rules.yml"},
		{"test", "rules", "lockkeeper.rules.test.yml"},
	} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}
