package etcdstore_test

import (
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
	"github.com/lockkeeper/lockkeeper/semaphore/storetest"
)

const mostWaiters = 64

func TestStore_KeepsThePromisesOfEveryStore(t *testing.T) {
	fleets := map[semaphore.Store]*fleet{}
	storetest.Run(t, func(t *testing.T) (a, b semaphore.Store) {
		f := newFleet(t)
		cfg := f.config()
		cfg.MaxWaiters = mostWaiters
		a, b = f.open(cfg), f.open(cfg)
		fleets[a], fleets[b] = f, f
		return a, b
	}, storetest.Options{
		PutRaw: func(_ *testing.T, s semaphore.Store, key string, value []byte) {
			fleets[s].putRaw(key, string(value))
		},
		Advance:    func(_ *testing.T, s semaphore.Store, d time.Duration) { fleets[s].clock.advance(d) },
		MaxWaiters: mostWaiters,
	})
}
