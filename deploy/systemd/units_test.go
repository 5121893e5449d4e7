// Package systemd tests the units that are shipped.
package systemd

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// analyze runs systemd-analyze, which needs no running systemd for this.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
			t.Fatal("systemd-analyze is missing")
		}
		t.Skip("needs systemd-analyze, which is missing (make test installs it)")
	}
	out, err := exec.Command("systemd-analyze", args...).CombinedOutput()
	return string(out), err
}

// The exposure is in tenths, 100 being a root shell. The agent's is what is left
// when everything is open that the commands of bundles need.
func TestUnits_AreNoMoreExposedThanTheDocumentationSays(t *testing.T) {
	for unit, most := range map[string]string{"lockkeeper-agent.service": "75", "lockkeeperd.service": "20"} {
		if out, err := analyze(t, "security", "--offline=true", "--threshold="+most, unit); err != nil {
			t.Errorf("%s is exposed by more than %s: %v\n%s", unit, most, err, out)
		}
	}
}

// A list of devices shuts out all that are not on it, and the clock's protection
// brings one along: with it the agent could not write a boot loader.
func TestUnits_TheAgentReachesTheDevicesOfTheHost(t *testing.T) {
	b, err := os.ReadFile("lockkeeper-agent.service")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"DeviceAllow=block-* rwm\n", "DeviceAllow=char-* rwm\n"} {
		if !strings.Contains(string(b), want) {
			t.Errorf("no %s", want)
		}
	}
}

func TestUnits_HaveNoMistakes(t *testing.T) {
	for _, unit := range []string{"lockkeeper-agent.service", "lockkeeperd.service"} {
		b, err := os.ReadFile(unit)
		if err != nil {
			t.Fatal(err)
		}
		// The programs are not installed here; anything else that it says counts.
		dir := t.TempDir()
		text := strings.NewReplacer("=/usr/bin/lockkeeper-agent", "=/bin/true", "=/usr/bin/lockkeeperd", "=/bin/true").Replace(string(b))
		file := filepath.Join(dir, unit)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := analyze(t, "verify", "--man=no", file)
		if err != nil || strings.Contains(out, unit) {
			t.Errorf("%s: %v\n%s", unit, err, out)
		}
	}
}
