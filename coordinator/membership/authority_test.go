package membership

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

const from, to = "aaaa", "bbbb"

// No step is taken while a member has not taken the one before: at none of them
// may two members believe nothing of each other.
func TestStepOfAuthority_WaitsForEveryMember(t *testing.T) {
	both := []string{from, to}
	for _, x := range []struct {
		name  string
		stage api.AuthorityStage
		has   Authority
		step  string
		to    api.AuthorityStage
		says  string // of the refusal
	}{
		{"first", "", Authority{}, "begin", api.AuthorityTrust, ""},
		{"next without a beginning", "", Authority{}, "next", "", "begin with begin"},
		{"abort of nothing", "", Authority{}, "abort", "", "nothing to give up"},
		{"not heard of it yet", api.AuthorityTrust, Authority{Here: true, Shows: from, Believes: []string{from}}, "next", "", "needs a moment"},
		{"not restarted", api.AuthorityTrust, Authority{Here: true, Shows: from, Believes: []string{from}, Unsettled: true}, "next", "", "restart"},
		{"down", api.AuthorityTrust, Authority{}, "next", "", "has to be there"},
		{"of an older version", api.AuthorityTrust, Authority{Here: true}, "next", "", "has to be updated"},
		{"believes both", api.AuthorityTrust, Authority{Here: true, Shows: from, Believes: both}, "next", api.AuthorityShow, ""},
		{"given up", api.AuthorityTrust, Authority{}, "abort", api.AuthorityAborted, ""},
		{"twice", api.AuthorityTrust, Authority{Here: true, Shows: from, Believes: both}, "begin", "", "already"},
		{"shows the old one", api.AuthorityShow, Authority{Here: true, Shows: from, Believes: both}, "next", "", "needs a moment"},
		{"shows the next one", api.AuthorityShow, Authority{Here: true, Shows: to, Believes: both}, "next", api.AuthorityDone, ""},
		{"too late", api.AuthorityShow, Authority{Here: true, Shows: to, Believes: both}, "abort", "", "before the first next"},
		{"believes the old one still", api.AuthorityDone, Authority{Here: true, Shows: to, Believes: both, Unsettled: true}, "begin", "", "restart"},
		{"again", api.AuthorityDone, Authority{Here: true, Shows: to, Believes: []string{to}}, "begin", api.AuthorityTrust, ""},
		{"believes the one given up", api.AuthorityAborted, Authority{Here: true, Shows: from, Believes: both, Unsettled: true}, "begin", "", "restart"},
		{"again after it was given up", api.AuthorityAborted, Authority{Here: true, Shows: from, Believes: []string{from}}, "begin", api.AuthorityTrust, ""},
	} {
		ready := TakesAuthority("c1", Authority{Here: true, Shows: to, Believes: []string{to}}, "", from, to)
		now := api.AuthorityStatus{Stage: x.stage, Members: []api.AuthorityMember{ready, TakesAuthority("c2", x.has, x.stage, from, to)}}
		got, err := StepOfAuthority(x.step, now)
		if x.says != "" {
			if err == nil || !strings.Contains(err.Error(), x.says) {
				t.Errorf("%s: %v, want a refusal that says %q", x.name, err, x.says)
			}
			continue
		}
		if err != nil || got != x.to {
			t.Errorf("%s: %q %v, want %q", x.name, got, err, x.to)
		}
		if x.step == "next" && !strings.Contains(NextOfAuthority(x.stage, now.Members), "next has them") && !strings.Contains(NextOfAuthority(x.stage, now.Members), "next has it") {
			t.Errorf("%s: what comes next is said to be %q", x.name, NextOfAuthority(x.stage, now.Members))
		}
	}
	if got, err := StepOfAuthority("jump", api.AuthorityStatus{}); got != "" || err != nil {
		t.Errorf("an unknown step leads to %q %v", got, err)
	}
}
