// Package sleep waits for a time that can be cut short.
package sleep

import (
	"context"
	"time"
)

// For waits for d, or until ctx ends, whose error it returns then.
func For(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
