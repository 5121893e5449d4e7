package fleet

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Record is what the store keeps of a node.
type Record struct {
	V         int        `json:"v"`
	ID        string     `json:"id"`
	Group     string     `json:"group"`
	Instance  string     `json:"instance,omitempty"`
	BootID    string     `json:"boot_id,omitempty"`
	OldBoots  []string   `json:"old_boots,omitempty"` // superseded boot ids, newest last
	Report    api.Report `json:"report"`
	Order     *api.Order `json:"order,omitempty"` // not answered yet
	FirstSeen time.Time  `json:"first_seen"`
	ChangedAt time.Time  `json:"changed_at"`
	HeardAt   time.Time  `json:"heard_at"` // when it was written; later contacts are in memory only

	Revision int64 `json:"-"` // ModRevision, 0: not stored yet
}

// Change is one change of the stored records.
type Change struct {
	ID      string
	Record  Record // zero when Deleted
	Deleted bool
	Reset   bool // the watch began anew: forget all that is not sent again before the next Synced
	Synced  bool // all that was stored has been sent
}

// Store keeps the records. Errors: semaphore.ErrNoQuorum and
// semaphore.ErrDiskLow as they are, ErrChanged, and the context's.
type Store interface {
	// PutNode writes the record if the stored one is still of r.Revision
	// (0: there is none), and returns the new revision; else ErrChanged.
	PutNode(ctx context.Context, r Record) (int64, error)
	// OrderNode is PutNode for a record with a new order, and its event.
	OrderNode(ctx context.Context, r Record, e semaphore.Event) error
	// GetNode reads a record, linearizably; false when there is none.
	GetNode(ctx context.Context, id string) (Record, bool, error)
	// DeleteNode forgets a record; deleting twice is fine.
	DeleteNode(ctx context.Context, id string) error
	// FollowNodes sends all records, then every change, until ctx ends; then
	// the channel is closed.
	FollowNodes(ctx context.Context) <-chan []Change
}

// ErrChanged: the stored record is not the one that the change was made from.
var ErrChanged = errors.New("the node's record changed meanwhile")

// oldBootsKept bounds the superseded boot ids that are remembered.
const oldBootsKept = 8

// sameReport reports whether two reports say the same; their sequence aside.
func sameReport(a, b api.Report) bool {
	a.Seq, b.Seq = 0, 0
	la, lb := a.Labels, b.Labels
	a.Labels, b.Labels = nil, nil
	return maps.Equal(la, lb) && reflect.DeepEqual(a, b)
}

// supersede is the list of old boot ids after boot gave way to another.
func supersede(old []string, boot string) []string {
	if boot == "" || slices.Contains(old, boot) {
		return old
	}
	old = append(slices.Clone(old), boot)
	return old[max(0, len(old)-oldBootsKept):]
}
