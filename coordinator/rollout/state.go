package rollout

import (
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/gate/condition"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Head is the one key that every transaction of a rollout compares and puts.
type Head struct {
	V          int              `json:"v"`
	ID         string           `json:"id"`
	Spec       api.RolloutSpec  `json:"spec"`
	BundleName string           `json:"bundle_name,omitempty"`
	State      api.RolloutState `json:"state"`
	Why        string           `json:"why,omitempty"`
	By         string           `json:"by"`
	CreatedAt  time.Time        `json:"created_at"`
	EndedAt    time.Time        `json:"ended_at,omitzero"`
	EventSeq   int64            `json:"event_seq"` // sequence of the rollout's last event
	// Failures numbers the failures of the rollout: the number of the last one.
	Failures int64 `json:"failures,omitempty"`
	// Acknowledged: failures up to this number no longer count against the
	// budget. A resume of a halted rollout sets it.
	Acknowledged int64 `json:"acknowledged,omitempty"`
	// Retried: nodes whose failure has a number up to this one are wanted again.
	Retried int64        `json:"retried,omitempty"`
	Stalled *api.Stalled `json:"stalled,omitempty"`
	// Wave is the index of the current wave, and Waves what became of each, as
	// many as WaveSpecs makes of the spec.
	Wave  int         `json:"wave,omitempty"`
	Waves []WaveState `json:"waves,omitempty"`
	// Opening tells whether the gates before the first wave were skipped.
	Opening WaveState `json:"opening,omitzero"`
	// Gates are those at which it stands, by gateKey: what they said last, and
	// who has approved. They go when it has passed.
	Gates map[string]GateState `json:"gates,omitempty"`
	// After are the rollouts whose end it waits for before it begins, and
	// SupersededBy the one that ended it.
	After        []string `json:"after,omitempty"`
	SupersededBy string   `json:"superseded_by,omitempty"`
	// Undo says that nodes are to be brought back, because it halted by itself:
	// the scope, as of auto_rollback. It goes when the rollouts that do so are
	// made; those are Rollbacks. RollbackOf is the other direction.
	Undo       string   `json:"undo,omitempty"`
	Rollbacks  []string `json:"rollbacks,omitempty"`
	RollbackOf string   `json:"rollback_of,omitempty"`
	// Stopped is when it came to be paused or halted, while it is; see stoppedAt.
	Stopped Stop `json:"stopped,omitzero"`

	Extra semaphore.Extra `json:"-"`
}

// WaveState is what became of one wave. Times are zero until they came.
type WaveState struct {
	StartedAt  time.Time `json:"started_at,omitzero"`
	FinishedAt time.Time `json:"finished_at,omitzero"` // its last node has its result; the soak begins
	DoneAt     time.Time `json:"done_at,omitzero"`     // soaked, and its gates have passed
	// SkippedBy left out at SkippedAt what remained of it: nodes that had not
	// begun, its soak, and its gates but approvals. SkippedRetried is
	// Head.Retried of that moment: what is retried later is not left out.
	SkippedBy      string    `json:"skipped_by,omitempty"`
	SkippedAt      time.Time `json:"skipped_at,omitzero"`
	SkipReason     string    `json:"skip_reason,omitempty"`
	SkippedRetried int64     `json:"skipped_retried,omitempty"`
}

// GateState is what became of one gate.
type GateState struct {
	AskedAt   time.Time      `json:"asked_at,omitzero"` // first: its deadline counts from here
	CheckedAt time.Time      `json:"checked_at,omitzero"`
	Passes    bool           `json:"passes,omitempty"`
	Since     time.Time      `json:"since,omitzero"` // of Passes
	Value     string         `json:"value,omitempty"`
	Detail    string         `json:"detail,omitempty"`
	Approvals []api.Approval `json:"approvals,omitempty"` // of different people
}

// Selected is a node of the rollout, fixed when it was created.
type Selected struct {
	Node  string `json:"node"`
	Group string `json:"group"`
	Wave  int    `json:"wave,omitempty"` // index of its wave
	// Joined: it came to match while the rollout ran.
	Joined bool `json:"joined,omitempty"`
	// Before is the bundle that it had when it was selected.
	Before string `json:"-"` // in Selection.Bundles
	// Had is the place of Before in Selection.Bundles, from 1.
	Had int `json:"had,omitempty"`
}

// Selection is the rollout's nodes. It is written once, and again when nodes
// join that have come to match.
type Selection struct {
	V       int             `json:"v"`
	Nodes   []Selected      `json:"nodes"`
	Bundles []string        `json:"bundles,omitempty"` // that the nodes had, each once
	Extra   semaphore.Extra `json:"-"`
}

// Result is what became of one node, as far as it is worth keeping: that it
// began, that it is updated, that it failed. A node without one has not begun.
type Result struct {
	V       int       `json:"v"`
	Node    string    `json:"node"`
	State   string    `json:"state"` // updating, updated, failed
	Attempt int       `json:"attempt"`
	Detail  string    `json:"detail,omitempty"`
	Began   time.Time `json:"began,omitzero"` // of this attempt; zero when it was there already
	At      time.Time `json:"at"`             // of this state
	// Before is the bundle that the node had when it began; empty if unknown.
	Before string `json:"before,omitempty"`
	// Failure is the number of the node's last failure in this rollout.
	Failure int64 `json:"failure,omitempty"`
	// FailedAt and Fence say which failure that was: the time that the node gave
	// it, and the hold that was overdue. Neither counts twice.
	FailedAt time.Time       `json:"failed_at,omitzero"`
	Fence    int64           `json:"fence,omitempty"`
	Extra    semaphore.Extra `json:"-"`
}

// done reports whether a node has come to its result: it is updated, or failed
// and not to be tried again.
func (r Result) done(h *Head) bool {
	return r.State == api.NodeUpdated || r.State == api.NodeBroken && r.Failure > h.Retried
}

// State is a rollout at one revision.
type State struct {
	Head     Head
	Nodes    []Selected        // by group, then id
	Results  map[string]Result // by node
	Notices  map[int64]Notice  // that not all have been told, by sequence
	Revision int64             // ModRevision of the head key
	// Selection is what else the value that lists the nodes says, for when it is
	// written again.
	Selection Selection
	// Newer is the key of a value that this program cannot read, whose `v` is above
	// semaphore.SchemaVersion, empty when there is none. With it the rollout is
	// shown, as far as it can be, and not touched, and nothing rests on what it
	// seems to say.
	Newer string
	// Observed is not stored.
	Observed Observed
}

// Observed is what is known beside the stored state at the moment of a
// decision.
type Observed struct {
	// Waits are those of Head.After that have not ended.
	Waits []string
	// Outages are times without quorum, which count towards no deadline.
	Outages []Span

	// What follows is measured by the elected engine since its election, and
	// zero elsewhere.

	// Idle is for how long nothing moved although something could, as of the
	// head's event IdleSeq.
	Idle    time.Duration
	IdleSeq int64
	// Gates are the answers of gates that are not a person's, by gateKey.
	Gates map[string]condition.Answer
}

// NodeView is what is known of a node at the moment of a decision.
type NodeView struct {
	Node, Group string
	Wave        int  // index of its wave
	Known       bool // it has reported at some time
	Report      api.Report
	ChangedAt   time.Time // of the report
	LastHeard   time.Time
	Held        bool // it holds a slot of its group
	// Unconfirmed: it has not passed its first gate with that slot, so that
	// nothing has begun.
	Unconfirmed bool
	Fence       int64
	Overdue     bool
	// Kept says why the node could not start even if every healthy holder
	// returned its slot; nil when it could.
	Kept []api.Blocker
	// Coordinator that runs on the node, "" for none, and how many nodes of the
	// rollout go before it because of that.
	Coordinator string
	First       int
	// Turn is how many nodes are to be done before it is asked, in a rollout with
	// an order; 0 when it may be asked.
	Turn int
	// AllKept: every slot of its group is kept by failed nodes.
	AllKept bool
	// Healthy is for how long the elected engine has seen it in place without a
	// break, and Busy for how long it has seen it at work on attempt BusyAttempt,
	// freezes and times without quorum not counted.
	Healthy     time.Duration
	Busy        time.Duration
	BusyAttempt int
}

// nodeViews finds what is known of a rollout's nodes: mostly in their order, else by id.
type nodeViews struct {
	list []NodeView
	by   map[string]*NodeView
}

func newNodeViews(list []NodeView) *nodeViews { return &nodeViews{list: list} }

// of is what is known of the rollout's node at i, which may be no more than its name.
func (v *nodeViews) of(i int, n Selected) *NodeView {
	if i < len(v.list) && v.list[i].Node == n.Node {
		return &v.list[i]
	}
	if v.by == nil {
		v.by = make(map[string]*NodeView, len(v.list))
		for i := range v.list {
			v.by[v.list[i].Node] = &v.list[i]
		}
	}
	if known, ok := v.by[n.Node]; ok {
		return known
	}
	return &NodeView{Node: n.Node, Group: n.Group}
}
