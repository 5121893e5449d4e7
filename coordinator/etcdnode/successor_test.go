package etcdnode

import (
	"net"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
)

// longElection is one that a busy machine does not take either.
const longElection = 8 * time.Second

// startThree starts a member and two that join it, all with a vote and with that
// election timeout, 0 for the usual one.
func startThree(t *testing.T, election time.Duration) []*Node {
	t.Helper()
	config := func(name string) Config {
		cfg := peerConfig(t, name)
		cfg.Election = election
		return cfg
	}
	list := []*Node{startNode(t, config("a"))}
	for _, name := range []string{"b", "c"} {
		cfg := config(name)
		cfg.Join = &asker{t: t, at: list[0]}
		list = append(list, startNode(t, cfg))
	}
	for _, n := range list[1:] {
		until := time.Now().Add(time.Minute)
		for err := list[0].Promote(t.Context(), n.MemberID()); err != nil; err = list[0].Promote(t.Context(), n.MemberID()) {
			if time.Now().After(until) {
				t.Fatalf("promoting %s: %v", n.MemberID(), err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return list
}

// Whose process has ended is known at once, and no election timeout is waited for.
func TestSuccessor_LeadsAtOnceWhenTheLeadersProcessHasEnded(t *testing.T) {
	const election = longElection
	list := startThree(t, election)
	left := list[:2]
	id, cfg := list[2].MemberID(), list[2].cfg
	stopNode(t, list[2])
	dead := startChild(t, cfg.DataDir, cfg.Peer.Listen)
	until := time.Now().Add(time.Minute)
	for err := left[0].MoveLeader(t.Context(), id); err != nil; err = left[0].MoveLeader(t.Context(), id) {
		if time.Now().After(until) {
			t.Fatalf("the other process does not lead: %v", err)
		}
		time.Sleep(50 * time.Millisecond)
	}
	time.Sleep(lineFor + lineAgain/2) // those who follow had a line to it, and are about to make another

	for _, n := range left {
		if lead := types.ID(n.etcd.Server.Lead()); lead.String() != id {
			t.Fatalf("%s leads, want the other process", lead)
		}
	}
	if err := dead.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	ended := time.Now()
	until = ended.Add(time.Minute)
	for lead := types.ID(0); lead == 0 || lead.String() == id; lead = types.ID(left[0].etcd.Server.Lead()) {
		if time.Now().After(until) {
			t.Fatal("nobody leads")
		}
		time.Sleep(5 * time.Millisecond)
	}
	took := time.Since(ended)
	t.Logf("another leads after %s", took)
	if took >= election {
		t.Errorf("another leads after %s, which is no less than the election timeout of %s", took, election)
	}
	put(t, left[1], "written", "by those who are left")
}

// Who is there, or may be, is never taken for gone.
func TestSuccessor_OnlyWhoRefusesConnectionsIsGone(t *testing.T) {
	n := startNode(t, peerConfig(t, "a"))
	silent, err := net.Listen("tcp", "127.0.0.1:0") // takes connections, as the kernel of one that stands still does
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for _, c := range []struct {
		what, at string
		want     bool
	}{
		{"one that answers", n.cfg.Peer.Listen, false},
		{"one that stands still", silent.Addr().String(), false},
		{"one whose port is closed", freeAddress(t), true},
	} {
		if got := n.isGone(t.Context(), c.at); got != c.want {
			t.Errorf("%s: gone is %v, want %v", c.what, got, c.want)
		}
	}
}

// A line that ends while the leader is there changes nothing.
func TestSuccessor_ALineThatIsCutDeposesNobody(t *testing.T) {
	list := startThree(t, longElection)
	lead, follower := list[0], list[1]
	term := lead.etcd.Server.Term()
	ends := make(chan struct{})
	relay, err := net.Listen("tcp", "127.0.0.1:0") // in front of the leader, and cut
	if err != nil {
		t.Fatal(err)
	}
	defer relay.Close()
	go func() {
		if conn, err := relay.Accept(); err == nil {
			_ = conn.Close()
		}
	}()
	go func() {
		defer close(ends)
		_, _ = follower.line(t.Context(), follower.LeaderChanged(), relay.Addr().String())
	}()
	<-ends
	if follower.isGone(t.Context(), lead.cfg.Peer.Listen) {
		t.Error("the leader is there, and taken for gone")
	}
	put(t, follower, "written", "under the same leader")
	if now := lead.etcd.Server.Term(); now != term || lead.etcd.Server.Lead() != uint64(lead.id) {
		t.Errorf("term %d was %d, and %x leads, want %s", now, term, lead.etcd.Server.Lead(), lead.id)
	}
}
