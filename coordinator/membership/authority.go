package membership

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Authority is what a member says of the authorities of the members.
type Authority struct {
	Here      bool // its coordinator is there
	Shows     string
	Believes  []string
	Unsettled bool // a restart changes what it believes
}

// TakesAuthority says what a member needs for the stage of going from one
// authority to another.
func TakesAuthority(name string, has Authority, stage api.AuthorityStage, from, to string) api.AuthorityMember {
	m := api.AuthorityMember{Member: name, Shows: has.Shows, Believes: has.Believes}
	restart := "a restart of its coordinator"
	switch {
	case stage == "":
	case !has.Here:
		m.Todo = "its coordinator has to be there: bring it back, or remove the member"
	case has.Shows == "":
		m.Todo = "its coordinator has to be updated: it knows nothing of this"
	case stage == api.AuthorityTrust && !slices.Contains(has.Believes, to):
		m.Todo = "a moment"
		if has.Unsettled {
			m.Todo = restart + ", with which it believes the next one as well"
		}
	case (stage == api.AuthorityShow || stage == api.AuthorityDone) && has.Shows != to,
		stage == api.AuthorityAborted && has.Shows != from:
		m.Todo = "a moment"
	case (stage == api.AuthorityDone || stage == api.AuthorityAborted) && len(has.Believes) > 1:
		m.Todo = "a moment"
		if has.Unsettled {
			m.Todo = restart + ", with which it believes one only"
		}
	}
	return m
}

// StepOfAuthority is the stage to which a step leads, empty for an unknown step.
// An error says why it cannot be taken now.
func StepOfAuthority(step string, now api.AuthorityStatus) (api.AuthorityStage, error) {
	under := now.Stage == api.AuthorityTrust || now.Stage == api.AuthorityShow
	switch step {
	case "begin":
		if under {
			return "", errors.New("the authority is being replaced already: go on with next, or before it is shown give it up with abort")
		}
		return api.AuthorityTrust, waitsFor(now)
	case "next":
		if !under {
			return "", errors.New("the authority is not being replaced: begin with begin")
		}
		to := api.AuthorityShow
		if now.Stage == api.AuthorityShow {
			to = api.AuthorityDone
		}
		return to, waitsFor(now)
	case "abort":
		if now.Stage != api.AuthorityTrust {
			return "", errors.New("there is nothing to give up: that can be done after begin and before the first next")
		}
		return api.AuthorityAborted, nil
	}
	return "", nil
}

// waitsFor names the members that have not taken the last step.
func waitsFor(now api.AuthorityStatus) error {
	var list []string
	for _, m := range now.Members {
		if m.Todo != "" {
			list = append(list, fmt.Sprintf("%s needs %s", m.Member, m.Todo))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return fmt.Errorf("not every member has taken the last step: %s", strings.Join(list, "; "))
}

// NextOfAuthority is what to do now.
func NextOfAuthority(stage api.AuthorityStage, members []api.AuthorityMember) string {
	if err := waitsFor(api.AuthorityStatus{Members: members}); err != nil {
		return err.Error()
	}
	switch stage {
	case api.AuthorityTrust:
		return "all members believe the next authority: next has it vouch for them"
	case api.AuthorityShow:
		return "the next authority vouches for all members: next has them believe the old one no more"
	}
	return "nothing: all members have one authority"
}
