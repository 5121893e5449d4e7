package service

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const (
	// gatesWithin bounds the questions whether all gates of a rollout are
	// understood by those that they ask.
	gatesWithin = 8 * time.Second
	// gatesAtOnce is how many are asked at a time.
	gatesAtOnce = 16
	// gateFields bounds the list of what is wrong.
	gateFields = 20
)

// Gates checks what a rollout's gates ask.
type Gates interface {
	// Validate names each field of a gate that cannot be, by its path in the gate. It
	// asks nobody once ctx has ended.
	Validate(ctx context.Context, g api.GateSpec) []api.FieldError
}

// checkGates names each field of a rollout's gates that cannot be. Only for those
// who may start it are the services asked too, with the coordinator's own
// credentials.
func (s *Service) checkGates(ctx context.Context, spec api.RolloutSpec, asks bool) error {
	if s.cfg.Gates == nil {
		return nil
	}
	type place struct {
		path string
		gate api.GateSpec
	}
	var places []place
	add := func(path string, gates []api.GateSpec) {
		for i, g := range gates {
			places = append(places, place{fmt.Sprintf("%s[%d]", path, i), g})
		}
	}
	add("gates", spec.Gates)
	for i, w := range spec.Waves {
		add(fmt.Sprintf("waves[%d].gates", i), w.Gates)
	}
	if spec.Grow != nil {
		add("grow.gates", spec.Grow.Gates)
	}
	ctx, cancel := context.WithTimeout(ctx, gatesWithin)
	defer cancel()
	if !asks {
		cancel()
	}
	found := make([][]api.FieldError, len(places))
	var group errgroup.Group
	group.SetLimit(gatesAtOnce)
	for i, p := range places {
		group.Go(func() error {
			found[i] = s.cfg.Gates.Validate(ctx, p.gate)
			return nil
		})
	}
	_ = group.Wait() // none fails
	var v invalid
	for i, fields := range found {
		for _, f := range fields {
			path := places[i].path
			if f.Path != "" {
				path += "." + f.Path
			}
			if len(v.fields) < gateFields {
				v.add(path, f.Detail)
			}
		}
	}
	return v.err()
}
