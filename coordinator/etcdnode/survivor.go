package etcdnode

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	bolt "go.etcd.io/bbolt"
	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	"go.etcd.io/etcd/server/v3/etcdserver/api/membership"
	"go.etcd.io/etcd/server/v3/storage/wal"
	"go.etcd.io/etcd/server/v3/storage/wal/walpb"
	"go.etcd.io/raft/v3/raftpb"
	"go.uber.org/zap"
	"google.golang.org/protobuf/proto"
)

// survivor is what the folder of a member that does not run says of it and of
// its cluster.
type survivor struct {
	self    Peer
	learner bool
	others  []Peer // by name
	term    uint64 // of the last entry in its log
	last    uint64 // index of that
	agreed  uint64 // up to which it knows that a majority has them
}

// log is what a member's log holds, without changing it.
type raftLog struct {
	node    uint64 // the member's own id
	state   *raftpb.HardState
	entries []*raftpb.Entry
	start   *walpb.Snapshot // before the first entry
}

func walDir(etcd string) string { return filepath.Join(etcd, "member", "wal") }

// lastSnapshot is the point from which etcd reads its log.
func lastSnapshot(lg *zap.Logger, dir string) (*walpb.Snapshot, error) {
	list, err := wal.ValidSnapshotEntries(lg, dir)
	if err != nil || len(list) == 0 {
		return &walpb.Snapshot{}, err
	}
	return list[len(list)-1], nil
}

// readLog reads the log of the etcd folder. A last record that was torn by the
// end of the process is left out, as etcd does.
func readLog(lg *zap.Logger, etcd string) (raftLog, error) {
	var l raftLog
	dir := walDir(etcd)
	var err error
	if l.start, err = lastSnapshot(lg, dir); err != nil {
		return l, err
	}
	w, err := wal.OpenForRead(lg, dir, l.start)
	if err != nil {
		return l, err
	}
	defer func() { _ = w.Close() }()
	meta, state, entries, err := w.ReadAll()
	if err != nil {
		return l, err
	}
	var m etcdserverpb.Metadata
	if err := proto.Unmarshal(meta, &m); err != nil {
		return l, err
	}
	l.node, l.state, l.entries = m.GetNodeID(), state, entries
	return l, nil
}

// survey reads who the members are, by the database and by what the log has
// beyond it, and how far the log goes.
func survey(dir string, log *slog.Logger) (survivor, error) {
	if err := checkDatabase(dir); err != nil {
		return survivor{}, err
	}
	etcd := filepath.Join(dir, etcdDir)
	var s survivor
	err := apart(log, func(lg *zap.Logger) error {
		l, err := readLog(lg, etcd)
		if err != nil {
			return err
		}
		members, applied, err := membersIn(filepath.Join(etcd, "member", "snap", "db"))
		if err != nil {
			return err
		}
		s.term, s.last = l.start.GetTerm(), l.start.GetIndex()
		s.agreed = max(applied, l.state.GetCommit(), s.last)
		for _, e := range l.entries {
			s.term, s.last = e.GetTerm(), e.GetIndex()
			if e.GetIndex() > applied && e.GetType() == raftpb.EntryConfChange {
				if err := follow(members, e.GetData()); err != nil {
					return err
				}
			}
		}
		for id, m := range members {
			p := Peer{ID: types.ID(id).String(), Name: m.Name}
			if len(m.PeerURLs) > 0 {
				p.PeerURL = m.PeerURLs[0]
			}
			if id == l.node {
				s.self, s.learner = p, m.IsLearner
				continue
			}
			s.others = append(s.others, p)
		}
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("%w: %s: its log: %w", ErrCorrupt, etcd, err)
	}
	slices.SortFunc(s.others, func(a, b Peer) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID)) })
	return s, nil
}

// membersIn reads the members from a database, and the index in the log up to
// which it goes.
func membersIn(path string) (map[uint64]membership.Member, uint64, error) {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true, Timeout: 5 * time.Second})
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = db.Close() }()
	members, applied := map[uint64]membership.Member{}, uint64(0)
	err = db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket([]byte("meta")); b != nil {
			if v := b.Get([]byte("consistent_index")); len(v) == 8 {
				applied = binary.BigEndian.Uint64(v)
			}
		}
		b := tx.Bucket([]byte("members"))
		if b == nil {
			return nil
		}
		return b.ForEach(func(k, v []byte) error {
			id, err := strconv.ParseUint(string(k), 16, 64)
			if err != nil {
				return fmt.Errorf("member %q: %w", k, err)
			}
			var m membership.Member
			if err := json.Unmarshal(v, &m); err != nil {
				return fmt.Errorf("member %q: %w", k, err)
			}
			members[id] = m
			return nil
		})
	})
	return members, applied, err
}

// follow makes a change of the members that the database does not have yet.
func follow(members map[uint64]membership.Member, data []byte) error {
	var cc raftpb.ConfChange
	if err := proto.Unmarshal(data, &cc); err != nil {
		return err
	}
	if cc.GetType() == raftpb.ConfChangeRemoveNode {
		delete(members, cc.GetNodeId())
		return nil
	}
	var c membership.ConfigChangeContext
	if err := json.Unmarshal(cc.GetContext(), &c); err != nil {
		return err
	}
	m, known := members[cc.GetNodeId()]
	if c.IsPromote && known {
		m.IsLearner = false
	} else {
		m.RaftAttributes = c.RaftAttributes
		if m.Name == "" {
			m.Attributes = c.Attributes
		}
	}
	members[cc.GetNodeId()] = m
	return nil
}

// agreeOnAll has the log of an etcd folder say that a majority has all of its
// entries. Of those at its end the member did not know it, and somebody may have
// been told that they are; that they are not, nobody was.
func agreeOnAll(lg *zap.Logger, etcd string) error {
	dir := walDir(etcd)
	start, err := lastSnapshot(lg, dir)
	if err != nil {
		return err
	}
	// A torn record at the end is an error here, and none to readLog.
	w, state, entries, err := openLog(lg, dir, start)
	if err != nil {
		if !wal.Repair(lg, dir) {
			return err
		}
		if w, state, entries, err = openLog(lg, dir, start); err != nil {
			return err
		}
	}
	if len(entries) > 0 {
		last := entries[len(entries)-1]
		state.Term, state.Commit = proto.Uint64(max(state.GetTerm(), last.GetTerm())), proto.Uint64(last.GetIndex())
		if err := w.Save(state, nil); err != nil {
			return fmt.Errorf("%w (%w)", err, w.Close())
		}
	}
	return w.Close()
}

func openLog(lg *zap.Logger, dir string, start *walpb.Snapshot) (*wal.WAL, *raftpb.HardState, []*raftpb.Entry, error) {
	w, err := wal.Open(lg, dir, start)
	if err != nil {
		return nil, nil, nil, err
	}
	_, state, entries, err := w.ReadAll()
	if err != nil {
		_ = w.Close()
		return nil, nil, nil, err
	}
	return w, state, entries, nil
}
