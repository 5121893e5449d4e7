package fleet

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memory is a Store for several registries.
type memory struct {
	mu      sync.Mutex
	rev     int64
	records map[string]Record
	writes  int
	fail    error
	follow  []chan []Change
}

func newMemory() *memory { return &memory{records: map[string]Record{}} }

func (m *memory) OrderNode(ctx context.Context, r Record, _ semaphore.Event) error {
	_, err := m.PutNode(ctx, r)
	return err
}

func (m *memory) PutNode(_ context.Context, r Record) (int64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return 0, m.fail
	}
	if m.records[r.ID].Revision != r.Revision {
		return 0, ErrChanged
	}
	m.rev++
	m.writes++
	r.Revision = m.rev
	m.records[r.ID] = r
	m.tell(Change{ID: r.ID, Record: r})
	return m.rev, nil
}

func (m *memory) GetNode(_ context.Context, id string) (Record, bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, found := m.records[id]
	return r, found, m.fail
}

func (m *memory) DeleteNode(_ context.Context, id string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, id)
	m.tell(Change{ID: id, Deleted: true})
	return m.fail
}

func (m *memory) tell(c Change) {
	for _, ch := range m.follow {
		ch <- []Change{c}
	}
}

// anew is what a watch that was lost and found sends.
func (m *memory) anew() []Change {
	list := []Change{{Reset: true}}
	for id, r := range m.records {
		list = append(list, Change{ID: id, Record: r})
	}
	return append(list, Change{Synced: true})
}

func (m *memory) FollowNodes(ctx context.Context) <-chan []Change {
	m.mu.Lock()
	defer m.mu.Unlock()
	in, out := make(chan []Change, 10_000), make(chan []Change)
	in <- m.anew()
	m.follow = append(m.follow, in)
	go func() {
		defer close(out)
		for {
			select {
			case list := <-in:
				select {
				case out <- list:
				case <-ctx.Done():
					return
				}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

func begin(t testing.TB, m *memory) *Registry {
	t.Helper()
	r := New(Config{Store: m})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.Stop)
	return r
}

func session(instance, boot string, seq uint64) Session {
	return Session{Instance: instance, BootID: boot, Report: api.Report{Seq: seq, Group: "g", Phase: api.PhaseIdle, Healthy: true}}
}

func observe(t *testing.T, r *Registry, id string, s Session) {
	t.Helper()
	if err := r.Observe(t.Context(), id, s); err != nil {
		t.Fatal(err)
	}
}

func TestObserve_WritesWhatChangedAndNoHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := begin(t, m)
		first := time.Now()
		for seq := range uint64(5) {
			observe(t, r, "a", session("i", "b", seq+1))
			time.Sleep(30 * time.Second)
		}
		if m.writes != 1 {
			t.Errorf("%d writes for one thing said five times", m.writes)
		}
		n, found := r.Node("a")
		if !found || !n.LastHeard.Equal(first.Add(2*time.Minute)) || !n.FirstSeen.Equal(first) || n.Group != "g" {
			t.Errorf("%+v", n)
		}
		s := session("i", "b", 6)
		s.Report.Phase = api.PhaseDraining
		observe(t, r, "a", s)
		if n, _ := r.Node("a"); m.writes != 2 || n.Report.Phase != api.PhaseDraining {
			t.Errorf("%d writes, %+v", m.writes, n.Report)
		}
	})
}

func TestObserve_AnOlderReportOfTheSameSessionIsIgnored(t *testing.T) {
	r := begin(t, newMemory())
	s := session("i", "b", 7)
	s.Report.Phase = api.PhaseApplying
	observe(t, r, "a", s)
	observe(t, r, "a", session("i", "b", 6))
	if n, _ := r.Node("a"); n.Report.Phase != api.PhaseApplying {
		t.Errorf("%+v", n.Report)
	}
	observe(t, r, "a", session("i", "b2", 1))
	if n, _ := r.Node("a"); n.BootID != "b2" || n.Report.Phase != api.PhaseIdle {
		t.Errorf("after a reboot: %+v", n)
	}
}

func TestObserve_TwoCoordinatorsWriteOneRecord(t *testing.T) {
	m := newMemory()
	a, b := begin(t, m), begin(t, m)
	observe(t, a, "n", session("i", "b", 1))
	changed := session("i", "b", 2)
	changed.Report.Message = "by the other coordinator"
	observe(t, b, "n", changed)
	again := session("i", "b", 3)
	again.Report.Message = "and back"
	observe(t, a, "n", again)
	if rec, _, _ := m.GetNode(t.Context(), "n"); rec.Report.Message != "and back" {
		t.Errorf("%+v", rec.Report)
	}
}

func TestObserve_WhenTheStoreIsGoneTheReportIsWrittenLater(t *testing.T) {
	m := newMemory()
	r := begin(t, m)
	m.fail = semaphore.ErrNoQuorum
	if err := r.Observe(t.Context(), "a", session("i", "b", 1)); !errors.Is(err, semaphore.ErrNoQuorum) {
		t.Fatal(err)
	}
	if _, found := r.Node("a"); found {
		t.Error("it is shown though nothing is stored")
	}
	m.fail = nil
	observe(t, r, "a", session("i", "b", 1))
	if _, found := r.Node("a"); !found {
		t.Error("it is not shown")
	}
}

func TestDuplicates_AreFoundByLiveSessionsAndReturningBoots(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, newMemory())
		observe(t, r, "a", session("i1", "b1", 1))
		var twice *Duplicate
		time.Sleep(LiveFor - time.Second)
		for name, err := range map[string]error{
			"check":   r.Check("a", session("i2", "b9", 1)),
			"observe": r.Observe(t.Context(), "a", session("i2", "b9", 1)),
		} {
			if !errors.As(err, &twice) {
				t.Errorf("%s of a second instance: %v", name, err)
			}
		}
		if n, _ := r.Node("a"); n.Instance != "i1" {
			t.Error("the second took the first's place")
		}
		// Its own asking does not keep the first alive.
		time.Sleep(2 * time.Second)
		if err := r.Observe(t.Context(), "a", session("i2", "b9", 1)); err != nil {
			t.Errorf("once the first is silent: %v", err)
		}
		observe(t, r, "a", session("i2", "b10", 2))
		time.Sleep(time.Hour)
		if err := r.Observe(t.Context(), "a", session("i2", "b9", 3)); !errors.As(err, &twice) {
			t.Errorf("a boot that was superseded: %v", err)
		}
		if err := r.EndSession(t.Context(), "a"); err != nil {
			t.Fatal(err)
		}
		if err := r.Observe(t.Context(), "a", session("i2", "b9", 4)); err != nil {
			t.Errorf("after a person looked: %v", err)
		}
	})
}

func TestState_SaysTheWorstThatIsTrue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := begin(t, newMemory())
		state := func(id string) api.NodeState { n, _ := r.Node(id); return n.State }
		observe(t, r, "idle", session("i", "b", 1))
		sick := session("i", "b", 1)
		sick.Report.Healthy = false
		observe(t, r, "sick", sick)
		busy := sick
		busy.Report.Phase = api.PhaseRebooting
		observe(t, r, "rebooting", busy)
		if state("idle") != api.NodeIdle || state("sick") != api.NodeFailed || state("rebooting") != api.NodeIdle {
			t.Error(state("idle"), state("sick"), state("rebooting"))
		}
		time.Sleep(UnreachableAfter + time.Second)
		if state("idle") != api.NodeUnreachable {
			t.Error(state("idle"))
		}
		r.Touch("idle", session("i", "b", 1))
		if state("idle") != api.NodeIdle {
			t.Error(state("idle"))
		}
	})
}

func TestStart_ANodeIsNotCalledUnreachableBeforeItCouldReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		observe(t, begin(t, m), "a", session("i", "b", 1))
		time.Sleep(time.Hour)
		later := begin(t, m)
		if n, _ := later.Node("a"); n.State != api.NodeIdle {
			t.Errorf("%s a moment after the start", n.State)
		}
		maybe := func(id string) time.Time {
			at, err := later.MaybeHeard(t.Context(), id)
			if err != nil {
				t.Error(err)
			}
			return at
		}
		if maybe("a").Before(time.Now()) || !later.Heard("a").Before(time.Now()) || !maybe("b").IsZero() {
			t.Error("it claims to know who was silent before it started")
		}
		time.Sleep(UnreachableAfter + time.Second)
		if n, _ := later.Node("a"); n.State != api.NodeUnreachable {
			t.Errorf("%s", n.State)
		}
	})
}

func TestFollow_AWatchThatBeganAnewForgetsWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		r := begin(t, m)
		observe(t, r, "kept", session("i", "b", 1))
		observe(t, r, "gone", session("i", "b", 1))
		m.mu.Lock()
		delete(m.records, "gone") // while the watch was lost
		m.follow[0] <- m.anew()
		m.mu.Unlock()
		synctest.Wait()
		if nodes := r.Nodes(); len(nodes) != 1 || nodes[0].ID != "kept" {
			t.Errorf("%+v", nodes)
		}
	})
}

func TestForget_ANodeThatReportsAgainIsBack(t *testing.T) {
	r := begin(t, newMemory())
	observe(t, r, "a", session("i", "b", 1))
	changed := r.Changed()
	if err := r.Forget(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	select {
	case <-changed:
	default:
		t.Error("nobody was told")
	}
	if len(r.Nodes()) != 0 {
		t.Error("it is still there")
	}
	observe(t, r, "a", session("i", "b", 2))
	if len(r.Nodes()) != 1 {
		t.Error("it is not back")
	}
}

func BenchmarkNodes(b *testing.B) {
	r := New(Config{Store: newMemory()})
	for i := range 10_000 {
		if err := r.Observe(b.Context(), fmt.Sprintf("node-%05d", i), session("i", "b", 1)); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		if n := len(r.Nodes()); n != 10_000 {
			b.Fatal(n)
		}
	}
}
