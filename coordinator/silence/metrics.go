package silence

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	active   prometheus.Gauge
	failing  prometheus.Gauge
	requests *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		active: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lockkeeper_silences", Help: "Silences that this coordinator keeps in the Alertmanager; 0 where another one does. This and what else is about silences appears where silences.alertmanager_url is set.",
		}),
		failing: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "lockkeeper_silences_failing", Help: "1 while silences cannot be kept, so that hosts which are updated may alert, else 0.",
		}),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lockkeeper_silence_requests_total", Help: "Requests to the Alertmanager about silences, by outcome: ok, failed.",
		}, []string{"outcome"}),
	}
	for _, outcome := range []string{"ok", "failed"} {
		m.requests.WithLabelValues(outcome)
	}
	if reg != nil {
		reg.MustRegister(m.active, m.failing, m.requests)
	}
	return m
}

func (m *metrics) count(err error) {
	if err != nil {
		m.requests.WithLabelValues("failed").Inc()
		return
	}
	m.requests.WithLabelValues("ok").Inc()
}
