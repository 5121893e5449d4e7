package rollout

import "github.com/lockkeeper/lockkeeper/coordinator/api"

// gatePoints is how many answers of a gate are remembered.
const gatePoints = 120

// gatePast is what the gates at which rollouts stand have said, as far as this
// coordinator saw it: the elected one each answer, another those that were stored.
// It is a drawing for people. Nothing is decided by it, it is not stored, and it
// goes with the process.
type gatePast map[askKey][]api.GatePoint

// tell remembers what the gates of a rollout say, and gives each its past. The
// points that were given out before stay as they are.
func (p gatePast) tell(r *api.Rollout) {
	for i := range r.Gates {
		g := &r.Gates[i]
		if g.Checked.IsZero() {
			continue
		}
		key := askKey{r.ID, gateKey(g.Wave, g.Name)}
		past := p[key]
		if n := len(past); n == 0 || g.Checked.After(past[n-1].At) {
			past = append(past, api.GatePoint{At: g.Checked, Value: g.Value})
		}
		past = past[max(0, len(past)-gatePoints):]
		p[key], g.Past = past, past[:len(past):len(past)]
	}
}

// keep forgets the gates at which no rollout stands any more.
func (p gatePast) keep(rollouts map[string]api.Rollout) {
	stands := map[askKey]bool{}
	for id, r := range rollouts {
		for _, g := range r.Gates {
			stands[askKey{id, gateKey(g.Wave, g.Name)}] = true
		}
	}
	for key := range p {
		if !stands[key] {
			delete(p, key)
		}
	}
}
