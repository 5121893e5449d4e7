package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/agent"
)

func runAgent(t *testing.T, env []string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	cmd := exec.Command(program(t), args...)
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the exit code says it
	return cmd.ProcessState.ExitCode(), out.String(), errs.String()
}

var built string

// program is the agent as it is shipped: static and stripped.
func program(t *testing.T) string {
	t.Helper()
	if built == "" {
		t.Fatal("the agent was not built")
	}
	return built
}

func TestMain(m *testing.M) { os.Exit(withProgram(m)) }

func withProgram(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lockkeeper-agent")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	built = filepath.Join(dir, "lockkeeper-agent")
	cmd := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", built, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		panic(err.Error() + "\n" + string(out))
	}
	return m.Run()
}

func TestAgent_IsSmallAndLinksNothingForbidden(t *testing.T) {
	info, err := os.Stat(program(t))
	if err != nil {
		t.Fatal(err)
	}
	if most := int64(12 << 20); info.Size() > most {
		t.Errorf("%d bytes, at most %d", info.Size(), most)
	}
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	forbidden := []string{
		"go.etcd.io/", "go.opentelemetry.io/", "github.com/danielgtaylor/", "github.com/go-chi/", "github.com/prometheus/",
		"github.com/spf13/cobra/doc", "github.com/goccy/", "github.com/fsnotify/", "google.golang.org/", "html/template",
	}
	for pkg := range strings.Lines(string(out)) {
		for _, f := range forbidden {
			if strings.HasPrefix(pkg, f) {
				t.Errorf("links %s", strings.TrimSpace(pkg))
			}
		}
	}
	// cobra imports text/template and calls it only for templates that somebody
	// sets; what must not be in the program is the part that runs templates.
	text, err := os.ReadFile(program(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"text/template.(*Template).Execute", "text/template/parse.Parse"} {
		if bytes.Contains(text, []byte(f)) {
			t.Errorf("%s is linked", f)
		}
	}
}

func TestFlags_WhatIsWrongIsSaidWithWhatIsAccepted(t *testing.T) {
	state := t.TempDir()
	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
		want string
	}{
		"no server":        {nil, []string{"run"}, 2, "--server is missing: want http://HOST:PORT"},
		"unknown flag":     {nil, []string{"run", "--sever", "x"}, 2, "unknown flag: --sever"},
		"unknown command":  {nil, []string{"go"}, 2, `no command "go": want one of completion, reboot, run, status, trust, version`},
		"surplus argument": {nil, []string{"run", "x"}, 2, "x"},
		"bad server":       {nil, []string{"run", "--server", "nonsense", "--node", "n"}, 2, "want http://HOST:PORT, https://HOST:PORT or unix:/PATH"},
		"bad variable":     {[]string{"LOCKKEEPER_MAX_ATTEMPTS=many"}, []string{"run"}, 2, "LOCKKEEPER_MAX_ATTEMPTS"},
		"no attempts":      {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--max-attempts", "0"}, 2, "at least 1"},
		"relative root":    {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--root", "x"}, 2, "--root \"x\": want an absolute path"},
		"bad log level":    {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--log-level", "loud"}, 2, "want debug, info, warn or error"},
		"bad log level by variable": {[]string{"LOCKKEEPER_LOG_LEVEL=loud"}, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n"}, 2,
			"lockkeeper-agent: LOCKKEEPER_LOG_LEVEL \"loud\": want debug"},
		"bad reboot method":   {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--reboot-method", "hope"}, 2, "want auto, logind, systemctl or command"},
		"no reboot command":   {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--reboot-method", "command"}, 2, "want --reboot-command"},
		"unused command":      {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--reboot-method", "logind", "--reboot-command", "x"}, 2, "is not used"},
		"bad system health":   {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--system-health", "fine"}, 2, "want off, boot or units"},
		"no time for hooks":   {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--hook-timeout", "0"}, 2, "--hook-timeout 0s: want a time such as 30m, at least 1s"},
		"no state there":      {nil, []string{"status", "--state-dir", filepath.Join(state, "nowhere")}, 1, "there is no agent's state in"},
		"bad group":           {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--group", "a/b", "--state-dir", state}, 2, "a-z A-Z 0-9"},
		"relative path":       {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--allow-path", "etc", "--state-dir", state}, 2, "allowed path \"etc\": want an absolute path"},
		"missing token file":  {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--token-file", "/nowhere"}, 2, "/nowhere"},
		"bad output":          {nil, []string{"status", "-o", "xml", "--state-dir", state}, 2, "want text or json"},
		"label with a blank":  {nil, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--label", "my key=x", "--state-dir", state}, 2, "--label: label \"my key\": want a name of 1 to 128 of the characters a-z A-Z 0-9 _ - . /"},
		"label by variable":   {[]string{"LOCKKEEPER_LABEL=zone =a"}, []string{"run", "--server", "http://127.0.0.1:1", "--node", "n", "--state-dir", state}, 2, "LOCKKEEPER_LABEL: label \"zone \": want"},
		"label without value": {nil, []string{"run", "--label", "zone"}, 2, "zone must be formatted as key=value"},
	} {
		t.Run(name, func(t *testing.T) {
			code, _, stderr := runAgent(t, c.env, c.args...)
			if code != c.code || !strings.Contains(stderr, c.want) {
				t.Errorf("exit code %d and %q, want %d and %q", code, stderr, c.code, c.want)
			}
		})
	}
}

func TestNode_LocalhostIsRefusedAsDefaultID(t *testing.T) {
	for _, name := range []string{"", "localhost", "LOCALHOST.", "localhost.localdomain"} {
		if err := distinct(name); err == nil || !strings.Contains(err.Error(), "--node") {
			t.Errorf("%q: %v", name, err)
		}
	}
	if err := distinct("web1"); err != nil {
		t.Error(err)
	}
}

func TestStatus_PrintsTheJournal(t *testing.T) {
	state := t.TempDir()
	if code, out, _ := runAgent(t, nil, "status", "--state-dir", state, "-o", "json"); code != 1 || out != "" {
		t.Errorf("an empty folder: exit code %d: %s", code, out)
	}
	started := `{"phase":"idle","starts":3}`
	journal := fmt.Sprintf(`{"v":1,"sha256":"%x","state":%s}`, sha256.Sum256([]byte(started)), started)
	if err := os.WriteFile(filepath.Join(state, "journal.json"), []byte(journal), 0o600); err != nil {
		t.Fatal(err)
	}
	code, out, _ := runAgent(t, nil, "status", "--state-dir", state)
	if code != 0 || !strings.Contains(out, "phase      idle") {
		t.Errorf("exit code %d: %s", code, out)
	}
	code, out, _ = runAgent(t, []string{"LOCKKEEPER_STATE_DIR=" + state}, "status", "-o", "json")
	var s struct {
		agent.State
		Pinned agent.Pin `json:"pinned"`
	}
	if err := json.Unmarshal([]byte(out), &s); code != 0 || err != nil || s.Phase != "idle" {
		t.Errorf("exit code %d, %v: %s", code, err, out)
	}
	if err := os.WriteFile(filepath.Join(state, "journal.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := runAgent(t, nil, "status", "--state-dir", state); code != 1 || !strings.Contains(stderr, "damaged") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestTrust_SaysWhatWasPinned(t *testing.T) {
	state := t.TempDir()
	if err := os.WriteFile(filepath.Join(state, "cluster.json"), []byte(`{"cluster":"abc","incarnation":3}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"Cluster abc (incarnation 3) is no longer pinned", "No cluster was pinned"} {
		if code, out, _ := runAgent(t, nil, "trust", "--state-dir", state); code != 0 || !strings.Contains(out, want) {
			t.Errorf("exit code %d: %s", code, out)
		}
	}
}

func TestVersion_IsPrinted(t *testing.T) {
	if code, out, _ := runAgent(t, nil, "version"); code != 0 || !strings.HasPrefix(out, "lockkeeper-agent ") {
		t.Errorf("exit code %d: %s", code, out)
	}
}
