package etcdstore

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

type metrics struct {
	txn       prometheus.Histogram
	conflicts prometheus.Counter
	grants    *prometheus.CounterVec
	releases  *prometheus.CounterVec
	denials   *prometheus.CounterVec
	confirms  prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		txn: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "lockkeeper_store_txn_duration_seconds",
			Help:    "Duration of a transaction of the semaphore's store, from its start to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0002, 2, 15),
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lockkeeper_store_conflicts_total",
			Help: "Transactions that lost their comparison and were decided again.",
		}),
		grants: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lockkeeper_grants_total",
			Help: "Slots granted by this coordinator, by door: agent, fleetlock.",
		}, []string{"via"}),
		releases: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lockkeeper_releases_total",
			Help: "Slots returned, freed or expired through this coordinator, by door of the hold.",
		}, []string{"via"}),
		denials: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "lockkeeper_denials_total",
			Help: "Acquires and confirms that were refused, by the kind of problem that was answered.",
		}, []string{"reason"}),
		confirms: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "lockkeeper_confirms_total",
			Help: "First confirms of a hold.",
		}),
	}
	// Both doors are there from the start: of a series that begins at 1 no rate knows
	// the first.
	for _, via := range []semaphore.Via{semaphore.ViaAgent, semaphore.ViaFleetLock} {
		m.grants.WithLabelValues(string(via))
		m.releases.WithLabelValues(string(via))
	}
	if reg != nil {
		reg.MustRegister(m.txn, m.conflicts, m.grants, m.releases, m.denials, m.confirms)
	}
	return m
}

// counts is what a decision does, if it commits: holds made and ended, by door.
type counts struct {
	confirms         int
	grants, releases []semaphore.Via
}

// countsOf is what a decision does to the state that it was made on.
func countsOf(st *semaphore.State, d semaphore.Decision) (n counts) {
	for i := range d.Events {
		if d.Events[i].Kind == "hold.confirmed" {
			n.confirms++
		}
	}
	for _, c := range d.Changes {
		switch {
		case c.DeleteHold != "":
			h, _ := st.Hold(c.DeleteHold)
			n.releases = append(n.releases, h.Via)
		case c.Hold != nil:
			if _, held := st.Hold(c.Hold.Node); !held {
				n.grants = append(n.grants, c.Hold.Via)
			}
		}
	}
	return n
}

func (m *metrics) committed(n counts) {
	m.confirms.Add(float64(n.confirms))
	for _, via := range n.grants {
		m.grants.WithLabelValues(string(via)).Inc()
	}
	for _, via := range n.releases {
		m.releases.WithLabelValues(string(via)).Inc()
	}
}

func (m *metrics) answered(op semaphore.Op, a semaphore.Answer) {
	switch op.(type) {
	case semaphore.Acquire, semaphore.Confirm:
		if a.Kind != semaphore.OK {
			m.denials.WithLabelValues(string(a.Kind)).Inc()
		}
	}
}
