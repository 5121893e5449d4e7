package httpapi

import (
	"context"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// noInput is a request without parameters or body.
type noInput struct{}

func (s *service) fleet() {
	on(s, get("/status", "Fleet status"), func(ctx context.Context, _ *noInput) (*body[api.Status], error) {
		return answer(s.Status(ctx))
	})
	on(s, get("/cluster", "Cluster members"), func(ctx context.Context, _ *noInput) (*body[api.Cluster], error) {
		return answer(s.Cluster(ctx))
	})
	type explain struct {
		Group string `query:"group" doc:"One group; empty: all"`
	}
	on(s, get("/explain", "Explain the fleet"), func(ctx context.Context, in *explain) (*body[api.Explanation], error) {
		return answer(s.Explain(ctx, in.Group))
	})
	type bench struct{ Body api.BenchRequest }
	on(s, post("/bench", "Measure the store"), func(ctx context.Context, in *bench) (*body[api.Measured], error) {
		return answer(s.Bench(ctx, in.Body))
	})
}
