package main

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func web(slots string) api.Group {
	return api.Group{Name: "web", Revision: 7, Spec: api.GroupSpec{Slots: api.Slots(slots)}}
}

func TestGroupSet_CreatesWhatDoesNotExist(t *testing.T) {
	f := &fake{groups: map[string]api.Group{}}
	newShell(f).run(t, "group", "set", "web", "--slots", "5%", "--limit", "zone=1").
		want(t, exitOK, "group web: created: slots 5%, limit by zone 1\n")
	newShell(f).run(t, "group", "set", "db").want(t, exitUsage, `group "db" is new: want --slots`)
}

func TestGroupSet_ChangesWhatItsFlagsNameAndLeavesTheRest(t *testing.T) {
	g := web("1")
	g.Spec.Limits = []api.Limit{{By: "zone", Max: "1"}, {By: "rack", Max: "2"}}
	g.Spec.CountUnreachable = true
	f := &fake{groups: map[string]api.Group{"web": g}}
	newShell(f).run(t, "group", "set", "web", "--slots", "3", "--limit", "zone=none", "--hold-timeout", "45m").
		want(t, exitOK, "group web: slots 1 → 3, limit by zone 1 → none, hold-timeout 45m\n")
	want := api.GroupSpec{
		Slots: "3", Limits: []api.Limit{{By: "rack", Max: "2"}}, CountUnreachable: true,
		Timeouts: api.GroupTimeouts{Hold: "45m"},
	}
	if diff := cmp.Diff(want, f.groups["web"].Spec); diff != "" {
		t.Error(diff)
	}
	newShell(f).run(t, "group", "set", "web", "--slots", "3").want(t, exitOK, "group web: nothing to change\n")
	if f.groups["web"].Revision != 8 {
		t.Error("a set that changes nothing was written")
	}
}

func TestGroupSet_AppliesItsFlagsToWhatSomebodyElseChangedMeanwhile(t *testing.T) {
	f := &fake{groups: map[string]api.Group{"web": web("1")}}
	others := 2
	f.put = func() {
		if others--; others >= 0 {
			g := f.groups["web"]
			g.Revision++
			g.Spec.CountUnreachable = true
			f.groups["web"] = g
		}
	}
	newShell(f).run(t, "group", "set", "web", "--slots", "3").want(t, exitOK, "slots 1 → 3\n")
	if got := f.groups["web"].Spec; got.Slots != "3" || !got.CountUnreachable {
		t.Errorf("spec = %+v", got)
	}
}

func TestGroupSet_WithIfMatchIsRefusedOnceTheGroupHasChanged(t *testing.T) {
	f := &fake{groups: map[string]api.Group{"web": web("1")}}
	newShell(f).run(t, "group", "set", "web", "--slots", "3", "--if-match", "6").want(t, exitRefused, "changed: ")
	if f.groups["web"].Spec.Slots != "1" {
		t.Error("the group was changed")
	}
}

func TestGroupSet_DryRunChangesNothing(t *testing.T) {
	f := &fake{groups: map[string]api.Group{"web": web("1")}}
	newShell(f).run(t, "group", "set", "web", "--slots", "3", "--dry-run").want(t, exitOK, "group web: would change: slots 1 → 3\n")
	if f.groups["web"].Spec.Slots != "1" {
		t.Error("the group was changed")
	}
}

func TestGroupSet_AVariableCannotChooseWhatIsChanged(t *testing.T) {
	t.Setenv("LOCKKEEPER_SLOTS", "9")
	f := &fake{groups: map[string]api.Group{"web": web("1")}}
	newShell(f).run(t, "group", "set", "web").want(t, exitOK, "nothing to change")
}

func TestApply_BringsGroupsToTheFileAndLeavesOthersAlone(t *testing.T) {
	f := &fake{groups: map[string]api.Group{"web": web("1"), "db": {Name: "db", Revision: 2, Spec: api.GroupSpec{Slots: "1"}}}}
	s := newShell(f)
	s.stdin = "groups:\n  web:\n    slots: 2\n  cache:\n    slots: 10%\n"
	s.run(t, "apply", "-f", "-", "--dry-run").want(t, exitOK,
		"group cache: would be created: slots 10%\ngroup web: would change: slots 1 → 2\n")
	if len(f.groups) != 2 {
		t.Fatal("a dry run made a group")
	}
	s.run(t, "apply", "-f", "-").want(t, exitOK, "group cache: created: slots 10%\ngroup web: slots 1 → 2\n")
	s.run(t, "apply", "-f", "-").want(t, exitOK, "group cache: nothing to change\ngroup web: nothing to change\n")
	if f.groups["db"].Revision != 2 {
		t.Error("a group that the file does not name was touched")
	}
}

func TestApply_ChangesNothingWhereTheCoordinatorWouldRefuseOneOfTheGroups(t *testing.T) {
	member := func(id string) api.Node { return api.Node{ID: id, Labels: map[string]string{"zone": "a"}} }
	f := &fake{
		groups: map[string]api.Group{"web": web("1"), "db": {Name: "db", Revision: 2, Spec: api.GroupSpec{Slots: "1"}}},
		nodes:  map[string][]api.Node{"web": {member("web-1"), member("web-2"), member("web-3")}},
	}
	s := newShell(f)
	s.stdin = "groups:\n  db:\n    slots: 2\n  web:\n    slots: 2\n    limits:\n      - by: rack\n        max: 1\n"
	for _, args := range [][]string{{"apply", "-f", "-"}, {"apply", "-f", "-", "--dry-run"}} {
		r := s.run(t, args...)
		r.want(t, exitUsage, `standard input:7:13: group web: invalid: limits[0].by: none of the 3 members has the label "rack"; they have zone`)
	}
	s.stdin = "groups:\n  db:\n    slots: 2\n    limits:\n      - by: my key\n        max: 1\n"
	s.run(t, "apply", "-f", "-", "--dry-run").want(t, exitUsage, `standard input:5:13: group db: invalid: limits[0].by: label "my key": want a name of 1 to 128`)
	if f.groups["db"].Revision != 2 {
		t.Error("a group was changed before the one that cannot be")
	}
	s.stdin = "groups:\n  db:\n    slots: 2\n    limits:\n      - by: rack\n        max: 1\n  web:\n    slots: 2\n    limits:\n      - by: zone\n        max: 1\n"
	s.run(t, "apply", "-f", "-").want(t, exitOK, "group db: slots 1 → 2, limit by rack 1", "group web: slots 1 → 2, limit by zone 1")
}

func TestApply_SaysWhatIsAppliedWhenTheCoordinatorGoesAwayOnTheWay(t *testing.T) {
	const file = "groups:\n  api:\n    slots: 2\n  db:\n    slots: 2\n  web:\n    slots: 2\n"
	const again = "Running it again is safe: it changes only what is not yet as the file has it.\n"
	puts := 0
	for name, c := range map[string]struct {
		fake *fake
		code int
		said string
	}{
		"before the first change": {&fake{}, exitUnreachable, "Nothing was changed.\n"},
		"between two groups":      {&fake{}, exitUnreachable, "Applied: api. Not applied: db, web. " + again},
		"with an answer":          {&fake{lost: "db"}, exitUnreachable, "Applied: api. Not known whether applied: db. Not applied: web. " + again},
	} {
		t.Run(name, func(t *testing.T) {
			f := c.fake
			f.groups = map[string]api.Group{"web": web("1")}
			switch name {
			case "before the first change":
				f.gone = true
			case "between two groups":
				f.put = func() { f.gone = true }
			}
			s := newShell(f)
			s.stdin = file
			s.run(t, "apply", "-f", "-").want(t, c.code, c.said, "no coordinator could be reached")

			f.gone, f.lost, f.put = false, "", func() { puts++ }
			before := len(f.groups)
			s.run(t, "apply", "-f", "-").want(t, exitOK, "group web: slots 1 → 2\n")
			for _, g := range []string{"api", "db", "web"} {
				if f.groups[g].Spec.Slots != "2" {
					t.Errorf("run again, group %s has %+v", g, f.groups[g])
				}
			}
			if want := 4 - before; puts != want {
				t.Errorf("run again, it wrote %d groups; %d were left", puts, want)
			}
			puts = 0
		})
	}
}

func TestApply_InterruptedSaysWhatIsApplied(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	f := &fake{groups: map[string]api.Group{}}
	f.put = func() { cancel(); f.lost = "api" }
	var out, errs strings.Builder
	a := &app{in: strings.NewReader("groups:\n  api:\n    slots: 2\n  db:\n    slots: 2\n"), out: &out, err: &errs, now: func() time.Time { return noon }, connect: newShell(f).connect}
	root := newRoot(a)
	root.SetArgs([]string{"apply", "-f", "-"})
	if code := a.exit(root, root.ExecuteContext(ctx), true); code != exitInterrupted {
		t.Errorf("exit code %d", code)
	}
	if want := "Not known whether applied: api. Not applied: db. "; !strings.HasPrefix(errs.String(), want) {
		t.Errorf("errors %q, want %q first", errs.String(), want)
	}
}

func TestParseGroups_AGroupMayHaveWhatAnotherHas(t *testing.T) {
	d, err := parseGroups([]byte("groups:\n  web: &web\n    slots: 1\n    grant_interval: 5m\n  db:\n    <<: *web\n    count_unreachable: true\n  cache: *web\n"))
	if err != nil {
		t.Fatal(err)
	}
	if db, cache := d.specs["db"], d.specs["cache"]; db.Slots != "1" || !db.CountUnreachable || db.GrantInterval != "5m" || cache.Slots != "1" {
		t.Errorf("db %+v, cache %+v", db, cache)
	}
}

func TestParseGroups_ReadsWhatAnEditorPutAByteOrderMarkBefore(t *testing.T) {
	if _, err := parseGroups([]byte("\ufeffgroups:\n  web:\n    slots: 1\n")); err != nil {
		t.Error(err)
	}
}

func TestParseGroups_SaysLineAndColumnOfWhatIsWrong(t *testing.T) {
	for _, c := range []struct{ name, file, want string }{
		{"unknown key", "groups:\n  web:\n    slots: 1\n    slot: 2\n", `4:5: groups.web.slot: unknown field; want one of slots, limits, count_unreachable, windows, blackouts, grant_interval, timeouts; did you mean slots?`},
		{"unknown key at the top", "group:\n  web:\n", `1:1: group: unknown field; want groups`},
		{"slots one level too high", "groups:\n  web:\n  slots: 2\n", `3:10: groups.slots: "2" does not belong here: want names with values: slots, limits, count_unreachable, windows, blackouts, grant_interval, timeouts`},
		{"a tab", "groups:\n\tweb:\n", "2:1: a tab: YAML is indented with spaces"},
		{"a second document", "groups:\n  web:\n    slots: 1\n---\ngroups:\n  db:\n    slots: 1\n", "4:1: 2 documents, the second of which begins here: want one"},
		{"key twice", "groups:\n  web:\n    slots: 1\n  web:\n    slots: 2\n", `4:3: mapping key "web" already defined at [2:3]`},
		{"slots are no number", "groups:\n  web:\n    slots: many\n", `3:12: slots "many": want a whole number such as 2, or a percentage such as 5%`},
		{"slots below 0", "groups:\n  web:\n    slots: -1\n", "3:12: slots -1: must not be below 0"},
		{"limit over 100 %", "groups:\n  web:\n    slots: 1\n    limits:\n      - by: zone\n        max: 101%\n", "6:14: slots 101%: a percentage is at most 100%"},
		{"no duration", "groups:\n  web:\n    slots: 1\n    timeouts:\n      hold: soon\n", `5:13: duration "soon": want a duration such as 30m or 1h30m`},
		{"no truth", "groups:\n  web:\n    slots: 1\n    count_unreachable: perhaps\n", `4:24: groups.web.count_unreachable: "perhaps" does not belong here: want true or false`},
		{"slots missing", "groups:\n  web:\n    count_unreachable: true\n", `2:3: group "web": want slots, a number such as 2 or a percentage such as 5%`},
		{"no group name", "groups:\n  a b:\n    slots: 1\n", `2:3: group "a b": want 1 to 253 of the characters a-z A-Z 0-9 . -`},
		{"limit without max", "groups:\n  web:\n    slots: 1\n    limits:\n      - by: zone\n", `5:9: group "web": limits[0]: want both by and max`},
		{"a window without a duration", "groups:\n  web:\n    slots: 1\n    windows:\n      - start: \"22:00\"\n", `5:9: group "web": windows[0]: want a duration, such as 4h`},
		{"no such time zone", windowFile("time_zone: Mars/Base"), `7:20: group "web": windows[0].time_zone: "Mars/Base" is no time zone: want an IANA name such as "Europe/Berlin", or "UTC"`},
		{"no such start", "groups:\n  web:\n    slots: 1\n    windows:\n      - start: 25:00\n        duration: 4h\n", `5:16: group "web": windows[0].start: "25:00": want a time from "00:00" to "23:59"`},
		{"no such day", windowFile("weekdays: [mon, someday]"), `7:9: group "web": windows[0].weekdays: "someday": want a day such as "sat", or days such as "mon-fri"`},
		{"a cutoff of the whole window", windowFile("cutoff: 4h"), `7:17: group "web": windows[0].cutoff: 4h0m0s of a window of 4h0m0s: nothing could ever start`},
		{"a window that never opens", "groups:\n  web:\n    slots: 1\n    windows:\n      - duration: 4h\n        cron: 0 0 30 feb *\n", `6:15: group "web": windows[0].cron: "0 0 30 feb *": no such day ever comes, so the window would never open`},
		{"cron and start", windowFile("cron: 0 0 * * *"), `7:15: group "web": windows[0].cron: either cron, or start with weekdays`},
		{"a key of a window that is unknown", windowFile("zone: UTC"), `7:9: groups.web.windows[0].zone: unknown field; want one of name, weekdays, start, cron, duration, cutoff, time_zone`},
		{"a blackout that ends before it starts", blackoutFile("2026-12-24T00:00:00Z", "2026-12-20T00:00:00Z"), `7:14: group "web": blackouts[0].end: 2026-12-20T00:00:00Z is not after the start, 2026-12-24T00:00:00Z`},
		{"a time without its offset", blackoutFile("2026-12-24 18:00", "2026-12-20T00:00:00Z"), `6:16: groups.web.blackouts[0].start: time "2026-12-24 18:00": want one with its offset, such as 2026-12-24T18:00:00Z or 2026-12-24T18:00:00+01:00`},
		{"an interval of weeks", "groups:\n  web:\n    slots: 1\n    grant_interval: 400h\n", `4:21: group "web": grant_interval: 400h0m0s: want 0s (none) to 168h0m0s`},
		{"nothing", "", `1:1: no groups: want "groups:" with a name and "slots:" for each`},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parseGroups([]byte(c.file))
			if err == nil || err.Error() != c.want {
				t.Errorf("error = %v\nwant    %s", err, c.want)
			}
		})
	}
}

// windowFile is a file with a window that has one more line, at 7:9.
func windowFile(line string) string {
	return "groups:\n  web:\n    slots: 1\n    windows:\n      - start: 22:00\n        duration: 4h\n        " + line + "\n"
}

// blackoutFile is a file with a blackout: its start is at 6:16, its end at 7:14.
func blackoutFile(start, end string) string {
	return "groups:\n  web:\n    slots: 1\n    blackouts:\n      - name: b\n        start: " + start + "\n        end: " + end + "\n"
}

func TestExport_IsReadBackByApply(t *testing.T) {
	groups := []api.Group{
		{Name: "web", Spec: api.GroupSpec{
			Slots: "5%", Limits: []api.Limit{{By: "zone", Max: "1"}}, CountUnreachable: true,
			Timeouts: api.GroupTimeouts{Hold: "30m", FleetLockHold: "1h"},
			Windows: []api.WindowSpec{
				{Name: "night: 1", Weekdays: []string{"mon-fri", "sat"}, Start: "22:00", Duration: "4h", Cutoff: "30m", TimeZone: "Europe/Berlin"},
				{Cron: "0 3 * * sun", Duration: "2h"},
			},
			Blackouts:     []api.BlackoutSpec{{Name: "year-end", Start: noon, End: noon.Add(time.Hour), Reason: "shop # season"}},
			GrantInterval: "10m",
		}},
		{Name: "1.5", Spec: api.GroupSpec{Slots: "2"}},
	}
	text, err := exportGroups(groups)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseGroups(text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	want := map[string]api.GroupSpec{"web": groups[0].Spec, "1.5": groups[1].Spec}
	if diff := cmp.Diff(want, got.specs); diff != "" {
		t.Errorf("%s\n%s", diff, text)
	}
}

func TestShortDuration_WritesTheSameTimeTheSameWay(t *testing.T) {
	for text, want := range map[string]string{
		"30m0s": "30m", "30m": "30m", "1h0m0s": "1h", "90m": "1h30m", "10s": "10s", "1h10m0s": "1h10m", "10m10s": "10m10s", "100h0m0s": "100h", "": "",
	} {
		if got := shortDuration(text); got != want {
			t.Errorf("shortDuration(%q) = %q, want %q", text, got, want)
		}
	}
}
