package service

import (
	"context"
	"errors"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/fleet"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// How soon to ask again.
const (
	retryNoQuorum = 3 * time.Second
	retryDisk     = 30 * time.Second
	retryBusy     = time.Second
	retryLocked   = 10 * time.Second
	retryFrozen   = 30 * time.Second
	// retryMost bounds what a refusal that passes at a known time says: windows
	// and blackouts are changed, and a FleetLock host that stays away for longer
	// than 15 min loses its place.
	retryMost = 5 * time.Minute
)

func noQuorum() *api.Error {
	return &api.Error{
		Kind: api.NoQuorum, RetryAfter: retryNoQuorum,
		Detail: "the store has no quorum: nothing can be changed, and whether a change just asked for was made is not known; asking again with the same request is safe",
	}
}

// refusal is the one place where an Answer of the semaphore becomes an error:
// nil when the answer is no refusal.
func (s *Service) refusal(a semaphore.Answer) error {
	if a.Kind == semaphore.OK {
		return nil
	}
	e := &api.Error{Kind: api.Kind(a.Kind), Detail: a.Detail, Blockers: blockersOf(a.Blockers), Place: a.Place}
	if e.Detail == "" && len(a.Blockers) > 0 {
		e.Detail = a.Blockers[0].Detail
	}
	switch e.Kind.Status() {
	case 423, 429:
		e.RetryAfter = retryLocked
		if e.Kind == api.Frozen {
			e.RetryAfter = retryFrozen
		}
		e.Earliest = latestUntil(a.Blockers)
		if wait := e.Earliest.Sub(s.now()); !e.Earliest.IsZero() && wait > 0 {
			e.RetryAfter = wait
			if e.Kind != api.Rate {
				e.RetryAfter = min(wait, retryMost)
			}
		}
	case 503:
		e.RetryAfter = retryDisk
	}
	return e
}

// latestUntil is when the last of those blockers ends that end by themselves.
func latestUntil(list []semaphore.Blocker) time.Time {
	var latest time.Time
	for _, b := range list {
		if b.Until.After(latest) {
			latest = b.Until
		}
	}
	return latest.UTC()
}

func blockersOf(list []semaphore.Blocker) []api.Blocker {
	out := make([]api.Blocker, len(list))
	for i, b := range list {
		out[i] = api.Blocker{Kind: api.Kind(b.Kind), Detail: b.Detail, Until: b.Until.UTC()}
	}
	return out
}

// problem is the one place where an error of a store becomes one of the API.
func (s *Service) problem(ctx context.Context, err error) error {
	var known *api.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return known
	case ctx.Err() != nil && errors.As(context.Cause(ctx), &known): // see whileValid
		return known
	case errors.Is(err, semaphore.ErrNoQuorum), errors.Is(err, fleet.ErrChanged):
		return noQuorum()
	case errors.Is(err, semaphore.ErrBusy):
		return &api.Error{Kind: api.Rate, RetryAfter: retryBusy, Detail: err.Error() + ": ask again in a moment"}
	case errors.Is(err, semaphore.ErrDiskLow):
		return &api.Error{
			Kind: api.DiskLow, RetryAfter: retryDisk,
			Detail: "the coordinator is low on disk space: only releases, confirms, freezes and revokes go on until there is room",
		}
	case errors.Is(err, semaphore.ErrNewerSchema):
		return &api.Error{
			Kind: api.NewerSchema, RetryAfter: retryDisk,
			Detail: "a stored value was written by a newer version; this coordinator must be updated first",
		}
	case errors.Is(err, rollout.ErrTooMuch), errors.Is(err, rollout.ErrTooLarge):
		return api.Errorf(api.TooLarge, "%v", err)
	case errors.Is(err, etcdstore.ErrFull):
		return api.Errorf(api.TooLarge, "%v: delete bundles that no rollout needs", err)
	case errors.Is(err, etcdstore.ErrOtherRequest):
		return api.Errorf(api.Conflict, "this Idempotency-Key was used within the last 24 h for a request with another body: use a new key")
	case ctx.Err() != nil, errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return &api.Error{Kind: api.NoQuorum, RetryAfter: retryNoQuorum, Detail: "the request ended before the store answered; asking again with the same request is safe"}
	}
	s.logger.Error("a request failed for a reason that nobody foresaw", "error", err)
	return api.Errorf(api.Internal, "something went wrong inside the coordinator; its log has more, under this request's id")
}

// do carries an operation out and turns refusals and failures into errors.
func (s *Service) do(ctx context.Context, group string, op semaphore.Op) (semaphore.Answer, error) {
	a, err := s.store.Do(ctx, group, op)
	if err != nil {
		return a, s.problem(ctx, err)
	}
	return a, s.refusal(a)
}

// invalid collects what is wrong with a request.
type invalid struct{ fields []api.FieldError }

func (v *invalid) add(path, detail string) {
	v.fields = append(v.fields, api.FieldError{Path: path, Detail: detail})
}

func (v *invalid) check(path string, err error) {
	if err != nil {
		v.add(path, err.Error())
	}
}

// err is nil when nothing is wrong.
func (v *invalid) err() error {
	if len(v.fields) == 0 {
		return nil
	}
	first := v.fields[0]
	return &api.Error{Kind: api.Invalid, Detail: first.Path + ": " + first.Detail, Fields: v.fields}
}
