package gate_test

import (
	"math"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/gate"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
)

// nobody is an address at which nothing listens, so that gates are judged by
// their text.
const nobody = "http://127.0.0.1:1"

func TestValidate_NamesEachFieldThatCannotBe(t *testing.T) {
	t.Parallel()
	c := gate.New(gate.Config{
		Prometheus: ask.Service{URL: nobody}, Alertmanager: ask.Service{URL: nobody},
		Allow: []string{"*.example.com", "web.test:8080"}, Commands: []string{"/usr/local/bin/smoke"},
	})
	prom := func(edit func(*api.PromQLGate)) api.GateSpec {
		g := api.PromQLGate{Query: "up", Compare: ">", Value: 0}
		edit(&g)
		return api.GateSpec{PromQL: &g}
	}
	get := func(edit func(*api.HTTPGate)) api.GateSpec {
		g := api.HTTPGate{URL: "https://web.example.com/healthz"}
		edit(&g)
		return api.GateSpec{HTTP: &g}
	}
	ok := map[string]api.GateSpec{
		"promql":              prom(func(*api.PromQLGate) {}),
		"promql, own URL":     prom(func(g *api.PromQLGate) { g.URL = "https://prom.example.com/prefix" }),
		"promql, for":         prom(func(g *api.PromQLGate) { g.For = "5m" }),
		"a matcher":           alerts(`severity="critical"`, `instance=~"web-.*:9100"`, `a!=b`, `"utf-8"="x"`),
		"http":                get(func(*api.HTTPGate) {}),
		"http, port":          get(func(g *api.HTTPGate) { g.URL = "http://web.test:8080/?deep=1" }),
		"http, value":         get(func(g *api.HTTPGate) { g.JSONPath, g.Equals = "$.checks['db'].items[0]", "ok" }),
		"command":             {Command: &api.CommandGate{Command: []string{"/usr/local/bin/smoke", "--fast"}}, Every: "1m", Timeout: "30s", Deadline: "1h"},
		"approval":            {Approval: &api.ApprovalGate{}},
		"the least durations": {Approval: &api.ApprovalGate{}, Every: "1s", Timeout: "100ms"},
		"the most":            {Approval: &api.ApprovalGate{}, Every: "1h", Timeout: "1m", Deadline: "8760h"},
	}
	for name, g := range ok {
		if f := c.Validate(t.Context(), g); len(f) != 0 {
			t.Errorf("%s: %q", name, f)
		}
	}
	bad := []struct {
		g            api.GateSpec
		path, detail string
	}{
		{api.GateSpec{}, "", "has 0 kinds"},
		{api.GateSpec{Approval: &api.ApprovalGate{}, Command: &api.CommandGate{}}, "", "has 2 kinds"},
		{api.GateSpec{Approval: &api.ApprovalGate{}, Every: "500ms"}, "every", "want 1s to 1h"},
		{api.GateSpec{Approval: &api.ApprovalGate{}, Every: "soon"}, "every", "want a duration such as 30s"},
		{api.GateSpec{Approval: &api.ApprovalGate{}, Timeout: "2m"}, "timeout", "want 100ms to 1m"},
		{api.GateSpec{Approval: &api.ApprovalGate{}, Deadline: "-1h"}, "deadline", "want 1s to 8760h"},

		{prom(func(g *api.PromQLGate) { g.Query = " " }), "promql.query", "is empty"},
		{prom(func(g *api.PromQLGate) { g.Query = strings.Repeat("x", 5000) }), "promql.query", "at most 4096"},
		{prom(func(g *api.PromQLGate) { g.Query = "sum(up" }), "promql.query", "breaks off at its end, at character 6"},
		{prom(func(g *api.PromQLGate) { g.Query = "sum(up))" }), "promql.query", "from character 8 on"},
		{prom(func(g *api.PromQLGate) { g.Query = `up{job="a}` }), "promql.query", "no PromQL"},
		{prom(func(g *api.PromQLGate) { g.Query = `nonsense(up)` }), "promql.query", `unsupported function "nonsense"`},
		{prom(func(g *api.PromQLGate) { g.Query = `über > ` }), "promql.query", "no PromQL"},
		{prom(func(g *api.PromQLGate) { g.Compare = "=" }), "promql.compare", "want one of <, <=, ==, !=, >= and >"},
		{prom(func(g *api.PromQLGate) { g.Value = math.NaN() }), "promql.value", "want a number"},
		{prom(func(g *api.PromQLGate) { g.For = "0s" }), "promql.for", "want 1s to 168h"},
		{prom(func(g *api.PromQLGate) { g.URL = "ftp://prom.example.com" }), "promql.url", "want http or https"},
		{prom(func(g *api.PromQLGate) { g.URL = "prom.example.com:9090" }), "promql.url", "want a URL such as"},
		{prom(func(g *api.PromQLGate) { g.URL = "http://user:hunter2@prom.example.com" }), "promql.url", "has a user or a password"},
		{prom(func(g *api.PromQLGate) { g.URL = "http://prom.example.com/?a=b" }), "promql.url", "has a query behind ?"},
		{prom(func(g *api.PromQLGate) { g.URL = "http://prom.elsewhere.org" }), "promql.url", "want one of gates.allow"},
		{prom(func(g *api.PromQLGate) { g.URL = "http://127.0.0.1:2" }), "promql.url", "want one of gates.allow"},

		{alerts(`severity`), "alertmanager.matchers[0]", "want one such as severity="},
		{alerts(`a="b"`, `host=~"("`), "alertmanager.matchers[1]", "missing closing )"},
		{alerts(`a="b", c="d"`), "alertmanager.matchers[0]", "expected 1 matcher, found 2"},
		{alerts(``), "alertmanager.matchers[0]", "no matchers"},

		{get(func(g *api.HTTPGate) { g.URL = "" }), "http.url", "is missing"},
		{get(func(g *api.HTTPGate) { g.URL = "http://web.test/" }), "http.url", "want one of gates.allow"},
		{get(func(g *api.HTTPGate) { g.URL = "http://169.254.169.254/latest" }), "http.url", "want one of gates.allow"},
		{get(func(g *api.HTTPGate) { g.Status = []int{200, 99} }), "http.status[1]", "want an HTTP status"},
		{get(func(g *api.HTTPGate) { g.JSONPath, g.Equals = "status", "ok" }), "http.json_path", "want a path of names and indexes"},
		{get(func(g *api.HTTPGate) { g.JSONPath, g.Equals = "$..status", "ok" }), "http.json_path", "may lead to several values"},
		{get(func(g *api.HTTPGate) { g.JSONPath, g.Equals = "$[*]", "ok" }), "http.json_path", "may lead to several values"},
		{get(func(g *api.HTTPGate) { g.JSONPath = "$.a" }), "http.equals", "is missing"},
		{get(func(g *api.HTTPGate) { g.Equals = "ok" }), "http.json_path", "is missing"},

		{api.GateSpec{Command: &api.CommandGate{}}, "command.command", "is empty"},
		{api.GateSpec{Command: &api.CommandGate{Command: []string{"/bin/sh", "-c", "id"}}}, "command.command[0]", "not among the programs"},
		{api.GateSpec{Command: &api.CommandGate{Command: []string{"/usr/local/bin/smoke", "a\x00b"}}}, "command.command[1]", "zero byte"},
	}
	for _, b := range bad {
		f := c.Validate(t.Context(), b.g)
		wantField(t, f, b.path, b.detail)
		for _, field := range f {
			if strings.Contains(field.Detail, "hunter2") {
				t.Errorf("a password is shown: %q", field)
			}
		}
	}
	none := gate.New(gate.Config{})
	wantField(t, none.Validate(t.Context(), prom(func(*api.PromQLGate) {})), "promql.url", "gates.prometheus_url")
	wantField(t, none.Validate(t.Context(), alerts()), "alertmanager.url", "gates.alertmanager_url")
}

func TestCondition_SaysInOneLineWhatMustBe(t *testing.T) {
	t.Parallel()
	for want, g := range map[string]api.GateSpec{
		"sum(rate(errors[5m])) < 0.01 for 5m":                                {PromQL: &api.PromQLGate{Query: "sum(rate(errors[5m]))\n", Compare: "<", Value: 0.01, For: "5m"}},
		"no alert fires":                                                     alerts(),
		`no alert fires with severity="critical"`:                            alerts(`severity="critical"`),
		"https://web.example.com/healthz answers 200":                        {HTTP: &api.HTTPGate{URL: "https://web.example.com/healthz?token=secret"}},
		`http://a/ answers 200 or 204, with "ok" at $.status`:                {HTTP: &api.HTTPGate{URL: "http://a/", Status: []int{200, 204}, JSONPath: "$.status", Equals: "ok"}},
		"/usr/local/bin/smoke --fast ends with 0":                            {Command: &api.CommandGate{Command: []string{"/usr/local/bin/smoke", "--fast"}}},
		"a person who is operator or more approves":                          {Approval: &api.ApprovalGate{}},
		"2 people who are admin or more approve, not the one who started it": {Approval: &api.ApprovalGate{Role: "admin", Count: 2, NotStarter: true}},
	} {
		if got := condition.Of(g); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got := condition.Name(api.GateSpec{Approval: &api.ApprovalGate{}}); got != condition.KindApproval {
		t.Errorf("name %q", got)
	}
	if got := condition.Name(api.GateSpec{Name: "errors", Approval: &api.ApprovalGate{}}); got != "errors" {
		t.Errorf("name %q", got)
	}
	a := gate.New(gate.Config{}).Check(t.Context(), api.GateSpec{Approval: &api.ApprovalGate{}})
	if a.Passes || !strings.Contains(a.Detail, "people approve it") {
		t.Errorf("an approval: %+v", a)
	}
}
