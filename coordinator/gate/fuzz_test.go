package gate

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
)

// FuzzValidate holds that whatever somebody writes into a gate is refused or not,
// in one line, without an end of the coordinator.
func FuzzValidate(f *testing.F) {
	f.Add(`sum(rate(errors{job="a"}[5m])) by (host) > 1`, `a=~"b|c"`, "$.a['b'][0]", "https://web.example.com/x")
	f.Add(`sum(`, `a="`, "$[?@.a==1]", "http://[::1]:80")
	f.Add(`{"utf8"} offset -5m @ end()`, `{a="b"}`, "$..", "//")
	f.Add("with (x = up) x{\xff}", `"\x00"="x"`, `$["\u0000"]`, "http://a%zz")
	c := New(Config{Prometheus: ask.Service{URL: "http://192.0.2.1"}, Allow: []string{"*.example.com"}})
	f.Fuzz(func(t *testing.T, query, matcher, path, url string) {
		if text := checkQuery(query); strings.HasPrefix(text, "is no PromQL from character 0") {
			t.Errorf("%q: %s: want a character from 1 on", query, text)
		}
		var found fields
		c.validAlertmanager(&found, &api.AlertmanagerGate{URL: url, Matchers: []string{matcher}})
		c.validHTTP(&found, &api.HTTPGate{URL: url, JSONPath: path, Equals: "x"})
		for _, field := range found {
			if field.Detail == "" || strings.ContainsAny(field.Detail, "\n\r\x00") {
				t.Errorf("%q: want one line", field)
			}
		}
		if p, err := parsePath(path); err == nil {
			if n := len(p.Select(map[string]any{"a": []any{"b", map[string]any{"c": 1.0}}})); n > 1 {
				t.Errorf("%q leads to %d values", path, n)
			}
		}
	})
}
