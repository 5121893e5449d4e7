// Package condition is what a gate asks for and what came of it, as values and in
// words. Package gate asks.
package condition

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Answer is what came of one try.
type Answer struct {
	Passes bool
	Value  string // what was seen, as short as it can be; empty when nothing was
	Detail string // a line for people
	At     time.Time
}

// Kinds of gates.
const (
	KindPromQL       = "promql"
	KindAlertmanager = "alertmanager"
	KindHTTP         = "http"
	KindCommand      = "command"
	KindApproval     = "approval"
)

// Kind is the kind of a gate, empty when it has none.
func Kind(g api.GateSpec) string {
	switch {
	case g.PromQL != nil:
		return KindPromQL
	case g.Alertmanager != nil:
		return KindAlertmanager
	case g.HTTP != nil:
		return KindHTTP
	case g.Command != nil:
		return KindCommand
	case g.Approval != nil:
		return KindApproval
	}
	return ""
}

// Name is the name of a gate for people, its kind when it has none.
func Name(g api.GateSpec) string {
	if g.Name != "" {
		return g.Name
	}
	return Kind(g)
}

// Of says in one line what must be so for the gate to pass.
func Of(g api.GateSpec) string {
	switch {
	case g.PromQL != nil:
		return oneLine(g.PromQL.Query) + " " + g.PromQL.Compare + " " + Number(g.PromQL.Value) + lasting(g.PromQL.For)
	case g.Alertmanager != nil:
		return NoAlert(g.Alertmanager) + lasting(g.Alertmanager.For)
	case g.HTTP != nil:
		return answers(g.HTTP)
	case g.Command != nil:
		return oneLine(strings.Join(g.Command.Command, " ")) + " ends with 0"
	case g.Approval != nil:
		return approved(g.Approval)
	}
	return "nothing"
}

// NoAlert is the condition of a gate that asks an Alertmanager.
func NoAlert(g *api.AlertmanagerGate) string {
	if len(g.Matchers) == 0 {
		return "no alert fires"
	}
	return "no alert fires with " + oneLine(strings.Join(g.Matchers, ", "))
}

// answers leaves the URL's query out, which may hold a secret.
func answers(g *api.HTTPGate) string {
	where := g.URL
	if u, err := url.Parse(g.URL); err == nil {
		u.RawQuery, u.User, u.Fragment = "", nil, ""
		where = u.String()
	}
	var codes []string
	for _, s := range Statuses(g) {
		codes = append(codes, strconv.Itoa(s))
	}
	text := oneLine(where) + " answers " + strings.Join(codes, " or ")
	if g.JSONPath != "" {
		text += fmt.Sprintf(", with %q at %s", g.Equals, oneLine(g.JSONPath))
	}
	return text
}

func approved(g *api.ApprovalGate) string {
	role, count := g.Role, g.Count
	if role == "" {
		role = string(api.RoleOperator)
	}
	text := "a person who is " + role + " or more approves"
	if count > 1 {
		text = fmt.Sprintf("%d people who are %s or more approve", count, role)
	}
	if g.NotStarter {
		text += ", not the one who started it"
	}
	return text
}

func lasting(text string) string {
	if text == "" {
		return ""
	}
	return " for " + text
}

// Number is a value as people write it.
func Number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// Statuses are those with which a server may answer.
func Statuses(g *api.HTTPGate) []int {
	if len(g.Status) == 0 {
		return []int{http.StatusOK}
	}
	return g.Status
}
