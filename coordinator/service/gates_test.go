package service

import (
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/ask"
	"github.com/lockkeeper/lockkeeper/coordinator/gate"
)

func TestCreateRollout_NamesTheWrongFieldOfAGateWhereverItStands(t *testing.T) {
	b := start(t, func(c *Config) { c.Gates = gate.New(gate.Config{}) })
	stored, _, err := b.upload(motd(t, "x\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	wrong := []api.GateSpec{
		{Name: "a person's", Approval: &api.ApprovalGate{}},
		{Name: "a command's", Command: &api.CommandGate{Command: []string{"/bin/true"}}},
	}
	for path, spec := range map[string]api.RolloutSpec{
		"gates[1].command.command[0]":          {Gates: wrong},
		"waves[1].gates[1].command.command[0]": {Waves: []api.WaveSpec{{Count: 1}, {Gates: wrong}}},
		"grow.gates[1].command.command[0]":     {Grow: &api.GrowSpec{Gates: wrong}},
	} {
		spec.Bundle, spec.Group = stored.Digest, "default"
		_, _, err := b.CreateRollout(b.ctx(api.RoleDeployer), spec, "")
		field(t, err, path)
		_, err = b.Plan(b.admin(), spec)
		field(t, err, path)
	}
	fine := api.RolloutSpec{Bundle: stored.Digest, Group: "default", Gates: wrong[:1]}
	if _, _, err := b.CreateRollout(b.ctx(api.RoleDeployer), fine, ""); err != nil {
		t.Error(err)
	}
}

// TestPlan_OfAViewerAsksNobody: what gates ask is asked with the coordinator's own
// credentials, and who may only look is not to ask with them.
func TestPlan_OfAViewerAsksNobody(t *testing.T) {
	var asked atomic.Int64
	prometheus := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	defer prometheus.Close()
	b := start(t, func(c *Config) {
		c.Gates = gate.New(gate.Config{Prometheus: ask.Service{URL: prometheus.URL}})
	})
	b.hello("a", "default")
	stored, _, err := b.upload(motd(t, "x\n"), "")
	if err != nil {
		t.Fatal(err)
	}
	spec := api.RolloutSpec{Bundle: stored.Digest, Group: "default", Gates: []api.GateSpec{
		{Name: "errors", PromQL: &api.PromQLGate{Query: "up", Compare: ">", Value: 0}},
	}}
	if _, err := b.Plan(b.ctx(api.RoleViewer), spec); err != nil || asked.Load() != 0 {
		t.Errorf("a viewer: %v, %d questions", err, asked.Load())
	}
	if _, err := b.Plan(b.ctx(api.RoleDeployer), spec); err != nil || asked.Load() != 1 {
		t.Errorf("a deployer: %v, %d questions", err, asked.Load())
	}
	spec.Gates[0].PromQL.Query = "up)"
	_, err = b.Plan(b.ctx(api.RoleViewer), spec)
	field(t, err, "gates[0].promql.query")
	if asked.Load() != 1 {
		t.Errorf("%d questions", asked.Load())
	}
}
