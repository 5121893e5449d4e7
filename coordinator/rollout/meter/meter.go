// Package meter tells Prometheus of rollouts, and of what an engine does.
package meter

import (
	"strconv"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// shownFor is how long the figures of a rollout that has ended are still there,
// so that whoever scrapes once a minute sees how it ended.
const shownFor = time.Hour

// Meter is the figures of one engine.
type Meter struct {
	leader  prometheus.Gauge
	notices *prometheus.CounterVec
	now     func() time.Time
	shown   atomic.Pointer[[]api.Rollout]
}

var (
	descRollouts = prometheus.NewDesc("lockkeeper_rollouts", "Rollouts that are kept, by state: scheduled, running, soaking, waiting_for_approval, paused, halted, succeeded, failed, aborted.", []string{"state"}, nil)

	ofOne       = []string{"rollout", "name"}
	descNodes   = prometheus.NewDesc("lockkeeper_rollout_nodes", "Nodes of a rollout, by state: pending, waiting, updating, updated, failed, skipped, aborted. Like all that has a rollout as label it is there while the rollout is active, and for an hour after.", append(ofOne, "state"), nil)
	descAllowed = prometheus.NewDesc("lockkeeper_rollout_max_failures", "So many nodes of a rollout may fail before it halts.", ofOne, nil)
	descLeft    = prometheus.NewDesc("lockkeeper_rollout_remaining_seconds", "Estimated time until a rollout is done; 0 when unknown, or ended.", ofOne, nil)
	descStalled = prometheus.NewDesc("lockkeeper_rollout_stalled", "1 while nothing of a rollout may start, else 0.", ofOne, nil)
	descStuckBy = prometheus.NewDesc("lockkeeper_rollout_stalled_by", "1 for each kind of blocker by which nothing of a rollout may start; not there while something may.", append(ofOne, "reason"), nil)
	descWave    = prometheus.NewDesc("lockkeeper_rollout_wave", "Number of a rollout's current wave, from 1; 0 before the first.", ofOne, nil)
	descWaves   = prometheus.NewDesc("lockkeeper_rollout_waves", "Waves of a rollout, by state: pending, running, soaking, gates, done, skipped, aborted.", append(ofOne, "state"), nil)
	descGates   = prometheus.NewDesc("lockkeeper_rollout_gates", "Gates at which a rollout stands, by whether they pass: true, false.", append(ofOne, "passes"), nil)
	descStarted = prometheus.NewDesc("lockkeeper_rollout_started_timestamp_seconds", "When a rollout was started.", ofOne, nil)
	descEnded   = prometheus.NewDesc("lockkeeper_rollout_ended_timestamp_seconds", "When a rollout ended; 0 while it is active.", ofOne, nil)
)

// New makes a Meter; reg may be nil.
func New(reg prometheus.Registerer, now func() time.Time) *Meter {
	m := &Meter{
		now: now,
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lockkeeper_rollout_leader", Help: "1 while the rollout engine of this coordinator is the elected one, else 0.",
		}),
	}
	m.notices = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "lockkeeper_rollout_notices_total", Help: "Tries to tell a webhook of a rollout, by this coordinator, by outcome: delivered, failed (to be tried again), given_up.",
	}, []string{"outcome"})
	for _, outcome := range []string{"delivered", "failed", "given_up"} {
		m.notices.WithLabelValues(outcome)
	}
	m.shown.Store(&[]api.Rollout{})
	if reg != nil {
		reg.MustRegister(m, m.leader, m.notices)
	}
	return m
}

// Show takes over what is to be told, and keeps it.
func (m *Meter) Show(list []api.Rollout) { m.shown.Store(&list) }

// Told counts a try to tell a webhook, by its outcome: delivered, failed, given_up.
func (m *Meter) Told(outcome string) { m.notices.WithLabelValues(outcome).Inc() }

// Describe implements prometheus.Collector.
func (m *Meter) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{descRollouts, descNodes, descGroupNodes, descAllowed, descLeft, descStalled, descStuckBy, descWave, descWaves, descGates, descStarted, descEnded} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *Meter) Collect(out chan<- prometheus.Metric) {
	list := *m.shown.Load()
	n := map[api.RolloutState]int{}
	for i := range list {
		r := &list[i]
		n[r.State]++
		if r.State.Active() || m.now().Sub(r.EndedAt) < shownFor {
			collect(out, r)
		}
	}
	for _, state := range api.RolloutStates {
		out <- gauge(descRollouts, float64(n[state]), string(state))
	}
}

// collect tells of one rollout.
func collect(out chan<- prometheus.Metric, r *api.Rollout) {
	p := &r.Progress
	for state, nodes := range map[string]int{
		api.NodePending: p.Pending, api.NodeQueued: p.Waiting, api.NodeUpdating: p.Updating,
		api.NodeUpdated: p.Updated, api.NodeBroken: p.Failed, api.NodeSkipped: p.Skipped, api.NodeAborted: p.Aborted,
	} {
		out <- gauge(descNodes, float64(nodes), r.ID, r.Spec.Name, state)
	}
	collectGroups(out, r)
	collectWaves(out, r)
	stalled, ended := 0.0, 0.0
	if r.Stalled != nil {
		stalled = 1
		kinds := map[string]bool{}
		for _, b := range r.Stalled.Blockers {
			kinds[string(b.Kind)] = true
		}
		for kind := range kinds {
			out <- gauge(descStuckBy, 1, r.ID, r.Spec.Name, kind)
		}
	}
	if !r.EndedAt.IsZero() {
		ended = float64(r.EndedAt.Unix())
	}
	for d, v := range map[*prometheus.Desc]float64{
		descAllowed: float64(r.Budget.Max), descLeft: float64(p.EstimateS), descStalled: stalled,
		descStarted: float64(r.CreatedAt.Unix()), descEnded: ended,
	} {
		out <- gauge(d, v, r.ID, r.Spec.Name)
	}
}

// collectWaves tells where a rollout stands.
func collectWaves(out chan<- prometheus.Metric, r *api.Rollout) {
	waves := map[string]int{
		api.WavePending: 0, api.WaveRunning: 0, api.WaveSoaking: 0, api.WaveGates: 0, api.WaveDone: 0, api.WaveSkipped: 0, api.WaveAborted: 0,
	}
	for _, w := range r.Waves {
		waves[w.State]++
	}
	for state, n := range waves {
		out <- gauge(descWaves, float64(n), r.ID, r.Spec.Name, state)
	}
	passes := map[bool]int{false: 0, true: 0}
	for _, g := range r.Gates {
		passes[g.Passes]++
	}
	for p, n := range passes {
		out <- gauge(descGates, float64(n), r.ID, r.Spec.Name, strconv.FormatBool(p))
	}
	out <- gauge(descWave, float64(r.Wave), r.ID, r.Spec.Name)
}

func gauge(d *prometheus.Desc, v float64, labels ...string) prometheus.Metric {
	return prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

// Elected says whether the engine is.
func (m *Meter) Elected(yes bool) {
	if yes {
		m.leader.Set(1)
		return
	}
	m.leader.Set(0)
}
