package etcdstore

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// The first grant through a door is one that a rate can see.
func TestMetrics_ADoorThatNobodyUsedYetIsAtZero(t *testing.T) {
	reg := prometheus.NewRegistry()
	newMetrics(reg)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	at := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			for _, l := range m.Label {
				at[f.GetName()+" "+l.GetValue()] = m.Counter.GetValue()
			}
		}
	}
	for _, series := range []string{
		"lockkeeper_grants_total agent", "lockkeeper_grants_total fleetlock",
		"lockkeeper_releases_total agent", "lockkeeper_releases_total fleetlock",
	} {
		if v, there := at[series]; !there || v != 0 {
			t.Errorf("%s is %v (there: %v), want 0", series, v, there)
		}
	}
}
