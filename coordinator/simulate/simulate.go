package simulate

import (
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Options say what to simulate.
type Options struct {
	Spec   api.RolloutSpec // valid but for the bundle, which may be left out
	Groups map[string]semaphore.Spec
	Hosts  []Host
	// Start is when the rollout is started, by which windows are open or not.
	Start time.Time
	Seed  uint64

	Apply  Spread // drain and apply
	Reboot Spread
	Verify Spread // until the health checks have passed
	// Fail and Hang are the shares of turns, from 0 to 1, in which the host fails
	// and is rolled back by another reboot, or never comes back.
	Fail, Hang float64
}

// Report is what a simulation found.
type Report struct {
	Simulated bool             `json:"simulated"` // always: the hosts were not real
	Seed      uint64           `json:"seed"`
	Nodes     int              `json:"nodes"`
	Groups    []Group          `json:"groups"`
	State     api.RolloutState `json:"state"`
	Why       string           `json:"why,omitempty"`
	Starts    time.Time        `json:"starts"`
	Ends      time.Time        `json:"ends,omitzero"` // or is halted; absent when it never ends
	Updated   int              `json:"updated"`
	Failed    int              `json:"failed"`
	Untouched int              `json:"untouched"`
	// MakespanS is from the start to the end, IdealS what the turns would take with
	// as many at once as may be and no moment between two, and Ratio the one by
	// the other; the latter two only where the rollout came to its end.
	MakespanS float64 `json:"makespan_s,omitempty"`
	IdealS    float64 `json:"ideal_s,omitempty"`
	Ratio     float64 `json:"ratio,omitempty"`
	PeakOut   int     `json:"peak_out"` // in all groups together
	Kept      int     `json:"kept"`     // that never came back and keep their slots
	Waves     []Wave  `json:"waves"`
	Budget    Budget  `json:"budget"`
	// Rollback is what auto_rollback did, absent where it had nothing to do.
	Rollback *Rollback `json:"rollback,omitempty"`
	Events   int       `json:"events"` // that happened in virtual time
	Looks    int       `json:"looks"`  // decisions about the whole rollout

	series *series
	ended  []time.Time // of the nodes that are done, in order
}

// Group is a group and how much of it was out of service.
type Group struct {
	Group   string `json:"group"`
	Nodes   int    `json:"nodes"`
	Slots   int    `json:"slots"`
	PeakOut int    `json:"peak_out"`
}

// Wave is one wave. Times are absent where they did not come.
type Wave struct {
	Name        string          `json:"name"`
	Nodes       int             `json:"nodes"`
	Updated     int             `json:"updated"`
	Failed      int             `json:"failed"`
	Concurrency api.Concurrency `json:"concurrency"`
	Started     time.Time       `json:"started,omitzero"`
	Finished    time.Time       `json:"finished,omitzero"` // its last node
	Done        time.Time       `json:"done,omitzero"`     // soaked, gates passed
}

// Budget is what became of the failure budget.
type Budget struct {
	Max    int `json:"max"`
	Failed int `json:"failed"`
	// HaltedAt and By are when and by which node's failure it halted.
	HaltedAt time.Time `json:"halted_at,omitzero"`
	By       string    `json:"by,omitempty"`
	Detail   string    `json:"detail,omitempty"`
	// UnderWay are those that were out of service at that moment, and finished.
	UnderWay int `json:"under_way,omitempty"`
}

// Rollback is the rollout that brings nodes back to what they had.
type Rollback struct {
	Nodes int       `json:"nodes"` // failed ones that are back already with them
	Back  int       `json:"back"`  // that have what they had
	Began time.Time `json:"began"`
	Ends  time.Time `json:"ends,omitzero"` // absent when it does not end
	TookS float64   `json:"took_s,omitempty"`
	State string    `json:"state"`
}

// id of the simulated rollout.
const id = "simulated"

// Run simulates. Errors are of what was asked for: an *api.Error, or one that
// names what is wrong.
func Run(o Options) (Report, error) {
	spec := o.Spec
	if spec.Bundle == "" {
		spec.Bundle = strings.Repeat("0", 64)
	}
	if err := rollout.Validate(spec); err != nil {
		return Report{}, err
	}
	for name, share := range map[string]float64{"fail rate": o.Fail, "hang rate": o.Hang} {
		if share < 0 || share > 1 || share != share {
			return Report{}, fmt.Errorf("%s %g: want a share from 0 to 1, such as 0.02", name, share)
		}
	}
	if o.Fail+o.Hang > 1 {
		return Report{}, fmt.Errorf("fail rate %g and hang rate %g are more than 1 together", o.Fail, o.Hang)
	}
	groups, err := semaphores(o.Groups, o.Hosts, o.Start)
	if err != nil {
		return Report{}, err
	}
	fleet := nodes(o.Hosts, o.Start)
	known := func(group string) bool { _, ok := o.Groups[group]; return ok }
	selected, refused := rollout.Select(spec, fleet, known)
	if refused != nil {
		return Report{}, refused
	}
	dealt, refused := rollout.Deal(spec, selected, func(api.Node) bool { return false })
	if refused != nil {
		return Report{}, refused
	}
	st := rollout.State{
		Head:  rollout.Head{ID: id, Spec: spec, State: api.RolloutRunning, CreatedAt: o.Start, EventSeq: 1},
		Nodes: dealt, Results: map[string]rollout.Result{}, Revision: 1,
	}
	if spec.Start.After(o.Start) || len(spec.Gates) > 0 {
		st.Head.State = api.RolloutScheduled
	}
	s := newSeries(groups, o.Start)
	courses := make([]rollout.Course, len(dealt))
	p := rollout.Forecast(rollout.World{
		Now: o.Start, Groups: groups, Nodes: fleet, Rollouts: []rollout.State{st}, Out: s.note, Undo: true,
		Course: func(step rollout.Step) rollout.Course {
			c := o.course(step)
			if step.Rollout > 0 { // what they had is known to be good
				return rollout.Course{Takes: c.Takes}
			}
			courses[step.At] = c
			return c
		},
	})
	if p.Cut {
		return Report{}, errors.New("the simulation did not come to an end: too much happened")
	}
	s.end(p.End)
	return o.report(p, groups, s, courses), nil
}

// course draws how a host's turn goes, from the seed and the host alone.
func (o *Options) course(step rollout.Step) rollout.Course {
	h := fnv.New64a()
	_, _ = fmt.Fprintf(h, "%s\x00%d", step.Node, step.Attempt)
	r := rand.New(rand.NewPCG(o.Seed, h.Sum64()))
	c := rollout.Course{Takes: o.Apply.draw(r) + o.Reboot.draw(r) + o.Verify.draw(r)}
	switch lot := r.Float64(); {
	case lot < o.Hang:
		c.Hangs = true
	case lot < o.Hang+o.Fail:
		c.Fails = true
		c.Takes += o.Reboot.draw(r) + o.Verify.draw(r)
	}
	return c
}

func (o *Options) report(p rollout.Played, groups []semaphore.State, s *series, courses []rollout.Course) Report {
	pr := &p.Rollouts[0]
	h := &pr.State.Head
	r := Report{
		Simulated: true, Seed: o.Seed, Nodes: len(pr.Turns), State: h.State, Why: h.Why, Starts: o.Start, Ends: pr.Ended,
		PeakOut: s.peak, Kept: s.total, Events: p.Events, Looks: p.Looks, series: s,
	}
	for i := range groups {
		g := &groups[i]
		r.Groups = append(r.Groups, Group{Group: g.Group, Nodes: g.Size(), Slots: g.SlotCount(), PeakOut: s.peaks[g.Group]})
	}
	if h.Stalled != nil && len(h.Stalled.Blockers) > 0 && pr.Ended.IsZero() {
		r.Why = strings.TrimSpace(r.Why + "; nothing may start: " + h.Stalled.Blockers[0].Detail)
	}
	byWave := r.waves(pr, groups)
	for _, t := range pr.Turns {
		switch t.State {
		case api.NodeUpdated:
			r.Updated++
			r.ended = append(r.ended, t.Ended)
		case api.NodeBroken:
			r.Failed++
		default:
			r.Untouched++
		}
	}
	slices.SortFunc(r.ended, time.Time.Compare)
	r.budget(pr)
	if len(p.Rollouts) > 1 {
		r.Rollback = rollbackOf(&p.Rollouts[1])
	}
	if !r.Ends.IsZero() {
		r.MakespanS = seconds(r.Ends.Sub(o.Start))
	}
	if !h.State.Active() {
		ideal := time.Duration(0)
		for w, list := range byWave {
			ideal += idealOf(list, r.Waves[w].Concurrency.Nodes, courses) + soakOf(&pr.State, w)
		}
		r.IdealS = seconds(ideal)
		if ideal > 0 {
			r.Ratio = r.MakespanS / r.IdealS
		}
	}
	return r
}

// waves tells of each wave, and returns its nodes by their number.
func (r *Report) waves(pr *rollout.PlayedRollout, groups []semaphore.State) [][]int {
	specs := rollout.WaveSpecs(pr.State.Head.Spec, len(pr.State.Nodes))
	byWave, selected := make([][]int, len(specs)), make([][]rollout.Selected, len(specs))
	for i, n := range pr.State.Nodes {
		byWave[n.Wave] = append(byWave[n.Wave], i)
		selected[n.Wave] = append(selected[n.Wave], n)
	}
	look := func(group string) (semaphore.State, bool) {
		for i := range groups {
			if groups[i].Group == group {
				return groups[i], true
			}
		}
		return semaphore.State{}, false
	}
	for w, s := range specs {
		out := Wave{Name: s.Name, Nodes: len(byWave[w]), Concurrency: rollout.AtOnce(s.Name, selected[w], look)}
		if ws := pr.State.Head.Waves; w < len(ws) {
			out.Started, out.Finished, out.Done = ws[w].StartedAt, ws[w].FinishedAt, ws[w].DoneAt
		}
		for _, i := range byWave[w] {
			switch pr.Turns[i].State {
			case api.NodeUpdated:
				out.Updated++
			case api.NodeBroken:
				out.Failed++
			}
		}
		r.Waves = append(r.Waves, out)
	}
	return byWave
}

func (r *Report) budget(pr *rollout.PlayedRollout) {
	h := &pr.State.Head
	r.Budget = Budget{Max: rollout.MayFail(h.Spec.MaxFailures, len(pr.Turns)), Failed: r.Failed}
	last := ""
	for _, e := range pr.Events {
		switch e.Kind {
		case rollout.EventNodeFailed:
			last = e.Node
		case rollout.EventHalted:
			r.Budget.HaltedAt, r.Budget.By, r.Budget.Detail = e.At, last, e.Detail
		}
	}
	if r.Budget.HaltedAt.IsZero() {
		return
	}
	for _, t := range pr.Turns {
		if !t.Began.IsZero() && !t.Began.After(r.Budget.HaltedAt) && t.Ended.After(r.Budget.HaltedAt) {
			r.Budget.UnderWay++
		}
	}
}

// rollbackOf tells of the rollout that brought nodes back: there is one, since all
// had the same bundle before.
func rollbackOf(pr *rollout.PlayedRollout) *Rollback {
	h := &pr.State.Head
	r := &Rollback{Nodes: len(pr.Turns), Began: h.CreatedAt, Ends: pr.Ended, State: string(h.State)}
	for _, t := range pr.Turns {
		if t.State == api.NodeUpdated {
			r.Back++
		}
	}
	if !r.Ends.IsZero() {
		r.TookS = seconds(r.Ends.Sub(r.Began))
	}
	return r
}

// idealOf is the least time in which so many at once get through their turns.
func idealOf(list []int, atOnce int, courses []rollout.Course) time.Duration {
	var sum, longest time.Duration
	for _, i := range list {
		sum += courses[i].Takes
		longest = max(longest, courses[i].Takes)
	}
	return max(longest, sum/time.Duration(max(1, atOnce)))
}

// soakOf is what a wave waits for beside its nodes: for the last of them to count
// as updated, its soak, and gates that must hold for a while.
func soakOf(st *rollout.State, w int) time.Duration {
	spec := rollout.WaveSpecs(st.Head.Spec, len(st.Nodes))[w]
	waits := rollout.Duration(st.Head.Spec.MinHealthyTime) + rollout.Duration(spec.Soak) + rollout.Unbroken(spec.Gates...)
	if w == 0 {
		waits += rollout.Unbroken(st.Head.Spec.Gates...)
	}
	return waits
}

func seconds(d time.Duration) float64 { return d.Round(time.Millisecond).Seconds() }
