package rollout

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestAsk_DecidedAgainItMeansThePlaceThatItFound(t *testing.T) {
	approval := []api.GateSpec{{Name: "go", Approval: &api.ApprovalGate{}}}
	waves := []api.WaveSpec{{Name: "one", Count: 1, Gates: approval}, {Name: "two", Count: 2, Gates: approval}, {Name: "three"}}
	before := inWaves(waves, 1, 1, 1)
	before.Head.Spec.Gates, before.Head.State = approval, api.RolloutApproval
	first := inWaves(waves, 1, 1, 1)
	first = at(t, noon, first, done("n1"), idle("n2"), idle("n3"))
	second := first
	second.Head.Wave = 1
	second.Head.Waves = []WaveState{first.Head.Waves[0], {StartedAt: noon, FinishedAt: noon}, {}}
	second.Head.Waves[0].DoneAt = noon
	for _, action := range []string{ActApprove, ActSkip} {
		for name, c := range map[string]struct{ found, now State }{
			"before the first wave": {before, first}, "in the first wave": {first, second},
		} {
			ask := Ask{Action: action, By: "bob", Role: api.RoleAdmin}
			bound := ask.bound(&c.found).bound(&c.now)
			if d, err := Apply(c.now, bound, noon); err != nil || d.Changed {
				t.Errorf("%s %s: changed %v, %v, though it has gone on", action, name, d.Changed, err)
			}
			if _, err := Apply(c.found, bound, noon); action == ActApprove && err != nil {
				t.Errorf("%s %s, where it was found: %v", action, name, err)
			}
		}
	}
}
