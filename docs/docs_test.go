// Package docs_test holds the documentation to the program that it is about.
package docs_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/bundle/create"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
	"github.com/lockkeeper/lockkeeper/internal/docpage"
)

var update = flag.Bool("update", false, "write anew what the pages have from the program")

var (
	metric  = regexp.MustCompile(`\blockkeeper_[a-z0-9_]+\b`)
	derived = regexp.MustCompile(`_(bucket|sum|count)$`)
	row     = regexp.MustCompile("(?m)^\\| `(lockkeeper_[a-z0-9_]+)` \\|")
)

// The table of metrics.md is what a coordinator exposes, with its own words.
func TestMetrics_ThePageIsWhatACoordinatorExposes(t *testing.T) {
	list := slices.DeleteFunc(docpage.Families(scrape(t)), func(f docpage.Family) bool { return !strings.HasPrefix(f.Name, "lockkeeper_") })
	for _, f := range list {
		if f.Help == "" || !strings.HasSuffix(f.Help, ".") || f.Type == "" {
			t.Errorf("%s says of itself %q, type %q: want a sentence and a type", f.Name, f.Help, f.Type)
		}
	}
	if err := docpage.Check("metrics.md", "coordinator metrics", docpage.Table(list), *update); err != nil {
		t.Error(err)
	}
}

// What else the page says of metrics, it says of some that exist.
func TestMetrics_ThePageNamesNoOther(t *testing.T) {
	page, err := os.ReadFile("metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	exist := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(string(page), -1) {
		exist[m[1]] = true
	}
	for _, name := range metric.FindAllString(string(page), -1) {
		if !exist[name] && !exist[derived.ReplaceAllString(name, "")] {
			t.Errorf("metrics.md names %s, which is in neither of its tables", name)
		}
	}
}

// scrape runs a coordinator that has something to tell by every metric, and reads
// them.
func scrape(t *testing.T) string {
	t.Helper()
	c, err := coordinator.New(coordinator.Config{
		DataDir: filepath.Join(t.TempDir(), "data"), Listen: "127.0.0.1:0",
		Snapshots: coordinator.SnapshotsConfig{Dir: t.TempDir()},
		Silences:  coordinator.SilencesConfig{AlertmanagerURL: "http://127.0.0.1:1"},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := c.Start(ctx); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	ask := func(method, path, body string, want int) string {
		t.Helper()
		req, err := http.NewRequestWithContext(ctx, method, c.URL()+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Fleet-Lock-Protocol", "true")
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != want {
			t.Fatalf("%s %s: %d, want %d: %s (%v)", method, path, resp.StatusCode, want, text, err)
		}
		return string(text)
	}
	defer http.DefaultClient.CloseIdleConnections()
	const a, b = `{"client_params":{"id":"a","group":"web"}}`, `{"client_params":{"id":"b","group":"web"}}`
	ask("PUT", "/api/v1/groups/web", `{"slots":1}`, http.StatusCreated)
	ask("POST", "/v1/pre-reboot", a, http.StatusOK)
	ask("POST", "/v1/pre-reboot", b, http.StatusLocked)
	ask("POST", "/v1/steady-state", a, http.StatusOK)
	startRollout(ctx, t, c.URL())
	ask("PUT", "/api/v1/groups/web/freeze", `{"reason":"so that the rollout is stalled"}`, http.StatusOK)
	for {
		text := ask("GET", "/metrics", "", http.StatusOK)
		if strings.Contains(text, "lockkeeper_rollout_stalled_by{") && strings.Contains(text, "lockkeeper_attention{") {
			return text
		}
		select {
		case <-ctx.Done():
			t.Fatal("what needs a person, or the stalled rollout, does not appear in the metrics")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// startRollout makes a node in trouble and a bundle, and a rollout of it.
func startRollout(ctx context.Context, t *testing.T, server string) {
	t.Helper()
	cl, err := client.New(client.Config{Servers: []string{server}})
	if err != nil {
		t.Fatal(err)
	}
	_, err = cl.Poll(ctx, "node", api.PollRequest{Instance: "i", BootID: "b", Report: api.Report{Seq: 1, Group: "web", Healthy: true, Trouble: "the disk is full"}})
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "files", "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"bundle.yaml": "name: motd\n", "files/etc/motd": "hello\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	var archive bytes.Buffer
	if _, err := create.Build(dir, &archive, 1<<20); err != nil {
		t.Fatal(err)
	}
	bundle, _, err := cl.CreateBundle(ctx, &archive, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := cl.CreateRollout(ctx, api.RolloutSpec{Bundle: bundle.Digest, Group: "web"}, "once"); err != nil {
		t.Fatal(err)
	}
}

// The decisions are numbered without a gap, and all are in their index.
func TestDecisions_AreNumberedAndIndexed(t *testing.T) {
	index, err := os.ReadFile("decisions/README.md")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Glob("decisions/[0-9]*.md")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d decisions: %v", len(pages), err)
	}
	var want strings.Builder
	for i, path := range pages {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(text), "\n")
		title, numbered := strings.CutPrefix(first, fmt.Sprintf("# %d. ", i+1))
		if name := filepath.Base(path); !numbered || !strings.HasPrefix(name, fmt.Sprintf("%04d-", i+1)) {
			t.Errorf("%s begins with %q: want number %d in both", path, first, i+1)
		}
		fmt.Fprintf(&want, "%d. [%s](%s)\n", i+1, title, filepath.Base(path))
	}
	if _, list, _ := strings.Cut(string(index), "\n1. "); "1. "+list != want.String() {
		t.Errorf("decisions/README.md lists\n1. %s\nwant\n%s", list, want.String())
	}
}

var (
	testName = regexp.MustCompile("`(Test\\w+)(?:/(\\w+))?`")
	testFunc = regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	caseName = regexp.MustCompile(`(?m)^\s+"(\w+)":`)
)

// Every test that the page on the semaphore calls a witness exists.
func TestSemaphore_TheTestsThatItNamesExist(t *testing.T) {
	page, err := os.ReadFile("semaphore.md")
	if err != nil {
		t.Fatal(err)
	}
	tests, cases := map[string]bool{}, map[string]bool{}
	for _, root := range []string{"../semaphore", "../coordinator", "../agent", "../cmd"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			suite := filepath.Base(filepath.Dir(path)) == "storetest"
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || !suite && !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, m := range testFunc.FindAllStringSubmatch(string(text), -1) {
				tests[m[1]] = true
			}
			if suite {
				for _, m := range caseName.FindAllStringSubmatch(string(text), -1) {
					cases[m[1]] = true
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	named := testName.FindAllStringSubmatch(string(page), -1)
	if len(named) == 0 {
		t.Error("semaphore.md names no test")
	}
	for _, m := range named {
		if !tests[m[1]] || m[2] != "" && !cases[m[2]] {
			t.Errorf("semaphore.md names %s, which does not exist", m[0])
		}
	}
}
