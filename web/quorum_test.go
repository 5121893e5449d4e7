package web

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestQuorum_SaysHowManyMayFail(t *testing.T) {
	t.Parallel()
	up, away := api.Member{Role: "follower", Reachable: true}, api.Member{Role: "follower", Unreachable: "no route"}
	for _, c := range []struct {
		members []api.Member
		brief   string
		mayFail string
	}{
		{[]api.Member{{Role: "leader", Reachable: true}}, "just one, which may not fail", "While it is away nobody gets a slot; hosts that hold one finish."},
		{[]api.Member{up, up, up}, "3 of 3 answer, 1 may fail", "One may fail and slots are still given."},
		{[]api.Member{up, up, away}, "2 of 3 answer, none may fail", "If one more fails, nobody gets a slot until it is back."},
		{[]api.Member{up, up, {Role: "unknown"}}, "2 of 3 answer, none may fail", "If one more fails, nobody gets a slot until it is back."},
		{[]api.Member{up, up, up, up, up}, "5 of 5 answer, 2 may fail", "2 may fail and slots are still given."},
		{[]api.Member{up, up, up, {Role: "learner", Reachable: true}}, "3 of 3 answer, 1 may fail", "One may fail and slots are still given."},
	} {
		q := quorumOf(api.Cluster{Members: c.members})
		if q.Brief() != c.brief || q.MayFail() != c.mayFail {
			t.Errorf("%+v: %q and %q, want %q and %q", c.members, q.Brief(), q.MayFail(), c.brief, c.mayFail)
		}
	}
}
