package web

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

func event(kind, node string, minute int) api.Event {
	return api.Event{Kind: kind, Node: node, At: noon.Add(time.Duration(minute) * time.Minute)}
}

// line writes stays down: node, from, to in minutes of noon.
func line(stays []stay) string {
	var out []string
	for _, s := range stays {
		to := "now"
		if !s.To.IsZero() {
			to = fmt.Sprint(s.To.Sub(noon).Minutes())
		}
		out = append(out, fmt.Sprintf("%s %v-%s", s.Node, s.From.Sub(noon).Minutes(), to))
	}
	return strings.Join(out, ", ")
}

func TestStays_AreWhatGrantsAndReturnsTell(t *testing.T) {
	events := []api.Event{
		event("hold.released", "old", 0), // its beginning is not kept any more
		event("hold.granted", "a", 1), event("hold.confirmed", "a", 2), event("hold.refenced", "a", 3),
		event("hold.granted", "b", 4), event("hold.released", "a", 10), event("hold.granted", "a", 12),
		event("hold.revoked", "b", 13), event("hold.freed", "b", 14), event("hold.granted", "c", 15),
	}
	holds := []api.Hold{{Node: "a", Since: noon.Add(12 * time.Minute)}, {Node: "d", Since: noon.Add(-time.Hour)}}
	// c has no hold any more: its end is in an event that has not come.
	stays := staysOf(events, holds)
	if got, want := line(stays), "d -60-now, a 1-10, b 4-14, a 12-now"; got != want {
		t.Errorf("stays %s, want %s", got, want)
	}
	for i, want := range []string{"Holding", "Came back", "Freed by name", "Holding"} {
		if got := stays[i].Look().Word; got != want {
			t.Errorf("stay %d: %s, want %s", i, got, want)
		}
	}
	if m := usual(stays); m != 9*time.Minute {
		t.Errorf("usual %v", m)
	}
}

func TestLanes_TakeOneStayAfterAnotherAndStayAsTheyAre(t *testing.T) {
	at := func(node string, from, to int) stay {
		s := stay{Node: node, From: noon.Add(time.Duration(from) * time.Minute)}
		if to > 0 {
			s.To = noon.Add(time.Duration(to) * time.Minute)
		} else {
			s.Hold = &api.Hold{Node: node}
		}
		return s
	}
	past := []stay{at("a", 0, 5), at("b", 1, 4), at("c", 4, 9), at("d", 5, 0), at("e", 9, 0)}
	var got []string
	for _, lane := range lanes(past) {
		got = append(got, line(lane))
	}
	if want := "a 0-5, d 5-now | b 1-4, c 4-9, e 9-now"; strings.Join(got, " | ") != want {
		t.Errorf("lanes %s, want %s", strings.Join(got, " | "), want)
	}
}

func TestStrip_DrawsBarsInTheirPlaceAndALineForManySlots(t *testing.T) {
	now := noon.Add(2 * time.Hour)
	stays := staysOf([]api.Event{event("hold.granted", "a", 60), event("hold.released", "a", 90)}, []api.Hold{{Node: "b", Since: now.Add(-30 * time.Minute), Overdue: true, Deadline: now.Add(-15 * time.Minute)}})
	d := newStrip("web", "2h", stays, []waiterTurn{{"w", now.Add(5 * time.Minute)}}, 2, now)
	bars := d.Lanes[0].Bars
	if len(d.Lanes) != 2 || bars[0].X != "43.00%" || bars[0].Class != "done" || bars[0].Text != "a" {
		t.Errorf("the stay of a: %+v", d.Lanes)
	}
	if b := bars[1]; b.Class != "b is-warn" || b.Late != "50.00%" {
		t.Errorf("the overdue hold of b: %+v", b)
	}
	if plan := d.Lanes[1].Bars; len(plan) != 1 || plan[0].Class != "plan" || plan[0].Node != "w" {
		t.Errorf("who is expected: %+v", d.Lanes[1])
	}
	if !strings.Contains(d.Label, "b since 13:30, overdue") || len(d.Stays) != 2 {
		t.Errorf("label %q, stays %s", d.Label, line(d.Stays))
	}
	many := newStrip("big", "2h", stays, nil, 200, now)
	if len(many.Lanes) != 0 || !strings.HasPrefix(many.Steps, "M0 100.0") || !strings.HasSuffix(many.Steps, "V99.5") {
		t.Errorf("200 slots: %d lanes, line %.40s … %s", len(many.Lanes), many.Steps, many.Steps[max(0, len(many.Steps)-12):])
	}
	if again := newStrip("web", "2h", stays, nil, 2, now.Add(29*time.Second)); again.Lanes[0].Bars[0] != bars[0] {
		t.Error("a passing second moves the drawing")
	}
}

func TestCalendar_ShowsTheSameOpeningByTwoClocks(t *testing.T) {
	g := api.Group{Name: "night", Spec: api.GroupSpec{
		Windows:   []api.WindowSpec{{Weekdays: []string{"mon-fri"}, Start: "22:00", Duration: "4h", Cutoff: "30m", TimeZone: "Europe/Berlin"}},
		Blackouts: []api.BlackoutSpec{{Name: "fair", Start: noon.Add(48 * time.Hour), End: noon.Add(60 * time.Hour)}}}}
	for zone, want := range map[string]string{
		"":                 "Tue 24 Nov: open 00:00 to 01:30, open 22:00 to 24:00",
		"UTC":              "Tue 24 Nov: open 00:00 to 00:30, open 21:00 to 24:00",
		"America/New_York": "Tue 24 Nov: open 16:00 to 19:30",
	} {
		c := newCalendar(g, zone, noon)
		if len(c.Days) != calendarDays || c.Days[0].Label != want || !c.Days[0].Today || c.Error != "" {
			t.Errorf("by %q: %+v", zone, c.Days[0])
		}
	}
	c := newCalendar(g, "UTC", noon)
	if got := c.Days[2].Label; got != "Thu 26 Nov: open 00:00 to 00:30, open 21:00 to 24:00, blackout fair 12:00 to 24:00" {
		t.Errorf("the blackout's day: %s", got)
	}
	if c := newCalendar(g, "Mars/Olympus", noon); c.Zone != "Europe/Berlin" || !strings.Contains(c.Error, `no time zone "Mars/Olympus"`) {
		t.Errorf("an unknown zone: %+v", c)
	}
	if newCalendar(api.Group{}, "", noon) != nil {
		t.Error("a group that may always start has a calendar")
	}
}

func TestMap_HasATileForEveryFiftyHosts(t *testing.T) {
	var nodes []api.Node
	for i := range 120 {
		n := api.Node{ID: fmt.Sprintf("w-%03d", i), Group: "web", State: api.NodeIdle}
		if i == 3 {
			n.State = api.NodeFailed
		}
		nodes = append(nodes, n)
	}
	nodes = append(nodes, api.Node{ID: "<b>", Group: "db", State: api.NodeOut})
	m := newMap(nodes, "", "", byState{})
	if len(m) != 2 || len(m[0].Tiles) != 3 || m[0].Name != "web" {
		t.Fatalf("map %+v", m)
	}
	first := m[0].Tiles[0]
	if first.Title != "from w-000: 1 failed, 49 idle" || !strings.Contains(string(first.Marks), "w-003: failed") {
		t.Errorf("the first tile: %s: %s", first.Title, first.Marks)
	}
	// The run of idle hosts is cut by the failed one, and ends with the row.
	if !strings.Contains(string(first.Marks), `d="M2.5 5.5h28M46.5 5.5h61M2.5 16.5h105`) {
		t.Errorf("its marks: %s", first.Marks)
	}
	if m[0].Tiles[1].URL != "?group=web&sort=id&after=w-049" {
		t.Errorf("the second tile leads to %s", m[0].Tiles[1].URL)
	}
	if !strings.Contains(string(m[1].Tiles[0].Marks), "&lt;b&gt;: out of service") {
		t.Errorf("an id became markup: %s", m[1].Tiles[0].Marks)
	}
	var many []api.Node
	for i := range 30_000 {
		n := api.Node{ID: fmt.Sprintf("n-%05d", i), State: api.NodeIdle}
		if i == 1 {
			n.State = api.NodeOverdue
		}
		many = append(many, n)
	}
	if m := newMap(many, "", "", byState{}); len(m[0].Tiles) != 200 || !strings.Contains(string(m[0].Tiles[0].Marks), "n-00001: overdue") {
		t.Errorf("30,000 hosts: %d tiles, the worst of three is not shown: %s", len(m[0].Tiles), m[0].Tiles[0].Marks)
	}
}

func TestWaves_AreDrawnNodeByNodeUntilTheyAreMany(t *testing.T) {
	r := api.Rollout{State: api.RolloutRunning, Wave: 2, Waves: []api.RolloutWave{{Name: "canary", State: api.WaveDone, Total: 1}, {Name: "rest", State: api.WaveRunning, Total: 500}}}
	r.Nodes = append(r.Nodes, api.RolloutNode{Node: "c", Wave: 1, State: api.NodeUpdated})
	for i := range 500 {
		r.Nodes = append(r.Nodes, api.RolloutNode{Node: fmt.Sprint(i), Wave: 2, State: api.NodePending})
	}
	w := wavesOf(r, time.Time{})
	if w[0].State != "done" || w[0].Cells == nil || w[0].Share >= w[1].Share || !w[0].Open {
		t.Errorf("the canary: %+v", w[0])
	}
	if w[1].State != "now" || w[1].Cells != nil || !strings.Contains(w[1].Counts, "500 not started") {
		t.Errorf("the rest: %+v", w[1])
	}
	r.Nodes = r.Nodes[:3]
	r.Nodes[2].State, r.Nodes[2].Node = api.NodeBroken, `<i>`
	if c := wavesOf(r, time.Time{})[1].Cells; c == nil || !strings.Contains(string(c.Marks), "&lt;i&gt;: failed") {
		t.Errorf("a failed node: %+v", c)
	}
}

func TestWaves_SayWhoWasLeftOut(t *testing.T) {
	r := api.Rollout{State: api.RolloutAborted, Wave: 1, Waves: []api.RolloutWave{{Name: "all", State: api.WaveAborted, Total: 3, Updated: 1, Skipped: 1}}}
	for _, state := range []string{api.NodeUpdated, api.NodeSkipped, api.NodeAborted} {
		r.Nodes = append(r.Nodes, api.RolloutNode{Node: state, Wave: 1, State: state})
	}
	w := wavesOf(r, time.Time{})[0]
	if !strings.HasSuffix(w.Counts, "0 not started, 0 failed, 1 skipped, 1 aborted") {
		t.Errorf("counted: %s", w.Counts)
	}
	if n := strings.Count(string(w.Cells.Marks), "<path"); n != 2 {
		t.Errorf("three nodes of two colours are %d paths: %s", n, w.Cells.Marks)
	}
}

// What is said of a wave is what is so: nothing in it runs while its rollout stands,
// what is over is told in the past, and days are named where they have to be.
func TestWaves_SayWhatTheyDoAndWhen(t *testing.T) {
	day := time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	tag := regexp.MustCompile("<[^>]+>")
	say := func(r api.Rollout) string {
		r.Spec.Waves = []api.WaveSpec{{Soak: "10m0s"}, {Soak: "20m0s"}, {}}
		var said []string
		for _, w := range wavesOf(r, day) {
			said = append(said, strings.TrimRight(tag.ReplaceAllString(string(w.Line()), "")+"; "+w.Soaks()+"; "+w.Bound(), "; "))
		}
		return strings.Join(said, " | ")
	}
	r := api.Rollout{State: api.RolloutRunning, Wave: 2, Waves: []api.RolloutWave{
		{State: api.WaveDone, DoneAt: day.Add(-time.Hour), MaxFailures: 0}, {State: api.WaveRunning, Estimate: day.Add(15 * time.Hour), MaxFailures: 0}, {State: api.WavePending, Estimate: day.Add(34 * time.Hour), MaxFailures: 2}}}
	if got, want := say(r), "Done 23 Nov 23:00; soaked 10 m | Running, done about 15:00; then soaks 20 m; none may fail in it | Not started, done about Wed 10:00; ; at most 2 may fail in it"; got != want {
		t.Errorf("running: %s\nwant %s", got, want)
	}
	for state, want := range map[api.RolloutState]string{api.RolloutHalted: "Halted", api.RolloutPaused: "Paused", api.RolloutAborted: "Aborted", api.RolloutApproval: "Waits for its gates"} {
		r.State, r.Waves[1] = state, api.RolloutWave{State: api.WaveGates, MaxFailures: -1}
		if got := strings.Split(say(r), " | ")[1]; !strings.HasPrefix(got, want) {
			t.Errorf("%s: its wave says %s, want %s", state, got, want)
		}
	}
	r.State, r.Waves[1] = api.RolloutSoaking, api.RolloutWave{State: api.WaveSoaking, SoakUntil: day.Add(9 * time.Hour), MaxFailures: -1}
	if got := strings.Split(say(r), " | ")[1]; got != "Soaking until 09:00; soaks 20 m" {
		t.Errorf("soaking: %s", got)
	}
}

func TestBudget_SaysWhatTheNextFailureDoes(t *testing.T) {
	for _, c := range []struct {
		failed, most, free int
		want               string
	}{{0, 0, 0, "The next failure halts"}, {1, 2, 1, "One more failure"}, {0, 3, 3, "3 more"}, {2, 1, 0, "spent"}} {
		b := newBudget(api.Rollout{State: api.RolloutRunning, Budget: api.RolloutBudget{Failed: c.failed, Max: c.most}})
		if len(b.Used)+len(b.Beyond) != c.failed || len(b.Used) > c.most || len(b.Free) != c.free || !strings.Contains(b.Left(), c.want) {
			t.Errorf("%d of %d: %+v, %s", c.failed, c.most, b, b.Left())
		}
	}
	if b := newBudget(api.Rollout{Budget: api.RolloutBudget{Max: 40}}); !b.Bar {
		t.Error("40 boxes are drawn")
	}
	if b := newBudget(api.Rollout{State: api.RolloutSucceeded}); !strings.Contains(b.Left(), "has ended") {
		t.Errorf("of an ended rollout: %s", b.Left())
	}
}

func TestWaveRow_BecomesWhatItSays(t *testing.T) {
	for text, want := range map[string]api.WaveSpec{
		"1": {Count: 1}, "3 nodes": {Count: 3}, "10%": {Percent: 10}, "100%": {}, "rest": {}, "10 %": {Percent: 10},
	} {
		var fields []api.FieldError
		if got := (waveInput{UpTo: text}).spec("wave1_", &fields); got.Count != want.Count || got.Percent != want.Percent || fields != nil {
			t.Errorf("%q: %+v %v", text, got, fields)
		}
	}
	for _, text := range []string{"", "0", "-1", "many", "%"} {
		var fields []api.FieldError
		(waveInput{UpTo: text}).spec("wave1_", &fields)
		if len(fields) != 1 || fields[0].Path != "wave1_upto" {
			t.Errorf("%q: %v", text, fields)
		}
	}
}

func TestPromQL_EndsWithAComparison(t *testing.T) {
	for text, want := range map[string]string{
		"errors < 0.01":                     "errors|<|0.01",
		`sum(rate(x{code=~"5.."}[5m]))<=2`:  `sum(rate(x{code=~"5.."}[5m]))|<=|2`,
		"up == 1":                           "up|==|1",
		"a > b >= -1e-3":                    "a > b|>=|-0.001",
		"x != 0":                            "x|!=|0",
		"errors":                            "",
		"< 1":                               "",
		"errors < few":                      "",
		`x{a="b"}`:                          "",
		"x = 1":                             "",
		"histogram_quantile(0.9, y) > 0.25": "histogram_quantile(0.9, y)|>|0.25",
	} {
		g, problem := promqlGate(text)
		got := ""
		if problem == "" {
			got = fmt.Sprintf("%s|%s|%v", g.PromQL.Query, g.PromQL.Compare, g.PromQL.Value)
		}
		if got != want {
			t.Errorf("%q: %q (%s), want %q", text, got, problem, want)
		}
	}
}

func TestStraight_WritesTurnedTextOutAndLeavesAttributes(t *testing.T) {
	in := "<a title=\"\u202ex\">\u202egnp.exe\u202c</a> plain ä"
	if got, want := string(straight([]byte(in))), "<a title=\"\u202ex\">[U+202E]gnp.exe[U+202C]</a> plain ä"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// The pages name commands for those who would rather type: each must exist.
func TestPages_NameOnlyCommandsThatExist(t *testing.T) {
	manual, err := os.ReadFile("../docs/cli.md")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`<code>(lockkeeper [a-z]+(?: [a-z]+)?)`)
	found := 0
	err = fs.WalkDir(templateFiles, "templates", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := fs.ReadFile(templateFiles, path)
		for _, m := range named.FindAllStringSubmatch(string(text), -1) {
			found++
			if !strings.Contains(string(manual), m[1]) {
				t.Errorf("%s names %q, which docs/cli.md does not know", path, m[1])
			}
		}
		return err
	})
	if err != nil || found < 5 {
		t.Errorf("%d commands, error %v", found, err)
	}
}

func TestTopic_IsReadAsItIsWritten(t *testing.T) {
	for _, arg := range []string{"", "web", "a/b", "what?", "x#y", "%2F", ".."} {
		want := topicName{name: "node", arg: arg, query: map[string][]string{"span": {"24h"}}}
		got, err := parseTopic(want.String())
		if err != nil || got.name != "node" || got.arg != arg || got.query.Get("span") != "24h" {
			t.Errorf("%q: %+v %v", want.String(), got, err)
		}
	}
	if got, _ := parseTopic("page:nodes"); got.name != "page" || got.nav != "nodes" {
		t.Errorf("%+v", got)
	}
}

// A pattern that is not there is drawn as nothing.
func TestDrawings_HaveThePatternsThatTheyAreFilledWith(t *testing.T) {
	var all strings.Builder
	for _, glob := range []string{"static/*.css", "templates/*.html", "templates/pages/*.html", "*.go"} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %v, error %v", glob, files, err)
		}
		for _, f := range files {
			text, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
	}
	text := all.String()
	named := regexp.MustCompile(`(?:url\(#|href="#)([a-z0-9-]+)[")]`).FindAllStringSubmatch(text, -1)
	if len(named) < 3 {
		t.Fatalf("found %q", named)
	}
	for _, n := range named {
		if !strings.Contains(text, ` id="`+n[1]+`"`) {
			t.Errorf("nothing has the id %s", n[1])
		}
	}
}
