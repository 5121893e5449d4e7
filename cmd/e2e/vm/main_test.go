package vm

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// bin is the folder of the programs under test and of the guest's init.
var bin string

// lab keeps what machines are made of from one run to the next; .ci/test-vm
// puts the packages there.
var lab string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if lab = os.Getenv("LOCKKEEPER_LAB"); lab == "" {
		if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
			fmt.Fprintln(os.Stderr, "LOCKKEEPER_LAB is not set: these tests are run by make test-vm")
			return 1
		}
		return m.Run() // each test skips, and says so
	}
	dir, err := os.MkdirTemp("", "lockkeeper-vm")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	const module = "github.com/lockkeeper/lockkeeper/cmd/"
	for _, build := range []struct {
		flags    []string
		programs []string
	}{
		// With the race detector as elsewhere in the tests, which have compiled it.
		{[]string{"-race"}, []string{module + "lockkeeperd"}},
		// As it is shipped, for the guests have no library.
		{[]string{"-trimpath", "-ldflags", "-s -w"}, []string{module + "lockkeeper-agent", module + "e2e/vm/guest"}},
	} {
		cmd := exec.Command("go", append(append([]string{"build", "-o", dir + "/"}, build.flags...), build.programs...)...)
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		if build.flags[0] != "-race" {
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		}
		if err := cmd.Run(); err != nil {
			fmt.Fprintln(os.Stderr, "building the programs:", err)
			return 1
		}
	}
	return m.Run()
}

func program(name string) string { return filepath.Join(bin, name) }

// needLab skips the test where make test-vm did not start it, and fails it there
// when a tool is missing.
func needLab(t *testing.T, tools ...string) {
	t.Helper()
	if lab == "" {
		t.Skip("needs machines of its own: make test-vm installs what they are made of, and runs this")
	}
	for _, name := range tools {
		if _, err := exec.LookPath(name); err != nil {
			t.Fatalf("%s is missing", name)
		}
	}
}
