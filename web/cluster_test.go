package web_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// The page says of each member of the store what a person looks for when one is
// down or new.
func TestCluster_ShowsWhoHasNoVoteAndWhoCannotBeReached(t *testing.T) {
	b := newStage()
	b.status.Cluster = api.Cluster{ID: "9c41", Quorum: true, Warnings: []string{"c4-beef has no vote: " + hostile}, Members: []api.Member{
		{ID: "1", Name: "c1-abcd", Role: "leader", Self: true, Reachable: true, Started: true, PeerURL: "https://10.0.0.1:2380", DBSize: 20 << 10, StartedAt: time.Now()},
		{ID: "2", Name: "c2-abcd", Role: "follower", Started: true, PeerURL: "https://10.0.0.2:2380", Unreachable: "connection refused"},
		{ID: "4", Role: "learner", Reachable: true, PeerURL: "https://10.0.0.4:2380"},
	}}
	page := show(t, b, "/cluster")
	for _, want := range []string{"https://10.0.0.1:2380", "<dt>Data</dt>", "<dt>Started</dt>", "Unreachable", "connection refused", "No vote yet", "(never ran)", "c4-beef has no vote", "1 of 2 coordinators answer"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if strings.Contains(page, hostile) {
		t.Error("a warning became markup")
	}
}
