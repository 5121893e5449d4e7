package grafana_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
)

// sheet is what a dashboard says of its queries and of how they are shown, which
// Grafana's schema leaves to whoever writes it.
type sheet struct {
	UID    string
	Panels []struct {
		Title, Type, Description string

		FieldConfig struct {
			Defaults struct {
				Unit       string
				Thresholds struct {
					Steps []struct {
						Color string
						Value *float64
					}
				}
			}
			Overrides []struct {
				Matcher struct{ ID, Options string }
			}
		}
		Options struct {
			Legend *struct{ ShowLegend bool }
		}
		Targets []question
	}
	Templating struct {
		List []variable
	}
	Annotations struct {
		List []struct{ Name, Expr string }
	}
}

type variable struct {
	Name, Type, AllValue, Definition string
	Multi, IncludeAll                bool
	Refresh                          int // 2: whenever the time that is shown changes
	Query                            json.RawMessage
}

type question struct {
	Expr, LegendFormat, RefID string
	Range, Instant            bool
	Datasource                struct{ Type, UID string }
}

func sheets(t *testing.T) map[string]sheet {
	t.Helper()
	paths, err := filepath.Glob("*.json")
	if err != nil || len(paths) != 3 {
		t.Fatalf("%d dashboards, %v", len(paths), err)
	}
	all := map[string]sheet{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var s sheet
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		all[strings.TrimSuffix(path, ".json")] = s
	}
	return all
}

var (
	filled   = strings.NewReplacer("$__rate_interval", "1m")
	used     = regexp.MustCompile(`\$\{?(\w+)`)
	template = regexp.MustCompile(`{{(\w+)}}`)
	values   = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
)

// selectors are those of an expression.
func selectors(t *testing.T, of, expr string) []*metricsql.MetricExpr {
	t.Helper()
	tree, err := metricsql.Parse(filled.Replace(expr))
	if err != nil {
		t.Errorf("%s: %s: %v", of, expr, err)
		return nil
	}
	var list []*metricsql.MetricExpr
	metricsql.VisitAll(tree, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			list = append(list, e)
		case *metricsql.FuncExpr:
			if e.Name == "rate" && !strings.Contains(expr, "[$__rate_interval]") {
				t.Errorf("%s: a rate over another time than what is shown allows: %s", of, expr)
			}
		}
	})
	return list
}

// checkExpr holds a query to one cluster, and to the variables that there are.
func checkExpr(t *testing.T, of, expr string, multi map[string]bool) {
	t.Helper()
	list := selectors(t, of, expr)
	if len(list) == 0 {
		t.Errorf("%s: asks for no metric: %s", of, expr)
	}
	for _, s := range list {
		for _, filters := range s.LabelFilterss {
			if !slices.Contains(filters, metricsql.LabelFilter{Label: "job", Value: "$cluster"}) {
				t.Errorf("%s: mixes clusters: %s", of, s.AppendString(nil))
			}
			for _, f := range filters {
				for _, v := range used.FindAllStringSubmatch(f.Value, -1) {
					many, known := multi[v[1]]
					switch {
					case !known:
						t.Errorf("%s: there is no variable %s", of, v[1])
					case many && !f.IsRegexp:
						t.Errorf("%s: %s may be several values, and %s is compared with one", of, v[1], f.Label)
					}
				}
			}
		}
	}
}

func TestPanels_AskOneClusterAndSayWhatTheyShow(t *testing.T) {
	for name, s := range sheets(t) {
		multi := map[string]bool{}
		for _, v := range s.Templating.List {
			multi[v.Name] = v.Multi
		}
		for _, p := range s.Panels {
			of := name + ": " + p.Title
			if p.Type == "row" {
				continue
			}
			d := p.FieldConfig.Defaults
			if d.Unit == "" {
				t.Errorf("%s: has no unit", of)
			}
			if steps := d.Thresholds.Steps; len(steps) == 0 || steps[0].Value != nil {
				t.Errorf("%s: its first colour begins at something", of)
			}
			for i := 2; i < len(d.Thresholds.Steps); i++ {
				if *d.Thresholds.Steps[i].Value <= *d.Thresholds.Steps[i-1].Value {
					t.Errorf("%s: its thresholds do not rise", of)
				}
			}
			if p.Type != "stat" && (p.Options.Legend == nil || !p.Options.Legend.ShowLegend) {
				t.Errorf("%s: has no legend", of)
			}
			if len(p.Targets) == 0 {
				t.Errorf("%s: asks nothing", of)
			}
			refs := map[string]bool{}
			for _, q := range p.Targets {
				if q.RefID == "" || refs[q.RefID] {
					t.Errorf("%s: two queries are called %q", of, q.RefID)
				}
				refs[q.RefID] = true
				if q.Datasource.UID != "${datasource}" || q.Datasource.Type != "prometheus" {
					t.Errorf("%s: asks %+v", of, q.Datasource)
				}
				if stat := p.Type == "stat"; q.Instant != stat || q.Range == stat {
					t.Errorf("%s: a stat shows now, all else a range", of)
				}
				if q.LegendFormat == "" && (p.Type != "stat" || len(p.Targets) > 1) {
					t.Errorf("%s: %s has no name", of, q.RefID)
				}
				// A legend by a label that was aggregated away is empty.
				for _, l := range template.FindAllStringSubmatch(q.LegendFormat, -1) {
					if strings.Contains(q.Expr, "by (") && !regexp.MustCompile(`by \([^)]*\b`+l[1]+`\b`).MatchString(q.Expr) {
						t.Errorf("%s: %s has no label %s: %s", of, q.RefID, l[1], q.Expr)
					}
				}
				checkExpr(t, of, q.Expr, multi)
			}
		}
		for _, a := range s.Annotations.List {
			checkExpr(t, name+": "+a.Name, a.Expr, multi)
		}
	}
}

// Each dashboard chooses a Prometheus, a cluster and what else it is about, and
// marks the rollouts.
func TestVariables_OfferWhatThereIs(t *testing.T) {
	// What a coordinator tells of its store, its API and itself is of no group.
	wanted := map[string][]string{"fleet": {"group"}, "rollouts": {"group", "rollout"}, "coordinators": {"instance"}}
	for name, s := range sheets(t) {
		v := s.Templating.List
		var names []string
		for _, one := range v {
			names = append(names, one.Name)
		}
		if want := append([]string{"datasource", "cluster"}, wanted[name]...); !slices.Equal(names, want) {
			t.Errorf("%s: its variables are %v, want %v", name, names, want)
			continue
		}
		if v[0].Type != "datasource" || string(v[0].Query) != `"prometheus"` {
			t.Errorf("%s: the data source is a %s of %s", name, v[0].Type, v[0].Query)
		}
		if v[1].Multi || v[1].IncludeAll {
			t.Errorf("%s: several clusters at once would be added up", name)
		}
		for _, one := range v[2:] {
			if !one.Multi || !one.IncludeAll || one.AllValue != ".*" {
				t.Errorf("%s: %s offers neither several nor all", name, one.Name)
			}
		}
		for _, one := range v[1:] {
			var query struct{ Query string }
			if err := json.Unmarshal(one.Query, &query); err != nil {
				t.Fatal(err)
			}
			m := values.FindStringSubmatch(query.Query)
			if one.Type != "query" || m == nil || query.Query != one.Definition {
				t.Errorf("%s: %s asks %q, and is defined as %q", name, one.Name, query.Query, one.Definition)
				continue
			}
			list := selectors(t, name, m[1])
			if len(list) != 1 || one.Name != "cluster" && !strings.Contains(m[1], `{job="$cluster"`) {
				t.Errorf("%s: %s has values of other clusters: %s", name, one.Name, m[1])
			}
			if want := strings.Replace(one.Name, "cluster", "job", 1); m[2] != want {
				t.Errorf("%s: %s has the values of %s", name, one.Name, m[2])
			}
		}
		marks := ""
		for _, a := range s.Annotations.List {
			marks += a.Expr
		}
		for _, at := range []string{"lockkeeper_rollout_started_timestamp_seconds", "lockkeeper_rollout_ended_timestamp_seconds"} {
			if !strings.Contains(marks, at) {
				t.Errorf("%s: no annotation asks for %s", name, at)
			}
		}
	}
}

// Whoever has chosen a group sees of each panel whether it is of that group, so
// that nobody takes the whole fleet's failures for those of one group.
func TestPanels_SayWhenTheyAreOfAllGroups(t *testing.T) {
	narrowed := regexp.MustCompile(`group=~"\$group`)
	for name, s := range sheets(t) {
		if !slices.ContainsFunc(s.Templating.List, func(v variable) bool { return v.Name == "group" }) {
			continue
		}
		for _, p := range s.Panels {
			if p.Type == "row" {
				continue
			}
			of := 0
			for _, q := range p.Targets {
				list := len(selectors(t, name, q.Expr))
				switch narrow := len(narrowed.FindAllString(q.Expr, -1)); narrow {
				case list:
					of++
				case 0:
				default:
					t.Errorf("%s: %s takes %d of %d metrics of the chosen groups: %s", name, p.Title, narrow, list, q.Expr)
				}
			}
			whole := regexp.MustCompile(`(?i)\ball (its )?groups\b`).MatchString(p.Description)
			if of != 0 && of != len(p.Targets) || (of == 0) != whole {
				t.Errorf("%s: %s: %d of its %d queries are of the chosen groups, and it says that it is of all: %v", name, p.Title, of, len(p.Targets), whole)
			}
		}
	}
}

// What people open a dashboard for is on it, in the form that they look for.
func TestDashboards_HaveAPanelForEachQuestion(t *testing.T) {
	all := sheets(t)
	for _, want := range []struct{ board, form, metric, unit string }{
		{"fleet", "state-timeline", "lockkeeper_holds", "percentunit"}, // slots used, of the limit
		{"fleet", "state-timeline", "lockkeeper_slots", "percentunit"},
		{"fleet", "timeseries", "lockkeeper_waiters", "short"},
		{"fleet", "timeseries", "lockkeeper_oldest_waiter_seconds", "s"},
		{"fleet", "timeseries", "lockkeeper_hold_age_seconds", "s"},
		{"fleet", "timeseries", "lockkeeper_newest_hold_age_seconds", "s"},
		{"fleet", "timeseries", "lockkeeper_grants_total", "short"},
		{"fleet", "timeseries", "lockkeeper_releases_total", "short"},
		{"fleet", "timeseries", "lockkeeper_denials_total", "short"},
		{"rollouts", "timeseries", "lockkeeper_rollout_group_nodes", "percentunit"}, // progress
		{"rollouts", "timeseries", "lockkeeper_rollout_group_nodes", "short"},
		{"rollouts", "timeseries", "lockkeeper_rollout_nodes", "short"}, // failures
		{"rollouts", "timeseries", "lockkeeper_rollout_max_failures", "short"},
		{"rollouts", "timeseries", "lockkeeper_rollout_remaining_seconds", "s"},
		{"rollouts", "state-timeline", "lockkeeper_rollout_stalled_by", "short"},
		{"coordinators", "timeseries", "etcd_disk_backend_commit_duration_seconds_bucket", "s"},
		{"coordinators", "timeseries", "lockkeeper_store_txn_duration_seconds_bucket", "s"},
		{"coordinators", "stat", "etcd_server_leader_changes_seen_total", "short"},
		{"coordinators", "stat", "lockkeeper_store_quota_bytes", "percentunit"},
		{"coordinators", "timeseries", "lockkeeper_store_size_bytes", "bytes"},
		{"coordinators", "state-timeline", "lockkeeper_quorum", "short"},
	} {
		found := false
		for _, p := range all[want.board].Panels {
			for _, q := range p.Targets {
				found = found || p.Type == want.form && p.FieldConfig.Defaults.Unit == want.unit &&
					regexp.MustCompile(`\b`+want.metric+`\b`).MatchString(q.Expr)
			}
		}
		if !found {
			t.Errorf("%s has no %s of %s in %s", want.board, want.form, want.metric, want.unit)
		}
	}
}

// A dashboard finds its data source by the variable, wherever it is put.
func TestDashboards_NameNoDataSource(t *testing.T) {
	for name, s := range sheets(t) {
		text, err := os.ReadFile(name + ".json")
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`"uid": "([^"]*)"`).FindAllStringSubmatch(string(text), -1) {
			if m[1] != "${datasource}" && m[1] != s.UID {
				t.Errorf("%s names %s", name, m[0])
			}
		}
	}
}
