// Package prometheus_test runs the checks of Prometheus itself over the files
// in this folder, and holds each alert to what whoever gets it needs. That each
// fires when what it is about happens is shown in cmd/e2e.
package prometheus_test

import (
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

func TestPromtool_AcceptsTheFilesAndTheAlertsFireWhenTheyShould(t *testing.T) {
	if _, err := exec.LookPath("promtool"); err != nil {
		if os.Getenv("LOCKKEEPER_TEST_REQUIRE_ALL") != "" {
			t.Fatal("promtool is missing")
		}
		t.Skip("needs promtool, which is missing (make test installs it)")
	}
	for _, args := range [][]string{
		{"check", "config", "prometheus.yml"},
		{"check", "rules", "lockkeeper.rules.yml"},
		{"test", "rules", "lockkeeper.rules.test.yml", "lockkeeper.rules.edges.test.yml", "lockkeeper.rules.days.test.yml"},
	} {
		if out, err := exec.Command("promtool", args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %v: %v\n%s", args, err, out)
		}
	}
}

type rule struct {
	Alert, Record, Expr string
	Labels, Annotations map[string]string
}

func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func alerts(t *testing.T) map[string]rule {
	t.Helper()
	var file struct {
		Groups []struct{ Rules []rule }
	}
	read(t, "lockkeeper.rules.yml", &file)
	list := map[string]rule{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				list[r.Alert] = r
			}
		}
	}
	if len(list) == 0 {
		t.Fatal("there are no alerts")
	}
	return list
}

// promtool is happy with an alert that no case names.
func TestAlerts_EachHasACaseInWhichItFiresAndOneInWhichItDoesNot(t *testing.T) {
	fires, rests := map[string]bool{}, map[string]bool{}
	for _, path := range []string{"lockkeeper.rules.test.yml", "lockkeeper.rules.days.test.yml"} {
		var file struct {
			Tests []struct {
				Cases []struct {
					Name     string `yaml:"alertname"`
					Expected []any  `yaml:"exp_alerts"`
				} `yaml:"alert_rule_test"`
			}
		}
		read(t, path, &file)
		for _, test := range file.Tests {
			for _, c := range test.Cases {
				if len(c.Expected) > 0 {
					fires[c.Name] = true
				} else {
					rests[c.Name] = true
				}
			}
		}
	}
	for name := range alerts(t) {
		if !fires[name] || !rests[name] {
			t.Errorf("%s: shown to fire: %v, not to fire: %v", name, fires[name], rests[name])
		}
	}
}

const runbook = "https://github.com/lockkeeper/lockkeeper/blob/main/docs/runbooks/alerts.md#"

// Whoever is woken has a sentence, a page that says what to do, and a dashboard;
// and the page is about nothing else.
func TestAlerts_EachLeadsToItsPartOfTheRunbookAndToADashboard(t *testing.T) {
	page, err := os.ReadFile("../../docs/runbooks/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	table, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	parts := map[string]string{} // what each says, by its heading
	for part := range strings.SplitSeq("\n"+string(page), "\n### ") {
		heading, text, _ := strings.Cut(part, "\n")
		if strings.HasPrefix(heading, "Lockkeeper") {
			parts[heading] = text
		}
	}
	all := alerts(t)
	for name, r := range all {
		if got := r.Annotations["runbook_url"]; got != runbook+strings.ToLower(name) {
			t.Errorf("%s: its runbook is %q", name, got)
		}
		text := parts[name]
		if text == "" {
			t.Errorf("docs/runbooks/alerts.md says nothing of %s", name)
		}
		severity := r.Labels["severity"]
		if severity != "page" && severity != "ticket" {
			t.Errorf("%s: severity %q", name, severity)
		}
		if !strings.HasPrefix(strings.ToLower(text), "*"+severity+".*") {
			t.Errorf("%s: the runbook calls it something else than a %s", name, severity)
		}
		if !strings.Contains(string(table), "\n| ["+name+"](runbooks/alerts.md#"+strings.ToLower(name)+") | "+severity+" |") {
			t.Errorf("docs/metrics.md has no row that links %s and calls it a %s", name, severity)
		}
		if !strings.Contains(text, "\n**At risk:** ") || !strings.Contains(text, " **Over when** ") {
			t.Errorf("docs/runbooks/alerts.md does not say of %s what is at risk, and when it is over", name)
		}
		if r.Annotations["summary"] == "" || r.Annotations["description"] == "" {
			t.Errorf("%s: want a summary and a description", name)
		}
		checkDashboard(t, name, r.Annotations["dashboard"])
	}
	for heading := range parts {
		if _, found := all[heading]; !found {
			t.Errorf("docs/runbooks/alerts.md is about %s, which is no alert", heading)
		}
	}
}

// told is by which alert somebody hears of what stands on the attention list;
// what is not here is for LockkeeperNeedsAPerson.
var told = map[string]string{
	"failed": "LockkeeperNodesFailed", "rolled_back": "LockkeeperNodesFailed", "duplicate_id": "LockkeeperNodesFailed",
	"overdue": "LockkeeperHoldOverdue", "halted": "LockkeeperRolloutHalted", "approval": "LockkeeperApprovalWaiting",
	"disk_low": "LockkeeperDiskLow", "clock_off": "LockkeeperClockOff", "member_down": "LockkeeperCoordinatorUnreachable",
	"snapshot_failed": "LockkeeperSnapshotOld", "silences_failing": "LockkeeperSilencesFailing", "undelivered": "LockkeeperNoticesFailing",
}

var attentionKind = regexp.MustCompile(`\b(?:attention\w+\s*=|Kind:)\s*"([a-z_]+)"`)

// Whatever the dashboard calls a thing for a person, some alert tells of it.
func TestAlerts_TellOfEverythingOnTheAttentionList(t *testing.T) {
	files, err := filepath.Glob("../../coordinator/service/*.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/runbooks/alerts.md")
	if err != nil {
		t.Fatal(err)
	}
	all := alerts(t)
	rest := strings.Split(regexp.MustCompile(`kind=~"([^"]+)"`).FindStringSubmatch(all["LockkeeperNeedsAPerson"].Expr)[1], "|")
	kinds := 0
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range attentionKind.FindAllStringSubmatch(string(text), -1) {
			kind := m[1]
			kinds++
			by, own := told[kind]
			switch {
			case own && all[by].Alert == "":
				t.Errorf("%s: there is no alert %s", kind, by)
			case own == slices.Contains(rest, kind):
				t.Errorf("%s is told of by %q, and by LockkeeperNeedsAPerson: %v; want one of them", kind, by, !own)
			case !own && !strings.Contains(string(page), "\n| `"+kind+"` | "):
				t.Errorf("docs/runbooks/alerts.md does not say what to do about %s", kind)
			}
		}
	}
	if kinds < len(told)+len(rest) {
		t.Errorf("%d kinds of attention were found, and %d are told of", kinds, len(told)+len(rest))
	}
}

// checkDashboard holds a link to the dashboard that it leads to.
func checkDashboard(t *testing.T, alert, link string) {
	t.Helper()
	u, err := url.Parse(regexp.MustCompile(`{{[^}]*}}`).ReplaceAllString(link, "x"))
	if err != nil {
		t.Errorf("%s: %v", alert, err)
		return
	}
	boards, err := filepath.Glob("../grafana/*.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range boards {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var d struct {
			UID        string
			Templating struct{ List []struct{ Name string } }
		}
		if err := json.Unmarshal(text, &d); err != nil {
			t.Fatal(err)
		}
		if u.Path != "/d/"+d.UID {
			continue
		}
		for key := range u.Query() {
			if !slices.ContainsFunc(d.Templating.List, func(v struct{ Name string }) bool { return "var-"+v.Name == key }) {
				t.Errorf("%s: dashboard %s has no variable %s", alert, d.UID, key)
			}
		}
		return
	}
	t.Errorf("%s: there is no dashboard %q", alert, link)
}
