package semaphore_test

import (
	"strings"
	"testing"
	"time"
)

// Each test breaks one rule and asserts that the checker sees what goes wrong.

// finds explores a scenario until it sees one of the things that go wrong, and
// logs the shortest way there.
func finds(t *testing.T, what string, s scenario) {
	t.Helper()
	begin := time.Now()
	r := check(s, time.Minute)
	if !strings.Contains(r.violation, what) || r.violation == "" {
		t.Fatalf("found %q in %d states, depth %d, complete %t; want %q\n%s", r.violation, r.states, r.depth, r.complete, what, strings.Join(r.trace, "\n"))
	}
	t.Logf("%s, after %d states, %d steps, %s:\n%s", r.violation, r.states, len(r.trace), time.Since(begin).Round(time.Millisecond), strings.Join(r.trace, "\n"))
}

// What goes wrong.
const (
	withoutHold  = "is out of service without a hold of its own"
	tooMany      = "out of service for"
	beyondLimit  = "out of service with"
	ofAnother    = "was answered with the hold of another"
	whileFrozen  = "although frozen"
	oldRelease   = "the release bound to fence"
	neverTold    = "was never told of"
	leftBefore   = "which had left the queue"
	fenceTwice   = "was given a second time"
	nobodyGrants = "nobody grants it anything"
	passed       = "which was before it"
	alreadyHas   = "waits for a hold that it has"
)

func TestChecker_FindsConfirmFromMemory(t *testing.T) {
	finds(t, withoutHold, scenario{rule: confirmFromMemory, cuts: 1, hosts: agentAndFleetLock, asks: 1, requests: 2, freed: 1})
}

func TestChecker_FindsAnswersSentLate(t *testing.T) {
	finds(t, withoutHold, scenario{rule: answersLate, hosts: twoFleetLock, asks: 1, requests: 2, freed: 1})
}

func TestChecker_FindsReleaseNotBoundToAFence(t *testing.T) {
	finds(t, oldRelease, scenario{rule: releaseUnbound, hosts: twoFleetLock, asks: 2, requests: 3})
}

func TestChecker_FindsHolderAskingAgainWithoutANewFence(t *testing.T) {
	finds(t, withoutHold, scenario{rule: acquireKeepsFence, cuts: 1, hosts: twoFleetLock, asks: 2, requests: 3})
}

func TestChecker_FindsGivingBackAHoldThatWasOnlyRefenced(t *testing.T) {
	finds(t, withoutHold, scenario{rule: givesBackRenewed, cuts: 1, hosts: twoFleetLock, asks: 2, requests: 3})
}

func TestChecker_FindsAHoldKeptForAClientThatHadLeft(t *testing.T) {
	finds(t, neverTold, scenario{rule: keepsUnwanted, cuts: 1, hosts: twoFleetLock, asks: 1, requests: 2})
}

func TestChecker_FindsAnotherInstanceTakenForTheHolder(t *testing.T) {
	finds(t, ofAnother, scenario{rule: ignoresInstance, hosts: twoAgents, same: true, asks: 1, requests: 2})
}

func TestChecker_FindsAnotherDoorTakenForTheHolder(t *testing.T) {
	finds(t, ofAnother, scenario{rule: ignoresVia, hosts: agentAndFleetLock, same: true, asks: 1, requests: 2})
}

func TestChecker_FindsFreeingWithoutRevokingFirst(t *testing.T) {
	finds(t, withoutHold, scenario{rule: freesUnrevoked, hosts: twoAgents, asks: 1, requests: 2, freed: 1})
}

func TestChecker_FindsAHeadNotCompared(t *testing.T) {
	finds(t, tooMany, scenario{rule: noHeadCompare, hosts: twoAgents, asks: 1, requests: 2})
}

func TestChecker_FindsAFreezeNotCompared(t *testing.T) {
	finds(t, whileFrozen, scenario{rule: freezeNotCompared, hosts: twoAgents, asks: 1, requests: 2, freezes: 1})
}

func TestChecker_FindsSlotsLoweredOutsideTheHead(t *testing.T) {
	finds(t, tooMany, scenario{rule: slotsOutsideHead, hosts: twoAgents, spec: slots(2), edits: []edit{toSlots(1)}, asks: 1, requests: 2})
}

func TestChecker_FindsLabelsChangedOutsideTheHead(t *testing.T) {
	s := scenario{rule: labelsOutsideHead, hosts: twoAgents, zones: []string{"a", "b"}, spec: limited(2, "zone"), asks: 1, requests: 2}
	s.edits = []edit{toZone(1, "a")}
	finds(t, beyondLimit, s)
}

func TestChecker_FindsAMemberSetDownOutsideTheHead(t *testing.T) {
	s := scenario{rule: downOutsideHead, hosts: twoAgents, spec: countingDown(1), asks: 1, requests: 2}
	s.edits = []edit{toDown(1, true)}
	finds(t, tooMany, s)
}

func TestChecker_FindsAGroupFrozenOutsideTheHead(t *testing.T) {
	finds(t, whileFrozen, scenario{rule: freezeOutsideHead, hosts: twoAgents, edits: []edit{freezeGroup}, asks: 1, requests: 2})
}

func TestChecker_FindsATicketNotCompared(t *testing.T) {
	finds(t, leftBefore, scenario{rule: ticketNotCompared, hosts: twoAgents, asks: 1, requests: 2, leaves: 1})
}

func TestChecker_FindsTheNextGrantInATransactionOfItsOwn(t *testing.T) {
	finds(t, tooMany, scenario{rule: nextGrantApart, hosts: []clientKind{agentClient, fleetLockClient, agentClient}, asks: 1, requests: 3})
}

func TestChecker_FindsAGroupMadeAgainWithItsFencesReset(t *testing.T) {
	s := scenario{rule: fencesReset, hosts: twoFleetLock, asks: 2, requests: 2, edits: []edit{deleteGroup, makeGroup}}
	finds(t, fenceTwice, s)
}

func TestChecker_FindsABatchDecidedOnOneState(t *testing.T) {
	finds(t, tooMany, scenario{rule: batchOnOneState, hosts: twoAgents, asks: 1, requests: 2, batch: 2})
}

func TestChecker_FindsABatchSentAgainWithoutDecidingAnew(t *testing.T) {
	finds(t, tooMany, scenario{rule: batchNotReplayed, hosts: twoAgents, asks: 1, requests: 2, batch: 2})
}

func TestChecker_FindsAnUnknownOutcomeTakenForFailure(t *testing.T) {
	finds(t, neverTold, scenario{rule: unknownIsFailure, hosts: twoFleetLock, asks: 1, requests: 2, lost: 1})
}

func TestChecker_FindsAnUnknownOutcomeTakenForSuccess(t *testing.T) {
	finds(t, withoutHold, scenario{rule: unknownIsSuccess, hosts: twoFleetLock, asks: 1, requests: 2, lost: 1})
}

func TestChecker_FindsALateTransactionThatIsNotSealedOff(t *testing.T) {
	finds(t, neverTold, scenario{rule: lateNotSealed, cuts: 1, hosts: twoFleetLock, asks: 1, requests: 2, lost: 1})
}

func TestChecker_FindsALateHoldGivenBackBlindly(t *testing.T) {
	finds(t, withoutHold, scenario{rule: settlesBlindly, hosts: twoFleetLock, spec: weekly, asks: 1, requests: 2, lost: 1, ticks: 1})
}

func TestChecker_FindsANewcomerThatDoesNotQueue(t *testing.T) {
	finds(t, passed, scenario{rule: newcomersPass, hosts: twoAgents, asks: 2, requests: 2})
}

func TestChecker_FindsASlotKeptForAWaiterElsewhere(t *testing.T) {
	finds(t, nobodyGrants, scenario{rule: neverOvertakes, hosts: twoAgents, asks: 2, requests: 2, crashes: 1})
}

func TestChecker_FindsAHoldGrantedElsewhereNotSeen(t *testing.T) {
	finds(t, alreadyHas, scenario{rule: holdNotSeen, hosts: twoAgents, spec: weekly, asks: 1, requests: 2, lost: 1, ticks: 1})
}
