package gate_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/gate"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
	"github.com/lockkeeper/lockkeeper/internal/monitortest"
)

// wants makes one try, and compares whether it passes and what its detail says.
func wants(t *testing.T, c *gate.Checker, g api.GateSpec, passes bool, detail string) condition.Answer {
	t.Helper()
	a := c.Check(t.Context(), g)
	if a.Passes != passes || !strings.Contains(a.Detail, detail) {
		t.Errorf("%s: passes %v, %q\nwant %v, %q", condition.Of(g), a.Passes, a.Detail, passes, detail)
	}
	if a.At.IsZero() {
		t.Errorf("%s: the answer has no time", condition.Of(g))
	}
	return a
}

// becomes tries until the gate passes, or not, as wanted.
func becomes(t *testing.T, c *gate.Checker, g api.GateSpec, passes bool) condition.Answer {
	t.Helper()
	var a condition.Answer
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if a = c.Check(t.Context(), g); a.Passes == passes {
			return a
		}
	}
	t.Fatalf("%s: never became %v: %s", condition.Of(g), passes, a.Detail)
	return a
}

func promQL(query, compare string, value float64) api.GateSpec {
	return api.GateSpec{Timeout: "30s", PromQL: &api.PromQLGate{Query: query, Compare: compare, Value: value}}
}

func alerts(matchers ...string) api.GateSpec {
	return api.GateSpec{Timeout: "30s", Alertmanager: &api.AlertmanagerGate{Matchers: matchers}}
}

func TestPromQL_ARealPrometheusDecides(t *testing.T) {
	t.Parallel()
	metrics := monitortest.NewMetrics(t, "errors{host=\"a\"} 1\nerrors{host=\"b\"} 7\nrequests 0\n")
	server := monitortest.Prometheus(t, metrics)
	c := gate.New(gate.Config{Prometheus: ask.Service{URL: server.URL}})

	becomes(t, c, promQL(`errors`, "<", 10), true)
	a := wants(t, c, promQL(`errors`, "<", 10), true, `all 2 values are < 10; the nearest to missing, errors{host="b", `)
	if a.Value != "7" {
		t.Errorf("value %q, want the worst, 7", a.Value)
	}
	wants(t, c, promQL(`sum by (host) (errors)`, "<", 5), false, `1 of 2 values miss < 5; the worst, {host="b"} is 7`)
	wants(t, c, promQL(`sum(errors)`, ">", 8), false, "it is 8, want > 8")
	wants(t, c, promQL(`sum(errors)`, ">=", 8), true, "it is 8, >= 8")
	wants(t, c, promQL(`scalar(sum(errors))`, "==", 8), true, "it is 8, == 8")
	wants(t, c, promQL(`count(errors)`, "!=", 2), false, "it is 2, want != 2")

	// What is no number of any use never passes, whatever is compared.
	for _, compare := range []string{"<", "<=", "==", "!=", ">=", ">"} {
		wants(t, c, promQL(`errors{host="c"}`, compare, 0), false, "gives nothing")
		wants(t, c, promQL(`requests / requests`, compare, 0), false, "NaN")
	}
	wants(t, c, promQL(`1 / requests`, "<", 10), false, "+Inf")
	wants(t, c, promQL(`errors[5m]`, "<", 10), false, "a range of values for each series")
	wants(t, c, promQL(`"text"`, "<", 10), false, "a text")
	wants(t, c, promQL(`sum(errors`, "<", 10), false, "1:11: parse error: unclosed left parenthesis")
	wants(t, c, promQL(`errors * on() errors`, "<", 10), false, "many-to-many")

	metrics.Set("errors{host=\"a\"} 12\n")
	becomes(t, c, promQL(`errors`, "<", 10), false)

	// At submit, with the place in the query that the Prometheus names.
	broken := c.Validate(t.Context(), promQL(`sum(errors) by (`, "<", 10))
	wantField(t, broken, "promql.query", "refuses the query: 1:17: parse error:")
	wantField(t, c.Validate(t.Context(), promQL(`errors[5m]`, "<", 10)), "promql.query", "a range of values")
	wantField(t, c.Validate(t.Context(), promQL(`nonsense(errors)`, "<", 10)), "promql.query", `unknown function with name "nonsense"`)
	if f := c.Validate(t.Context(), promQL(`errors`, "<", 10)); len(f) != 0 {
		t.Errorf("a query that is fine: %v", f)
	}

	// Slow, and gone.
	server.Pause()
	slow := promQL(`errors`, "<", 100)
	slow.Timeout = "300ms"
	began := time.Now()
	wants(t, c, slow, false, "no answer within 300ms")
	if took := time.Since(began); took > time.Minute {
		t.Errorf("a try of 300ms took %s", took)
	}
	if f := c.Validate(t.Context(), slow); len(f) != 0 {
		t.Errorf("a Prometheus that does not answer is no fault of the gate: %v", f)
	}
	slow.PromQL.Query = `sum(errors))`
	wantField(t, c.Validate(t.Context(), slow), "promql.query", "no PromQL from character 12 on")
	server.Continue()
	becomes(t, c, promQL(`errors`, "<", 100), true)
	server.Kill()
	becomes(t, c, promQL(`errors`, "<", 100), false)
	wants(t, c, promQL(`errors`, "<", 100), false, "connection refused")
}

func TestAlertmanager_OnlyWhatFiresAndMatchesCounts(t *testing.T) {
	t.Parallel()
	server := monitortest.Alertmanager(t)
	c := gate.New(gate.Config{Alertmanager: ask.Service{URL: server.URL}, Settle: -1})
	wants(t, c, alerts(), true, "no alert fires")

	critical := map[string]string{"alertname": "HighErrors", "severity": "critical", "host": "a"}
	warning := map[string]string{"alertname": "DiskSlow", "severity": "warning", "host": "a"}
	other := map[string]string{"alertname": "DiskSlow", "severity": "warning", "host": "b"}
	server.Alert(critical)
	a := wants(t, c, alerts(`severity="critical"`), false, `fires: HighErrors{host="a", severity="critical"}`)
	if a.Value != "1" {
		t.Errorf("value %q, want how many, 1", a.Value)
	}
	wants(t, c, alerts(), false, "HighErrors")
	wants(t, c, alerts(`severity="critical"`, `host="b"`), true, "no alert fires with")
	wants(t, c, alerts(`host=~"b|c"`), true, "no alert fires with")

	// Inhibited: host a has a critical one. Host b has none.
	server.Alert(warning)
	wants(t, c, alerts(`severity="warning"`), true, "no alert fires with")
	server.Alert(other)
	wants(t, c, alerts(`severity="warning"`), false, `DiskSlow{host="b"`)
	wants(t, c, alerts(), false, "2 alerts fire")

	// Silenced, and the silence ends.
	var silence struct {
		ID string `json:"silenceID"`
	}
	server.Call(http.MethodPost, "/api/v2/silences", map[string]any{
		"matchers":  []map[string]any{{"name": "host", "value": "a", "isRegex": false, "isEqual": true}},
		"startsAt":  time.Now(),
		"endsAt":    time.Now().Add(time.Hour),
		"createdBy": "test", "comment": "test",
	}, &silence)
	becomes(t, c, alerts(`severity="critical"`), true)
	server.Call(http.MethodDelete, "/api/v2/silence/"+silence.ID, nil, nil)
	becomes(t, c, alerts(`severity="critical"`), false)
	server.Resolve(critical)
	becomes(t, c, alerts(`severity="critical"`), true)

	// What this version cannot read is found at submit.
	wantField(t, c.Validate(t.Context(), alerts(`"utf-8.name"="x"`)), "alertmanager.matchers", "refuses the matchers")
	if f := c.Validate(t.Context(), alerts(`severity="critical"`)); len(f) != 0 {
		t.Errorf("a matcher that is fine: %v", f)
	}

	// One that has just started knows nothing yet.
	young := gate.New(gate.Config{Alertmanager: ask.Service{URL: server.URL}, Settle: time.Hour})
	wants(t, young, alerts(`severity="critical"`), false, "may not know all alerts yet: it counts after 1h0m0s")

	server.Pause()
	slow := alerts()
	slow.Timeout = "300ms"
	wants(t, c, slow, false, "no answer within 300ms")
	server.Continue()
	server.Kill()
	becomes(t, c, alerts(`host="none"`), false)
	wants(t, c, alerts(`host="none"`), false, "connection refused")
}

func wantField(t *testing.T, fields []api.FieldError, path, detail string) {
	t.Helper()
	for _, f := range fields {
		if f.Path == path && strings.Contains(f.Detail, detail) {
			return
		}
	}
	t.Errorf("fields %v\nwant %s: …%s…", fmt.Sprintf("%q", fields), path, detail)
}
