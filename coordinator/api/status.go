package api

import (
	"encoding/json"
	"time"
)

// Status is the fleet at a glance.
type Status struct {
	OK        bool        `json:"ok"`       // nothing needs a person
	Sentence  string      `json:"sentence"` // the answer as a sentence
	Stale     bool        `json:"stale"`    // no quorum: this is what was last known
	AsOf      time.Time   `json:"as_of"`
	Revision  int64       `json:"revision"`
	Version   string      `json:"version"`
	Frozen    *Freeze     `json:"frozen,omitempty"`
	Figures   Figures     `json:"figures"`
	Groups    []Group     `json:"groups"`
	Rollouts  []Rollout   `json:"rollouts"`  // active ones and the last few ended
	Attention []Attention `json:"attention"` // most urgent first
	Cluster   Cluster     `json:"cluster"`
}

// Figures counts the fleet.
type Figures struct {
	Nodes   int               `json:"nodes"`
	Slots   int               `json:"slots"`
	Held    int               `json:"held"`
	Waiting int               `json:"waiting"`
	Stuck   int               `json:"stuck"`
	ByState map[NodeState]int `json:"by_state"`
	// ByVersion counts the agents by their version. Of more than 20 versions the
	// rarest are counted as "other", and an agent that tells none as "unknown".
	ByVersion  map[string]int `json:"by_version,omitempty"`
	AtWanted   int            `json:"at_wanted"` // nodes at the bundle of their newest rollout
	Wanted     int            `json:"wanted"`    // nodes that some rollout selected
	Drifted    int            `json:"drifted"`   // nodes that have not what they were brought to
	OldestWait time.Time      `json:"oldest_wait,omitzero"`
	OldestNode string         `json:"oldest_wait_node,omitempty"`
}

// Attention is one thing that needs a person.
type Attention struct {
	Kind     string    `json:"kind"`     // failed, overdue, halted, approval, unconfirmed, duplicate_id, disk_low, disk_slow, snapshot_failed, silences_failing, clock_off, member_down, unreachable, foreign_agent, rolled_back, restored
	Severity string    `json:"severity"` // bad, warn, lost
	Title    string    `json:"title"`
	Detail   string    `json:"detail"`
	Group    string    `json:"group,omitempty"`
	Node     string    `json:"node,omitempty"`
	Rollout  string    `json:"rollout,omitempty"`
	Since    time.Time `json:"since,omitzero"`
	Hold     *Hold     `json:"hold,omitempty"` // that could be freed
}

// Cluster is the coordinators and their store.
type Cluster struct {
	ID          string    `json:"id"`
	Incarnation int64     `json:"incarnation"`
	CreatedAt   time.Time `json:"created_at,omitzero"`
	Quorum      bool      `json:"quorum"`
	Members     []Member  `json:"members"` // of the store
	Store       StoreInfo `json:"store"`
	Served      string    `json:"served_by"` // coordinator that answers
	// Schema of the stored values that may be written: every coordinator reads it.
	Schema int `json:"schema"`
	// Coordinators that are present. One that died is listed for 30 s.
	Coordinators []Coordinator `json:"coordinators,omitempty"`
	// Warnings are about the number of members, and new ones that wait.
	Warnings []string `json:"warnings,omitempty"`
}

// Coordinator is one that serves this cluster.
type Coordinator struct {
	ID        string    `json:"id"` // new at each start
	Name      string    `json:"name"`
	Self      bool      `json:"self,omitempty"`
	URL       string    `json:"url,omitempty"`
	Version   string    `json:"version,omitempty"`
	MaxV      int       `json:"max_v"` // highest schema of stored values that it reads
	StartedAt time.Time `json:"started_at"`
	// ClockOffS is how many seconds its clock is ahead of that of the one that
	// answers; absent for that one itself, and before it was heard.
	ClockOffS *float64 `json:"clock_off_s,omitempty"`
}

// Member is one member of the store: a coordinator, where that embeds it.
type Member struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Role    string `json:"role"` // leader, follower, learner (no vote yet), unknown
	Self    bool   `json:"self,omitempty"`
	URL     string `json:"url,omitempty"`      // of its API
	PeerURL string `json:"peer_url,omitempty"` // where the other members find it; absent for one that is alone
	Version string `json:"version,omitempty"`
	// Started: it has run. One that was added and never ran has no name either.
	Started bool `json:"started"`
	// Reachable from the member that answers, within the last few seconds, and
	// why not. Of an existing etcd: from the coordinator that answers.
	Reachable   bool   `json:"reachable"`
	Unreachable string `json:"unreachable,omitempty"`
	// What its coordinator said of itself within the last 30 s; absent when it
	// is not present.
	StartedAt time.Time `json:"started_at,omitzero"`
	DBSize    int64     `json:"db_size,omitempty"`        // bytes on disk
	DBInUse   int64     `json:"db_size_in_use,omitempty"` // bytes
	DiskFree  int64     `json:"disk_free,omitempty"`      // bytes
	Applied   uint64    `json:"applied,omitempty"`        // index in the log that it has come to
}

// StoreInfo is etcd in figures.
type StoreInfo struct {
	Revision    int64  `json:"revision"`
	DBSize      int64  `json:"db_size"`        // bytes on disk
	DBInUse     int64  `json:"db_size_in_use"` // bytes
	Quota       int64  `json:"quota"`          // bytes
	DiskFree    int64  `json:"disk_free"`      // bytes free for the data folder; 0 when not embedded
	EtcdVersion string `json:"etcd_version"`
	Embedded    bool   `json:"embedded"`
	NoSpace     bool   `json:"no_space,omitempty"` // etcd refuses writes until its NOSPACE alarm is lifted
}

// Event is one line of the audit trail.
type Event struct {
	Revision int64     `json:"revision"`
	Scope    string    `json:"scope"`
	Seq      int64     `json:"seq"`
	At       time.Time `json:"at"`
	Kind     string    `json:"kind"`
	Actor    string    `json:"actor,omitempty"`
	Group    string    `json:"group,omitempty"`
	Node     string    `json:"node,omitempty"`
	Rollout  string    `json:"rollout,omitempty"`
	Fence    int64     `json:"fence,omitempty"`
	Held     int       `json:"held"`
	Slots    int       `json:"slots"`
	Detail   string    `json:"detail,omitempty"` // a sentence, or the reason that was given
	// Before and After are what was changed: a group's spec, a freeze, labels, a
	// priority, a token. What was made has no Before, what was taken away no After.
	Before json.RawMessage `json:"before,omitempty"`
	After  json.RawMessage `json:"after,omitempty"`
}

// EventList is a page of events in the order of their revisions.
type EventList struct {
	Events []Event `json:"events"`
	Next   int64   `json:"next"` // value of after= for what follows
}

// EventQuery filters events.
type EventQuery struct {
	After   int64 // revision; events behind it, oldest first
	Before  int64 // revision; events older than it, 0 for no bound
	Limit   int   // 1 to 10000, default 100
	Last    bool  // the newest Limit events instead
	Group   string
	Node    string
	Rollout string
	Kind    string    // "hold.granted", or "hold" for every kind of a hold; several by comma
	Text    string    // part of the node, group, rollout, actor or detail
	From    time.Time // the first moment
	Until   time.Time // the first moment behind
}

// TokenRequest asks for a credential.
type TokenRequest struct {
	Role        Role   `json:"role"`
	Node        string `json:"node,omitempty"` // role node: the id it is bound to
	Description string `json:"description,omitempty"`
	TTL         string `json:"ttl,omitempty"` // "720h"; empty: does not end

	// IdempotencyKey is that of the header: the same key with the same body
	// makes one token, whose secret is shown the first time only.
	IdempotencyKey string `json:"-"`
}

// Role says what a credential may do; each but node includes those before it.
type Role string

// The roles.
const (
	RoleNode     Role = "node"     // its own node: poll, take and return its slot, fetch bundles
	RoleViewer   Role = "viewer"   // read
	RoleDeployer Role = "deployer" // bundles, rollouts
	RoleOperator Role = "operator" // groups, freeze, holds, nodes
	RoleAdmin    Role = "admin"    // tokens, cluster
	RoleJoin     Role = "join"     // join the cluster once, as a coordinator; made by /cluster/join-tokens
)

// Token is a credential without its secret.
type Token struct {
	ID          string    `json:"id"`
	Role        Role      `json:"role"`
	Node        string    `json:"node,omitempty"`
	Description string    `json:"description,omitempty"`
	By          string    `json:"by"`
	CreatedAt   time.Time `json:"created_at"`
	ExpiresAt   time.Time `json:"expires_at,omitzero"`
	UsedBy      string    `json:"used_by,omitempty"`  // role join: the member that used it
	Replaces    string    `json:"replaces,omitempty"` // role join: the id of the member that goes when it is used
}

// TokenCreated shows the secret, once.
type TokenCreated struct {
	Token
	Secret string `json:"secret,omitempty"`
	// Note says why there is no secret: the token was made by the same request
	// before, and the secret was shown then.
	Note string `json:"note,omitempty"`
}
