package service

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
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
