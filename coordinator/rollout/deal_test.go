package rollout

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func noHosts(api.Node) bool { return false }

// racks are nodes n01, n02 … in zones a, b, c in turn, and racks 1 to 12.
func racks(n int) []api.Node {
	var out []api.Node
	for i := range n {
		out = append(out, api.Node{ID: fmt.Sprintf("n%02d", i+1), Group: "web", Via: "agent", Labels: map[string]string{
			"zone": string("aabc"[i%4]), "rack": fmt.Sprint(12 - i),
		}})
	}
	return out
}

// dealt is the waves as text: their nodes' numbers.
func dealt(t *testing.T, spec api.RolloutSpec, nodes []api.Node, hosts func(api.Node) bool) string {
	t.Helper()
	out, err := Deal(spec, nodes, hosts)
	if err != nil {
		t.Fatal(err)
	}
	if len(out) != len(nodes) {
		t.Fatalf("%d of %d nodes were dealt", len(out), len(nodes))
	}
	waves := make([]string, len(WaveSpecs(spec, len(nodes))))
	for _, n := range out {
		waves[n.Wave] = strings.TrimSpace(waves[n.Wave] + " " + strings.TrimLeft(strings.TrimPrefix(n.Node, "n"), "0"))
	}
	return strings.Join(waves, " | ")
}

func TestDeal_WavesAreUpToSoManyAndCoverAll(t *testing.T) {
	for name, c := range map[string]struct {
		spec api.RolloutSpec
		want string
	}{
		"none is one wave": {api.RolloutSpec{}, "1 2 3 4 5 6 7 8"},
		"counts and the rest": {api.RolloutSpec{Waves: []api.WaveSpec{{Count: 1}, {Count: 3}, {}}},
			"1 | 2 3 | 4 5 6 7 8"},
		"percent rounds up": {api.RolloutSpec{Waves: []api.WaveSpec{{Percent: 10}, {Percent: 50}, {Percent: 100}}},
			"1 | 2 3 4 | 5 6 7 8"},
		"a canary within the first percent leaves that wave the difference": {api.RolloutSpec{Waves: []api.WaveSpec{{Count: 1}, {Percent: 25}, {}}},
			"1 | 2 | 3 4 5 6 7 8"},
		"a wave may turn out empty": {api.RolloutSpec{Waves: []api.WaveSpec{{Count: 1}, {Percent: 10}, {}}},
			"1 |  | 2 3 4 5 6 7 8"},
		"selectors": {api.RolloutSpec{Waves: []api.WaveSpec{{Selector: "zone=b"}, {Selector: "zone=c"}, {}}},
			"3 7 | 4 8 | 1 2 5 6"},
		"what a selector took counts": {api.RolloutSpec{Waves: []api.WaveSpec{{Selector: "zone=b"}, {Percent: 50}, {}}},
			"3 7 | 1 2 | 4 5 6 8"},
		"growing": {api.RolloutSpec{Grow: &api.GrowSpec{}}, "1 | 2 3 | 4 5 6 7 | 8"},
		"growing slowly still grows": {api.RolloutSpec{Grow: &api.GrowSpec{Start: 1, Factor: 1.1}},
			"1 | 2 3 | 4 5 6 | 7 8"},
		"by label, numbers by value": {api.RolloutSpec{Order: &api.OrderSpec{ByLabel: "rack"}, Waves: []api.WaveSpec{{Count: 4}, {}}},
			"8 7 6 5 | 4 3 2 1"},
		"spread": {api.RolloutSpec{Order: &api.OrderSpec{Spread: "zone"}, Waves: []api.WaveSpec{{Count: 3}, {}}},
			"1 3 4 | 2 7 8 5 6"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := dealt(t, c.spec, racks(8), noHosts); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestDeal_HostsOfCoordinatorsAreInTheLastWave(t *testing.T) {
	hosts := func(n api.Node) bool { return n.ID == "n01" || n.ID == "n03" }
	for name, c := range map[string]struct {
		spec api.RolloutSpec
		want string
	}{
		"by count":    {api.RolloutSpec{Waves: []api.WaveSpec{{Count: 1}, {}}}, "2 | 1 3 4 5 6 7 8"},
		"by selector": {api.RolloutSpec{Waves: []api.WaveSpec{{Selector: "zone=b"}, {}}}, "7 | 1 2 3 4 5 6 8"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := dealt(t, c.spec, racks(8), hosts); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestDeal_TheLongestUpGoesFirst(t *testing.T) {
	nodes := racks(4)
	for i, hours := range []int{3, 9, 0, 1} {
		if hours > 0 {
			nodes[i].Report.BootedAt = noon.Add(-time.Duration(hours) * time.Hour)
		}
	}
	spec := api.RolloutSpec{Order: &api.OrderSpec{OldestUptime: true}, Waves: []api.WaveSpec{{Count: 1}, {}}}
	if got, want := dealt(t, spec, nodes, noHosts), "2 | 1 4 3"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDeal_WavesThatDoNotFitTheFleetAreRefusedByField(t *testing.T) {
	for name, c := range map[string]struct {
		waves []api.WaveSpec
		path  string
		says  string
	}{
		"not covered":         {[]api.WaveSpec{{Count: 2}, {Percent: 50}}, "waves", "4 nodes of the selection are in no wave, such as n05"},
		"selectors leave out": {[]api.WaveSpec{{Selector: "zone=a"}, {Selector: "zone=b"}}, "waves", "2 nodes"},
		"one node twice":      {[]api.WaveSpec{{Selector: "zone=a"}, {Selector: "rack=12"}, {}}, "waves[1].selector", "node n01 is in waves[0] already"},
		"a selector of none":  {[]api.WaveSpec{{Selector: "zone=x"}, {}}, "waves[0].selector", "matches none of the 8 selected nodes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Deal(api.RolloutSpec{Waves: c.waves}, racks(8), noHosts)
			if err == nil || err.Kind != api.Invalid || err.Fields[0].Path != c.path || !strings.Contains(err.Detail, c.says) {
				t.Errorf("got %+v, want %s: %s", err, c.path, c.says)
			}
		})
	}
}

func TestSelect_NeedsRebootKeepsThoseThatSaySo(t *testing.T) {
	nodes := racks(3)
	spec := api.RolloutSpec{Group: "web", NeedsReboot: true}
	if _, err := Select(spec, nodes, exists); err == nil || err.Fields[0].Path != "needs_reboot" {
		t.Errorf("when none needs it: %v", err)
	}
	nodes[1].Report.NeedsReboot = true
	got, err := Select(spec, nodes, exists)
	if err != nil || len(got) != 1 || got[0].ID != "n02" {
		t.Errorf("got %v, err %v", got, err)
	}
}

func TestWaveSpecs_HaveNames(t *testing.T) {
	var names []string
	for _, w := range WaveSpecs(api.RolloutSpec{Waves: []api.WaveSpec{{Name: "canary", Count: 1}, {Percent: 10}, {Selector: "zone=a"}, {Count: 20}, {}}}, 30) {
		names = append(names, w.Name)
	}
	if diff := cmp.Diff([]string{"canary", "10%", "zone=a", "up to 20", "rest"}, names); diff != "" {
		t.Error(diff)
	}
}
