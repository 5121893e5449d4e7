package semaphore_test

// rule names a rule of the surroundings that the checker can break; the number
// is that of the design's rules.
type rule int

const (
	allKept rule = iota

	// What an answer rests on.
	confirmFromMemory // 1: a confirm is answered from a stale view
	answersLate       // 1: a 200 is sent any time after its commit
	releaseUnbound    // 2: a release takes whatever hold it finds
	acquireKeepsFence // 2: a FleetLock holder that asks again keeps its fence
	givesBackRenewed  // 3: a hold only re-fenced is given back as well
	keepsUnwanted     // 3: a hold granted to a client that had left is kept
	ignoresInstance   // 5: another instance counts as the holder
	ignoresVia        // 5: another door counts as the holder
	freesUnrevoked    // 8: freeing by name does without revoking first

	// What a transaction covers.
	noHeadCompare     // 10: a transaction does not compare the head
	freezeNotCompared // 10: a grant does not compare the fleet's freeze
	slotsOutsideHead  // 10: the spec is put without the head
	labelsOutsideHead // 10: labels are put without the head
	downOutsideHead   // 10: a member is set down without the head
	freezeOutsideHead // 12: the group's freeze is put without the head's comparison
	ticketNotCompared // 10: a grant does not compare the waiter's key
	nextGrantApart    // the next grant follows a release in a transaction of its own
	fencesReset       // 11: a group made again starts its fences anew

	// Group commit.
	batchOnOneState  // every request of a batch is decided on the same state
	batchNotReplayed // a lost comparison sends the same changes again
	unknownIsFailure // an unknown outcome is answered as a refusal
	unknownIsSuccess // an unknown outcome is answered as done
	lateNotSealed    // a transaction that nobody waits for is left to itself
	settlesBlindly   // a late hold is given back whoever was told of it meanwhile

	// The queue.
	newcomersPass  // 17: an acquire is decided without the queue
	neverOvertakes // 17: a slot is kept for a waiter of another coordinator
	holdNotSeen    // 17: a waiter does not look at a hold that it got elsewhere

	// The agent, where the model runs it.
	agentSkipsGate             // 7: drains and reboots without asking its gate
	agentKeepsGate             // 7: the answer of a gate counts for ever
	agentIgnoresLoss           // 7: goes on with a hold that is gone
	agentForgetsJournal        // a start begins from nothing
	agentActsFirst             // drains before its journal says so
	agentForgetsBoots          // does not look at the boot id
	agentTakesRequestForReboot // counts a reboot as done that was only asked for
	agentStartsOver            // applies again after a start
	agentReturnsDrained        // 9: returns its slot before it is back in service
	agentReturnsEarly          // 9: returns its slot without looking how it does
	agentReturnsSick           // 9: returns the slot of a host that has failed
	agentSkipsWayBack          // does not put the previous files back
)
