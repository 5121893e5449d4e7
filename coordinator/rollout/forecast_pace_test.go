package rollout

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

func TestPace_IsThatOfTheRolloutsOwnNodesOnceTheyAreEnough(t *testing.T) {
	own := func(n int) *State {
		st := rolloutOf(8, 0)
		st.Results = map[string]Result{}
		for _, node := range st.Nodes[:n] {
			st.Results[node.Node] = Result{State: api.NodeUpdated, Began: noon, At: noon.Add(20 * time.Second)}
		}
		return &st
	}
	past := []time.Duration{time.Minute, 3 * time.Minute}
	for name, c := range map[string]struct {
		st     *State
		lasted []time.Duration
		mean   time.Duration
		basis  string
	}{
		"nothing is known":      {own(0), nil, 5 * time.Minute, "5m a node are assumed, for no update there is on record"},
		"the record":            {own(2), past, 2 * time.Minute, "the last 2 updates there, 2m on average (1m to 3m)"},
		"enough of its own":     {own(3), past, 20 * time.Second, "the 3 nodes that the rollout updated there, 20s on average"},
		"no record, one of its": {own(1), nil, 20 * time.Second, "the 1 node that the rollout updated there"},
		"before it is started":  {nil, past, 2 * time.Minute, "the last 2 updates"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPace("web", c.st, c.lasted)
			if p.mean() != c.mean || !strings.Contains(p.basis, c.basis) {
				t.Errorf("%s: %s", p.mean(), p.basis)
			}
		})
	}
}

func TestPace_AllNodesTogetherTakeWhatWasMeasured(t *testing.T) {
	p := measured([]time.Duration{time.Minute, 2 * time.Minute, 9 * time.Minute}, "")
	sum := time.Duration(0)
	for i := range 300 {
		sum += p.of(i)
	}
	if mean := sum / 300; mean < p.mean()-2*time.Second || mean > p.mean()+2*time.Second {
		t.Errorf("on average %s, measured %s", mean, p.mean())
	}
	if p.of(0) == p.of(1) && p.of(1) == p.of(2) {
		t.Error("three nodes in a row take the same")
	}
}

func TestFit_FindsWindowsInWhichNothingCouldBeDone(t *testing.T) {
	night := semaphore.Window{Start: "22:00", Duration: semaphore.Duration(4 * time.Hour)}
	group := func(windows ...semaphore.Window) semaphore.State {
		return semaphore.State{Group: "web", Spec: semaphore.Spec{Windows: windows}}
	}
	for name, c := range map[string]struct {
		windows []api.WindowSpec
		group   semaphore.State
		usual   time.Duration
		wrong   string // path and part of the detail
		doubt   string
	}{
		"long enough":                   {[]api.WindowSpec{{Start: "01:00", Duration: "1h"}}, group(night), time.Hour, "", ""},
		"shorter than an update":        {[]api.WindowSpec{{Start: "01:00", Duration: "59m"}}, group(night), time.Hour, "windows[0].duration: a window of 59m holds no update of group web, which usually takes 1h", ""},
		"nothing on record":             {[]api.WindowSpec{{Start: "01:00", Duration: "1m"}}, group(night), 0, "", ""},
		"never open with the group's":   {[]api.WindowSpec{{Start: "12:00", Duration: "1h"}}, group(night), 0, "windows: none is ever open while one of group web is", ""},
		"open with it on Mondays alone": {[]api.WindowSpec{{Start: "00:30", Duration: "1h", Weekdays: []string{"mon"}}}, group(night), 0, "", ""},
		"the group's own are short":     {nil, group(night), 5 * time.Hour, "", "the windows of group web last 4h at most"},
	} {
		t.Run(name, func(t *testing.T) {
			wrong, doubtful := Fit(&api.RolloutSpec{Windows: c.windows}, []semaphore.State{c.group}, func(string) time.Duration { return c.usual }, noon)
			for _, x := range []struct {
				found []api.FieldError
				want  string
			}{{wrong, c.wrong}, {doubtful, c.doubt}} {
				text := ""
				for _, f := range x.found {
					text += f.Path + ": " + f.Detail
				}
				if x.want == "" && text != "" || !strings.Contains(text, x.want) {
					t.Errorf("found %q, want %q", text, x.want)
				}
			}
		})
	}
}

func TestExpected_ATimeThatIsShownDoesNotTremble(t *testing.T) {
	at := func(d time.Duration) expected { return expected{ends: noon.Add(d)} }
	for _, c := range []struct{ said, found, want time.Duration }{
		{time.Hour, time.Hour + 50*time.Second, time.Hour},                // within 2 % of what is left
		{time.Hour, time.Hour + 2*time.Minute, time.Hour + 2*time.Minute}, // not
		{10 * time.Second, 12 * time.Second, 10 * time.Second},
		{-time.Second, time.Second, time.Second}, // what was said is over
	} {
		if got := at(c.found).near(at(c.said), noon).ends.Sub(noon); got != c.want {
			t.Errorf("said %s, found %s: says %s, want %s", c.said, c.found, got, c.want)
		}
	}
}
