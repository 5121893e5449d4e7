package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
)

// maxAnswer bounds the answer of a Prometheus or an Alertmanager, in bytes.
const maxAnswer = 4 << 20

// comparisons that a PromQL gate knows. None holds for NaN.
var comparisons = map[string]func(a, b float64) bool{
	"<":  func(a, b float64) bool { return a < b },
	"<=": func(a, b float64) bool { return a <= b },
	"==": func(a, b float64) bool { return a == b },
	"!=": func(a, b float64) bool { return a != b && !math.IsNaN(a) && !math.IsNaN(b) },
	">=": func(a, b float64) bool { return a >= b },
	">":  func(a, b float64) bool { return a > b },
}

// sample is one element of a query's result.
type sample struct {
	Labels map[string]string `json:"metric"`
	Value  point             `json:"value"`
	number float64
}

// point is [time, "value"].
type point struct{ text string }

func (p *point) UnmarshalJSON(text []byte) error {
	var pair []json.RawMessage
	if err := json.Unmarshal(text, &pair); err != nil || len(pair) != 2 {
		return errors.New("a value is not a pair of time and number")
	}
	return json.Unmarshal(pair[1], &p.text)
}

func (c *Checker) promQL(ctx context.Context, g *api.PromQLGate) condition.Answer {
	holds, ok := comparisons[g.Compare]
	if !ok {
		return missed("unknown comparison %q", g.Compare)
	}
	samples, problem := c.query(ctx, g)
	switch {
	case problem != nil:
		return missed("%s", problem.detail)
	case len(samples) == 0:
		return missed("the query gives nothing: no series matches, so there is nothing to compare")
	}
	var worst *sample
	misses := 0
	for i := range samples {
		s := &samples[i]
		if !holds(s.number, g.Value) {
			misses++
		}
		if worst == nil || worse(g.Compare, g.Value, s.number, worst.number) {
			worst = s
		}
	}
	want := g.Compare + " " + condition.Number(g.Value)
	a := condition.Answer{Passes: misses == 0, Value: worst.Value.text}
	switch {
	case misses > 0 && len(samples) == 1:
		a.Detail = fmt.Sprintf("%sis %s, want %s", series(worst), worst.Value.text, want)
	case misses > 0:
		a.Detail = fmt.Sprintf("%d of %d values miss %s; the worst, %sis %s", misses, len(samples), want, series(worst), worst.Value.text)
	case len(samples) == 1:
		a.Detail = fmt.Sprintf("%sis %s, %s", series(worst), worst.Value.text, want)
	default:
		a.Detail = fmt.Sprintf("all %d values are %s; the nearest to missing, %sis %s", len(samples), want, series(worst), worst.Value.text)
	}
	return a
}

// worse reports whether a is further from what is wanted than b.
func worse(compare string, want, a, b float64) bool {
	switch {
	case math.IsNaN(b):
		return false
	case math.IsNaN(a):
		return true
	}
	switch compare {
	case "<", "<=":
		return a > b
	case ">", ">=":
		return a < b
	case "==":
		return math.Abs(a-want) > math.Abs(b-want)
	}
	return math.Abs(a-want) < math.Abs(b-want)
}

// series names a sample, in PromQL's form, with a space behind; empty for none.
func series(s *sample) string {
	if len(s.Labels) == 0 {
		return "it "
	}
	var pairs []string
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		if name != "__name__" {
			pairs = append(pairs, fmt.Sprintf("%s=%q", name, s.Labels[name]))
		}
	}
	name := s.Labels["__name__"]
	if len(pairs) == 0 {
		return name + " "
	}
	return name + "{" + strings.Join(pairs, ", ") + "} "
}

// trouble is why a service gave nothing to judge by.
type trouble struct {
	kind   troubleKind
	detail string
}

type troubleKind int

const (
	noAnswer  troubleKind = iota // it may pass: nobody there, slow, overloaded
	notIt                        // what answers is no such service, or lets nobody in
	badQuery                     // it does not understand what it is asked
	badResult                    // it understands, but the result is of no use
)

// query asks a Prometheus for an instant.
func (c *Checker) query(ctx context.Context, g *api.PromQLGate) ([]sample, *trouble) {
	base, service, err := c.base(g.URL, c.cfg.Prometheus)
	if err != nil {
		return nil, &trouble{notIt, err.Error()}
	}
	u := base.JoinPath("api/v1/query")
	q := url.Values{"query": {g.Query}}
	if deadline, ok := ctx.Deadline(); ok {
		// It need not go on computing when nobody waits any more.
		q.Set("timeout", strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10)+"ms")
	}
	u.RawQuery = q.Encode()
	a, err := c.client.Once(ctx, ask.Request{URL: u, Service: service, Limit: maxAnswer})
	if err != nil {
		return nil, &trouble{noAnswer, "the Prometheus could not be asked: " + err.Error()}
	}
	return readQuery(base.Host, a)
}

// readQuery reads the answer of a Prometheus.
func readQuery(host string, a ask.Answer) ([]sample, *trouble) {
	var body struct {
		Status    string   `json:"status"`
		ErrorType string   `json:"errorType"`
		Error     string   `json:"error"`
		Warnings  []string `json:"warnings"`
		Data      struct {
			ResultType string          `json:"resultType"`
			Result     json.RawMessage `json:"result"`
		} `json:"data"`
	}
	err := decode(a.Body, &body)
	switch {
	case a.Status == http.StatusOK && err != nil:
		return nil, &trouble{notIt, fmt.Sprintf("%s does not answer as a Prometheus: %v", host, err)}
	case a.Status == http.StatusOK && body.Status == "success":
	case err == nil && body.Status == "error" && (a.Status == http.StatusBadRequest || a.Status == http.StatusUnprocessableEntity):
		return nil, &trouble{badQuery, "the Prometheus refuses the query: " + strings.TrimPrefix(body.Error, `invalid parameter "query": `)}
	case err == nil && body.Status == "error":
		return nil, &trouble{noAnswer, fmt.Sprintf("the Prometheus failed (%s): %s", body.ErrorType, body.Error)}
	case a.Status == http.StatusOK:
		return nil, &trouble{notIt, fmt.Sprintf("%s does not answer as a Prometheus: its status is %q", host, body.Status)}
	default:
		return nil, refusal(host, "a Prometheus", a)
	}
	for _, w := range body.Warnings {
		// Some versions put remarks on style here.
		if !strings.HasPrefix(w, "PromQL info:") {
			return nil, &trouble{noAnswer, "the result may be wrong or incomplete, says the Prometheus: " + w}
		}
	}
	return readResult(body.Data.ResultType, body.Data.Result)
}

// readResult reads the numbers of a result.
func readResult(kind string, text []byte) ([]sample, *trouble) {
	var list []sample
	var err error
	switch kind {
	case "vector":
		if err = json.Unmarshal(text, &list); err == nil && list == nil {
			err = errors.New("there is no list")
		}
	case "scalar":
		var p point
		err = json.Unmarshal(text, &p)
		list = []sample{{Value: p}}
	case "matrix":
		return nil, &trouble{badResult, "the query gives a range of values for each series: want an instant vector or a scalar, as of rate(…[5m])"}
	case "string":
		return nil, &trouble{badResult, "the query gives a text: want an instant vector or a scalar"}
	default:
		return nil, &trouble{notIt, fmt.Sprintf("the result is of the unknown type %q", kind)}
	}
	if err != nil {
		return nil, &trouble{notIt, "the result cannot be read: " + err.Error()}
	}
	for i := range list {
		if list[i].Value.text == "" {
			return nil, &trouble{badResult, series(&list[i]) + "is not a number, perhaps a histogram"}
		}
		if list[i].number, err = strconv.ParseFloat(list[i].Value.text, 64); err != nil {
			return nil, &trouble{notIt, fmt.Sprintf("%sis %q, which is not a number", series(&list[i]), list[i].Value.text)}
		}
	}
	return list, nil
}

// refusal is a status of a server that is not what a gate asks for.
func refusal(host, what string, a ask.Answer) *trouble {
	said := fmt.Sprintf("%s answered %d %s", host, a.Status, http.StatusText(a.Status))
	switch {
	case a.Status == http.StatusUnauthorized || a.Status == http.StatusForbidden:
		return &trouble{notIt, said + ": it lets the coordinator not in"}
	case a.Status >= 500 || a.Status == http.StatusTooManyRequests:
		return &trouble{noAnswer, said}
	}
	return &trouble{notIt, said + ", not as " + what}
}

// base is the URL of a service, the configured one if the gate has none. The
// token goes with both: it is shown below the configured URL only.
func (c *Checker) base(text string, configured ask.Service) (*url.URL, ask.Service, error) {
	if text == "" {
		text = configured.URL
	}
	if text == "" {
		return nil, ask.Service{}, errors.New("no URL is given or configured")
	}
	u, err := ask.CheckURL(text)
	if err != nil {
		return nil, ask.Service{}, err
	}
	return u, configured, c.client.Allowed(u)
}

// decode reads one JSON value, and nothing behind it.
func decode(text []byte, v any) error {
	if len(bytes.TrimSpace(text)) == 0 {
		return errors.New("the answer is empty")
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return fmt.Errorf("the answer is not the JSON that is wanted: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("there is more than one JSON value in the answer")
	}
	return nil
}
