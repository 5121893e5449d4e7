package rollout

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// metrics of one engine.
type metrics struct {
	rollouts *prometheus.GaugeVec
	leader   prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		rollouts: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "lockkeeper_rollouts", Help: "Rollouts that are kept, by state.",
		}, []string{"state"}),
		leader: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lockkeeper_rollout_leader", Help: "1 while the rollout engine of this coordinator is the elected one, else 0.",
		}),
	}
	if reg != nil {
		reg.MustRegister(m.rollouts, m.leader)
	}
	return m
}

func (m *metrics) count(p *picture) {
	n := map[api.RolloutState]int{}
	for _, r := range p.rollouts {
		n[r.State]++
	}
	for _, state := range api.RolloutStates {
		m.rollouts.WithLabelValues(string(state)).Set(float64(n[state]))
	}
}

func (m *metrics) elected(yes bool) {
	if yes {
		m.leader.Set(1)
		return
	}
	m.leader.Set(0)
}
