package main

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestWindow_IsReadAsItIsWritten(t *testing.T) {
	for text, want := range map[string]api.WindowSpec{
		"mon-fri 22:00 4h Europe/Berlin cutoff=30m": {Weekdays: []string{"mon-fri"}, Start: "22:00", Duration: "4h", TimeZone: "Europe/Berlin", Cutoff: "30m"},
		"daily 09:00 8h":                      {Start: "09:00", Duration: "8h"},
		"sat,sun 00:00 24h UTC name=week end": {Weekdays: []string{"sat", "sun"}, Start: "00:00", Duration: "24h", TimeZone: "UTC", Name: "week end"},
		"cron 0 3 1-7 * sun 2h cutoff=10m":    {Cron: "0 3 1-7 * sun", Duration: "2h", Cutoff: "10m"},
	} {
		got, err := parseWindow(text)
		if err != nil {
			t.Errorf("%q: %v", text, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q: %s", text, diff)
		}
		if again := windowText(got); again != text {
			t.Errorf("%q is written %q", text, again)
		}
	}
	if w, err := parseWindow("9:00 8h"); err != nil || windowText(w) != "daily 09:00 8h" {
		t.Errorf("%+v %v", w, err)
	}
}

func TestGroupSet_AWindowThatCannotBeSaysWhatIsWrongAndWanted(t *testing.T) {
	f := &fake{groups: map[string]api.Group{"web": web("1")}}
	for text, want := range map[string]string{
		"":                          "no start: want",
		"mon-fri":                   "no start: want",
		"22:00":                     "no duration: want",
		"22:00 soon":                `the duration "soon" is no duration such as 4h`,
		"22:00 4h cutoff=x":         `the cutoff "x" is no duration such as 4h`,
		"22:00 4h UTC CET":          `"CET" is one too many`,
		"22:00 4h name=":            "the name is empty",
		"cron 0 3 * *":              "cron takes five fields",
		"22:00 4h Mars/Base":        `time_zone: "Mars/Base" is no time zone: want an IANA name`,
		"someday 22:00 4h":          `weekdays: "someday": want a day such as "sat"`,
		"24:00 4h":                  `start: "24:00": want a time from "00:00" to "23:59"`,
		"22:00 8d":                  `the duration "8d" is no duration`,
		"22:00 200h":                "duration: 200h0m0s: want whole minutes, 1m0s to 168h0m0s",
		"22:00 1h cutoff=1h":        "cutoff: 1h0m0s of a window of 1h0m0s: nothing could ever start",
		"cron 0 0 31 feb * 1h":      "no such day ever comes, so the window would never open",
		"cron 61 0 * * * 1h":        `minute: "61": want 0 to 59, or *`,
		"cron 0 3 * * sun 2h extra": `time_zone: "extra" is no time zone`,
	} {
		newShell(f).run(t, "group", "set", "web", "--window", text).want(t, exitUsage, want)
	}
	newShell(f).run(t, "group", "set", "web", "--window", "22:00 4h", "--no-windows").want(t, exitUsage, "--no-windows goes without --window")
	newShell(f).run(t, "group", "set", "web", "--window", "22:00 4h", "--window", "daily 22:00 4h0m").want(t, exitUsage, "is given twice")
	newShell(f).run(t, "group", "set", "web", "--grant-interval", "often").want(t, exitUsage, `--grant-interval "often": want a duration such as 10m`)
	newShell(f).run(t, "group", "set", "web", "--grant-interval", "-1m").want(t, exitUsage, "at most 168h0m0s, or none")
	if f.groups["web"].Revision != 7 {
		t.Error("the group was changed")
	}
}

func TestGroupSet_ReplacesWindowsAndLeavesThemAlone(t *testing.T) {
	f := &fake{groups: map[string]api.Group{"web": web("1")}}
	newShell(f).run(t, "group", "set", "web", "--window", "sat 22:00 4h", "--window", "sun 22:00 4h", "--grant-interval", "10m").want(t, exitOK,
		"group web: window sat 22:00 4h, window sun 22:00 4h, grant-interval 10m\n")
	newShell(f).run(t, "group", "set", "web", "--slots", "2").want(t, exitOK, "group web: slots 1 → 2\n")
	newShell(f).run(t, "group", "set", "web", "--window", "sun 22:00 240m", "--window", "mon 22:00 4h").want(t, exitOK,
		"group web: window sat 22:00 4h → none, window mon 22:00 4h\n")
	newShell(f).run(t, "group", "set", "web", "--no-windows", "--grant-interval", "none").want(t, exitOK,
		"group web: window sun 22:00 4h → none, window mon 22:00 4h → none, grant-interval 10m → none\n")
	if spec := f.groups["web"].Spec; len(spec.Windows) > 0 || spec.GrantInterval != "" {
		t.Errorf("spec = %+v", spec)
	}
}

func TestBlackout_IsAddedOnceListedAndRemoved(t *testing.T) {
	f := &fake{groups: map[string]api.Group{"web": web("1"), "db": {Name: "db", Revision: 2, Spec: api.GroupSpec{Slots: "1"}}}}
	add := []string{"group", "blackout", "add", "year-end", "--start", "2026-12-20 00:00", "--end", "2027-01-06 00:00", "--time-zone", "Europe/Berlin", "--reason", "shop"}
	newShell(f).run(t, append(add, "--group", "web")...).want(t, exitOK,
		"group web: blackout year-end 2026-12-19T23:00:00Z to 2027-01-05T23:00:00Z (shop)\n")
	newShell(f).run(t, append(add, "--all-groups")...).want(t, exitOK, "group db: blackout year-end", "group web: nothing to change\n")
	newShell(f).run(t, "group", "blackout", "add", "year-end", "--group", "web", "--for", "1h").want(t, exitRefused, "conflict: group web has another blackout of that name: year-end 2026-12-19")
	newShell(f).run(t, "group", "blackout", "add", "now", "--group", "web", "--for", "1h").want(t, exitOK, "blackout now 2026-11-24T12:00:00Z to 2026-11-24T13:00:00Z\n")
	newShell(f).run(t, "group", "blackout", "list", "--group", "web").want(t, exitOK, "in 25d", "in force, 1h more", "shop")
	newShell(f).run(t, "group", "blackout", "remove", "year-end", "--group", "web").want(t, exitOK, "→ none")
	newShell(f).run(t, "group", "blackout", "remove", "year-end", "--group", "web").want(t, exitNotFound, `group web has no blackout "year-end"`)
	newShell(f).run(t, "group", "blackout", "remove", "year-end", "--all-groups").want(t, exitOK, "group web: nothing to change", "group db: blackout year-end")
	newShell(f).run(t, "group", "blackout", "remove", "year-end", "--all-groups").want(t, exitNotFound, "no group has a blackout")
}

func TestBlackout_ATimeThatCannotBeSaysWhatIsWanted(t *testing.T) {
	f := &fake{groups: map[string]api.Group{"web": web("1")}}
	for _, c := range []struct {
		want string
		args []string
	}{
		{"want --group GROUP, or --all-groups", []string{"--for", "1h"}},
		{"--all-groups goes without --group", []string{"--for", "1h", "--group", "web", "--all-groups"}},
		{"want --end or --for, and not both", []string{"--group", "web"}},
		{"want --end or --for, and not both", []string{"--group", "web", "--for", "1h", "--end", "2026-12-20T00:00:00Z"}},
		{`--end "soon": want a time such as`, []string{"--group", "web", "--end", "soon"}},
		{`--end "2026-12-20 18:00": want --time-zone`, []string{"--group", "web", "--end", "2026-12-20 18:00"}},
		{`--time-zone "Mars/Base" is no time zone`, []string{"--group", "web", "--end", "2026-12-20 18:00", "--time-zone", "Mars/Base"}},
		{"the clock of Europe/Berlin leaves that time out", []string{"--group", "web", "--end", "2027-03-28 02:30", "--time-zone", "Europe/Berlin"}},
		{"shows that time twice: want 2027-10-31T02:30:00+02:00 or 2027-10-31T02:30:00+01:00", []string{"--group", "web", "--end", "2027-10-31 02:30", "--time-zone", "Europe/Berlin"}},
		{`blackout "x": end: 2026-11-20T00:00:00Z is not after the start, 2026-11-24T12:00:00Z`, []string{"--group", "web", "--end", "2026-11-20T00:00:00Z"}},
		{`blackout "x": end:`, []string{"--group", "web", "--for", "-1h"}},
	} {
		newShell(f).run(t, append([]string{"group", "blackout", "add", "x"}, c.args...)...).want(t, exitUsage, c.want)
	}
	newShell(f).run(t, "group", "blackout", "add", "x", "--group", "nowhere", "--for", "1h").want(t, exitNotFound, `there is no group "nowhere"`)
	if f.groups["web"].Revision != 7 {
		t.Error("the group was changed")
	}
}

func TestQueuePriority_OutOfRangeNamesTheRange(t *testing.T) {
	for _, text := range []string{"101", "high", "1.5"} {
		newShell(&fake{}).run(t, "queue", "priority", "n1", text).want(t, exitUsage, "want a whole number from -100 to 100")
	}
	newShell(&fake{}).run(t, "queue", "priority", "n1", "--", "-101").want(t, exitUsage, `priority "-101"`)
}

func TestGroupShow_SaysWhatAClockDecidesInTheGroupsZone(t *testing.T) {
	g := web("1")
	g.Spec.Windows = []api.WindowSpec{{Name: "night", Weekdays: []string{"mon-fri"}, Start: "22:00", Duration: "4h0m0s", TimeZone: "Europe/Berlin"}}
	g.Spec.Blackouts = []api.BlackoutSpec{
		{Name: "old", Start: noon.Add(-2 * time.Hour), End: noon.Add(-time.Hour)},
		{Name: "release", Start: noon.Add(-time.Minute), End: noon.Add(time.Hour), Reason: "7.2"},
	}
	g.Spec.GrantInterval = "10m0s"
	g.Status.Window = &api.WindowStatus{Name: "night", TimeZone: "Europe/Berlin", Next: time.Date(2026, 11, 24, 21, 0, 0, 0, time.UTC)}
	g.Status.NextGrant = noon.Add(5 * time.Minute)
	g.Status.Blackout, g.Status.Shut = &g.Spec.Blackouts[1], "blackout"
	f := &fake{groups: map[string]api.Group{"web": g}}
	out := newShell(f).run(t, "group", "show", "web")
	out.want(t, exitOK, "mon-fri 22:00 4h Europe/Berlin name=night",
		"no window is open; the next (night) opens Tue 24 Nov 2026 22:00 CET (in 9h)",
		"release 2026-11-24T11:59:00Z to 2026-11-24T13:00:00Z (7.2), in force",
		"10m between two starts; the next not before Tue 24 Nov 2026 12:05 UTC (in 5m)")
	newShell(f).run(t, "group", "list").want(t, exitOK, "blackout release for 1h more")
}
