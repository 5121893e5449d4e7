package rollout

import (
	"context"
	"errors"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// unanswered are the first events of changes that were tried, and of which it is
// not known whether they were made. To decide anew what a person asked is no way
// to find out: a wave that was skipped is followed by one that can be skipped,
// and one that resumed may have been paused again by somebody else.
type unanswered []semaphore.Event

// noted keeps a change whose outcome is not known, and hands its error on.
func (u *unanswered) noted(d Decisions, err error) error {
	if errors.Is(err, semaphore.ErrNoQuorum) {
		*u = append(*u, d.Events[0])
	}
	return err
}

// made reports whether one of them has been made. A later change cannot be
// committed beside one that still may: both compare the head.
func (u unanswered) made(ctx context.Context, store Store) (bool, error) {
	for _, e := range u {
		if told, err := store.Told(ctx, e); told || err != nil {
			return told, err
		}
	}
	return false, nil
}
