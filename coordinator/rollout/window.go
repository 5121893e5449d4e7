package rollout

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// shut says that a rollout's own windows let nothing start now, nil when they do.
func shut(spec *api.RolloutSpec, now time.Time) *api.Blocker {
	if len(spec.Windows) == 0 {
		return nil
	}
	list, _ := Windows(spec.Windows)
	b := semaphore.OutsideWindows(list, now)
	if b == nil {
		return nil
	}
	return &api.Blocker{Kind: api.Kind(b.Kind), Detail: "rollout: " + b.Detail, Until: b.Until}
}
