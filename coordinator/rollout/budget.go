package rollout

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// MayFail is how many of so many nodes a budget lets fail. A percentage is
// rounded down: of 30 nodes, 5% are 1. An empty budget is 0.
func MayFail(budget api.Slots, nodes int) int {
	b, err := semaphore.ParseSlots(string(budget))
	switch {
	case err != nil: // a valid spec has none but the empty one
		return 0
	case b.Percent:
		return nodes * b.N / 100
	}
	return b.N
}

func validBudget(budget api.Slots) error {
	if budget == "" {
		return nil
	}
	if _, err := semaphore.ParseSlots(string(budget)); err != nil {
		return fmt.Errorf("%q: want how many nodes may fail, as a number (3) or as a percentage from 0%% to 100%%", budget)
	}
	return nil
}
