package etcdnode

import (
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// What a member has at the end of its log, and did not know a majority to have,
// may have been answered for by a leader that died: it is kept.
func TestCollect_KeepsWhatTheMemberDidNotKnowToBeAgreedOn(t *testing.T) {
	cfg := config(t.TempDir())
	n, err := Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	put(t, n, "agreed", "yes")
	stopNode(t, n)
	before, err := survey(cfg.DataDir, discard)
	if err != nil || before.last == 0 || before.agreed != before.last || before.self.ID == "" || len(before.others) != 0 {
		t.Fatalf("the folder says %+v, %v", before, err)
	}
	appendEntry(t, filepath.Join(cfg.DataDir, etcdDir), "unsure", "yes")
	after, err := survey(cfg.DataDir, discard)
	if err != nil || after.last != before.last+1 || after.agreed != before.last {
		t.Fatalf("the folder says %+v, %v; was %+v", after, err, before)
	}
	m, err := readMarker(cfg.DataDir)
	if err != nil {
		t.Fatal(err)
	}
	was := read(t, filepath.Join(cfg.DataDir, markerFile))
	work := t.TempDir()
	file := filepath.Join(work, "all.snapshot")
	full, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if err := collect(t.Context(), RecoverConfig{Config: full}, m, filepath.Join(work, "copy"), file); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"agreed", "unsure"} {
		if found, err := holds(file, key); err != nil || !found {
			t.Errorf("%q is lost: %v", key, err)
		}
	}
	if again, err := survey(cfg.DataDir, discard); err != nil || again.last != after.last || again.agreed != after.agreed {
		t.Errorf("the folder itself was changed: it says %+v, %v", again, err)
	}
	if string(read(t, filepath.Join(cfg.DataDir, markerFile))) != string(was) {
		t.Error("the marker was changed")
	}
}

// appendEntry puts an entry behind the end of a log that nobody has agreed on.
func appendEntry(t *testing.T, etcd, key, value string) {
	t.Helper()
	lg := zap.NewNop()
	start, err := lastSnapshot(lg, walDir(etcd))
	if err != nil {
		t.Fatal(err)
	}
	w, _, entries, err := openLog(lg, walDir(etcd), start)
	if err != nil {
		t.Fatal(err)
	}
	last := entries[len(entries)-1]
	data, err := proto.Marshal(&etcdserverpb.InternalRaftRequest{
		Header: &etcdserverpb.RequestHeader{ID: 1 << 60}, Put: &etcdserverpb.PutRequest{Key: []byte(key), Value: []byte(value)},
	})
	if err != nil {
		t.Fatal(err)
	}
	entry := &raftpb.Entry{Term: proto.Uint64(last.GetTerm()), Index: proto.Uint64(last.GetIndex() + 1), Type: raftpb.EntryNormal.Enum(), Data: data}
	if err := errors.Join(w.Save(&raftpb.HardState{}, []*raftpb.Entry{entry}), w.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestNamed_AllOthersAndNobodyElse(t *testing.T) {
	others := []Peer{{ID: "a1", Name: "lock-2-11"}, {ID: "b2", Name: "lock-3-22"}, {ID: "c3"}}
	for names, says := range map[string]string{
		"lock-2-11 lock-3-22 c3": "",
		"lock-2 lock-3 c3":       "",
		"a1 b2 c3 lock-3":        "",
		"lock-2 c3":              "missing is lock-3-22",
		"":                       "missing is lock-2-11, lock-3-22, c3",
		"lock lock-3 c3":         `"lock" is not one of them`,
		"lock-2 lock-3 c3 d4":    `"d4" is not one of them`,
	} {
		err := named(others, strings.Fields(names))
		if says == "" && err != nil || says != "" && (!errors.Is(err, ErrLostNotNamed) || !strings.Contains(err.Error(), says)) {
			t.Errorf("%q: %v, want %q", names, err, says)
		}
	}
}

// A member that came, went or got its vote just before the end is in the log and
// not in the database yet: it has to be named as lost all the same.
func TestFollow_ChangesOfTheMembersThatAreOnlyInTheLog(t *testing.T) {
	members := map[uint64]membership.Member{1: {ID: 1, Attributes: membership.Attributes{Name: "a"}}, 2: {ID: 2}}
	change := func(kind raftpb.ConfChangeType, id uint64, c *membership.ConfigChangeContext) {
		t.Helper()
		cc := &raftpb.ConfChange{Type: kind.Enum(), NodeId: proto.Uint64(id)}
		if c != nil {
			text, err := json.Marshal(c)
			if err != nil {
				t.Fatal(err)
			}
			cc.Context = text
		}
		data, err := proto.Marshal(cc)
		if err != nil {
			t.Fatal(err)
		}
		if err := follow(members, data); err != nil {
			t.Fatal(err)
		}
	}
	at := func(url string, learner bool) membership.Member {
		return membership.Member{ID: 3, RaftAttributes: membership.RaftAttributes{PeerURLs: []string{url}, IsLearner: learner}}
	}
	change(raftpb.ConfChangeAddLearnerNode, 3, &membership.ConfigChangeContext{Member: at("https://c:1", true)})
	if m := members[3]; !m.IsLearner || len(m.PeerURLs) != 1 || m.PeerURLs[0] != "https://c:1" {
		t.Errorf("after it was added it is %+v", m)
	}
	change(raftpb.ConfChangeAddNode, 3, &membership.ConfigChangeContext{Member: at("", false), IsPromote: true})
	if m := members[3]; m.IsLearner || m.PeerURLs[0] != "https://c:1" {
		t.Errorf("after it got its vote it is %+v", m)
	}
	change(raftpb.ConfChangeUpdateNode, 3, &membership.ConfigChangeContext{Member: at("https://d:1", false)})
	if m := members[3]; m.PeerURLs[0] != "https://d:1" {
		t.Errorf("after it moved it is %+v", m)
	}
	change(raftpb.ConfChangeRemoveNode, 2, nil)
	if _, there := members[2]; there || len(members) != 2 {
		t.Errorf("members are %+v", members)
	}
}
