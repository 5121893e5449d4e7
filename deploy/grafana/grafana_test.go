// Package grafana_test holds the dashboards in this folder to Grafana's own
// schema. That each of their queries has data is shown in cmd/e2e.
package grafana_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/grafana/grafana-foundation-sdk/go/cog/plugins"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
)

// board is the form that every Grafana reads. The newer one needs Grafana 12.
type board = dashboard.Dashboard //nolint:staticcheck // deprecated for that one

func dashboards(t *testing.T) map[string]board {
	t.Helper()
	plugins.RegisterDefaultPlugins() // which know what options a panel of theirs has
	paths, err := filepath.Glob("*.json")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%d dashboards, %v", len(paths), err)
	}
	all := map[string]board{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d board
		// The error of a good one is not nil, but empty.
		if err := d.UnmarshalJSONStrict(text); err != nil && err.Error() != "" {
			t.Errorf("%s: %v", path, err)
		}
		if err := d.Validate(); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		all[path] = d
	}
	return all
}

func TestDashboards_AreWhatGrafanaReads(t *testing.T) {
	uids, titles := map[string]bool{}, map[string]bool{}
	for path, d := range dashboards(t) {
		if d.Uid == nil || d.Title == nil || uids[*d.Uid] || titles[*d.Title] {
			t.Errorf("%s: want an uid and a title of its own", path)
			continue
		}
		uids[*d.Uid], titles[*d.Title] = true, true
		ids := map[uint32]bool{}
		var taken [200][24]string
		for _, of := range d.Panels {
			p := of.Panel
			if p == nil { // a row
				continue
			}
			name := *p.Title
			if p.Id == nil || ids[*p.Id] {
				t.Errorf("%s: %s has no id of its own", path, name)
			} else {
				ids[*p.Id] = true
			}
			if p.Description == nil || *p.Description == "" {
				t.Errorf("%s: %s does not say what it shows", path, name)
			}
			if p.Datasource == nil || p.Datasource.Uid == nil || *p.Datasource.Uid != "${datasource}" {
				t.Errorf("%s: %s asks a data source that nobody chose", path, name)
			}
			for y := p.GridPos.Y; y < p.GridPos.Y+p.GridPos.H; y++ {
				for x := p.GridPos.X; x < p.GridPos.X+p.GridPos.W; x++ {
					if x >= 24 || taken[y][x] != "" {
						t.Fatalf("%s: %s lies over %q, or outside", path, name, taken[y][min(x, 23)])
					}
					taken[y][x] = name
				}
			}
		}
		var names []string
		for _, v := range d.Templating.List {
			names = append(names, v.Name)
		}
		if got := strings.Join(names[:2], " "); got != "datasource cluster" {
			t.Errorf("%s: the first variables are %s, want datasource and cluster", path, got)
		}
	}
}

func TestProvisioning_PointsGrafanaAtTheDashboards(t *testing.T) {
	read := func(path string, into any) {
		t.Helper()
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, into); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	var sources struct {
		Version     int `yaml:"apiVersion"`
		Datasources []struct{ Name, UID, Type, URL string }
	}
	read("provisioning/datasources/lockkeeper.yml", &sources)
	if sources.Version != 1 || len(sources.Datasources) != 1 || sources.Datasources[0].Type != "prometheus" || sources.Datasources[0].URL == "" {
		t.Errorf("the data source is %+v", sources)
	}
	var boards struct {
		Version   int `yaml:"apiVersion"`
		Providers []struct {
			Name, Type string
			Options    struct{ Path string }
		}
	}
	read("provisioning/dashboards/lockkeeper.yml", &boards)
	if boards.Version != 1 || len(boards.Providers) != 1 || boards.Providers[0].Type != "file" || !filepath.IsAbs(boards.Providers[0].Options.Path) {
		t.Errorf("the provider is %+v", boards)
	}
}
