// Package rollout brings the nodes of a selection to a bundle.
//
// Decide is pure: a rollout's state and its nodes' reports in, what to record
// and why out. The Engine acts: on every coordinator it tells what is wanted of
// a node, from a view kept by watch; on the elected one it also records what
// the nodes came to. What is wanted is on disk before any node learns of it,
// and what a node did counts only once it reports it, so an engine that stops
// anywhere is continued by the next one with nothing done twice.
//
// # Waves
//
// A rollout's nodes are dealt to waves when it is created; one without waves is
// one wave of all. Only nodes of the current wave are asked, and of waves before
// it that are tried again. When each of them has a result, the wave soaks, from
// the last result on; then its gates are asked, and when all pass at the same
// time, the next wave begins. Waves never go back. How many nodes go at once is
// the business of their group's semaphore.
//
// A node belongs to one active rollout that has begun; see conflict.go. Nodes
// that come to match while it runs go into the last wave if the spec says so.
//
// # Gates
//
// The elected engine asks the gates at which a rollout stands, each in a
// goroutine of its own. A pass counts only if this engine has seen it, for as
// long as the gate wants without a break; whoever takes over asks anew. What is
// stored of an answer is for people. An approval is stored, and counts.
//
// # A node
//
//	pending   not begun, or its failure is to be tried again
//	waiting   its agent waits for a slot, or has one and has not confirmed it
//	updating  it holds a slot, confirmed, or is between draining and releasing
//	updated   it reports the bundle in place, is idle and healthy, and holds nothing
//	failed    it reports a failure of this rollout and bundle, or phase failed
//	          while working on it, or holds its slot past the deadline, or is not
//	          updated within healthy_deadline of when it was seen to begin
//	skipped   its wave was skipped before it had begun
//	aborted   the rollout was aborted before it had one of the results above
//
// With min_healthy_time a node is updated once the elected engine has seen it so
// long in place, idle and healthy; until then it is updating. Both times, and
// progress_deadline, are measured by the elected engine from its election on
// (Clocks): whoever takes over begins anew, so that they may last longer and
// never shorter. They stand still without quorum and while frozen, and
// progress_deadline also while nothing may start.
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
//	scheduled             until its start, and the end of those that it waits for
//	running               nodes of a wave are at work
//	soaking               a wave soaks, or gates do not pass
//	waiting_for_approval  only people's words are missing
//	paused, halted        by a person; by itself, or by a person
//	succeeded, failed, aborted
//
// The first four follow from what is stored of the waves; paused and halted say
// that somebody keeps the rollout where it is. A resume leads back to there.
//
//	                      pause   resume  halt    abort    retry    approve  skip
//	scheduled             paused  =       halted  aborted  =        ok¹      ok¹
//	running               paused  =       halted  aborted  running  409      ok
//	soaking               paused  =       halted  aborted  running  ok       ok
//	waiting_for_approval  paused  =       halted  aborted  running  ok       409
//	paused                =       back    halted  aborted  paused   ok       ok
//	halted                409     back²   =       aborted  running² ok       ok
//	succeeded             409     409     409     409      409      409      409
//	failed                409     409     409     409      running  409      409
//	aborted               409     409     409     =        409      409      409
//
// "=" changes nothing and is answered as if it had just been done; so is a retry
// of an active or failed rollout without failed nodes, the second approval of a
// person, and a skip of what is done or skipped. "ok" leaves the state as it is;
// Decide draws the conclusions. ¹ only where gates stand before the first wave,
// else 409; a skip of a wave that is named leaves that wave out. ² 409 once its
// nodes are being brought back.
//
// Approve adds a person's word to an approval gate at which the rollout stands;
// 409 while nodes are at work. Skip leaves out what remains of a wave: nodes that
// have not begun, its soak, and its gates but approvals; of the current one, of
// one to come, or of the gates before the first.
//
// By itself a rollout comes to be
//
//	halted     when more nodes failed than max_failures of the whole, or of a wave
//	           in it, those acknowledged by a resume or a retry not counted; when
//	           every slot is kept by failed nodes; when a gate did not pass in
//	           time, or nothing moved for progress_deadline
//	succeeded  when all nodes are updated or left out, and the last wave is done
//	failed     when some failed besides, and the budget is kept
//
// While it is paused or halted, nodes that have confirmed a slot finish and no
// other is asked. A failure is in the rollout before the report that tells of it
// is answered, by Settle on whichever coordinator that is. A resume of a halted
// one acknowledges the failures so far: those nodes stay failed and no longer
// count. A retry acknowledges too, and asks the failed nodes again with the next
// attempt number.
//
// Stalled is a condition beside the state: each node still to do is blocked by
// something that no healthy holder's return ends, such as a freeze, slots of 0,
// slots kept by failed nodes, or windows of the rollout that are shut.
//
// # Bringing nodes back
//
// When a rollout halts by itself and auto_rollback says so, the halt notes what
// is to be brought back. The elected engine waits until nodes that were let begin
// just before are known to have begun, and makes one rollout for each bundle that
// the nodes had before, in the transaction that clears the note. It has the nodes
// that failed, those under way and those updated, goes on whatever fails, and is
// never brought back itself. What nodes had is known from when they were selected
// and from when they began.
//
// # The watchman
//
// The elected engine also takes back grants that nobody confirmed, and sets
// members down that went silent, in groups that count them.
package rollout
