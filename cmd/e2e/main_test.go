package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// bin is the folder of the three programs, built once, with the race detector if
// these tests have it.
var bin string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if text := os.Getenv(herdVariable); text != "" {
		fmt.Fprintln(os.Stderr, runHerd(text))
		return 1
	}
	if text := os.Getenv(forwardVariable); text != "" {
		fmt.Fprintln(os.Stderr, runForward(text))
		return 1
	}
	dir, err := os.MkdirTemp("", "lockkeeper-e2e")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	bin = dir
	// With the race detector a program waits a second at its end for what its other
	// threads have to report. These tests run programs by the hundred.
	if os.Getenv("GORACE") == "" {
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	build := exec.Command("go", "build", race, "-o", dir+"/",
		"github.com/lockkeeper/lockkeeper/cmd/lockkeeperd",
		"github.com/lockkeeper/lockkeeper/cmd/lockkeeper-agent",
		"github.com/lockkeeper/lockkeeper/cmd/lockkeeper")
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "building the programs:", err)
		return 1
	}
	return m.Run()
}

func program(name string) string { return filepath.Join(bin, name) }

// needTool skips the test when a tool is missing, and names it; under
// `make test` nothing may skip, so there it fails.
func needTool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err == nil {
		return path
	}
	if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
		t.Fatalf("%s is missing", name)
	}
	t.Skipf("needs %s, which is missing (make test installs it)", name)
	return ""
}
