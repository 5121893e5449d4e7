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
	if !(req.Pause >= 0 && req.Pause <= 1) {
		v.add("pause", "want 0 to 1, in seconds")
	}
	if err := v.err(); err != nil {
		return api.Measured{}, err
	}
	seconds := func(n float64) time.Duration { return time.Duration(n * float64(time.Second)) }
	m, err := s.db.MeasurePuts(ctx, req.Callers, seconds(req.Seconds), seconds(req.Pause))
	if errors.Is(err, etcdstore.ErrMeasuring) {
		return api.Measured{}, api.Errorf(api.Conflict, "%v: wait until that is over, %d s at most", err, api.MaxBenchSeconds)
	}
	return m, s.problem(ctx, err)
}
