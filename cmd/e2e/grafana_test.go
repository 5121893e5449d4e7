package e2e

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// query is one thing that a dashboard asks Prometheus.
type query struct{ of, expr string }

// queriesOf are those of a dashboard's panels, annotations and variables, with
// what Grafana would put in place of the variables, which are name and value in turn.
func queriesOf(t *testing.T, path string, variables ...string) []query {
	t.Helper()
	text, err := os.ReadFile(path)
	must0(t, err)
	var board struct {
		Title  string
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
		Annotations struct {
			List []struct{ Name, Expr string }
		}
		Templating struct {
			List []struct{ Name, Definition string }
		}
	}
	must0(t, json.Unmarshal(text, &board))
	fill := strings.NewReplacer(append([]string{"$cluster", "lockkeeper", "$__rate_interval", "10s"}, variables...)...)
	var list []query
	add := func(of, expr string) { list = append(list, query{board.Title + ": " + of, fill.Replace(expr)}) }
	for _, p := range board.Panels {
		for _, target := range p.Targets {
			add(p.Title, target.Expr)
		}
	}
	for _, a := range board.Annotations.List {
		add(a.Name, a.Expr)
	}
	for _, v := range board.Templating.List {
		rest, isValues := strings.CutPrefix(v.Definition, "label_values(")
		if i := strings.LastIndex(rest, ", "); isValues && i > 0 {
			add("variable "+v.Name, fmt.Sprintf("count by (%s) (%s)", strings.TrimSuffix(rest[i+2:], ")"), rest[:i]))
		}
	}
	if len(list) < 10 {
		t.Fatalf("%s: %d queries", path, len(list))
	}
	return list
}

// numbers is how many samples that are numbers a query gives within a time.
func numbers(t *testing.T, server, expr string, from, to time.Time) int {
	t.Helper()
	var answer struct {
		Data struct {
			Result []struct {
				Metric map[string]string
				Values [][2]any
			}
		}
	}
	getJSON(t, fmt.Sprintf("%s/api/v1/query_range?step=1&start=%d&end=%d&query=%s", server, from.Unix(), to.Unix(), url.QueryEscape(expr)), &answer)
	n := 0
	for _, series := range answer.Data.Result {
		for _, v := range series.Values {
			if v[1] != "NaN" && v[1] != "+Inf" && v[1] != "-Inf" {
				n++
			}
		}
	}
	return n
}

// Whoever opens a dashboard sees something in each of its panels.
func TestGrafana_EveryQueryHasDataWhenARolloutHasRun(t *testing.T) {
	t.Parallel()
	needTool(t, "prometheus")
	boards, err := filepath.Glob("../../deploy/grafana/*.json")
	must0(t, err)
	if len(boards) < 3 {
		t.Fatalf("%d dashboards", len(boards))
	}
	began := time.Now()
	c := startCoordinator(t, "--snapshots-dir", t.TempDir(), "--snapshots-every", "1m")
	must(t, c.url, "group", "set", "default", "--slots", "1", "--window", "mon-sun 00:00 24h UTC")
	server := startPrometheus(t, c.url, "")
	fleet := startFleet(t, newWitness(t), c.url, 3)
	status, text := lock(t, c.url, "guest") // refused later, when a host is out
	wantStatus(t, "a slot for a guest", status, text, 200)
	status, text = lock(t, c.url, "another")
	wantStatus(t, "a second slot", status, text, 423)
	status, text = unlock(t, c.url, "guest")
	wantStatus(t, "returning it", status, text, 200)
	must(t, c.url, "queue", "leave", "another")
	must(t, c.url, "freeze", "the rollout is to stall at first")
	id := startRollout(t, c.url, pushBundle(t, c.url, "new", ""), "--name", "dashboards")
	eventually(t, "Prometheus knows what stalls it", func() bool {
		return promQL(t, server, `count(lockkeeper_rollout_stalled_by{reason="frozen"})`) == "1"
	})
	must(t, c.url, "unfreeze")
	eventually(t, "the rollout has ended", func() bool { return rolloutOf(t, c.url, id).State == api.RolloutSucceeded })
	if got := fleet[0].file(t, "etc/app.conf"); got != "new\n" {
		t.Errorf("the rollout did nothing: %q", got)
	}
	// Of all, and of what somebody chose: several values of a variable are joined so.
	all := []string{"$group", ".*", "$rollout", ".*", "$instance", ".*"}
	chosen := []string{"$group", "(default|none)", "$rollout", id, "$instance", "(" + strings.TrimPrefix(c.url, "http://") + "|none)"}
	asked := map[string]bool{}
	for _, path := range boards {
		for _, q := range append(queriesOf(t, path, all...), queriesOf(t, path, chosen...)...) {
			if asked[q.expr] {
				continue
			}
			asked[q.expr] = true
			eventually(t, q.of+" has data: "+q.expr, func() bool {
				return numbers(t, server, q.expr, began, time.Now()) > 0
			})
		}
	}
	eventually(t, "Prometheus knows that the whole group is updated", func() bool {
		return promQL(t, server, `sum(lockkeeper_rollout_group_nodes{group="default",state="updated"})`) == "3"
	})
}
