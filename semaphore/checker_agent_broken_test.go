package semaphore_test

import (
	"testing"

	hostagent "github.com/lockkeeper/lockkeeper/agent"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// How an agent can be broken. Each is a bend of what it sees, decides or finds in
// its journal when it starts.

// bendSight is a broken agent's view.
func (g *steps) bendSight(o *hostagent.Observation, s *hostagent.State) {
	switch g.rule {
	case agentSkipsGate:
		o.Gate = hostagent.Gate{Fence: s.Fence, Answer: hostagent.GateOpen, Asked: agentNow}
	case agentIgnoresLoss:
		if o.Gate.Answer == hostagent.GateGone {
			o.Gate.Answer = hostagent.GateOpen
		}
	case agentForgetsBoots:
		o.BootID = s.BootID
	case agentReturnsEarly:
		if s.Phase == api.PhaseVerifying {
			o.Last = hostagent.Outcome{Do: hostagent.DoVerify, Status: hostagent.Done}
		}
	}
}

// bendStart is a broken agent's reading of its journal.
func (g *steps) bendStart(s *hostagent.State) {
	switch g.rule {
	case agentForgetsJournal:
		*s = hostagent.State{Phase: api.PhaseIdle}
	case agentStartsOver:
		if s.Phase == api.PhaseVerifying {
			s.Phase, s.Unpacked = api.PhaseApplying, false
		}
	case agentTakesRequestForReboot:
		if s.Phase == api.PhaseRebooting {
			s.BootID = "another"
		}
	}
}

// bendDecision is what a broken agent makes of the decision.
func (g *steps) bendDecision(s *hostagent.State, act *hostagent.Action, before *hostagent.State) {
	switch g.rule {
	case agentReturnsSick:
		if s.Phase == api.PhaseFailed && before.Phase == api.PhaseFailed {
			s.Phase = api.PhaseReleasing
			*act = hostagent.Action{Do: hostagent.DoRecord}
		}
	case agentReturnsDrained:
		if act.Do == hostagent.DoUndrain && s.Fence != 0 {
			*act = hostagent.Action{Do: hostagent.DoRelease, Fence: s.Fence}
		}
	case agentSkipsWayBack:
		if act.Do == hostagent.DoRollBack {
			s.PutBack = true
			*act = hostagent.Action{Do: hostagent.DoRecord}
		}
	}
}

// What goes wrong on a host.
const (
	otherRuns    = "does not run what is in place"
	twiceApplied = "puts the bundle in place again"
	twiceBooted  = "reboots although it runs what is in place"
)

var (
	oneWholeAgent   = []clientKind{wholeAgent}
	wholeAndAnAgent = []clientKind{wholeAgent, agentClient}
)

func TestChecker_FindsAnAgentThatInterruptsWithoutItsGate(t *testing.T) {
	finds(t, withoutHold, scenario{rule: agentSkipsGate, hosts: oneWholeAgent, asks: 1, requests: 2, freed: 1})
}

func TestChecker_FindsAnAgentWhoseGateStaysOpen(t *testing.T) {
	finds(t, withoutHold, scenario{rule: agentKeepsGate, hosts: oneWholeAgent, asks: 1, requests: 2, freed: 1})
}

func TestChecker_FindsAnAgentThatGoesOnThoughItsHoldIsGone(t *testing.T) {
	finds(t, withoutHold, scenario{rule: agentIgnoresLoss, hosts: oneWholeAgent, asks: 1, requests: 2, freed: 1})
}

func TestChecker_FindsAnAgentThatReturnsItsSlotBeforeItIsHealthy(t *testing.T) {
	finds(t, withoutHold, scenario{rule: agentReturnsEarly, hosts: oneWholeAgent, bad: true, asks: 1, requests: 2})
}

func TestChecker_FindsAnAgentThatReturnsItsSlotBeforeItIsBackInService(t *testing.T) {
	finds(t, withoutHold, scenario{rule: agentReturnsDrained, hosts: oneWholeAgent, asks: 1, requests: 2})
}

func TestChecker_FindsAnAgentThatReturnsItsSlotAlthoughItHasFailed(t *testing.T) {
	finds(t, withoutHold, scenario{rule: agentReturnsSick, hosts: oneWholeAgent, bad: true, sickly: true, asks: 1, requests: 2})
}

func TestChecker_FindsAnAgentThatTakesARequestForAReboot(t *testing.T) {
	finds(t, withoutHold, scenario{rule: agentTakesRequestForReboot, hosts: oneWholeAgent, asks: 1, requests: 2, kills: 1})
}

func TestChecker_FindsAnAgentThatForgetsItsJournal(t *testing.T) {
	finds(t, withoutHold, scenario{rule: agentForgetsJournal, hosts: oneWholeAgent, asks: 2, requests: 2, kills: 1})
}

func TestChecker_FindsAnAgentThatAppliesTwice(t *testing.T) {
	finds(t, twiceApplied, scenario{rule: agentStartsOver, hosts: oneWholeAgent, asks: 1, requests: 2, kills: 1})
}

func TestChecker_FindsAnAgentThatDoesNotKnowThatItHasRebooted(t *testing.T) {
	finds(t, twiceBooted, scenario{rule: agentForgetsBoots, hosts: oneWholeAgent, asks: 1, requests: 2})
}

func TestChecker_FindsAnAgentThatActsBeforeItsJournal(t *testing.T) {
	finds(t, withoutHold, scenario{rule: agentActsFirst, hosts: oneWholeAgent, asks: 1, requests: 2, kills: 1, freed: 1})
}

func TestChecker_FindsAnAgentThatDoesNotPutThePreviousFilesBack(t *testing.T) {
	finds(t, otherRuns, scenario{rule: agentSkipsWayBack, hosts: oneWholeAgent, asks: 1, requests: 2})
}
