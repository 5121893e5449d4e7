package etcdnode

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// The disk fills up behind the floors' back: etcd's last message arrives, and
// with room again nothing is lost.
func TestFatal_FullDiskLosesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=300m"); err != nil {
		needPrivileges(t, err)
	}
	defer func() { _ = syscall.Unmount(dir, syscall.MNT_DETACH) }() // etcd keeps its files open
	n, err := Start(t.Context(), config(filepath.Join(dir, "data")))
	if err != nil {
		t.Fatal(err)
	}
	put(t, n, "kept", "1")
	fill := filepath.Join(dir, "fill")
	free := n.DiskFree()
	if g, w := n.Low(); !g || w {
		t.Errorf("%d bytes free: grants low %v, writes low %v", free, g, w)
	}
	if err := os.WriteFile(fill, make([]byte, free), 0o600); err != nil {
		t.Fatal(err)
	}
	time.Sleep(roomSeenFor)
	if g, w := n.Low(); !g || !w {
		t.Errorf("a full disk: grants low %v, writes low %v", g, w)
	}
	value := strings.Repeat("x", 1<<20)
	var last error
	until := time.Now().Add(time.Minute)
	for i := 0; last == nil; i++ {
		if time.Now().After(until) {
			t.Fatal("no last message arrived")
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second) // one that fails may only be slow
		_, _ = n.Client().Put(ctx, fmt.Sprintf("big%d", i), value)
		cancel()
		select {
		case last = <-n.Fatal():
		default:
		}
	}
	t.Log(last)
	if !strings.Contains(last.Error(), "no space left") || n.HasLeader() {
		t.Errorf("last message %v, HasLeader %v", last, n.HasLeader())
	}
	stopNode(t, n)

	// Files of this process stay open until it ends: start on a copy.
	again := t.TempDir()
	if err := os.CopyFS(again, os.DirFS(filepath.Join(dir, "data"))); err != nil {
		t.Fatal(err)
	}
	n = startNode(t, config(again))
	if r, err := n.Client().Get(t.Context(), "kept"); err != nil || len(r.Kvs) != 1 {
		t.Errorf("after making room: %v, %v", r, err)
	}
}

func TestStop_EndsInTimeAlsoWithAWatchOpen(t *testing.T) {
	n := startNode(t, config(t.TempDir()))
	watch := n.Client().Watch(context.Background(), "", clientv3.WithPrefix())
	begin := time.Now()
	stopNode(t, n)
	if d := time.Since(begin); d > 3*stopTimeout { // Stop itself says if etcd takes longer
		t.Errorf("stopped after %s", d)
	}
	for range watch { // the channel closes
	}
	stopNode(t, n) // twice is fine
}

// A leader that stops hands over to who was connected longest, and that one may
// stand still: the hand-over is given up, and the stop goes well, however long an
// election takes.
func TestStop_EndsInTimeAlsoWhenNobodyTakesOver(t *testing.T) {
	for _, election := range []time.Duration{0, 8 * time.Second} {
		t.Run(election.String(), func(t *testing.T) { stopsWithoutASuccessor(t, election) })
	}
}

func stopsWithoutASuccessor(t *testing.T, election time.Duration) {
	list := startThree(t, election)
	stopNode(t, list[2])
	frozen := startChild(t, list[2].cfg.DataDir, list[2].cfg.Peer.Listen)
	first := list[0].MemberID()
	until := time.Now().Add(time.Minute)
	for types.ID(list[0].etcd.Server.Lead()).String() != first { // a slow machine elects another at times
		if time.Now().After(until) {
			t.Fatalf("%s leads, want the first", types.ID(list[0].etcd.Server.Lead()))
		}
		_ = list[1].MoveLeader(t.Context(), first) // if it is the one that leads
		time.Sleep(50 * time.Millisecond)
	}
	if err := frozen.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	stopNode(t, list[1])
	begin := time.Now()
	stopNode(t, list[0])
	if d := time.Since(begin); d > 3*stopTimeout { // Stop itself says if etcd takes longer
		t.Errorf("stopped after %s, want at most about %s", d, stopTimeout)
	}
}

func TestStopped_EveryUseIsRefusedAndNothingPanics(t *testing.T) {
	n := startNode(t, config(t.TempDir()))
	stopNode(t, n)
	if n.HasLeader() {
		t.Error("a stopped node says that it has a leader")
	}
	if g, w := n.Low(); !g || !w {
		t.Error("a stopped node is not below its floors")
	}
	n.Info()
	n.Members()
	n.LeaderChanged()
	ctx := t.Context()
	_, err := n.Client().Get(ctx, "a", clientv3.WithSerializable())
	if !errors.Is(err, ErrStopped) {
		t.Errorf("Get: %v, want ErrStopped", err)
	}
	_, err = n.Client().Txn(ctx).Then(clientv3.OpPut("a", "1")).Commit()
	if !errors.Is(err, ErrStopped) {
		t.Errorf("Txn: %v, want ErrStopped", err)
	}
}

func TestFatal_LastWordsArriveAndTheNodeRefusesItself(t *testing.T) {
	n := startNode(t, config(t.TempDir()))
	changed := n.LeaderChanged()
	go func() { n.etcd.GetLogger().Fatal("failed to commit tx") }()
	select {
	case err := <-n.Fatal():
		if !strings.Contains(err.Error(), "failed to commit tx") {
			t.Errorf("err is %v", err)
		}
	case <-time.After(time.Minute):
		t.Fatal("the last words did not arrive")
	}
	<-changed
	if n.HasLeader() {
		t.Error("the node still says that it has a leader")
	}
	if _, err := n.Client().Get(t.Context(), "a"); !errors.Is(err, ErrStopped) {
		t.Errorf("Get: %v, want ErrStopped", err)
	}
}

func TestLow_TwoFloors(t *testing.T) {
	const quota = 1000 << 20
	for _, c := range []struct {
		free, size     int64
		grants, writes bool
	}{
		{GrantFloor, 0, false, false},
		{GrantFloor - 1, 0, true, false},
		{WriteFloor, 0, true, false},
		{WriteFloor - 1, 0, true, true},
		{1 << 40, 799 << 20, false, false},
		{1 << 40, 800 << 20, true, false},
		{1 << 40, 950 << 20, true, true},
	} {
		if g, w := low(c.free, c.size, quota); g != c.grants || w != c.writes {
			t.Errorf("%d free, %d used: %v, %v; want %v, %v", c.free, c.size, g, w, c.grants, c.writes)
		}
	}
}
