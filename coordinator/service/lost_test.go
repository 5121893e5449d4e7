package service

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
)

// leaderless is a store in which nobody leads.
type leaderless struct{ *fakeMembers }

func (leaderless) HasLeader() bool { return false }

// Whoever looks at a cluster without a majority is told of what goes on with one
// member, wherever they look.
func TestLostForGood_IsSaidWhereThereIsNoQuorum(t *testing.T) {
	down := func(id string) api.Member {
		m := named(id, "unknown")
		m.Reachable, m.Unreachable = false, "connection refused"
		return m
	}
	b, f := withMembers(t, named("1", "unknown"), down("2"), down("3"))
	if text := strings.Join(b.cluster().Warnings, "; "); strings.Contains(text, "lockkeeperd recover") {
		t.Errorf("with a quorum the cluster warns of %s", text)
	}
	b.node = leaderless{f}
	for where, text := range map[string]string{
		"the cluster":        strings.Join(b.cluster().Warnings, "; "),
		"readiness":          b.Ready(t.Context()).Error(),
		"the attention list": membersDown(f.Members())[0].Detail,
	} {
		if !strings.Contains(text, membership.LostForGood) {
			t.Errorf("%s says %q", where, text)
		}
		if strings.Contains(text, "cluster replace") {
			t.Errorf("%s advises what is refused without a quorum: %q", where, text)
		}
	}
}
