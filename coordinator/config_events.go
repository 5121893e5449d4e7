package coordinator

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
)

// EventsConfig bounds the audit trail. What is past either bound is deleted, the
// oldest first, by the coordinator whose rollout engine is elected. Coordinators
// of one cluster are best given the same.
type EventsConfig struct {
	MaxCount int64         `yaml:"max_count"` // default 200000; a group or rollout has at most a quarter of them
	MaxAge   time.Duration `yaml:"max_age"`   // default 9600h (400 days)
}

const (
	minEvents   = 1_000
	maxEvents   = 1_000_000
	minEventAge = time.Hour
	maxEventAge = 10 * 365 * 24 * time.Hour
)

func defaultEvents() EventsConfig {
	return EventsConfig{MaxCount: etcdstore.DefaultTrail.MaxEvents, MaxAge: etcdstore.DefaultTrail.MaxAge}
}

func (c *EventsConfig) validate(bad func(field, format string, args ...any)) {
	if c.MaxCount < minEvents || c.MaxCount > maxEvents {
		bad("events.max_count", "%d: want %d to %d", c.MaxCount, minEvents, maxEvents)
	}
	if c.MaxAge < minEventAge || c.MaxAge > maxEventAge {
		bad("events.max_age", "%s: want 1h to %s", c.MaxAge, maxEventAge)
	}
}
