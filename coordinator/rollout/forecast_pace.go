package rollout

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const (
	// assumedPace is how long an update is taken to last where none is on record.
	assumedPace = 5 * time.Minute
	// ownPace is how many updates of a rollout's own nodes of a group say more of
	// the rest than what the group did before.
	ownPace = 3
)

// pace is how long the updates of a group's nodes take.
type pace struct {
	takes   []time.Duration // measured, ascending; one when it is assumed
	assumed bool
	basis   string
}

// newPace is the pace of a group for a rollout: that of the rollout's own nodes
// there once enough are updated, else that of the updates before, else what is
// measured at all, else assumed.
func newPace(group string, st *State, lasted []time.Duration) pace {
	own := ownTimes(group, st)
	switch {
	case len(own) >= ownPace, len(lasted) == 0 && len(own) > 0:
		return measured(own, fmt.Sprintf("group %s: each takes as long as the %s that the rollout updated there", group, plural(len(own), "node")))
	case len(lasted) > 0:
		return measured(lasted, fmt.Sprintf("group %s: each takes as long as the last %s there", group, plural(len(lasted), "update")))
	}
	return pace{
		takes: []time.Duration{assumedPace}, assumed: true,
		basis: fmt.Sprintf("group %s: %s a node are assumed, for no update there is on record", group, short(assumedPace)),
	}
}

func measured(takes []time.Duration, basis string) pace {
	p := pace{takes: slices.Sorted(slices.Values(takes)), basis: basis}
	first, last := p.takes[0], p.takes[len(p.takes)-1]
	p.basis += fmt.Sprintf(", %s on average", short(p.mean()))
	if short(first) != short(last) {
		p.basis += fmt.Sprintf(" (%s to %s)", short(first), short(last))
	}
	return p
}

// ownTimes are how long the nodes of a group were out of service that the
// rollout updated.
func ownTimes(group string, st *State) (out []time.Duration) {
	if st == nil || len(st.Results) == 0 {
		return nil
	}
	after := Duration(st.Head.Spec.MinHealthyTime) // in service, and not counted yet
	for _, n := range st.Nodes {
		r := st.Results[n.Node]
		if n.Group != group || r.State != api.NodeUpdated || r.Began.IsZero() {
			continue
		}
		if took := r.At.Sub(r.Began) - after; took > 0 {
			out = append(out, took)
		}
	}
	return out
}

func (p *pace) mean() (mean time.Duration) {
	for _, d := range p.takes {
		mean += d
	}
	return mean / time.Duration(len(p.takes))
}

// of is what one node takes, by its number: all numbers together take what was
// measured, the slow ones spread evenly among the others.
func (p *pace) of(number int) time.Duration {
	_, part := math.Modf(0.5 + float64(number)*0.6180339887498949)
	return p.takes[min(len(p.takes)-1, int(part*float64(len(p.takes))))]
}

// short is a time as people say it.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		d = d.Round(time.Millisecond)
	case d < time.Minute:
		d = d.Round(100 * time.Millisecond)
	case d < time.Hour:
		d = d.Round(time.Second)
	default:
		d = d.Round(time.Minute)
	}
	text := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if n := len(text); n > len(zero) && text[n-len(zero):] == zero {
			text = text[:n-2]
		}
	}
	return text
}
