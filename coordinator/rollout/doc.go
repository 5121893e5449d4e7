// Package rollout brings the nodes of a selection to a bundle.
//
// Decide is pure: a rollout's state and its nodes' reports in, what to record
// and why out. The Engine acts: on every coordinator it tells what is wanted of
// a node, from a view kept by watch; on the elected one it also records what
// the nodes came to. What is wanted is on disk before any node learns of it,
// and what a node did counts only once it reports it, so an engine that stops
// anywhere is continued by the next one with nothing done twice.
//
// # One wave
//
// A rollout is one wave over all of its nodes. How many go at once is the
// business of their group's semaphore alone. The nodes are fixed when the
// rollout is created. A node belongs to one active rollout at a time: creating
// (or reviving) one that selects a node of another active one is refused with a
// conflict that names both; abort the other first.
//
// # A node
//
//	pending   not begun, or its failure is to be tried again
//	waiting   its agent waits for a slot, or has one and has not confirmed it
//	updating  it holds a slot, confirmed, or is between draining and releasing
//	updated   it reports the bundle in place, is idle and healthy, and holds nothing
//	failed    it reports a failure of this rollout and bundle, or phase failed
//	          while working on it, or holds its slot past the deadline
//
// A node on which a coordinator runs is asked when all others have their
// result.
//
// A node that has the bundle from the start is updated without being asked. A
// failure is told apart from the next one by the time that the node gives it,
// an overdue hold by its fence; neither counts twice. A failed node that later
// reports the bundle in place is updated. A node that was forgotten stays
// pending: nothing is said to be done that nobody has seen.
//
// # The rollout
//
//	               pause   resume   halt     abort    retry (with failed nodes)
//	running        paused  =        halted   aborted  running
//	paused         =       running  halted   aborted  paused
//	halted         409     running  =        aborted  running
//	succeeded      409     409      409      409      409
//	failed         409     409      409      409      running
//	aborted        409     409      409      =        409
//
// "=" changes nothing and is answered as if it had just been done; so is a retry
// of an active or failed rollout without failed nodes. By itself a rollout comes
// to be
//
//	halted     when more nodes failed than max_failures, those acknowledged by a
//	           resume or a retry not counted; and when every slot is kept by failed nodes
//	succeeded  when all nodes are updated
//	failed     when all nodes are updated or failed, some failed, and the budget
//	           is kept
//
// While it is paused or halted, nodes that have confirmed a slot finish and no
// other is asked. A failure is in the rollout before the report that tells of it
// is answered, by Settle on whichever coordinator that is. A resume of a halted one acknowledges the failures so far: those nodes
// stay failed and no longer count. A retry acknowledges too, and asks the failed
// nodes again with the next attempt number.
//
// Stalled is a condition beside the state: each node still to do is blocked by
// something that no healthy holder's return ends, such as a freeze, slots of 0,
// or slots kept by failed nodes.
//
// # The watchman
//
// The elected engine also takes back grants that nobody confirmed, and sets
// members down that went silent, in groups that count them.
package rollout
