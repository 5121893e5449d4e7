package web

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestSpark_DrawsWhatAMetricSaidAgainstItsThreshold(t *testing.T) {
	noon := time.Date(2026, 11, 24, 12, 3, 0, 0, time.UTC)
	limit := 0.01
	g := api.RolloutGate{Threshold: &limit, Passes: true}
	if newSpark(g) != nil {
		t.Error("a gate that was never asked has a line")
	}
	for i, v := range []string{"0.002", "0.004", "", "NaN", "0.02", "0.002"} {
		g.Past = append(g.Past, api.GatePoint{At: noon.Add(time.Duration(i) * time.Minute), Value: v})
	}
	d := newSpark(g)
	// The highest is 4 below the top, the lowest as far above the bottom; what gave
	// no number is a gap.
	if want := "M4.0 26.0L28.4 23.6M101.6 4.0L126.0 26.0"; d.Line != want {
		t.Errorf("line %s, want %s", d.Line, want)
	}
	if d.Threshold != "16.2" || !d.Dot || d.X != "126.0" || d.Y != "26.0" {
		t.Errorf("%+v", d)
	}
	if want := "0.002 to 0.02 since 12:03 UTC, 6 tries; threshold 0.01; 2 gave no number"; d.Label != want {
		t.Errorf("label %q, want %q", d.Label, want)
	}
	g.Past = g.Past[3:4]
	if newSpark(g) != nil {
		t.Error("a line without a number")
	}
	g.Past = []api.GatePoint{{At: noon, Value: "0.01"}}
	if d := newSpark(g); d.Line != "M126.0 15.0" || d.Threshold != "15.0" || !d.Dot || d.Label != "0.01 since 12:03 UTC, 1 try; threshold 0.01" {
		t.Errorf("one try at the threshold: %+v", d)
	}
	g.Threshold = nil
	if newSpark(g) != nil {
		t.Error("a line against nothing")
	}
}
