package semaphore_test

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

// The model checker explores, breadth first, what two coordinators, up to four
// hosts and an operator can do to one group. What is decided comes from
// semaphore.Decide; the model adds everything that can happen around it.
//
// It covers:
//   - views: each coordinator decides on what its watch showed last, of the
//     group and of the queue, and each may be behind;
//   - requests: bound on arrival, answered, answered in vain (the reply is lost,
//     the client has left), dropped, asked again at either coordinator;
//   - group commit: requests of one coordinator decided one after the other and
//     committed in one transaction, together with an admission from the queue;
//     a lost comparison replays them on fresh state;
//   - unknown outcomes: the transaction may commit at any later moment, and
//     what became of it is found out by reading; one that nobody waits for any
//     more is sealed off by a new head;
//   - the queue: places that are put, taken over and deleted outside the head's
//     transaction, waiters that leave or are cut off while their grant is under
//     way, overtaking, leases that end;
//   - coordinators that die with all that they had under way;
//   - the operator: slots, labels, members down and up, a group deleted and made
//     again, freezes of group and fleet, expiry, revoking and freeing by name;
//   - time, where a scenario has ticks: between two of them lie two hours.
//
// Decisions are made on kept states, as a store makes them, and what they
// commit is compared with the same changes applied to plain maps.
//
// It does not cover: priorities and reservations, percentages, nodes that
// join by asking or are removed, what follows a restore, and clocks that differ.
// What an agent does between its gates is in checker_agent_test.go. A transaction is atomic, and so
// are an operator's change (its comparison makes it so) and a read with what
// follows from it. A window binds the decision: Decide is told the time, and
// what it decided inside a window may commit after it has shut, as late as a
// transaction can be.
//
// Worlds are told apart by a hash of 64 bits: among 10 million of them, a
// chance of 1 to 370,000 that two are taken for one.

// clientKind is how a host uses the semaphore.
type clientKind int

const (
	agentClient clientKind = iota
	fleetLockClient
	wholeAgent // run by agent.Next, on a machine of its own
)

// The most that a world has room for.
const (
	maxHosts    = 4
	maxRequests = 6
	maxLate     = 2
	maxBatch    = 3
	maxMachines = 2 // the first hosts
)

// scenario is what a run of the checker begins with.
type scenario struct {
	name  string
	hosts []clientKind
	same  bool           // the first two hosts have one id
	zones []string       // label "zone" by host
	racks []string       // label "rack" by host
	spec  semaphore.Spec // 0 slots stand for 1
	edits []edit         // what the operator does, in this order
	asks  uint8          // by each host
	rule  rule           // that is broken
	// Of whole agents: the bundle is bad, and no host is healthy with it; hosts may
	// be found unhealthy with what they had before, too.
	bad, sickly bool

	// How often each may happen.
	expiries, freezes, freed, lost, crashes, leaves, ticks, kills uint8
	// How often a client is cut off or an answer lost.
	cuts uint8
	// How many requests may be under way at once, and be committed together.
	requests, batch int
}

// anyNumber of cuts is not counted, so that worlds do not differ by it.
const anyNumber uint8 = 255

// edit is a change by the operator.
type edit struct {
	op   semaphore.Op
	what string
	host int // of whom it speaks, -1 for nobody
}

func (s *scenario) node(host uint8) string { return string(rune('w' + s.nodeOf(host))) }

// nodeOf numbers nodes: hosts of one id are one node.
func (s *scenario) nodeOf(host uint8) uint8 {
	if s.same && host == 1 {
		return 0
	}
	return host
}

func (s *scenario) instance(host uint8) string {
	if s.hosts[host] == fleetLockClient {
		return ""
	}
	return fmt.Sprintf("i%d", host)
}

func (s *scenario) via(host uint8) semaphore.Via {
	if s.hosts[host] == fleetLockClient {
		return semaphore.ViaFleetLock
	}
	return semaphore.ViaAgent
}

func requestName(host, id uint8) string { return fmt.Sprintf("r%d.%d", host, id) }

// Phases of a host. A host is out of service in phase out only: from the answer
// that lets it go until it sends its release.
const (
	idle uint8 = iota
	asking
	cutOff  // its client left before an answer came
	holding // an agent that knows its fence
	confirming
	out
	returning
)

type host struct {
	phase   uint8
	fence   uint8 // known to an agent
	asked   uint8 // requests made so far: names the next one
	allowed uint8 // slots when its hold was granted
	served  uint8 // a bit for each request that was answered with a hold
}

// Kinds of a request, and its stages at the coordinator.
const (
	none uint8 = iota
	acquireReq
	confirmReq
	releaseReq
	expireReq
	freeReq  // by name, the second step
	admitReq // of the coordinator itself, never in a world
)

const (
	toDecide uint8 = iota
	inFlight       // a transaction is under way, or what became of it is unknown
	parked         // refused for now, in the queue
	decided        // an answer is ready
)

// Clients of a request.
const (
	gone     uint8 = iota
	waiting        // the host acts on the answer
	bystands       // present, and nobody acts on the answer
)

// Answers.
const (
	refused uint8 = iota
	granted       // or renewed, confirmed, released
	created       // this very request made the hold
)

var (
	reqNames    = []string{"", "acquire", "confirm", "release", "expiry", "freeing", "admission"}
	answerNames = []string{"refused", "ok", "ok, created"}
)

type request struct {
	kind, host, at uint8
	client         uint8
	bound          uint8 // fence found on arrival
	id             uint8
	stage          uint8
	answer, fence  uint8
}

// Owners of a place beside the coordinators 0 and 1.
const ownerDead uint8 = 2

// place is a waiter's key in the queue.
type place struct {
	host   uint8 // who waits, from 1 on; 0 is no place
	owner  uint8 // the coordinator whose lease it has
	ticket uint8
}

type queue [maxHosts]place

type coordinator struct {
	core   int32 // what it believes of the group
	flight int32 // its transaction under way, 0 none
	queue  queue // what it believes of the queue
}

// late is a transaction of unknown outcome.
type late struct {
	attempt int32 // 0 none
	keeper  int16
	fate    int16
}

// Who finds out about a late transaction: coordinator 0 or 1 for those who
// asked, nobody, or a coordinator for those who are gone.
const (
	keptByNobody int16 = 2
	settledBy    int16 = 4 // + coordinator
)

const (
	pending int16 = iota
	committed
)

// world is everything at one moment. It is compared as a whole.
type world struct {
	core     int32 // the committed head, spec, holds, members and freeze
	coords   [2]coordinator
	late     [maxLate]late
	queue    queue
	hosts    [maxHosts]host
	machines [maxMachines]machine // of hosts of the kind wholeAgent
	requests [maxRequests]request // sorted, so that their order does not matter
	reading  [2]uint8             // the coordinator must find out what became of its transaction

	// Left to use.
	expiries, freezes, freed, lost, crashes, leaves, ticks, cuts, kills uint8
	// Used.
	edits, tickets, fences, clock uint8
	// lastGrant is the tick after the one in which a grant was decided last; it
	// is kept where grants have to lie apart.
	lastGrant uint8
}
