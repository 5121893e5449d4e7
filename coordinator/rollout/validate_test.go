package rollout

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestValidate_NamesTheFieldOfWavesGatesAndDeadlines(t *testing.T) {
	waves := func(list ...api.WaveSpec) func(*api.RolloutSpec) {
		return func(s *api.RolloutSpec) { s.Waves = list }
	}
	approval := &api.ApprovalGate{}
	for name, c := range map[string]struct {
		change func(*api.RolloutSpec)
		field  string
		says   string
	}{
		"percent over 100":        {waves(api.WaveSpec{Percent: 101}, api.WaveSpec{}), "waves[0].percent", "1 to 100"},
		"percent that shrinks":    {waves(api.WaveSpec{Percent: 50}, api.WaveSpec{Percent: 10}), "waves[1].percent", "not more than the 50"},
		"count that stays":        {waves(api.WaveSpec{Count: 2}, api.WaveSpec{Count: 2}), "waves[1].count", "not more than the 2"},
		"a count below 0":         {waves(api.WaveSpec{Count: -1}, api.WaveSpec{}), "waves[0].count", "1 or more"},
		"two sizes":               {waves(api.WaveSpec{Count: 1, Percent: 5}, api.WaveSpec{}), "waves[0]", "one of count"},
		"the rest in the middle":  {waves(api.WaveSpec{}, api.WaveSpec{}), "waves[0]", "only the last wave"},
		"a bad selector":          {waves(api.WaveSpec{Selector: "zone"}, api.WaveSpec{}), "waves[0].selector", "label=value"},
		"a selector of no label":  {func(s *api.RolloutSpec) { s.Selector = "zone!=a" }, "selector", `label "zone!": want a name of 1 to 128`},
		"a wave of no label":      {waves(api.WaveSpec{Selector: "my key=a"}, api.WaveSpec{}), "waves[0].selector", `label "my key": want a name`},
		"an order by no label":    {func(s *api.RolloutSpec) { s.Order = &api.OrderSpec{ByLabel: "a=b"} }, "order.by_label", `label "a=b": want a name`},
		"spread by no label":      {func(s *api.RolloutSpec) { s.Order = &api.OrderSpec{Spread: "zone-"} }, "order.spread", `label "zone-": want a name`},
		"two waves of one name":   {waves(api.WaveSpec{Name: "a", Count: 1}, api.WaveSpec{Name: "a"}), "waves[1].name", "there already"},
		"a soak without unit":     {waves(api.WaveSpec{Soak: "10"}), "waves[0].soak", "such as 90s"},
		"a soak below 0":          {waves(api.WaveSpec{Soak: "-1m"}), "waves[0].soak", "more than 0"},
		"a wave's budget":         {waves(api.WaveSpec{MaxFailures: "101%"}), "waves[0].max_failures", "100%"},
		"waves and grow":          {func(s *api.RolloutSpec) { s.Waves = []api.WaveSpec{{}}; s.Grow = &api.GrowSpec{} }, "grow", "not both"},
		"waves that shrink":       {func(s *api.RolloutSpec) { s.Grow = &api.GrowSpec{Factor: 0.5} }, "grow.factor", "more than 1"},
		"a gate of no kind":       {func(s *api.RolloutSpec) { s.Gates = []api.GateSpec{{}} }, "gates[0]", "exactly one of promql"},
		"a gate of two kinds":     {func(s *api.RolloutSpec) { s.Gates = []api.GateSpec{{Approval: approval, HTTP: &api.HTTPGate{}}} }, "gates[0]", "has 2 kinds"},
		"two gates without names": {func(s *api.RolloutSpec) { s.Gates = []api.GateSpec{{Approval: approval}, {Approval: approval}} }, "gates[1].name", "different names"},
		"an unknown role":         {func(s *api.RolloutSpec) { s.Gates = []api.GateSpec{{Approval: &api.ApprovalGate{Role: "boss"}}} }, "gates[0].approval.role", "operator"},
		"too many approvals":      {func(s *api.RolloutSpec) { s.Gates = []api.GateSpec{{Approval: &api.ApprovalGate{Count: 11}}} }, "gates[0].approval.count", "1 to 10"},
		"an unknown time zone": {func(s *api.RolloutSpec) {
			s.Windows = []api.WindowSpec{{Start: "22:00", Duration: "4h", TimeZone: "Mars/Olympus"}}
		}, "windows[0].time_zone", "Mars/Olympus"},
		"a window without a duration": {func(s *api.RolloutSpec) { s.Windows = []api.WindowSpec{{Start: "22:00"}} }, "windows[0].duration", "missing"},
		"a deadline before health":    {func(s *api.RolloutSpec) { s.MinHealthyTime = "10m"; s.HealthyDeadline = "5m" }, "healthy_deadline", "no node could pass"},
		"an unknown rollback":         {func(s *api.RolloutSpec) { s.AutoRollback = "some" }, "auto_rollback", "failed_wave"},
		"an unknown conflict":         {func(s *api.RolloutSpec) { s.Conflict = "fight" }, "conflict", "supersede"},
		"joining a list":              {func(s *api.RolloutSpec) { s.Group = ""; s.Nodes = []string{"a"}; s.Joining = "include" }, "joining", "list of nodes"},
		"a receiver without a place":  {func(s *api.RolloutSpec) { s.OnHalt = []api.NotifySpec{{Format: "slack"}} }, "on_halt[0]", "webhook"},
		"an unknown format":           {func(s *api.RolloutSpec) { s.OnDone = []api.NotifySpec{{Webhook: "ops", Format: "xml"}} }, "on_done[0].format", "teams"},
		"both orders":                 {func(s *api.RolloutSpec) { s.Order = &api.OrderSpec{ByLabel: "rack", Spread: "zone"} }, "order.spread", "not both"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := api.RolloutSpec{Bundle: bundle, Group: "web"}
			c.change(&spec)
			err := Validate(spec)
			if err == nil || err.Kind != api.Invalid || err.Fields[0].Path != c.field || !strings.Contains(err.Fields[0].Detail, c.says) {
				t.Errorf("got %+v, want %s: %s", err, c.field, c.says)
			}
		})
	}
}

func TestValidate_AcceptsAWholeSpec(t *testing.T) {
	spec := api.RolloutSpec{
		Bundle: bundle, Group: "web", Selector: "role=web", Joining: "include", Conflict: "queue",
		Waves: []api.WaveSpec{
			{Name: "canary", Count: 1, Soak: "10m", Gates: []api.GateSpec{{Name: "errors", PromQL: &api.PromQLGate{Query: "up"}}, {Name: "word", Approval: &api.ApprovalGate{Count: 2, Expires: "24h"}}}},
			{Percent: 10, MaxFailures: "0"}, {Percent: 50, MaxFailures: "5%"}, {},
		},
		Order: &api.OrderSpec{Spread: "zone", OldestUptime: true}, Gates: []api.GateSpec{{HTTP: &api.HTTPGate{URL: "http://127.0.0.1"}}},
		Windows:     []api.WindowSpec{{Weekdays: []string{"mon-fri"}, Start: "22:00", Duration: "4h", Cutoff: "30m", TimeZone: "Europe/Berlin"}},
		MaxFailures: "2%", MinHealthyTime: "1m", HealthyDeadline: "20m", ProgressDeadline: "2h", AutoRollback: "failed_wave",
		OnHalt: []api.NotifySpec{{Webhook: "ops", Format: "slack"}}, OnDone: []api.NotifySpec{{URL: "https://example.org/hook"}},
	}
	if err := Validate(spec); err != nil {
		t.Error(err)
	}
}

func TestMayFail_RoundsDown(t *testing.T) {
	for budget, want := range map[api.Slots]int{"": 0, "3": 3, "5%": 1, "3%": 0, "100%": 30} {
		if got := MayFail(budget, 30); got != want {
			t.Errorf("%q of 30 nodes: %d may fail, want %d", budget, got, want)
		}
	}
}
