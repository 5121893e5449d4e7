package web

import (
	"fmt"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// quorumOf says how many coordinators with a vote answer, and how many of those may
// fail before nobody is given a slot.
func quorumOf(c api.Cluster) quorumText {
	var q quorumText
	for _, m := range c.Members {
		if m.Role == "learner" {
			continue
		}
		q.voters++
		if m.Role != "unknown" && (m.Reachable || m.Unreachable == "") {
			q.answer++
		}
	}
	return q
}

type quorumText struct{ voters, answer int }

// spare is how many more may fail.
func (q quorumText) spare() int { return max(q.answer-(q.voters/2+1), 0) }

// Answers is "2 of 3 coordinators answer".
func (q quorumText) Answers() string {
	if q.voters == 1 {
		return "1 coordinator"
	}
	return fmt.Sprintf("%d of %d coordinators answer", q.answer, q.voters)
}

// Brief is the same in fewer words, with how many may fail.
func (q quorumText) Brief() string {
	answer := fmt.Sprintf("%d of %d answer", q.answer, q.voters)
	switch {
	case q.voters == 1:
		return "just one, which may not fail"
	case q.spare() == 0:
		return answer + ", none may fail"
	}
	return fmt.Sprintf("%s, %d may fail", answer, q.spare())
}

// MayFail is what a failure would mean.
func (q quorumText) MayFail() string {
	switch n := q.spare(); {
	case n == 1:
		return "One may fail and slots are still given."
	case n > 1:
		return fmt.Sprintf("%d may fail and slots are still given.", n)
	case q.voters > 1:
		return "If one more fails, nobody gets a slot until it is back."
	}
	return "While it is away nobody gets a slot; hosts that hold one finish."
}
