package gate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"slices"

	"github.com/theory/jsonpath"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
)

// maxPage bounds the answer of an HTTP gate, in bytes.
const maxPage = 1 << 20

func (c *Checker) http(ctx context.Context, g *api.HTTPGate) condition.Answer {
	u, err := ask.CheckURL(g.URL)
	if err != nil {
		return missed("the URL %v", err)
	}
	a, err := c.client.Once(ctx, ask.Request{URL: u, Redirects: condition.Statuses(g), Limit: maxPage})
	if err != nil {
		return missed("%v", err)
	}
	answer := condition.Answer{
		Value:  fmt.Sprint(a.Status),
		Detail: fmt.Sprintf("%s answered %d %s", u.Host, a.Status, http.StatusText(a.Status)),
	}
	if !slices.Contains(condition.Statuses(g), a.Status) {
		answer.Detail += fmt.Sprintf(", want %v", condition.Statuses(g))
		return answer
	}
	if g.JSONPath == "" {
		answer.Passes = true
		return answer
	}
	path, err := parsePath(g.JSONPath)
	if err != nil {
		return missed("json_path %v", err)
	}
	var body any
	if err := decode(a.Body, &body); err != nil {
		answer.Detail += ", but " + err.Error()
		return answer
	}
	found := path.Select(body)
	if len(found) != 1 {
		answer.Value = ""
		answer.Detail = fmt.Sprintf("%s: there is nothing at %s in the answer, want %q", u.Host, g.JSONPath, g.Equals)
		return answer
	}
	text := textOf(found[0])
	answer.Value = text
	answer.Passes = equal(found[0], text, g.Equals)
	if answer.Detail = fmt.Sprintf("%s: %s is %q", u.Host, g.JSONPath, text); !answer.Passes {
		answer.Detail += fmt.Sprintf(", want %q", g.Equals)
	}
	return answer
}

// parsePath reads a path to one value. Others, such as $..a or $[*], may take
// time and room that grow with a power of the answer's size, and could give
// several values to compare.
func parsePath(text string) (*jsonpath.Path, error) {
	path, err := jsonpath.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q: %w: want a path of names and indexes such as $.checks.db.status or $.items[0]", text, err)
	}
	if path.Query().Singular() == nil {
		return nil, errors.New(text + " may lead to several values: want a path of names and indexes such as $.checks.db.status or $.items[0]")
	}
	return path, nil
}

// textOf is a JSON value as text: that of a string itself, others as in JSON.
func textOf(v any) string {
	if s, ok := v.(string); ok {
		return s
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return ""
	}
	return string(bytes.TrimSpace(buf.Bytes()))
}

// equal compares numbers by what they are worth, and all else by its text.
func equal(v any, text, want string) bool {
	if text == want {
		return true
	}
	if _, ok := v.(json.Number); !ok || len(text) > maxNumber || len(want) > maxNumber {
		return false
	}
	a, okA := new(big.Rat).SetString(text)
	b, okB := new(big.Rat).SetString(want)
	return okA && okB && a.Cmp(b) == 0
}

// maxNumber bounds the numbers that are compared by worth, in digits.
const maxNumber = 40
