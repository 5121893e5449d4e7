package service

import (
	"fmt"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Webhooks are those that rollouts can tell.
type Webhooks interface {
	// Check names the field by which a receiver cannot be told, nil for one that
	// can. It asks nobody.
	Check(to api.NotifySpec) *api.FieldError
}

// checkWebhooks names each receiver of a rollout that this coordinator could not
// tell.
func (s *Service) checkWebhooks(spec api.RolloutSpec) error {
	if s.cfg.Webhooks == nil {
		return nil
	}
	var v invalid
	check := func(path string, list []api.NotifySpec) {
		for i, to := range list {
			if wrong := s.cfg.Webhooks.Check(to); wrong != nil {
				v.add(fmt.Sprintf("%s[%d].%s", path, i, wrong.Path), wrong.Detail)
			}
		}
	}
	check("on_halt", spec.OnHalt)
	check("on_done", spec.OnDone)
	return v.err()
}

// manyTries is after how many a webhook that was not told needs a person.
const manyTries = 3

// givenUpShown is for how long after what it is about a message that was given up,
// at most 12 hours later, needs a person. Nothing that one could do ends it.
const givenUpShown = 48 * time.Hour

// untold lists the rollouts whose webhooks could not be told.
func untold(o *overview) []api.Attention {
	var list []api.Attention
	for i := range o.rollouts {
		r := &o.rollouts[i]
		var to []string
		var since time.Time
		goesOn := false
		for _, u := range r.Undelivered {
			switch {
			case u.GaveUp && o.at.Sub(u.At) < givenUpShown:
				to = append(to, fmt.Sprintf("%s (%s: %s; given up)", u.To, u.What, u.Detail))
			case !u.GaveUp && u.Tries >= manyTries:
				to = append(to, fmt.Sprintf("%s (%s: %s)", u.To, u.What, u.Detail))
				goesOn = true
			default:
				continue
			}
			since = u.At // the oldest is the last
		}
		if len(to) == 0 {
			continue
		}
		do := "What was given up is not tried again: see to it yourself."
		if goesOn {
			do = "A message is tried for 12 hours; mend the webhook, or see to it yourself."
		}
		list = append(list, api.Attention{
			Kind: attentionUntold, Severity: warn, Rollout: r.ID, Group: r.Spec.Group, Since: since,
			Title:  fmt.Sprintf("Webhooks were not told of rollout %s", rolloutName(r)),
			Detail: "Not delivered to " + strings.Join(to, ", nor to ") + ". The rollout does not wait for them. " + do,
		})
	}
	return list
}
