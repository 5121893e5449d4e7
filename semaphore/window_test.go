package semaphore_test

import (
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/semaphore"
)

func hours(n float64) semaphore.Duration {
	return semaphore.Duration(n * float64(time.Hour))
}

func at(t *testing.T, text string) time.Time {
	t.Helper()
	v, err := time.Parse(time.RFC3339, text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// The nights of Berlin in 2026: on 29 March 02:00 to 03:00 is missing, on 25
// October it is there twice.
func TestWindow_OpensAndClosesByTheWallClockOverClockChanges(t *testing.T) {
	const berlin = "Europe/Berlin"
	night := semaphore.Window{Start: "22:00", Duration: hours(8), TimeZone: berlin}
	tests := []struct {
		name       string
		window     semaphore.Window
		from       string
		opens, end string
	}{
		{"an ordinary night", night, "2026-07-01T12:00:00Z", "2026-07-01T20:00:00Z", "2026-07-02T04:00:00Z"},
		{"a night of seven hours", night, "2026-03-28T12:00:00Z", "2026-03-28T21:00:00Z", "2026-03-29T04:00:00Z"},
		{"a night of nine hours", night, "2026-10-24T12:00:00Z", "2026-10-24T20:00:00Z", "2026-10-25T05:00:00Z"},
		{"starts in the missing hour", semaphore.Window{Start: "02:30", Duration: hours(1), TimeZone: berlin},
			"2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"},
		{"lies in the missing hour", semaphore.Window{Start: "02:15", Duration: hours(.5), TimeZone: berlin},
			"2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z", "2026-03-29T01:30:00Z"},
		{"ends in the missing hour", semaphore.Window{Start: "01:00", Duration: hours(1.5), TimeZone: berlin},
			"2026-03-28T12:00:00Z", "2026-03-29T00:00:00Z", "2026-03-29T01:00:00Z"},
		{"the doubled hour, whole", semaphore.Window{Start: "02:00", Duration: hours(1), TimeZone: berlin},
			"2026-10-24T12:00:00Z", "2026-10-25T00:00:00Z", "2026-10-25T02:00:00Z"},
		{"inside the doubled hour, once", semaphore.Window{Start: "02:30", Duration: hours(.25), TimeZone: berlin},
			"2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z", "2026-10-25T00:45:00Z"},
		{"a change at midnight", semaphore.Window{Start: "00:00", Duration: hours(2), TimeZone: "America/Havana"},
			"2026-03-07T12:00:00Z", "2026-03-08T05:00:00Z", "2026-03-08T06:00:00Z"},
		{"UTC by default", semaphore.Window{Start: "22:00", Duration: hours(1)},
			"2026-03-28T12:00:00Z", "2026-03-28T22:00:00Z", "2026-03-28T23:00:00Z"},
		{"cron", semaphore.Window{Cron: "30 22 * * mon-fri", Duration: hours(1), TimeZone: berlin},
			"2026-07-03T21:00:00Z", "2026-07-06T20:30:00Z", "2026-07-06T21:30:00Z"},
		{"cron, the last month", semaphore.Window{Cron: "0 3 1 jan *", Duration: hours(1)},
			"2026-07-03T21:00:00Z", "2027-01-01T03:00:00Z", "2027-01-01T04:00:00Z"},
		{"cron, either day field", semaphore.Window{Cron: "0 3 13 * fri", Duration: hours(1)},
			"2026-11-07T03:30:00Z", "2026-11-13T03:00:00Z", "2026-11-13T04:00:00Z"},
		{"a leap day", semaphore.Window{Cron: "0 3 29 2 *", Duration: hours(1)},
			"2026-07-03T21:00:00Z", "2028-02-29T03:00:00Z", "2028-02-29T04:00:00Z"},
		{"Sunday is 0 and 7", semaphore.Window{Cron: "0 3 * * 7", Duration: hours(1)},
			"2026-11-24T12:00:00Z", "2026-11-29T03:00:00Z", "2026-11-29T04:00:00Z"},
		{"over the end of the week", semaphore.Window{Weekdays: []string{"Sat-mon"}, Start: "03:00", Duration: hours(1)},
			"2026-11-29T04:00:00Z", "2026-11-30T03:00:00Z", "2026-11-30T04:00:00Z"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			span, found := tt.window.Next(at(t, tt.from))
			opens, end := at(t, tt.opens), at(t, tt.end)
			if !found || !span.Start.Equal(opens) || !span.End.Equal(end) {
				t.Fatalf("opens %s to %s (found %t), want %s to %s", span.Start.UTC(), span.End.UTC(), found, opens, end)
			}
			for moment, want := range map[time.Time]bool{
				opens.Add(-time.Second): false, opens: true, opens.Add(end.Sub(opens) / 2): true,
				end.Add(-time.Second): true, end: false,
			} {
				if got, open := tt.window.At(moment); open != want || open && (!got.Start.Equal(opens) || !got.End.Equal(end)) {
					t.Errorf("at %s it is open: %t, want %t", moment.UTC(), open, want)
				}
			}
		})
	}
}

func TestWindow_OfSevenDaysIsOpenOnItsLastDay(t *testing.T) {
	w := semaphore.Window{Weekdays: []string{"wed"}, Start: "12:00", Duration: hours(7 * 24)}
	if span, open := w.At(now.Add(-time.Hour)); !open || !span.End.Equal(at(t, "2026-11-25T12:00:00Z")) {
		t.Errorf("open %t, %+v", open, span)
	}
}

func TestWindow_NothingStartsInItsCutoff(t *testing.T) {
	b := newBench(t)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 9}, Windows: []semaphore.Window{
		{Name: "noon", Start: "12:00", Duration: hours(1), Cutoff: hours(.25)},
	}})
	b.now = now.Add(44 * time.Minute)
	b.take(agent("a"))
	b.now = now.Add(45 * time.Minute)
	d := b.refused(agent("b"), semaphore.WindowShut)
	if !strings.Contains(d.Answer.Detail, "(noon) closes at Tue 24 Nov 13:00 UTC, and nothing starts in its last 15m0s") ||
		!d.Answer.Blockers[0].Until.Equal(at(t, "2026-11-25T12:00:00Z")) {
		t.Errorf("refused with %+v", d.Answer.Blockers)
	}
	b.ok(semaphore.Confirm{Node: "a", Instance: "i-a", BootID: "boot-a", Fence: b.Holds["a"].Fence}) // who was let go goes on
}

func TestWindow_OneThatIsOpenIsEnough(t *testing.T) {
	b := newBench(t)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 9}, Windows: []semaphore.Window{
		{Start: "11:30", Duration: hours(.75), Cutoff: hours(.5)}, // in its cutoff
		{Start: "22:00", Duration: hours(1)},                      // shut
		{Cron: "0 */6 * * *", Duration: hours(1)},
	}})
	b.take(agent("a"))
}

func TestBlackout_NothingStartsInItThoughTheWindowIsOpen(t *testing.T) {
	b := newBench(t)
	b.spec(semaphore.Spec{
		Slots:   semaphore.Slots{N: 9},
		Windows: []semaphore.Window{{Start: "00:00", Duration: hours(24)}},
		Blackouts: []semaphore.Blackout{
			{Name: "sale", Start: now, End: now.Add(time.Hour)},
			{Name: "audit", Start: now.Add(-time.Hour), End: now.Add(2 * time.Hour), Reason: "the auditors are here"},
		},
	})
	d := b.refused(agent("a"), semaphore.BlackedOut)
	if !strings.Contains(d.Answer.Detail, `"audit" lasts until 2026-11-24T14:00:00Z: the auditors are here`) || !d.Answer.Blockers[0].Until.Equal(now.Add(2*time.Hour)) {
		t.Errorf("refused with %+v", d.Answer.Blockers)
	}
	b.wait("a")
	b.nothing(semaphore.Admit{})
	b.now = now.Add(2 * time.Hour)
	b.ok(semaphore.Admit{})
	b.held("a")
}

func TestGrantInterval_OneGrantAtATimeWhateverMakesIt(t *testing.T) {
	b := newBench(t)
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 9}, GrantInterval: semaphore.Duration(time.Minute)})
	h := b.take(agent("a"))
	d := b.refused(agent("b"), semaphore.TooSoon)
	if !d.Answer.Blockers[0].Until.Equal(now.Add(time.Minute)) {
		t.Errorf("until %s", d.Answer.Blockers[0].Until)
	}
	b.wait("b", "c")
	if d := b.ok(semaphore.Release{Node: "a", Instance: h.Instance, Via: h.Via, Fence: h.Fence}); len(d.Granted) != 0 {
		t.Errorf("the release granted %+v", d.Granted)
	}
	b.now = now.Add(time.Minute)
	if d := b.ok(semaphore.Admit{}); len(d.Granted) != 1 {
		t.Errorf("%d grants at once", len(d.Granted))
	}
	b.held("b")
	b.nothing(semaphore.Admit{})
}

func TestClockOff_NothingStartsWhereAClockDecides(t *testing.T) {
	b := newBench(t)
	b.ClockOff = "it is 41s off the clocks of the others"
	b.take(agent("a"))
	b.spec(semaphore.Spec{Slots: semaphore.Slots{N: 9}, Windows: []semaphore.Window{{Start: "00:00", Duration: hours(24)}}})
	d := b.refused(agent("b"), semaphore.WindowShut)
	if !strings.Contains(d.Answer.Detail, "41s off") {
		t.Errorf("refused with %q", d.Answer.Detail)
	}
}

func TestValidateSpec_NamesTheWrongFieldOfWindowsAndBlackouts(t *testing.T) {
	window := func(change func(*semaphore.Window)) semaphore.Spec {
		w := semaphore.Window{Start: "22:00", Duration: hours(1)}
		change(&w)
		return semaphore.Spec{Windows: []semaphore.Window{w}}
	}
	blackout := func(name string, start, end time.Time) semaphore.Spec {
		return semaphore.Spec{Blackouts: []semaphore.Blackout{{Name: name, Start: start, End: end}}}
	}
	tests := map[string]struct {
		spec semaphore.Spec
		path string
		says string
	}{
		"no start":              {window(func(w *semaphore.Window) { w.Start = "" }), "windows[0].start", "22:00"},
		"a start of 24:00":      {window(func(w *semaphore.Window) { w.Start = "24:00" }), "windows[0].start", "23:59"},
		"a start of 9:00":       {window(func(w *semaphore.Window) { w.Start = "9:00" }), "windows[0].start", "00:00"},
		"a day that is none":    {window(func(w *semaphore.Window) { w.Weekdays = []string{"mo"} }), "windows[0].weekdays", `"mo"`},
		"start and cron":        {window(func(w *semaphore.Window) { w.Cron = "0 1 * * *" }), "windows[0].cron", "either"},
		"a cron of four fields": {window(func(w *semaphore.Window) { w.Start, w.Cron = "", "0 1 * *" }), "windows[0].cron", "five fields"},
		"a cron out of range":   {window(func(w *semaphore.Window) { w.Start, w.Cron = "", "0 24 * * *" }), "windows[0].cron", "hour"},
		"a cron with a step 0":  {window(func(w *semaphore.Window) { w.Start, w.Cron = "", "*/0 1 * * *" }), "windows[0].cron", "minute"},
		"a cron range reversed": {window(func(w *semaphore.Window) { w.Start, w.Cron = "", "0 5-1 * * *" }), "windows[0].cron", "not below"},
		"a day that never is":   {window(func(w *semaphore.Window) { w.Start, w.Cron = "", "0 1 30 2 *" }), "windows[0].cron", "never open"},
		"no duration":           {window(func(w *semaphore.Window) { w.Duration = 0 }), "windows[0].duration", "1m"},
		"seconds":               {window(func(w *semaphore.Window) { w.Duration += semaphore.Duration(time.Second) }), "windows[0].duration", "whole minutes"},
		"over a week":           {window(func(w *semaphore.Window) { w.Duration = hours(169) }), "windows[0].duration", "168h"},
		"all of it cutoff":      {window(func(w *semaphore.Window) { w.Cutoff = hours(1) }), "windows[0].cutoff", "nothing could ever start"},
		"a zone that is none":   {window(func(w *semaphore.Window) { w.TimeZone = "Europe/Atlantis" }), "windows[0].time_zone", "IANA"},
		"the host's zone":       {window(func(w *semaphore.Window) { w.TimeZone = "Local" }), "windows[0].time_zone", "IANA"},
		"too many windows":      {semaphore.Spec{Windows: make([]semaphore.Window, 33)}, "windows", "at most 32"},
		"a blackout backwards":  {blackout("x", now, now.Add(-time.Hour)), "blackouts[0].end", "not after the start"},
		"an empty blackout":     {blackout("x", now, now), "blackouts[0].end", "not after the start"},
		"a nameless blackout":   {blackout("", now, now.Add(1)), "blackouts[0].name", "empty"},
		"no end":                {blackout("x", now, time.Time{}), "blackouts[0].end", "missing"},
		"too many blackouts":    {semaphore.Spec{Blackouts: make([]semaphore.Blackout, 101)}, "blackouts", "at most 100"},
		"a negative interval":   {semaphore.Spec{GrantInterval: -1}, "grant_interval", "0s"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			problems := semaphore.ValidateSpec(tt.spec)
			if len(problems) != 1 || problems[0].Path != tt.path || !strings.Contains(problems[0].Detail, tt.says) {
				t.Errorf("problems %+v, want one at %s that says %q", problems, tt.path, tt.says)
			}
		})
	}
}

func TestPutSpec_ALimitOnALabelThatNobodyHasIsRefused(t *testing.T) {
	b := newBench(t)
	b.ok(semaphore.PutMember{Node: "a", Registered: map[string]string{"zone": "z1"}})
	limit := func(by string) semaphore.PutSpec {
		return semaphore.PutSpec{IfMatch: -1, Spec: semaphore.Spec{Slots: semaphore.Slots{N: 1}, Limits: []semaphore.Limit{{By: by, Max: semaphore.Slots{N: 1}}}}}
	}
	d := b.refused(limit("rack"), semaphore.Invalid)
	if want := `limits[0].by: none of the 3 members has the label "rack"; they have zone`; d.Answer.Detail != want {
		t.Errorf("refused with %q, want %q", d.Answer.Detail, want)
	}
	b.ok(limit("zone"))
	b.ok(semaphore.RemoveMember{Node: "a"})
	again := limit("zone")
	again.Spec.Slots.N = 2
	b.ok(again) // it is there: nothing that was taken becomes wrong by itself
}

func TestPutSpec_ALimitByWhatIsNoLabelIsRefusedUnlessItIsStored(t *testing.T) {
	b := newBench(t)
	put := func(slots int) semaphore.PutSpec {
		return semaphore.PutSpec{IfMatch: -1, Spec: semaphore.Spec{Slots: semaphore.Slots{N: slots}, Limits: []semaphore.Limit{{By: "my key", Max: semaphore.Slots{N: 1}}}}}
	}
	d := b.refused(put(1), semaphore.Invalid)
	if want := `limits[0].by: label "my key": want a name of 1 to 128`; !strings.HasPrefix(d.Answer.Detail, want) {
		t.Errorf("refused with %q, want %q", d.Answer.Detail, want)
	}
	b.Spec.Limits = put(1).Spec.Limits // as a version wrote it that did not look at names
	b.ok(put(2))
}

// TestValidateSpec_ATimeZoneHasOneName: each is kept once it was read, so that the
// ways to write one must be as few as the zones.
func TestValidateSpec_ATimeZoneHasOneName(t *testing.T) {
	for zone, fine := range map[string]bool{
		"": true, "UTC": true, "Europe/Berlin": true, "America/Argentina/Buenos_Aires": true, "Etc/GMT-14": true,
		"Europe//Berlin": false, "Europe/./Berlin": false, "./UTC": false, "Europe/Berlin/": false, "Local": false, "../UTC": false,
	} {
		spec := semaphore.Spec{Windows: []semaphore.Window{{Start: "22:00", Duration: hours(1), TimeZone: zone}}}
		if problems := semaphore.ValidateSpec(spec); (len(problems) == 0) != fine {
			t.Errorf("%q: %v", zone, problems)
		}
	}
}
