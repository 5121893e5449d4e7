package semaphore_test

import (
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

var (
	twoFleetLock      = []clientKind{fleetLockClient, fleetLockClient}
	agentAndFleetLock = []clientKind{agentClient, fleetLockClient}
	twoAgents         = []clientKind{agentClient, agentClient}
	threeFleetLock    = []clientKind{fleetLockClient, fleetLockClient, fleetLockClient}
	threeMixed        = []clientKind{agentClient, fleetLockClient, fleetLockClient}
	fourMixed         = []clientKind{agentClient, agentClient, fleetLockClient, fleetLockClient}
	fourFleetLock     = []clientKind{fleetLockClient, fleetLockClient, fleetLockClient, fleetLockClient}
)

// scenarios lists the small ones first.
func scenarios() []scenario { return append(smallScenarios(), largeScenarios()...) }

// The small scenarios can be explored whole. Each has its own matter.
func smallScenarios() []scenario {
	return []scenario{
		{name: "three FleetLock hosts, batches of three", hosts: threeFleetLock, asks: 1, requests: 3, batch: 3},
		{name: "four FleetLock hosts, two at once", hosts: fourFleetLock, asks: 1, requests: 2, batch: 2},
		{name: "one agent asks twice, expiry", hosts: []clientKind{agentClient}, cuts: anyNumber, asks: 2, requests: 2, expiries: 1, ticks: 1},
		{name: "three FleetLock hosts, grants apart", hosts: threeFleetLock, spec: hourly, asks: 1, requests: 3, ticks: 1},
		{name: "two agents of one id", hosts: twoAgents, same: true, cuts: anyNumber, asks: 1, requests: 2, lost: 1},
		{name: "two agents, a window shuts", hosts: twoAgents, spec: weekly, cuts: anyNumber, asks: 1, requests: 2, ticks: 1},
		{name: "two FleetLock hosts, leaving", hosts: twoFleetLock, cuts: anyNumber, asks: 1, requests: 2, leaves: 1},
		{name: "two agents, expiry", hosts: twoAgents, cuts: anyNumber, asks: 1, requests: 2, expiries: 1},
		{name: "two FleetLock hosts, batches", hosts: twoFleetLock, cuts: anyNumber, asks: 1, requests: 2, batch: 2},
		{name: "two agents, grants apart", hosts: twoAgents, spec: hourly, cuts: anyNumber, asks: 1, requests: 2, ticks: 1},
		{name: "agent and FleetLock host of one id", hosts: agentAndFleetLock, same: true, cuts: anyNumber, asks: 1, requests: 2, lost: 1},
		{name: "three hosts, two slots, batches", hosts: threeMixed, spec: slots(2), asks: 1, requests: 3, batch: 2},
		{name: "two agents, unknown outcome", hosts: twoAgents, cuts: anyNumber, asks: 1, requests: 2, lost: 1},
		{name: "two FleetLock hosts, a coordinator dies", hosts: twoFleetLock, cuts: anyNumber, asks: 1, requests: 2, crashes: 1},
		{name: "three hosts, slots lowered", hosts: threeMixed, spec: slots(2), edits: []edit{toSlots(1)}, asks: 1, requests: 3},
		{name: "three FleetLock hosts, unknown outcome", hosts: threeFleetLock, asks: 1, requests: 3, lost: 1},
		{name: "agent and FleetLock host, operator", hosts: agentAndFleetLock, cuts: anyNumber, asks: 1, requests: 2, freed: 1},
		{name: "two agents, group frozen", hosts: twoAgents, edits: []edit{freezeGroup, liftGroup}, cuts: anyNumber, asks: 1, requests: 2},
		{name: "two agents, a label changes", hosts: twoAgents, zones: []string{"a", "b"}, spec: limited(2, "zone"), edits: []edit{toZone(1, "a")}, cuts: anyNumber, asks: 1, requests: 2, batch: 2},
		{name: "two FleetLock hosts, group made again", hosts: twoFleetLock, edits: []edit{deleteGroup, makeGroup}, cuts: anyNumber, asks: 1, requests: 2},
		{name: "two agents, a member down and up", hosts: twoAgents, spec: countingDown(1), edits: []edit{toDown(1, true), toDown(1, false)}, cuts: anyNumber, asks: 1, requests: 2, batch: 2},
		{name: "agent and FleetLock host, freeze", hosts: agentAndFleetLock, cuts: anyNumber, asks: 1, requests: 2, freezes: 1},
		{name: "two FleetLock hosts, unknown outcome", hosts: twoFleetLock, cuts: anyNumber, asks: 1, requests: 2, lost: 1},
		{name: "two agents, slots lowered and raised", hosts: twoAgents, spec: slots(2), edits: []edit{toSlots(1), toSlots(2)}, cuts: anyNumber, asks: 1, requests: 2, batch: 2},
	}
}

// The large scenarios are explored as far as the time allows.
func largeScenarios() []scenario {
	zones := []string{"a", "a", "b", "b"}
	racks := []string{"1", "2", "1", "2"}
	moved := limited(3, "zone", "rack")
	moved.CountUnreachable = true
	return []scenario{
		{name: "four FleetLock hosts, three at once", hosts: fourFleetLock, asks: 1, requests: 3, batch: 2},
		{name: "four agents", hosts: []clientKind{agentClient, agentClient, agentClient, agentClient}, asks: 1, requests: 4},
		{name: "three FleetLock hosts, a coordinator dies", hosts: threeFleetLock, asks: 1, requests: 3, crashes: 1},
		{name: "three FleetLock hosts, batches of two", cuts: 1, hosts: threeFleetLock, asks: 1, requests: 3, batch: 2, lost: 1},
		{name: "three hosts, two slots, a coordinator dies", cuts: 1, hosts: threeMixed, spec: slots(2), asks: 1, requests: 3, crashes: 1, leaves: 1},
		{name: "two FleetLock hosts, ask twice", cuts: 1, hosts: twoFleetLock, asks: 2, requests: 3, lost: 1, batch: 2},
		{name: "two agents, everything", cuts: 1, hosts: twoAgents, asks: 2, requests: 4, batch: 2, lost: 1, expiries: 1, freezes: 1, freed: 1},
		{name: "agent and FleetLock host, everything", cuts: 1, hosts: agentAndFleetLock, asks: 2, requests: 4, batch: 2, lost: 2, expiries: 1, freezes: 1, freed: 1, crashes: 1, leaves: 1},
		{name: "four FleetLock hosts, one slot", cuts: 1, hosts: fourFleetLock, asks: 1, requests: 4, batch: 3},
		{name: "four hosts, slots 2, 1 and 3", cuts: 1, hosts: fourMixed, spec: slots(2), edits: []edit{toSlots(1), toSlots(3)}, asks: 1, requests: 4, batch: 2, lost: 1},
		{name: "four hosts, two limits, labels and members change", cuts: 1, hosts: fourMixed, zones: zones, racks: racks, spec: moved,
			edits: []edit{toDown(1, true), toZone(2, "a"), toDown(1, false)}, asks: 1, requests: 4, batch: 2},
		{name: "three hosts, a window, frozen and made again", cuts: 1, hosts: threeMixed, spec: weekly, edits: []edit{freezeGroup, liftGroup, deleteGroup, makeGroup},
			asks: 1, requests: 3, batch: 2, lost: 1, ticks: 1},
	}
}

// What the operator can do in a scenario.
var (
	freezeGroup = edit{op: semaphore.SetFreeze{Freeze: semaphore.Freeze{V: 1, ID: "g"}}, what: "freezes the group", host: nobody}
	liftGroup   = edit{op: semaphore.LiftFreeze{ID: "g"}, what: "lifts the group's freeze", host: nobody}
	deleteGroup = edit{op: semaphore.DeleteGroup{IfMatch: -1}, what: "deletes the group", host: nobody}
	makeGroup   = edit{op: semaphore.PutSpec{Spec: slots(1), IfMatch: 0}, what: "makes the group again", host: nobody}
	weekly      = withWindow(slots(1))
	hourly      = withInterval(slots(3))
)

const nobody = -1

func slots(n int) semaphore.Spec { return semaphore.Spec{Slots: semaphore.Slots{N: n}} }

func toSlots(n int) edit { return toSpec(slots(n), "changes the slots") }

func toSpec(s semaphore.Spec, what string) edit {
	return edit{op: semaphore.PutSpec{Spec: s, IfMatch: -1}, what: what, host: nobody}
}

// limited: at most one node with each value of these labels.
func limited(n int, by ...string) semaphore.Spec {
	s := slots(n)
	for _, label := range by {
		s.Limits = append(s.Limits, semaphore.Limit{By: label, Max: semaphore.Slots{N: 1}})
	}
	return s
}

func countingDown(n int) semaphore.Spec {
	s := slots(n)
	s.CountUnreachable = true
	return s
}

// withWindow is open before the first tick only.
func withWindow(s semaphore.Spec) semaphore.Spec {
	s.Windows = []semaphore.Window{{Weekdays: []string{"thu"}, Start: "00:00", Duration: semaphore.Duration(time.Hour)}}
	return s
}

// withInterval lets one grant between two ticks.
func withInterval(s semaphore.Spec) semaphore.Spec {
	s.GrantInterval = semaphore.Duration(time.Hour)
	return s
}

func toZone(host int, zone string) edit {
	node := (&scenario{}).node(uint8(host))
	return edit{op: semaphore.PutMember{Node: node, Registered: map[string]string{"zone": zone}}, what: "moves " + node + " to zone " + zone, host: host}
}

func toDown(host int, down bool) edit {
	node := (&scenario{}).node(uint8(host))
	what := "sees that " + node + " is up"
	if down {
		what = "sees that " + node + " is down"
	}
	return edit{op: semaphore.SetDown{Node: node, Down: down}, what: what, host: host}
}
