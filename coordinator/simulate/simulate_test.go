package simulate

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

var nine = time.Date(2026, 11, 27, 9, 0, 0, 0, time.UTC)

// of is a rollout over so many hosts of group web, in three zones.
func of(t *testing.T, hosts int, slots string, spec api.RolloutSpec, limits ...semaphore.Limit) Options {
	t.Helper()
	n, err := semaphore.ParseSlots(slots)
	if err != nil {
		t.Fatal(err)
	}
	spec.Group = "web"
	o := Options{
		Spec: spec, Groups: map[string]semaphore.Spec{"web": {V: 1, Slots: n, Limits: limits}}, Start: nine, Seed: 1,
		Apply: Spread{Mean: 10 * time.Second}, Reboot: Spread{90 * time.Second, 30 * time.Second},
	}
	if o.Hosts, err = Fleet(spec, hosts, nil, []Label{Zones(3)}); err != nil {
		t.Fatal(err)
	}
	return o
}

func run(t *testing.T, o Options) Report {
	t.Helper()
	r, err := Run(o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRun_TheSameSeedComesToTheSameEndAndAnotherDoesNot(t *testing.T) {
	o := of(t, 60, "10%", api.RolloutSpec{MaxFailures: "50%", Waves: []api.WaveSpec{{Count: 5, Soak: "5m"}, {}}})
	o.Fail, o.Hang = 0.1, 0.02
	same := cmp.AllowUnexported(Report{}, series{}, point{})
	first := run(t, o)
	if diff := cmp.Diff(first, run(t, o), same); diff != "" {
		t.Errorf("the same seed, another end:\n%s", diff)
	}
	o.Seed = 2
	if cmp.Equal(first, run(t, o), cmpopts.IgnoreFields(Report{}, "Seed"), same) {
		t.Error("another seed comes to the same end")
	}
}

func TestRun_KeepsToTheBoundAndSaysWhichItIs(t *testing.T) {
	one := semaphore.Limit{By: "zone", Max: semaphore.Slots{N: 1}}
	for name, c := range map[string]struct {
		o     Options
		peak  int
		bound string
	}{
		"slots":  {of(t, 100, "5%", api.RolloutSpec{}), 5, "slots"},
		"limits": {of(t, 100, "5%", api.RolloutSpec{}, one), 3, "limits"},
		"wave":   {of(t, 100, "5%", api.RolloutSpec{Grow: &api.GrowSpec{Start: 2}}), 5, "wave"},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, c.o)
			if r.PeakOut != c.peak || r.Groups[0].PeakOut != c.peak {
				t.Errorf("at most %d out of service (%+v), want %d", r.PeakOut, r.Groups, c.peak)
			}
			if got := r.Waves[0].Concurrency.Bound; got != c.bound {
				t.Errorf("bound by %s (%s), want %s", got, r.Waves[0].Concurrency.Detail, c.bound)
			}
			if r.State != api.RolloutSucceeded || r.Updated != 100 {
				t.Errorf("it is %s with %d updated: %s", r.State, r.Updated, r.Why)
			}
			if r.Ratio < 1 || r.Ratio > 1.6 {
				t.Errorf("it took %.0f s, %.2f of the ideal %.0f s", r.MakespanS, r.Ratio, r.IdealS)
			}
		})
	}
}

func TestRun_SaysWhatTheBudgetDid(t *testing.T) {
	o := of(t, 300, "10", api.RolloutSpec{MaxFailures: "3", AutoRollback: api.RollbackAll})
	o.Fail = 0.1
	r := run(t, o)
	if r.State != api.RolloutHalted || r.Budget.Max != 3 || r.Budget.HaltedAt.IsZero() || r.Budget.By == "" {
		t.Fatalf("it is %s, the budget %+v", r.State, r.Budget)
	}
	if r.Budget.UnderWay != 9 || r.Untouched == 0 {
		t.Errorf("the budget %+v with %d updated and %d untouched", r.Budget, r.Updated, r.Untouched)
	}
	if r.Ratio != 0 || r.IdealS != 0 {
		t.Errorf("a rollout that did not come to its end has a ratio: %v", r.Ratio)
	}
}

// Under the same slots, and with the hosts that were under way when it halted.
func TestRun_BringsBackWhatAutoRollbackSays(t *testing.T) {
	waves := []api.WaveSpec{{Name: "canary", Count: 20}, {Name: "rest"}}
	for scope, some := range map[string]bool{api.RollbackNone: false, api.RollbackFailedWave: true, api.RollbackAll: true} {
		o := of(t, 300, "10", api.RolloutSpec{MaxFailures: "5", AutoRollback: scope, Waves: waves})
		o.Fail = 0.05
		r := run(t, o)
		if r.State != api.RolloutHalted || r.Waves[0].Failed > 5 || r.PeakOut != 10 {
			t.Fatalf("%s: it is %s with at most %d out, waves %+v", scope, r.State, r.PeakOut, r.Waves)
		}
		if !some {
			if r.Rollback != nil {
				t.Errorf("%s: nodes are brought back: %+v", scope, r.Rollback)
			}
			continue
		}
		want := r.Updated + r.Failed
		if scope == api.RollbackFailedWave {
			want = r.Waves[1].Updated + r.Waves[1].Failed
		}
		u := r.Rollback
		if u == nil || u.Nodes != want || u.Back != want || u.State != string(api.RolloutSucceeded) {
			t.Fatalf("%s: of %d nodes are brought back %+v", scope, want, u)
		}
		if !u.Began.After(r.Budget.HaltedAt) || u.TookS < float64(want/10) || !u.Ends.After(r.Ends) {
			t.Errorf("%s: halted at %s, it is brought back from %s to %s", scope, r.Budget.HaltedAt, u.Began, u.Ends)
		}
	}
}

func TestRun_ARollbackOfAHostThatNeverComesBackDoesNotEnd(t *testing.T) {
	o := of(t, 40, "10", api.RolloutSpec{MaxFailures: "0", AutoRollback: api.RollbackAll})
	o.Hang = 0.2
	r := run(t, o)
	if u := r.Rollback; u == nil || !u.Ends.IsZero() || u.Back != r.Updated || u.Nodes != r.Updated+r.Failed || r.Kept == 0 {
		t.Errorf("with %d updated and %d failed nodes are brought back %+v", r.Updated, r.Failed, u)
	}
}

func TestRun_HostsThatHangKeepTheirSlots(t *testing.T) {
	o := of(t, 20, "4", api.RolloutSpec{MaxFailures: "100%"})
	o.Hang = 1
	r := run(t, o)
	if r.State != api.RolloutHalted || r.Kept != 4 || r.Failed != 4 || !strings.Contains(r.Why, "every slot is kept") {
		t.Errorf("it is %s, %d failed, %d slots kept: %s", r.State, r.Failed, r.Kept, r.Why)
	}
}

func TestRun_RefusesWhatItCannotSimulate(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*Options)
		says   string
	}{
		"a share that is none":      {func(o *Options) { o.Fail = 1.5 }, "fail rate 1.5"},
		"shares of more than all":   {func(o *Options) { o.Fail, o.Hang = 0.6, 0.6 }, "more than 1 together"},
		"a spec that is not valid":  {func(o *Options) { o.Spec.MaxFailures = "-1" }, "max_failures"},
		"waves that leave some out": {func(o *Options) { o.Spec.Waves = []api.WaveSpec{{Count: 1}} }, "waves"},
		"a group that is not there": {func(o *Options) { o.Groups = map[string]semaphore.Spec{"db": {}} }, "group web is not declared: there are db"},
	} {
		t.Run(name, func(t *testing.T) {
			o := of(t, 3, "1", api.RolloutSpec{})
			c.change(&o)
			if _, err := Run(o); err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestParseSpread(t *testing.T) {
	for text, want := range map[string]Spread{
		"90s": {Mean: 90 * time.Second}, "90s±30s": {90 * time.Second, 30 * time.Second},
		"2m +- 10s": {2 * time.Minute, 10 * time.Second}, "0s": {},
	} {
		if got, err := ParseSpread(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "90", "-5s", "30s±60s", "90s±", "25h", "90s±-1s"} {
		if got, err := ParseSpread(text); err == nil {
			t.Errorf("%q is taken for %v", text, got)
		}
	}
}

func TestSVG_IsAPictureOfTheWavesAndTheHalt(t *testing.T) {
	o := of(t, 300, "10", api.RolloutSpec{MaxFailures: "3", Waves: []api.WaveSpec{{Name: "canary <5>", Count: 5, Soak: "20m"}, {Name: "rest"}}})
	o.Fail = 0.05
	r := run(t, o)
	svg := r.SVG()
	for d := xml.NewDecoder(bytes.NewReader(svg)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("it is no XML: %v", err)
		}
	}
	for _, want := range []string{"canary &lt;5&gt;", ">rest<", "halted: ", "prefers-color-scheme: dark", "bound of the wave"} {
		if !bytes.Contains(svg, []byte(want)) {
			t.Errorf("it lacks %q", want)
		}
	}
	if len(svg) > 100_000 {
		t.Errorf("it has %d bytes", len(svg))
	}
}
