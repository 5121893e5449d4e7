package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// staged is a fleet of simulated hosts under three coordinators, updated in waves.
type staged struct {
	*cluster
	w     witness
	hosts []string
	slots int
}

// begin starts a rollout.
func (s *staged) begin(spec api.RolloutSpec) string {
	s.t.Helper()
	c, err := client.New(client.Config{Servers: strings.Split(s.urls(), ",")})
	must0(s.t, err)
	defer c.Close()
	var r api.Rollout
	settled(s.t, func() (err error) { r, _, err = c.CreateRollout(s.t.Context(), spec, "staged/"+spec.Name); return err })
	return r.ID
}

func (s *staged) show(id string) api.Rollout { return rolloutOf(s.t, s.any().url, id) }

// comesTo waits until a rollout is in a state.
func (s *staged) comesTo(id string, state api.RolloutState) (r api.Rollout) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("rollout %s is %s", id, state), func() bool {
		r = s.show(id)
		if !r.State.Active() && r.State != state {
			s.t.Fatalf("it is %s: %s", r.State, r.Why)
		}
		return r.State == state
	})
	return r
}

// elected is the coordinator whose engine acts.
func (s *staged) elected() (found *memberProcess) {
	s.t.Helper()
	eventually(s.t, "an engine is elected", func() bool {
		for _, m := range s.members {
			if !m.running() {
				continue
			}
			if _, body := get(m.url + "/metrics"); strings.Contains(body, "\nlockkeeper_rollout_leader 1") {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// killed is kill -9 of the coordinator whose engine acts, and a start of it once
// another has taken over, which must be within 10 s.
func (s *staged) killed(state api.RolloutState) {
	s.t.Helper()
	dead := s.elected()
	dead.kill()
	since := s.stopwatch()
	next := s.elected()
	took := time.Since(since.began)
	s.t.Logf("%s: %s took over from %s after %s", state, next.name, dead.name, took.Round(10*time.Millisecond))
	since.within(s.t, took, 10*time.Second, string(state)+": another engine acted")
	dead.restart()
}

func newStaged(t *testing.T, hosts, slots int) *staged {
	t.Helper()
	s := &staged{cluster: newCluster(t, 3), w: newWitness(t), hosts: names("sim", hosts), slots: slots}
	must(t, s.any().url, "group", "set", "fleet", "--slots", strconv.Itoa(slots))
	return s
}

// allReported waits until each coordinator knows all hosts.
func (s *staged) allReported() {
	s.t.Helper()
	for _, m := range s.members {
		allReport(s.t, m.url, len(s.hosts))
	}
}

// The elected engine is killed in every state that a rollout can be in, and each
// host is updated once.
func TestWaves_GoOnThoughTheElectedEngineIsKilledInEveryState(t *testing.T) {
	t.Parallel()
	s := newStaged(t, 30, 6)
	at := s.any().url
	good := pushBundle(t, at, "good", "")
	startHerd(t, "herd", herd{Servers: strings.Split(s.urls(), ","), Nodes: s.hosts, Group: "fleet", Witness: string(s.w), Reboot: 300 * time.Millisecond})
	s.allReported()

	// Without slots a rollout stays in the state in which the engine is to be killed.
	slots := func(n int) { must(t, s.any().url, "group", "set", "fleet", "--slots", strconv.Itoa(n)) }
	slots(0)
	id := s.begin(api.RolloutSpec{
		Name: "good", Bundle: good, Group: "fleet", Start: time.Now().Add(10 * time.Second),
		Waves: []api.WaveSpec{
			{Name: "canary", Count: 3, Soak: "8s", Gates: []api.GateSpec{{Name: "word", Approval: &api.ApprovalGate{}}}},
			{Percent: 50}, {},
		},
	})
	s.comesTo(id, api.RolloutScheduled)
	s.killed(api.RolloutScheduled)
	s.comesTo(id, api.RolloutRunning)
	s.killed(api.RolloutRunning)
	slots(s.slots)
	s.comesTo(id, api.RolloutSoaking)
	s.killed(api.RolloutSoaking)
	if r := s.comesTo(id, api.RolloutApproval); r.Progress.Updated != 3 {
		t.Errorf("after the canary wave: %+v", r.Progress)
	}
	s.killed(api.RolloutApproval)
	if begun := len(s.w.begun(t)); begun != 3 {
		t.Errorf("%d hosts have begun before the second wave was approved, want 3", begun)
	}
	slots(0)
	must(t, s.any().url, "rollout", "approve", id, "--reason", "looks well")
	must(t, s.any().url, "rollout", "pause", id)
	s.comesTo(id, api.RolloutPaused)
	s.killed(api.RolloutPaused)
	slots(s.slots)
	must(t, s.any().url, "rollout", "resume", id)
	r := s.comesTo(id, api.RolloutSucceeded)
	if r.Progress.Updated != 30 {
		t.Errorf("%+v", r.Progress)
	}
	s.onceEach(1)
}

// onceEach fails the test unless every host went out so many times, and never
// more at once than there are slots.
func (s *staged) onceEach(times int) {
	t := s.t
	t.Helper()
	for _, node := range s.hosts {
		if down := s.w.count(t, "down "+node); down != times {
			t.Errorf("%s went out %d times, want %d", node, down, times)
		}
	}
	if most := s.w.most(t); most > s.slots {
		t.Errorf("%d hosts were out at once, with %d slots", most, s.slots)
	}
}

// A bundle that one host of the first wave cannot bear stops there, and the hosts
// of that wave that bore it are brought back.
func TestWaves_ABadBundleHaltsInTheFirstWaveAndIsTakenBack(t *testing.T) {
	t.Parallel()
	s := newStaged(t, 30, 6)
	at := s.any().url
	good, bad := pushBundle(t, at, "good", ""), pushBundle(t, at, "bad", "healthy_deadline: 2s\n")
	canary := s.hosts[:3]
	startHerd(t, "herd", herd{
		Servers: strings.Split(s.urls(), ","), Nodes: s.hosts, Group: "fleet", Witness: string(s.w), Reboot: 100 * time.Millisecond,
		Fails: map[string]string{canary[2]: bad},
	})
	s.allReported()
	s.comesTo(s.begin(api.RolloutSpec{Name: "good", Bundle: good, Group: "fleet"}), api.RolloutSucceeded)
	s.onceEach(1)
	must(t, at, "group", "set", "fleet", "--slots", "1")

	id := s.begin(api.RolloutSpec{
		Name: "bad", Bundle: bad, Group: "fleet", AutoRollback: api.RollbackFailedWave, Order: &api.OrderSpec{},
		Waves: []api.WaveSpec{{Name: "canary", Count: 3}, {Percent: 50}, {}},
	})
	r := s.comesTo(id, api.RolloutHalted)
	s.killed(api.RolloutHalted)
	if r.Wave != 1 || r.Progress.Failed != 1 || r.Progress.Updated != 2 {
		t.Errorf("halted in wave %d with %+v, want wave 1, 2 updated and 1 failed", r.Wave, r.Progress)
	}
	eventually(t, "a rollback has begun", func() bool { r = s.show(id); return r.Rollback != "" })
	back := s.comesTo(r.Rollback, api.RolloutSucceeded)
	if back.RollbackOf != id || back.Spec.Bundle != good {
		t.Errorf("the rollback is of %s, to %s", back.RollbackOf, back.Spec.Bundle)
	}
	rollbacks := 0
	var all api.RolloutList
	getJSON(t, s.any().url+"/api/v1/rollouts", &all)
	for _, o := range all.Rollouts {
		if o.RollbackOf != "" {
			rollbacks++
		}
	}
	if rollbacks != 1 {
		t.Errorf("%d rollbacks were made, want 1", rollbacks)
	}
	for i, node := range s.hosts {
		want := 1 // for the good bundle
		if i < 2 {
			want = 3 // for the bad one, and back
		} else if i == 2 {
			want = 2 // it went back by itself, within the same slot
		}
		if down := s.w.count(t, "down "+node); down != want {
			t.Errorf("%s went out %d times, want %d", node, down, want)
		}
		eventually(t, node+" is shown with the good bundle", func() bool { return nodeOf(t, s.any().url, node).Report.Bundle == good })
	}
}
