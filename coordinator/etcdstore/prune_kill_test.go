package etcdstore

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/lockkeeper/lockkeeper/coordinator/etcdnode"
)

// This test binary started again is a process with the store in it, as a
// coordinator is, that deletes what is past its bounds.
const envPruner = "ETCDSTORE_TEST_PRUNER" // the folder of its data

// The trail before: a group has made more events than a scope may have, and the
// first are too old; a rollout has only old ones; the fleet's are few.
const (
	prunedPrefix = "/test/"
	busyEvents   = 12_000
	busyOld      = 6_000
	oldEvents    = 5_000
	fleetEvents  = 40
	fleetOld     = 30
	prunedMax    = 4_000 // in all; a scope has a quarter
)

// scopeLeft is what is left of a scope's events; their sequences have no hole.
type scopeLeft struct{ First, Last, Count int64 }

// TestPrune_KilledOnTheWayKeepsWhatIsToStayAndFinishesAfterwards kills the whole
// process, etcd and all, while a deletion is on its way, again and again.
func TestPrune_KilledOnTheWayKeepsWhatIsToStayAndFinishesAfterwards(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	fill(t, dir)
	partly := 0
	for i, cuts := range []int{2, 4, 1, 0} { // the last is not killed
		left, end := prune(t, dir, cuts)
		busy, old, fleet := left["group/busy"], left["rollout/old"], left[FleetScope]
		if i == 0 && (busy.Count != busyEvents || old.Count != oldEvents) {
			t.Fatalf("filled with %v", left)
		}
		if busy.Last != busyEvents || busy.Count < prunedMax/shareOfScope || fleet.Last != fleetEvents || fleet.Count < fleetEvents-fleetOld {
			t.Fatalf("after a kill an event is gone that was to stay: %v", left)
		}
		// Each request deletes its thousand or nothing of it.
		for _, s := range []scopeLeft{busy, old} {
			if s.Count > 0 && (s.First-1)%eventsAtOnce != 0 {
				t.Errorf("half of a request came through: the first is %d", s.First)
			}
		}
		if old.Count > 0 && old.Last != oldEvents {
			t.Errorf("the newest of a scope went before its oldest: %v", old)
		}
		if n := busy.Count + old.Count; n < busyEvents+oldEvents && n > prunedMax/shareOfScope {
			partly++
		}
		if cuts > 0 {
			continue
		}
		want := map[string]scopeLeft{
			"group/busy": {busyEvents - prunedMax/shareOfScope + 1, busyEvents, prunedMax / shareOfScope},
			FleetScope:   {fleetOld + 1, fleetEvents, fleetEvents - fleetOld},
		}
		if fmt.Sprint(end) != fmt.Sprint(want) {
			t.Errorf("in the end there is %v, want %v", end, want)
		}
	}
	if partly == 0 {
		t.Error("no kill came between the first deletion and the last: nothing was tried")
	}
}

// prune starts the process, kills it when it is about to delete for the nth time,
// 0 for not at all, and returns what it found when it started and in the end.
func prune(t *testing.T, dir string, kill int) (found, end map[string]scopeLeft) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), envPruner+"="+dir)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	goOn, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	cuts := 0
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		what, text, _ := strings.Cut(lines.Text(), " ")
		into := map[string]*map[string]scopeLeft{"found": &found, "left": &end}[what]
		switch {
		case into != nil:
			if err := json.Unmarshal([]byte(text), into); err != nil {
				t.Fatal(err)
			}
		case what != "cut":
			t.Errorf("the process says %q", lines.Text())
		default:
			fmt.Fprintln(goOn)
			if cuts++; cuts == kill {
				_ = cmd.Process.Kill()
			}
		}
	}
	if err := cmd.Wait(); kill == 0 && err != nil {
		t.Fatalf("the process ended with %v", err)
	}
	if found == nil {
		t.Fatal("the process did not say what it found")
	}
	return found, end
}

// fill makes the data of a process with its events.
func fill(t *testing.T, dir string) {
	t.Helper()
	node, err := etcdnode.Start(t.Context(), etcdnode.Config{DataDir: dir, Name: "test"})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().UTC()
	var puts []clientv3.Op
	// A busy machine may take longer for a thousand keys than etcd waits; to put
	// them again changes nothing.
	flush := func() {
		for late := time.Now().Add(time.Minute); ; {
			_, err := node.Client().Txn(t.Context()).Then(puts...).Commit()
			if err == nil {
				break
			}
			if time.Now().After(late) {
				t.Fatal(err)
			}
		}
		puts = nil
	}
	put := func(scope string, count, old int) {
		for seq := 1; seq <= count; seq++ {
			at := now
			if seq <= old {
				at = now.Add(-2 * DefaultTrail.MaxAge)
			}
			value := fmt.Sprintf(`{"v":1,"scope":%q,"seq":%d,"at":%q,"kind":"x"}`, scope, seq, at.Format(time.RFC3339Nano))
			puts = append(puts, clientv3.OpPut(fmt.Sprintf("%sevents/%s/%016d", prunedPrefix, scope, seq), value))
			if len(puts) == 1_000 {
				flush()
			}
		}
	}
	put("group/busy", busyEvents, busyOld)
	put("rollout/old", oldEvents, oldEvents)
	put(FleetScope, fleetEvents, fleetOld)
	flush()
	if err := node.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// runPruner is the main of the process: it says what it finds, prunes, and says
// before each deletion that it is about to, and waits for a line.
func runPruner(dir string) error {
	ctx := context.Background()
	node, err := etcdnode.Start(ctx, etcdnode.Config{DataDir: dir, Name: "test"})
	if err != nil {
		return err
	}
	client := node.Client()
	client.KV = tellingKV{client.KV}
	d := New(Config{Client: client, Prefix: prunedPrefix, Trail: Trail{MaxEvents: prunedMax, MaxAge: DefaultTrail.MaxAge}})
	if err := tellLeft(ctx, d, "found"); err != nil {
		return err
	}
	for late := time.Now().Add(time.Minute); ; { // it goes on where it was, as in a coordinator a few minutes later
		err := d.Prune(ctx)
		if err == nil {
			break
		}
		if time.Now().After(late) {
			return err
		}
	}
	if err := tellLeft(ctx, d, "left"); err != nil {
		return err
	}
	return node.Stop(ctx)
}

// tellLeft prints what is there of each scope, and fails where events are missing
// in between.
func tellLeft(ctx context.Context, d *DB, what string) error {
	stored, err := d.read(ctx, 0, 0)
	if err != nil {
		return err
	}
	left := map[string]scopeLeft{}
	for _, e := range stored {
		s := left[e.Scope]
		switch {
		case s.Count == 0:
			s.First = e.Seq
		case e.Seq != s.Last+1:
			return fmt.Errorf("scope %s has a hole between %d and %d", e.Scope, s.Last, e.Seq)
		}
		s.Last = e.Seq
		s.Count++
		left[e.Scope] = s
	}
	b, err := json.Marshal(left)
	if err != nil {
		return err
	}
	fmt.Printf("%s %s\n", what, b)
	return nil
}

// tellingKV prints a line before each deletion, and goes on when it gets one: the
// process must not have deleted everything before a slow test kills it.
type tellingKV struct{ clientv3.KV }

func (k tellingKV) Txn(ctx context.Context) clientv3.Txn { return tellingTxn{k.KV.Txn(ctx)} }

type tellingTxn struct{ clientv3.Txn }

func (t tellingTxn) If(cs ...clientv3.Cmp) clientv3.Txn   { return tellingTxn{t.Txn.If(cs...)} }
func (t tellingTxn) Else(ops ...clientv3.Op) clientv3.Txn { return tellingTxn{t.Txn.Else(ops...)} }
func (t tellingTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	for _, op := range ops {
		if op.IsDelete() {
			fmt.Println("cut")
			fmt.Scanln()
		}
	}
	return tellingTxn{t.Txn.Then(ops...)}
}
