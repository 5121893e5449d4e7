package gate

import (
	"context"
	"regexp"
	"strconv"
	"strings"

	"github.com/VictoriaMetrics/metricsql"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// understood asks the Prometheus itself whether it understands the query: its
// version, and what else speaks its protocol, know more or less than others.
func (c *Checker) understood(ctx context.Context, f *fields, g *api.PromQLGate) {
	_, problem := c.query(ctx, g)
	if problem == nil {
		return
	}
	problem.name(f, "promql.url", "promql.query")
	if problem.kind != noAnswer {
		return
	}
	if err := checkQuery(g.Query); err != "" {
		f.wrong("promql.query", "%s (%s)", err, problem.detail)
	}
}

// rest is how the parser says what it could not read.
var rest = regexp.MustCompile(`unparsed data(?: left)?: ("(?:[^"\\]|\\.)*")$`)

// checkQuery says what is wrong with a query by the grammar of MetricsQL, which
// takes some that a Prometheus does not. Empty: nothing.
func checkQuery(query string) string {
	_, err := metricsql.Parse(query)
	if err == nil {
		return ""
	}
	text := err.Error()
	match := rest.FindStringSubmatch(text)
	if match == nil {
		return "is no PromQL: " + text
	}
	left, err := strconv.Unquote(match[1])
	if err != nil || !strings.HasSuffix(query, left) {
		return "is no PromQL: " + text
	}
	if left == "" {
		return "is no PromQL: it breaks off at its end, at character " + strconv.Itoa(len([]rune(query)))
	}
	at := len([]rune(strings.TrimSuffix(query, left))) + 1
	return "is no PromQL from character " + strconv.Itoa(at) + " on: " + strings.TrimSuffix(strings.TrimSuffix(text, match[0]), "; ")
}
