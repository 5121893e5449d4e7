package rollout

import (
	"context"
	"errors"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Store keeps the rollouts. Every change of one is a transaction that compares
// and puts its head; those of the elected engine compare the election key too.
// Errors of all methods that ask the store: semaphore.ErrNoQuorum (nothing is
// known of the outcome), or the context's error.
type Store interface {
	// Start loads the rollouts and watches them until Stop. Without quorum it
	// starts with what this member last knew.
	Start(ctx context.Context) error
	Stop()

	// Campaign waits until this process is elected, or ctx ends.
	Campaign(ctx context.Context) (Term, error)

	// Read is the rollout at a revision that is current when Read is called;
	// ErrNotFound when there is none of that id. One that this program cannot read
	// has State.Newer set.
	Read(ctx context.Context, id string) (State, error)
	// ReadHead is the rollout's head alone, as current as Read;
	// semaphore.ErrNewerSchema when this program cannot read it.
	ReadHead(ctx context.Context, id string) (Head, error)
	// ReadAll is all rollouts and the catalog's revision, from one moment that
	// is current when ReadAll is called.
	ReadAll(ctx context.Context) (Snapshot, error)
	// Told reports whether this very event is on the audit trail now: then the change
	// that it tells of has been made.
	Told(ctx context.Context, e semaphore.Event) (bool, error)
	// Request is what was created under an idempotency key in the last 24 h.
	Request(ctx context.Context, key string) (Request, bool, error)

	// Create puts a new rollout. ErrChanged when another one was created or
	// revived since the catalog was read, the key was used meanwhile, or the bundle
	// is not stored. ErrTooLarge, or ErrTooMuch with what it supersedes.
	Create(ctx context.Context, c Creation) error
	// Fits reports whether Create takes so much at once: nil, ErrTooLarge or
	// ErrTooMuch. It asks nobody.
	Fits(c Creation) error
	// Write carries a change out. ErrChanged when the rollout (or the catalog,
	// if named) changed since it was read, or a bundle is not stored that it comes
	// to need; ErrNotElected when the term is over; semaphore.ErrDiskLow when there
	// is too little room for such a change; ErrTooLarge when so many nodes cannot
	// join, and ErrTooMuch.
	// When Write returns nil, View shows the change.
	Write(ctx context.Context, c Change) error
	// WriteNotice writes who is still to be told of something, and forgets the
	// notice when nobody is. Its errors are those of Write; ErrChanged is about the
	// notice alone.
	WriteNotice(ctx context.Context, n Notice, term Term) error
	// ForgetSettled forgets what a node was brought to; doing so twice is fine.
	ForgetSettled(ctx context.Context, node string) error
	// Delete forgets an ended rollout.
	Delete(ctx context.Context, id string, revision int64, term Term) error

	// View is the rollouts as last seen by the watch: quick, perhaps behind.
	// Nothing in it may be changed by the caller.
	View() Snapshot
	// Changed returns a channel that is closed at the next change.
	Changed() <-chan struct{}
}

// Term is a time in office.
type Term interface {
	// Done is closed when the term is, or may be, over.
	Done() <-chan struct{}
	// Resign gives the office up, so that another is elected at once.
	Resign(ctx context.Context) error
}

// Snapshot is all rollouts at one moment.
type Snapshot struct {
	Rollouts map[string]State
	// Catalog is the ModRevision of the key that every creation puts.
	Catalog int64
	// Settled is what nodes were brought to last, by node; only in a View.
	Settled map[string]Settled
	// Unread is the key of a rollout's value that this program cannot read, empty
	// when there is none. With it nobody knows here which nodes are in the hands of
	// which rollout, and which bundles are in use.
	Unread string
}

// Request ties an idempotency key to what it created.
type Request struct {
	V      int       `json:"v"`
	ID     string    `json:"id"`
	Digest string    `json:"digest"` // of the body
	At     time.Time `json:"at"`     // the key is forgotten 24 h later
}

// Creation is a rollout to put.
type Creation struct {
	Head    Head
	Nodes   []Selected
	Event   semaphore.Event
	Catalog int64  // as read
	Key     string // idempotency key, empty for none
	// Supersedes are changes that end other rollouts in the same transaction.
	Supersedes []Change
	Digest     string // of the body
}

// Change is what a transaction does to one rollout. Its notices are put with it.
type Change struct {
	Revision int64 // of the head, as read
	Head     Head
	Results  []Result
	Events   []semaphore.Event
	Selected *Selection // the whole one, when nodes join; nil: as it was
	Catalog  int64      // as read, when the rollout comes to nodes that it did not have; 0: not compared
	Bundle   string     // that has to be stored, when the rollout comes back to life; empty: not compared
	Creates  []Creation // rollouts that it makes in the same transaction; of each the head, nodes and event
	Term     Term       // the elected engine's; nil for an operator's action
}

// MaxChanges bounds the keys that one transaction puts: what an etcd takes by
// default.
const MaxChanges = 128

// Errors of a Store.
var (
	// ErrNotFound: there is no rollout of that id.
	ErrNotFound = errors.New("no such rollout")
	// ErrChanged: another change came first; read again and decide again.
	ErrChanged = errors.New("the rollout changed meanwhile")
	// ErrNotElected: another coordinator's engine is elected now.
	ErrNotElected = errors.New("this engine is not elected any more")
	// ErrTooLarge: the rollout is too large for the store, whatever else is written.
	ErrTooLarge = errors.New("too large for one rollout")
	// ErrTooMuch: what is to be written at once is more than the store takes in one
	// transaction. Nothing was changed.
	ErrTooMuch = errors.New("more than the store takes at once")
)
