package gate

import (
	"context"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/matcher/parse"
	"github.com/prometheus/alertmanager/pkg/labels"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
)

// Bounds of a gate's fields.
const (
	minEvery, maxEvery       = time.Second, time.Hour
	minTimeout, maxTimeout   = 100 * time.Millisecond, time.Minute
	maxFor                   = 7 * 24 * time.Hour
	minDeadline, maxDeadline = time.Second, 365 * 24 * time.Hour

	maxQuery     = 4096 // bytes
	maxMatchers  = 50
	maxURL       = 2048 // bytes
	maxStatuses  = 20
	maxPath      = 500 // bytes
	maxEquals    = 1000
	maxArguments = 100
	maxCommand   = 8192 // bytes in all
)

// asking bounds the question whether a service understands the gate.
const asking = 5 * time.Second

// fields collects what is wrong with a gate.
type fields []api.FieldError

func (f *fields) wrong(path, format string, args ...any) {
	*f = append(*f, api.FieldError{Path: path, Detail: ask.Line(fmt.Sprintf(format, args...))})
}

// Validate names each field of a gate that cannot be, by its path in the gate. A
// gate without fault is shown to the service that it asks, for at most 5 s.
func (c *Checker) Validate(ctx context.Context, g api.GateSpec) []api.FieldError {
	var f fields
	if n := kinds(g); n != 1 {
		f.wrong("", "has %d kinds: want exactly one of promql, alertmanager, http, command and approval", n)
		return f
	}
	f.duration("every", g.Every, minEvery, maxEvery)
	f.duration("timeout", g.Timeout, minTimeout, maxTimeout)
	f.duration("deadline", g.Deadline, minDeadline, maxDeadline)
	switch {
	case g.PromQL != nil:
		c.validPromQL(&f, g.PromQL)
	case g.Alertmanager != nil:
		c.validAlertmanager(&f, g.Alertmanager)
	case g.HTTP != nil:
		c.validHTTP(&f, g.HTTP)
	case g.Command != nil:
		c.validCommand(&f, g.Command)
	}
	if len(f) > 0 {
		return f
	}
	ctx, cancel := ask.Within(ctx, min(timeout(g), asking))
	defer cancel()
	switch {
	case g.PromQL != nil:
		c.understood(ctx, &f, g.PromQL)
	case g.Alertmanager != nil:
		if _, problem := c.alerts(ctx, g.Alertmanager); problem != nil {
			problem.name(&f, "alertmanager.url", "alertmanager.matchers")
		}
	}
	return f
}

func (c *Checker) validPromQL(f *fields, g *api.PromQLGate) {
	c.validURL(f, "promql.url", g.URL, c.cfg.Prometheus.URL, "a Prometheus, or have the coordinator's configuration name one, gates.prometheus_url")
	switch {
	case strings.TrimSpace(g.Query) == "":
		f.wrong("promql.query", "is empty: want PromQL that gives an instant vector or a scalar")
	case len(g.Query) > maxQuery:
		f.wrong("promql.query", "%d bytes: at most %d", len(g.Query), maxQuery)
	}
	if comparisons[g.Compare] == nil {
		f.wrong("promql.compare", "%q: want one of <, <=, ==, !=, >= and >", g.Compare)
	}
	if math.IsNaN(g.Value) || math.IsInf(g.Value, 0) {
		f.wrong("promql.value", "%v: want a number", g.Value)
	}
	f.duration("promql.for", g.For, time.Second, maxFor)
}

func (c *Checker) validAlertmanager(f *fields, g *api.AlertmanagerGate) {
	c.validURL(f, "alertmanager.url", g.URL, c.cfg.Alertmanager.URL, "an Alertmanager, or have the coordinator's configuration name one, gates.alertmanager_url")
	if len(g.Matchers) > maxMatchers {
		f.wrong("alertmanager.matchers", "%d matchers: at most %d", len(g.Matchers), maxMatchers)
		return
	}
	for i, text := range g.Matchers {
		if _, err := ParseMatcher(text); err != nil {
			f.wrong(fmt.Sprintf("alertmanager.matchers[%d]", i), "%v", err)
		}
	}
	f.duration("alertmanager.for", g.For, time.Second, maxFor)
}

// ParseMatcher reads one matcher of labels, as Alertmanager does.
func ParseMatcher(text string) (*labels.Matcher, error) {
	if len(text) > maxURL {
		return nil, fmt.Errorf("%d bytes: at most %d", len(text), maxURL)
	}
	m, err := parse.Matcher(text)
	if err != nil {
		return nil, fmt.Errorf(`%q: %w: want one such as severity="critical" or instance=~"web-.*"`, text, err)
	}
	return m, nil
}

func (c *Checker) validHTTP(f *fields, g *api.HTTPGate) {
	if g.URL == "" {
		f.wrong("http.url", "is missing: want what to GET, such as https://web.example.com/healthz")
	} else {
		c.checkURL(f, "http.url", g.URL)
	}
	if len(g.Status) > maxStatuses {
		f.wrong("http.status", "%d statuses: at most %d", len(g.Status), maxStatuses)
	}
	for i, s := range g.Status {
		if s < 200 || s > 599 {
			f.wrong(fmt.Sprintf("http.status[%d]", i), "%d: want an HTTP status from 200 to 599", s)
		}
	}
	switch {
	case g.JSONPath == "" && g.Equals != "":
		f.wrong("http.json_path", "is missing: want where in the answer the value is that equals %q, such as $.status", g.Equals)
	case g.JSONPath == "":
	case len(g.JSONPath) > maxPath:
		f.wrong("http.json_path", "%d bytes: at most %d", len(g.JSONPath), maxPath)
	default:
		if _, err := parsePath(g.JSONPath); err != nil {
			f.wrong("http.json_path", "%v", err)
		}
		if g.Equals == "" {
			f.wrong("http.equals", "is missing: want what the value at %s must be, as text", g.JSONPath)
		}
	}
	if len(g.Equals) > maxEquals {
		f.wrong("http.equals", "%d bytes: at most %d", len(g.Equals), maxEquals)
	}
}

func (c *Checker) validCommand(f *fields, g *api.CommandGate) {
	size := 0
	for i, word := range g.Command {
		size += len(word)
		if strings.ContainsRune(word, 0) {
			f.wrong(fmt.Sprintf("command.command[%d]", i), "has a zero byte in it")
		}
	}
	switch {
	case len(g.Command) == 0 || g.Command[0] == "":
		f.wrong("command.command", "is empty: want the path of a program, and its arguments")
	case !slices.Contains(c.cfg.Commands, g.Command[0]):
		f.wrong("command.command[0]", "%s", c.notAllowed(g.Command[0]))
	case len(g.Command)-1 > maxArguments || size > maxCommand:
		f.wrong("command.command", "%d arguments and %d bytes: at most %d and %d", len(g.Command)-1, size, maxArguments, maxCommand)
	}
}

// CheckCommand says what is wrong with a program that gates may run.
func CheckCommand(path string) error {
	if !filepath.IsAbs(path) || filepath.Clean(path) != path {
		return fmt.Errorf("%q: want the absolute path of a program, such as /usr/local/bin/smoke", path)
	}
	return nil
}

// validURL checks the URL of a service, which may be the configured one.
func (c *Checker) validURL(f *fields, path, text, configured, want string) {
	if text == "" && configured == "" {
		f.wrong(path, "is missing: give the URL of %s", want)
		return
	}
	if text == "" {
		return // the configuration was checked at the coordinator's start
	}
	if u := c.checkURL(f, path, text); u != nil && u.RawQuery != "" {
		f.wrong(path, "has a query behind ?: want only where the service is")
	}
}

func (c *Checker) checkURL(f *fields, path, text string) *url.URL {
	if len(text) > maxURL {
		f.wrong(path, "%d bytes: at most %d", len(text), maxURL)
		return nil
	}
	u, err := ask.CheckURL(text)
	if err == nil {
		err = c.client.Allowed(u)
	}
	if err != nil {
		f.wrong(path, "%v", err)
		return nil
	}
	return u
}

func (f *fields) duration(path, text string, least, most time.Duration) {
	if text == "" {
		return
	}
	d, err := time.ParseDuration(text)
	switch {
	case err != nil:
		f.wrong(path, "%q: want a duration such as 30s, 10m or 2h30m", text)
	case d < least || d > most:
		f.wrong(path, "%s: want %s to %s", text, short(least), short(most))
	}
}

// short is a duration without zeros behind it: 1h, not 1h0m0s.
func short(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

// name puts a service's answer to the field that it is about. One that may be
// back by then is no fault of the gate.
func (t *trouble) name(f *fields, where, what string) {
	switch t.kind {
	case noAnswer:
	case notIt:
		f.wrong(where, "%s", t.detail)
	case badQuery, badResult:
		f.wrong(what, "%s", t.detail)
	}
}

func kinds(g api.GateSpec) (n int) {
	for _, is := range []bool{g.PromQL != nil, g.Alertmanager != nil, g.HTTP != nil, g.Command != nil, g.Approval != nil} {
		if is {
			n++
		}
	}
	return n
}
