package etcdstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/internal/sleep"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

const (
	// yardstickValue is the size of what is put, in bytes: that of a hold.
	yardstickValue = 170
	// slowestPut bounds what the histogram tells apart.
	slowestPut = time.Minute
)

// ErrMeasuring: puts are being measured already.
var ErrMeasuring = errors.New("the store's puts are being measured already")

// MeasurePuts is the yardstick of a benchmark: so many callers put values of
// 170 bytes, each its own key, one after the other for the given time, with a
// rest between two. It runs beside everything else, and once at a time
// (ErrMeasuring). The keys lie outside of what anybody watches, and are deleted
// before it returns.
func (d *DB) MeasurePuts(ctx context.Context, callers int, duration, rest time.Duration) (api.Measured, error) {
	if !d.measuring.TryLock() {
		return api.Measured{}, ErrMeasuring
	}
	defer d.measuring.Unlock()
	if err := d.cfg.Floor(); err != nil {
		return api.Measured{}, err
	}
	if !d.cfg.HasLeader() {
		return api.Measured{}, semaphore.ErrNoQuorum
	}
	prefix := strings.TrimSuffix(d.prefix, "/") + "-bench/"
	defer d.deleteYardstick(ctx, prefix)

	hist := hdr.New(1, slowestPut.Microseconds(), 3)
	var (
		mu     sync.Mutex
		failed error
		wg     sync.WaitGroup
	)
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, duration+attemptTimeout)
	defer cancel()
	value := strings.Repeat("0", yardstickValue)
	for i := range callers {
		wg.Go(func() {
			key := fmt.Sprintf("%s%04d", prefix, i)
			for ctx.Err() == nil {
				start := time.Now()
				if start.Sub(began) >= duration {
					return
				}
				_, err := d.client.Put(ctx, key, value)
				took := time.Since(start)
				mu.Lock()
				if err != nil {
					failed = err
				} else if err = hist.RecordValue(took.Microseconds()); err != nil {
					failed = err
				}
				stop := failed != nil
				mu.Unlock()
				if stop {
					return
				}
				if rest > 0 {
					_ = sleep.For(ctx, rest)
				}
			}
		})
	}
	wg.Wait()
	took := time.Since(began)
	if failed != nil {
		return api.Measured{}, outcome(ctx, failed)
	}
	text, err := hist.Encode(hdr.V2CompressedEncodingCookieBase)
	if err != nil {
		return api.Measured{}, err
	}
	return api.Measured{
		Histogram: string(text),
		Count:     hist.TotalCount(), Seconds: took.Seconds(), Rate: float64(hist.TotalCount()) / took.Seconds(),
		P50: hist.ValueAtQuantile(50), P99: hist.ValueAtQuantile(99), P999: hist.ValueAtQuantile(99.9), Max: hist.Max(),
	}, nil
}

// deleteYardstick leaves nothing behind, also when the caller is gone.
func (d *DB) deleteYardstick(ctx context.Context, prefix string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), attemptTimeout)
	defer cancel()
	if _, err := d.client.Delete(ctx, prefix, clientv3.WithPrefix()); err != nil {
		d.cfg.Logger.Warn("keys of a measurement could not be deleted; the next one does", "prefix", prefix, "error", err)
	}
}
