package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
)

// Bench measures puts on the coordinator's own store: the yardstick that a
// benchmark of everything above it is held against. It loads the store, so
// only an administrator may ask, and one at a time.
func (s *Service) Bench(ctx context.Context, req api.BenchRequest) (api.Measured, error) {
	if _, err := need(ctx, api.RoleAdmin); err != nil {
		return api.Measured{}, err
	}
	var v invalid
	if req.Callers < 1 || req.Callers > api.MaxBenchCallers {
		v.add("callers", fmt.Sprintf("want 1 to %d", api.MaxBenchCallers))
	}
	if !(req.Seconds > 0 && req.Seconds <= api.MaxBenchSeconds) {
		v.add("seconds", fmt.Sprintf("want more than 0, and at most %d", api.MaxBenchSeconds))
	}
	if err := v.err(); err != nil {
		return api.Measured{}, err
	}
	m, err := s.db.MeasurePuts(ctx, req.Callers, time.Duration(req.Seconds*float64(time.Second)))
	if errors.Is(err, etcdstore.ErrMeasuring) {
		return api.Measured{}, api.Errorf(api.Conflict, "%v: wait until that is over, %d s at most", err, api.MaxBenchSeconds)
	}
	return m, s.problem(ctx, err)
}
