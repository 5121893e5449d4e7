package rollout

import (
	"fmt"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// What was given out stays as it is, however long the gate is asked on.
func TestGatePast_RemembersTheLastAnswersOfAGateForAsLongAsItIsAsked(t *testing.T) {
	p := gatePast{}
	stands := func(second int, value string) []api.GatePoint {
		r := api.Rollout{ID: "ro-1", Gates: []api.RolloutGate{
			{Wave: 1, Name: "errors", Value: value, Checked: noon.Add(time.Duration(second) * time.Second)}, {Wave: 1, Name: "word"}}}
		p.tell(&r)
		p.keep(map[string]api.Rollout{"ro-1": r})
		if len(r.Gates[1].Past) != 0 {
			t.Fatal("a gate that was not asked has a past")
		}
		return r.Gates[0].Past
	}
	stands(0, "1")
	stands(0, "1") // seen again, not asked again
	first := stands(1, "")
	if len(first) != 2 || first[0].Value != "1" || first[1].Value != "" || !first[1].At.Equal(noon.Add(time.Second)) {
		t.Fatalf("past %+v", first)
	}
	for i := 2; i < 2*gatePoints; i++ {
		stands(i, fmt.Sprint(i))
	}
	last := stands(2*gatePoints, "last")
	if len(last) != gatePoints || last[gatePoints-1].Value != "last" || last[0].Value != fmt.Sprint(gatePoints+1) {
		t.Errorf("%d points, from %+v to %+v", len(last), last[0], last[len(last)-1])
	}
	if first[0].Value != "1" || len(first) != 2 {
		t.Errorf("what was given out became %+v", first)
	}
	p.keep(map[string]api.Rollout{"ro-1": {ID: "ro-1"}})
	if again := stands(500, "x"); len(again) != 1 {
		t.Errorf("a gate that is asked anew has %d points", len(again))
	}
}
