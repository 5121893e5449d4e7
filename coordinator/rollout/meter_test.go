package rollout

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout/meter"
)

func TestMetrics_TellWhereARolloutStands(t *testing.T) {
	st := gated(t, httpGate("a"), api.GateSpec{Name: "ok", Approval: &api.ApprovalGate{}})
	st = at(t, noon, says(st, noon, map[string]bool{"1/a": true}), done("n1"), idle("n2"))
	reg := prometheus.NewRegistry()
	m := meter.New(reg, func() time.Time { return noon })
	d := Decide(st.Head.Spec, st, nil, noon)
	m.Show([]api.Rollout{present(st, d)})
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, series := range f.Metric {
			key := f.GetName()
			for _, l := range series.Label {
				if l.GetName() == "state" || l.GetName() == "passes" {
					key += " " + l.GetValue()
				}
			}
			got[key] = series.GetGauge().GetValue()
		}
	}
	for key, want := range map[string]float64{
		"lockkeeper_rollout_wave": 1, "lockkeeper_rollout_waves gates": 1, "lockkeeper_rollout_waves pending": 1,
		"lockkeeper_rollout_waves running": 0, "lockkeeper_rollout_gates true": 1, "lockkeeper_rollout_gates false": 1,
	} {
		if v, there := got[key]; !there || v != want {
			t.Errorf("%s is %v (there: %v), want %v", key, v, there, want)
		}
	}
}
