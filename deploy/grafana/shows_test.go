package grafana_test

import (
	"regexp"
	"slices"
	"testing"

	"github.com/VictoriaMetrics/metricsql"
)

// units are those of Grafana's own that the panels use. One that it does not know it
// writes behind the number, as it is.
var units = []string{"short", "percentunit", "s", "bytes", "reqps", "ops"}

// counter finds what only grows, and starts anew with its process.
var counter = regexp.MustCompile(`_total$|_count$|_sum$|_bucket$`)

// Grafana takes a board that is wrong in one of these, and shows nothing, or nonsense.
func TestPanels_ShowWhatTheyAsk(t *testing.T) {
	for name, s := range sheets(t) {
		for _, v := range s.Templating.List {
			if v.Type == "query" && v.Refresh != 2 {
				t.Errorf("%s: %s has the values of when the board was opened, not of the time that is looked at", name, v.Name)
			}
		}
		for _, p := range s.Panels {
			of := name + ": " + p.Title
			if u := p.FieldConfig.Defaults.Unit; p.Type != "row" && !slices.Contains(units, u) {
				t.Errorf("%s: %q is no unit of %v", of, u, units)
			}
			var legends []string
			for _, q := range p.Targets {
				legends = append(legends, template.ReplaceAllString(q.LegendFormat, "x"))
				checkCounters(t, of, q.Expr)
			}
			for _, o := range p.FieldConfig.Overrides {
				m := o.Matcher
				want := "^" + m.Options + "$"
				if m.ID == "byName" {
					want = "^" + regexp.QuoteMeta(m.Options) + "$"
				}
				if !slices.ContainsFunc(legends, regexp.MustCompile(want).MatchString) {
					t.Errorf("%s: the override %s %q is of no series: %q", of, m.ID, m.Options, legends)
				}
			}
		}
	}
}

// checkCounters holds an expression to the rate or increase of counters: they are
// not read as they are, and nothing else is.
func checkCounters(t *testing.T, of, expr string) {
	t.Helper()
	tree, err := metricsql.Parse(filled.Replace(expr))
	if err != nil {
		t.Errorf("%s: %v", of, err)
		return
	}
	all, grown := 0, 0
	metricsql.VisitAll(tree, func(e metricsql.Expr) {
		switch e := e.(type) {
		case *metricsql.MetricExpr:
			if counter.MatchString(e.LabelFilterss[0][0].Value) {
				all++
			}
		case *metricsql.FuncExpr:
			if e.Name != "rate" && e.Name != "increase" {
				return
			}
			over, ok := e.Args[0].(*metricsql.RollupExpr)
			if !ok {
				t.Errorf("%s: %s of what has no time: %s", of, e.Name, expr)
				return
			}
			m, ok := over.Expr.(*metricsql.MetricExpr)
			if !ok || !counter.MatchString(m.LabelFilterss[0][0].Value) {
				t.Errorf("%s: %s of what is no counter: %s", of, e.Name, expr)
				return
			}
			grown++
		}
	})
	if all != grown {
		t.Errorf("%s: %d counters, and %d by how fast they grow: %s", of, all, grown, expr)
	}
}
