package api

import "time"

// RolloutSpec says which nodes to bring to which bundle, in which steps, and
// what stops it. Durations are texts such as "10m".
type RolloutSpec struct {
	Name   string `json:"name,omitempty" doc:"A name for people"`
	Bundle string `json:"bundle" doc:"SHA-256 digest of a stored bundle, in hex"`
	Reason string `json:"reason,omitempty" doc:"Why, for the audit trail"`

	// Which nodes: a group and a selector narrow each other; or a list.
	Group       string   `json:"group,omitempty" doc:"The nodes of this group; none with a selector or nodes: of any"`
	Selector    string   `json:"selector,omitempty" doc:"The nodes with these labels" example:"zone=a,role=web"`
	Nodes       []string `json:"nodes,omitempty" doc:"These nodes, and no group or selector"`
	NeedsReboot bool     `json:"needs_reboot,omitempty" doc:"Of those, only the nodes that say that they need a reboot"`
	// Joining says what becomes of nodes that come to match while it runs.
	Joining string `json:"joining,omitempty" enum:"exclude,include" doc:"Nodes that come to match while it runs: left out (default), or taken into the last wave"`
	// Conflict says what to do about active rollouts that have some of the nodes.
	Conflict string `json:"conflict,omitempty" enum:"refuse,queue,supersede" doc:"If another active rollout has some of the nodes: refuse (default), begin when it has ended, or end it"`

	// How: waves one after another, each node in one of them.
	Waves []WaveSpec `json:"waves,omitempty" doc:"One after another; none is one wave of all nodes"`
	Grow  *GrowSpec  `json:"grow,omitempty" doc:"Waves that grow, instead of a list"`
	Order *OrderSpec `json:"order,omitempty" doc:"Who is asked first, within each wave"`
	Gates []GateSpec `json:"gates,omitempty" doc:"What must pass before the first wave"`
	Start time.Time  `json:"start,omitzero" doc:"Not before; at once if absent"`
	// Windows in which nodes may start, beside those of their groups.
	Windows []WindowSpec `json:"windows,omitempty" doc:"Nodes start in these only, and in those of their group"`

	// What stops it.
	MaxFailures      Slots  `json:"max_failures,omitempty" doc:"So many nodes, or percent of all, may fail before it halts; 0 if absent"`
	MinHealthyTime   string `json:"min_healthy_time,omitempty" doc:"A node counts as updated after so long in service with its checks passing" example:"1m"`
	HealthyDeadline  string `json:"healthy_deadline,omitempty" doc:"A node that is not updated so long after its slot was confirmed has failed; its hold's deadline if absent" example:"20m"`
	ProgressDeadline string `json:"progress_deadline,omitempty" doc:"It halts when so long nothing moved although something could; never if absent" example:"2h"`
	AutoRollback     string `json:"auto_rollback,omitempty" enum:"none,failed_wave,all" doc:"When it halts by itself, bring updated nodes back to what they had: none (default), those of the wave in which it halted, or all"`

	OnHalt []NotifySpec `json:"on_halt,omitempty" doc:"Whom to tell when it halts, fails or stalls"`
	OnDone []NotifySpec `json:"on_done,omitempty" doc:"Whom to tell when it has ended"`
}

// WaveSpec is one step of a rollout. Count and Percent are up to how many nodes
// of the rollout are done with it, those of the waves before included; a wave
// with neither, and without a selector, has all that are left.
type WaveSpec struct {
	Name     string `json:"name,omitempty" doc:"A name for people" example:"canary"`
	Count    int    `json:"count,omitempty" doc:"Up to so many nodes, waves before included"`
	Percent  int    `json:"percent,omitempty" doc:"Up to so many percent of the nodes, rounded up, waves before included"`
	Selector string `json:"selector,omitempty" doc:"The nodes with these labels" example:"zone=a"`

	Soak        string     `json:"soak,omitempty" doc:"How long to wait after its last node before its gates are asked" example:"10m"`
	Gates       []GateSpec `json:"gates,omitempty" doc:"What must pass after its soak, before the next wave, or before it is done"`
	MaxFailures Slots      `json:"max_failures,omitempty" doc:"So many nodes, or percent of this wave, may fail in it; the rollout's own bound holds too"`
}

// GrowSpec makes waves of Start nodes, then Factor times as many each, until all
// are in one. Soak, Gates and MaxFailures are of each wave.
type GrowSpec struct {
	Start       int        `json:"start,omitempty" doc:"Nodes in the first wave; 1 if absent"`
	Factor      float64    `json:"factor,omitempty" doc:"Each wave has so many times as many nodes as the one before, more than 1 and at most 100; 2 if absent"`
	Soak        string     `json:"soak,omitempty" doc:"How long to wait after each wave" example:"10m"`
	Gates       []GateSpec `json:"gates,omitempty" doc:"What must pass after each wave"`
	MaxFailures Slots      `json:"max_failures,omitempty" doc:"So many nodes, or percent of a wave, may fail in each"`
}

// OrderSpec sorts the nodes before they are dealt out to waves. Within a wave
// they are asked in this order, two for each slot, so that each goes in its place
// or beside it; without an OrderSpec all are asked at once. Hosts of coordinators
// go last in any case.
type OrderSpec struct {
	ByLabel      string `json:"by_label,omitempty" doc:"By the values of this label, in their order, numbers by their value" example:"rack"`
	Spread       string `json:"spread,omitempty" doc:"In turn one of each value of this label, so that a small wave has some of each" example:"zone"`
	OldestUptime bool   `json:"oldest_uptime,omitempty" doc:"Those first that have been up the longest"`
}

// GateSpec is a condition that must pass before a rollout goes on. Exactly one
// of the kinds is given. What cannot be asked, or answers late or wrongly, does
// not pass.
type GateSpec struct {
	Name         string            `json:"name,omitempty" doc:"A name for people; unique where it stands"`
	PromQL       *PromQLGate       `json:"promql,omitempty" doc:"A value that a Prometheus computes"`
	Alertmanager *AlertmanagerGate `json:"alertmanager,omitempty" doc:"No matching alert fires"`
	HTTP         *HTTPGate         `json:"http,omitempty" doc:"An answer over HTTP"`
	Command      *CommandGate      `json:"command,omitempty" doc:"A command on the coordinator, where its configuration allows that"`
	Approval     *ApprovalGate     `json:"approval,omitempty" doc:"A person's word"`

	Every   string `json:"every,omitempty" doc:"Time between two tries, 1s to 1h; 30s if absent"`
	Timeout string `json:"timeout,omitempty" doc:"Bound of one try, 100ms to 1m; 10s if absent"`
	// Deadline: the rollout halts when the gate has not passed by then.
	Deadline string `json:"deadline,omitempty" doc:"The rollout halts when it has not passed so long after it was first asked; never if absent" example:"1h"`
}

// PromQLGate passes when every element of the query's result compares as said,
// without a break for as long as For. An empty result does not pass.
type PromQLGate struct {
	URL     string  `json:"url,omitempty" doc:"Of the Prometheus; the coordinator's configured one if absent" example:"http://prometheus:9090"`
	Query   string  `json:"query" doc:"PromQL, an instant vector or a scalar"`
	Compare string  `json:"compare" enum:"<,<=,==,!=,>=,>" doc:"How the value must compare"`
	Value   float64 `json:"value" doc:"With what"`
	For     string  `json:"for,omitempty" doc:"For so long without a break" example:"5m"`
}

// AlertmanagerGate passes when no active alert matches all matchers. Silenced and
// inhibited ones are not active.
type AlertmanagerGate struct {
	URL      string   `json:"url,omitempty" doc:"Of the Alertmanager; the coordinator's configured one if absent" example:"http://alertmanager:9093"`
	Matchers []string `json:"matchers,omitempty" doc:"As in Alertmanager; none matches any alert" example:"[\"severity=\\\"critical\\\"\"]"`
	For      string   `json:"for,omitempty" doc:"For so long without a break"`
}

// HTTPGate passes when a GET is answered with one of the statuses and, if a path
// is given, the JSON value there equals Equals.
type HTTPGate struct {
	URL      string `json:"url" doc:"What to GET"`
	Status   []int  `json:"status,omitempty" doc:"Which statuses pass; 200 if absent"`
	JSONPath string `json:"json_path,omitempty" doc:"RFC 9535 path into the JSON of the answer" example:"$.status"`
	Equals   string `json:"equals,omitempty" doc:"What the value there must be, as text"`
}

// CommandGate passes when the command ends with 0 in time.
type CommandGate struct {
	Command []string `json:"command" doc:"Program and arguments; no shell"`
}

// ApprovalGate passes when enough people of a role have approved.
type ApprovalGate struct {
	Role    string `json:"role,omitempty" enum:"deployer,operator,admin" doc:"The least role that may approve; operator if absent"`
	Count   int    `json:"count,omitempty" doc:"How many different people; 1 if absent"`
	Expires string `json:"expires,omitempty" doc:"The rollout halts when it was not approved so long after it was asked for; never if absent" example:"24h"`
	// NotStarter keeps the one who started the rollout from approving it.
	NotStarter bool `json:"not_starter,omitempty" doc:"The one who started the rollout may not approve it"`
}

// NotifySpec is a webhook to tell.
type NotifySpec struct {
	Webhook string `json:"webhook,omitempty" doc:"Name of a webhook in the coordinator's configuration"`
	URL     string `json:"url,omitempty" doc:"Or where to POST to, unsigned"`
	Format  string `json:"format,omitempty" enum:"json,slack,teams" doc:"The body's form; json if absent"`
}

// Values of RolloutSpec's fields.
const (
	JoiningExclude = "exclude"
	JoiningInclude = "include"

	ConflictRefuse    = "refuse"
	ConflictQueue     = "queue"
	ConflictSupersede = "supersede"

	RollbackNone       = "none"
	RollbackFailedWave = "failed_wave"
	RollbackAll        = "all"
)
