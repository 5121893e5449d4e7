package gate

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

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

func kinds(g api.GateSpec) (n int) {
	for _, is := range []bool{g.PromQL != nil, g.Alertmanager != nil, g.HTTP != nil, g.Command != nil, g.Approval != nil} {
		if is {
			n++
		}
	}
	return n
}

// Name is the name of a gate for people, its kind when it has none.
func Name(g api.GateSpec) string {
	if g.Name != "" {
		return g.Name
	}
	return Kind(g)
}

// Condition says in one line what must be so for the gate to pass.
func Condition(g api.GateSpec) string {
	switch {
	case g.PromQL != nil:
		return oneLine(g.PromQL.Query) + " " + g.PromQL.Compare + " " + number(g.PromQL.Value) + lasting(g.PromQL.For)
	case g.Alertmanager != nil:
		return noAlert(g.Alertmanager) + lasting(g.Alertmanager.For)
	case g.HTTP != nil:
		return answers(g.HTTP)
	case g.Command != nil:
		return oneLine(strings.Join(g.Command.Command, " ")) + " ends with 0"
	case g.Approval != nil:
		return approved(g.Approval)
	}
	return "nothing"
}

func noAlert(g *api.AlertmanagerGate) string {
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
	for _, s := range statuses(g) {
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

func number(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }
