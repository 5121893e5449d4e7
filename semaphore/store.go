package semaphore

import (
	"context"
	"errors"
	"time"
)

// Store keeps the semaphores of all groups and carries decisions out, one
// transaction for each change. Refusals by the rules come back in the Answer;
// an error means that the store could not say:
// ErrNoQuorum, ErrDiskLow, ErrBusy, or the context's error.
type Store interface {
	// Do decides op on the group's current state and commits the outcome. It
	// re-decides the same op when another change came between. An Answer is
	// never given from memory: see Decision.
	Do(ctx context.Context, group string, op Op) (Answer, error)

	// Acquire is Do for an acquire that may wait. While it is refused for a
	// reason that can pass (full, limit, frozen, queue, …) the node has a place
	// in the queue and the call is parked, for at most wait. It returns the
	// last refusal then. With wait 0 an agent gets no place. op is only read,
	// and not kept.
	Acquire(ctx context.Context, group string, op *Acquire, wait time.Duration) (Answer, error)

	// Leave gives up the node's place in the queue. Leaving twice is fine.
	Leave(ctx context.Context, group, node string) error
	// SetPriority reorders a waiter. ErrNoWaiter when it does not wait.
	SetPriority(ctx context.Context, group, node string, priority int, by string) error

	// Freeze stops the whole fleet; with one in place it returns that one.
	Freeze(ctx context.Context, f Freeze) (Freeze, error)
	// Unfreeze lifts the fleet-wide freeze of that id: an Answer of kind
	// Conflict when another is in place, OK when none is.
	Unfreeze(ctx context.Context, id, by string) (Answer, error)

	// Read is the group at a revision that is current when Read is called. Its
	// State may be a kept one, as that of Look.
	Read(ctx context.Context, group string) (State, error)
	// View is the group as last seen by the watch: quick, perhaps behind.
	// The State and everything it holds must not be changed by the caller.
	View(group string) (State, bool)
	// Look is View for who wants little of the group, or asks often: its State
	// may be a kept one, whose Holds, Members and Queue are empty. Hold, Member,
	// EachHold and the like say what is in it, at no cost that grows with the
	// group.
	Look(group string) (State, bool)
	// Groups lists the declared groups by name, as View sees them.
	Groups() []string
	// FleetFreeze is the fleet-wide stop as View sees it, nil when there is none.
	FleetFreeze() *Freeze
	// Changed returns a channel that is closed at the next change of any group.
	Changed() <-chan struct{}
}

// Errors of a Store.
var (
	// ErrNoQuorum: there is no leader, or it did not answer in time. Nothing is
	// known of the outcome; asking again with the same request is safe.
	ErrNoQuorum = errors.New("the store has no quorum")
	// ErrDiskLow: free space is below the floor for this kind of change.
	ErrDiskLow = errors.New("the store is low on disk space")
	// ErrNewerSchema: a stored value has a `v` above SchemaVersion.
	ErrNewerSchema = errors.New("the value was written by a newer version")
	// ErrBusy: more requests wait for the group's next transaction than the
	// store keeps. Nothing was done; ask again in a moment.
	ErrBusy = errors.New("too many requests wait for this group")
	// ErrNoWaiter: the node does not wait in that group.
	ErrNoWaiter = errors.New("the node does not wait in this group")
)
