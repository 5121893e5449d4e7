// Package membership decides how the cluster's members may change: values in,
// values out. Members are as the coordinator that decides sees them now.
package membership

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// EvictAfter is how long a new member may give no sign of life.
const EvictAfter = 5 * time.Minute

// readyPercent of the leader's log is what a new member has before it gets a vote.
const readyPercent = 90

const (
	roleLearner = "learner"
	roleLeader  = "leader"
)

// ErrUnknown: there is no such member, or more than one.
var ErrUnknown = errors.New("no such member")

// Find is the member that is meant by its id, its name, or the beginning of its
// name when that is of one only.
func Find(members []api.Member, what string) (api.Member, error) {
	var near []api.Member
	var names []string
	for _, m := range members {
		if what != "" && (m.ID == what || m.Name == what) {
			return m, nil
		}
		if what != "" && strings.HasPrefix(m.Name, what) {
			near = append(near, m)
		}
		names = append(names, Call(m))
	}
	switch len(near) {
	case 1:
		return near[0], nil
	case 0:
		return api.Member{}, fmt.Errorf("%w: %q: there are %s", ErrUnknown, what, strings.Join(names, ", "))
	}
	return api.Member{}, fmt.Errorf("%w: %q is the beginning of more than one name: there are %s", ErrUnknown, what, strings.Join(names, ", "))
}

// Call is how a member is called: by its name, or its id before it ever ran.
func Call(m api.Member) string {
	if m.Name == "" {
		return m.ID
	}
	return m.Name
}

// Voters are those that have a vote.
func Voters(members []api.Member) []api.Member {
	return slices.DeleteFunc(slices.Clone(members), func(m api.Member) bool { return m.Role == roleLearner })
}

func quorum(voters int) int { return voters/2 + 1 }

// MayRemove returns why a member may not go, nil when it may.
func MayRemove(members []api.Member, id string) error {
	i := slices.IndexFunc(members, func(m api.Member) bool { return m.ID == id })
	if i < 0 {
		return fmt.Errorf("%w: %q", ErrUnknown, id)
	}
	if members[i].Role == roleLearner {
		return nil
	}
	left := slices.DeleteFunc(Voters(members), func(m api.Member) bool { return m.ID == id })
	if len(left) == 0 {
		return fmt.Errorf("%s is the last member with a vote: without it there would be no cluster; to end the cluster, stop its coordinator", Call(members[i]))
	}
	var gone []string
	for _, m := range left {
		if !m.Reachable {
			gone = append(gone, Call(m))
		}
	}
	if up := len(left) - len(gone); up < quorum(len(left)) {
		return fmt.Errorf("without %s there would be %d members with a vote, of which %d can be reached and %d are needed: bring %s back first, or remove that one",
			Call(members[i]), len(left), up, quorum(len(left)), strings.Join(gone, ", "))
	}
	return nil
}

// Step is one thing that the leader's coordinator should do.
type Step struct {
	Promote, Evict string // the id of a member; one of both is set
}

// Next is what to do about members without a vote. Since says from when on each
// gave no sign of life; who gives one is not in it.
//
// Votes are given so that their number is odd: two new members of one get theirs
// one after the other, when both have caught up, since of two voters neither may
// die. One alone waits for a second.
func Next(members []api.Member, since map[string]time.Time, now time.Time) []Step {
	var steps []Step
	var ready []string
	applied := uint64(0)
	for _, m := range members {
		if m.Role == roleLeader {
			applied = m.Applied
		}
	}
	for _, m := range members {
		if m.Role != roleLearner {
			continue
		}
		if from, silent := since[m.ID]; silent && now.Sub(from) >= EvictAfter {
			steps = append(steps, Step{Evict: m.ID})
			continue
		}
		if m.Started && m.Applied > 0 && m.Applied*100 >= applied*readyPercent {
			ready = append(ready, m.ID)
		}
	}
	voters := len(Voters(members))
	if (voters+len(ready))%2 == 0 && len(ready) > 0 {
		ready = ready[:len(ready)-1]
	}
	for _, id := range ready {
		steps = append(steps, Step{Promote: id})
	}
	return steps
}

// Warnings are what an operator should know of the number of members.
func Warnings(members []api.Member) []string {
	var list []string
	voters := len(Voters(members))
	if voters > 1 && voters%2 == 0 {
		list = append(list, fmt.Sprintf("%d members have a vote, an even number: that bears the loss of %d, as %d would; add one, or remove one", voters, (voters-1)/2, voters-1))
	}
	var waiting []string
	for _, m := range members {
		if m.Role == roleLearner {
			waiting = append(waiting, Call(m))
		}
	}
	switch {
	case len(waiting) == 1 && voters%2 == 1:
		list = append(list, fmt.Sprintf("%s has no vote: it waits for another new member, since with an even number no more losses could be borne; `lockkeeper cluster promote %[1]s` gives it one all the same", waiting[0]))
	case len(waiting) > 0:
		list = append(list, fmt.Sprintf("%s catching up, and will have a vote then", areCatching(waiting)))
	}
	return list
}

// LostForGood says what is left to do when no majority can come back.
const LostForGood = "if so many members are lost for good that no majority can come back, `lockkeeperd recover` goes on with one that is left: docs/runbooks/recover.md"

func areCatching(names []string) string {
	if len(names) == 1 {
		return names[0] + " is"
	}
	return strings.Join(names, " and ") + " are"
}

// Successor is who should lead instead of the leader of now: a voter that can be
// reached, empty when there is none.
func Successor(members []api.Member) string {
	for _, m := range Voters(members) {
		if m.Role != roleLeader && m.Reachable && m.Started {
			return m.ID
		}
	}
	return ""
}
