package service

import (
	"fmt"
	"strings"

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

// untold lists the rollouts whose webhooks could not be told.
func untold(o *overview) []api.Attention {
	var list []api.Attention
	for i := range o.rollouts {
		r := &o.rollouts[i]
		var to []string
		for _, u := range r.Undelivered {
			if u.Tries >= manyTries || u.GaveUp {
				to = append(to, fmt.Sprintf("%s (%s: %s)", u.To, u.What, u.Detail))
			}
		}
		if len(to) > 0 {
			list = append(list, api.Attention{
				Kind: attentionUntold, Severity: warn, Rollout: r.ID, Group: r.Spec.Group, Since: r.Undelivered[0].At,
				Title:  fmt.Sprintf("Webhooks were not told of rollout %s", rolloutName(r)),
				Detail: sentenceOf(strings.Join(to, "; ")) + "The rollout does not wait for them. They are tried for 12 hours; mend the webhook, or see to it yourself.",
			})
		}
	}
	return list
}
