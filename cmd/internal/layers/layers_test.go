// Package layers holds the tests of what may import what. The linter has the
// same rules for single files; these see the whole graph.
package layers

import (
	"os/exec"
	"strings"
	"testing"
)

const module = "github.com/lockkeeper/lockkeeper/"

func deps(t *testing.T, pkg string) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", module+pkg).Output()
	if err != nil {
		t.Fatalf("go list -deps %s: %v", pkg, err)
	}
	return strings.Fields(string(out))
}

func imports(t *testing.T) map[string][]string {
	t.Helper()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	graph := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		words := strings.Fields(line)
		graph[strings.TrimPrefix(words[0], module)] = words[1:]
	}
	return graph
}

func forbid(t *testing.T, pkg string, prefixes ...string) {
	t.Helper()
	for _, dep := range deps(t, pkg) {
		for _, prefix := range prefixes {
			if dep == prefix || strings.HasPrefix(dep, strings.TrimSuffix(prefix, "/")+"/") {
				t.Errorf("%s links %s", pkg, dep)
			}
		}
	}
}

func TestSemaphore_LinksTheStandardLibraryOnly(t *testing.T) {
	for _, dep := range deps(t, "semaphore") {
		first, _, _ := strings.Cut(dep, "/")
		if strings.Contains(first, ".") && dep != strings.TrimSuffix(module, "/")+"/semaphore" {
			t.Errorf("semaphore links %s", dep)
		}
	}
	forbid(t, "semaphore", "net/http")
}

func TestWireTypes_LinkTheStandardLibraryOnly(t *testing.T) {
	for _, dep := range deps(t, "coordinator/api") {
		first, _, _ := strings.Cut(dep, "/")
		if strings.Contains(first, ".") && dep != module+"coordinator/api" {
			t.Errorf("coordinator/api links %s", dep)
		}
	}
}

func TestAgent_LinksOfTheCoordinatorOnlyWhatTravels(t *testing.T) {
	allowed := map[string]bool{"api": true, "client": true, "bundle": true, "bundle/signature": true}
	for _, pkg := range []string{"agent", "agent/host", "cmd/lockkeeper-agent"} {
		for _, dep := range deps(t, pkg) {
			room, ok := strings.CutPrefix(dep, module+"coordinator")
			if ok && !allowed[strings.TrimPrefix(room, "/")] {
				t.Errorf("%s links %s", pkg, dep)
			}
		}
		forbid(t, pkg, "go.etcd.io", "go.opentelemetry.io", "github.com/danielgtaylor", "github.com/go-chi",
			"github.com/prometheus", "html/template", "github.com/spf13/cobra/doc", module+"web")
	}
	// cobra names text/template; that the program does not carry it is a test
	// of the built file.
	forbid(t, "agent", "text/template")
}

// It plays rollouts by the engine's own code, which is to bring none of what a
// coordinator needs beside it.
func TestCLI_LinksNoneOfWhatACoordinatorRunsOn(t *testing.T) {
	forbid(t, "cmd/lockkeeper", "go.etcd.io", "google.golang.org/grpc", "google.golang.org/protobuf", "github.com/prometheus",
		"github.com/VictoriaMetrics", "github.com/theory/jsonpath", "html/template", module+"web")
}

func TestFrontEnds_DoNotImportEachOther(t *testing.T) {
	fronts := []string{"coordinator/httpapi", "coordinator/fleetlock", "web"}
	for _, pkg := range fronts {
		for _, other := range fronts {
			if other != pkg {
				forbid(t, pkg, module+other)
			}
		}
	}
	forbid(t, "coordinator/rollout", module+"coordinator/httpapi")
}

func TestEtcd_IsImportedInItsRoomsOnly(t *testing.T) {
	for pkg, list := range imports(t) {
		if strings.HasSuffix(pkg, "/etcdstore") || pkg == "coordinator/etcdnode" || strings.HasPrefix(pkg, "internal/etcdtest") {
			continue
		}
		for _, dep := range list {
			if strings.HasPrefix(dep, "go.etcd.io/") {
				t.Errorf("%s imports %s", pkg, dep)
			}
		}
	}
}
