package gate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
)

// alertsNamed is how many alerts an answer names.
const alertsNamed = 3

// alert is one of an Alertmanager's.
type alert struct {
	Labels map[string]string `json:"labels"`
}

func (c *Checker) alertmanager(ctx context.Context, g *api.AlertmanagerGate) condition.Answer {
	alerts, problem := c.alerts(ctx, g)
	if problem != nil {
		return missed("%s", problem.detail)
	}
	if len(alerts) > 0 {
		a := missed("%s", firing(alerts))
		a.Value = fmt.Sprint(len(alerts))
		return a
	}
	if problem := c.settled(ctx, g); problem != nil {
		return missed("%s", problem.detail)
	}
	return condition.Answer{Passes: true, Value: "0", Detail: condition.NoAlert(g)}
}

func firing(alerts []alert) string {
	var names []string
	for _, a := range alerts[:min(len(alerts), alertsNamed)] {
		s := sample{Labels: map[string]string{}}
		for name, value := range a.Labels {
			s.Labels[name] = value
		}
		s.Labels["__name__"] = a.Labels["alertname"]
		delete(s.Labels, "alertname")
		names = append(names, strings.TrimSpace(series(&s)))
	}
	text := "fires: " + strings.Join(names, ", ")
	if len(alerts) > 1 {
		text = fmt.Sprintf("%d alerts fire: %s", len(alerts), strings.Join(names, ", "))
	}
	if more := len(alerts) - alertsNamed; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// alerts asks an Alertmanager for those that are neither silenced nor inhibited.
// One that it has not looked at yet counts as active.
func (c *Checker) alerts(ctx context.Context, g *api.AlertmanagerGate) ([]alert, *trouble) {
	q := url.Values{"active": {"true"}, "silenced": {"false"}, "inhibited": {"false"}, "unprocessed": {"true"}, "filter": g.Matchers}
	host, a, problem := c.askAlertmanager(ctx, g, "api/v2/alerts", q)
	if problem != nil {
		return nil, problem
	}
	switch {
	case a.Status == http.StatusBadRequest:
		return nil, &trouble{badQuery, "the Alertmanager refuses the matchers: " + said(a.Body)}
	case a.Status != http.StatusOK:
		return nil, refusal(host, "an Alertmanager", a)
	}
	var list []alert
	err := decode(a.Body, &list)
	if err == nil && list == nil {
		err = errors.New("there is no list of alerts in it")
	}
	if err != nil {
		return nil, &trouble{notIt, fmt.Sprintf("%s does not answer as an Alertmanager: %v", host, err)}
	}
	return list, nil
}

// settled asks for how long it has been up. An Alertmanager keeps no alerts over
// a restart: right after one it would say that none fires.
func (c *Checker) settled(ctx context.Context, g *api.AlertmanagerGate) *trouble {
	host, a, problem := c.askAlertmanager(ctx, g, "api/v2/status", nil)
	if problem != nil {
		return problem
	}
	if a.Status != http.StatusOK {
		return refusal(host, "an Alertmanager", a)
	}
	var status struct {
		Since time.Time `json:"uptime"`
	}
	err := decode(a.Body, &status)
	if err == nil && status.Since.IsZero() {
		err = errors.New("it does not say since when it is up")
	}
	if err != nil {
		return &trouble{notIt, fmt.Sprintf("%s does not answer as an Alertmanager: %v", host, err)}
	}
	now := a.Date // by the same clock
	if now.IsZero() {
		now = c.cfg.Now()
	}
	if up := now.Sub(status.Since); c.cfg.Settle > 0 && up < c.cfg.Settle {
		return &trouble{noAnswer, fmt.Sprintf("the Alertmanager started %s ago and may not know all alerts yet: it counts after %s", max(0, up).Round(time.Second), c.cfg.Settle)}
	}
	return nil
}

func (c *Checker) askAlertmanager(ctx context.Context, g *api.AlertmanagerGate, path string, q url.Values) (string, ask.Answer, *trouble) {
	base, service, err := c.base(g.URL, c.cfg.Alertmanager)
	if err != nil {
		return "", ask.Answer{}, &trouble{notIt, err.Error()}
	}
	u := base.JoinPath(path)
	u.RawQuery = q.Encode()
	a, err := c.client.Once(ctx, ask.Request{URL: u, Service: service, Limit: maxAnswer})
	if err != nil {
		return "", ask.Answer{}, &trouble{noAnswer, "the Alertmanager could not be asked: " + err.Error()}
	}
	return base.Host, a, nil
}

// said is the message of an error of the Alertmanager's API, which is a JSON
// string or an object.
func said(body []byte) string {
	var text string
	var object struct {
		Message string `json:"message"`
	}
	switch {
	case json.Unmarshal(body, &text) == nil:
		return text
	case json.Unmarshal(body, &object) == nil && object.Message != "":
		return object.Message
	}
	return string(body)
}
