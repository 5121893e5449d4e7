package web_test

import (
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

var tags = regexp.MustCompile(`<[^>]*>`)

// On a calm day the line below the headline says what that does not: what is
// rolled out, or what was last.
func TestOverview_OnACalmDaySaysWhatTheHeadlineDoesNot(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 24, 14, 30, 0, 0, time.UTC)
	ended := func(id string, state api.RolloutState, when time.Time) api.Rollout {
		return api.Rollout{ID: id, BundleName: "base-" + id, State: state, EndedAt: when, Spec: api.RolloutSpec{Group: "web"}}
	}
	last := ended("2", api.RolloutSucceeded, at)
	running := api.Rollout{ID: "3", BundleName: "base-3", State: api.RolloutRunning, Estimate: at.Add(time.Hour), Spec: api.RolloutSpec{Group: "web"}, Progress: api.RolloutProgress{Total: 3, Updated: 1}}
	for _, c := range []struct {
		rollouts []api.Rollout
		want     string
	}{
		{nil, "No rollout yet."},
		{[]api.Rollout{last, ended("1", api.RolloutFailed, at.Add(-time.Hour))}, "No rollout is under way; the last, base-2 to web, succeeded Tue 24 Nov 14:30 UTC."},
		{[]api.Rollout{ended("4", api.RolloutAborted, at)}, "No rollout is under way; the last, base-4 to web, was aborted Tue 24 Nov 14:30 UTC."},
		{[]api.Rollout{last, running}, "base-3 to web is running: 1 of 3 nodes updated, done about Tue 24 Nov 15:30 UTC."},
		{[]api.Rollout{running, {ID: "5", State: api.RolloutPaused}, running, last}, "3 rollouts: 2 running, 1 paused."},
	} {
		b := newStage()
		b.status.Sentence, b.status.Figures.Nodes, b.status.Rollouts = "All is well: 6 hosts are in service", 6, c.rollouts
		_, head, _ := strings.Cut(show(t, b, "/"), "<h1>"+b.status.Sentence+"</h1>")
		head, _, _ = strings.Cut(head, "</p>")
		if said := strings.TrimSpace(tags.ReplaceAllString(head, "")); said != c.want {
			t.Errorf("it says %q, want %q", said, c.want)
		}
	}
}

// A time of another day has its date: a journal reaches weeks back.
func TestEvents_OfAnotherDayHaveItsDate(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	old := time.Now().UTC().AddDate(0, 0, -3)
	b.events = []api.Event{{Revision: 1, At: old, Kind: "node.joined", Node: "web-077", Group: "web"}, {Revision: 2, At: time.Now(), Kind: "hold.granted", Node: "web-077", Group: "web"}}
	for _, path := range []string{"/", "/nodes/web-077", "/groups/web"} {
		_, log, _ := strings.Cut(show(t, b, path), `<ol class="log`)
		if want := old.Format(">2 Jan "); !strings.Contains(log, want) && !strings.Contains(log, old.Format(">2 Jan 2006 ")) {
			t.Errorf("%s has no %q: %.600s", path, want, log)
		}
	}
}

// A rollout that is scheduled was made, and says once when it starts.
func TestRollout_ThatIsScheduledSaysOnceWhenItStarts(t *testing.T) {
	t.Parallel()
	b := newStage()
	at := time.Date(2026, 12, 24, 18, 0, 0, 0, time.UTC)
	b.rollouts["ro-1"] = api.Rollout{ID: "ro-1", State: api.RolloutScheduled, By: "ann", CreatedAt: at.Add(-time.Hour), Why: "starts at 2026-12-24T18:00:00Z", Spec: api.RolloutSpec{Group: "web", Start: at}}
	page := show(t, b, "/rollouts/ro-1")
	_, head, _ := strings.Cut(page, "</h1>")
	head, _, _ = strings.Cut(head, "</p>")
	said := tags.ReplaceAllString(head, "")
	if strings.Count(said, "Starts") != 1 || strings.Contains(said, "Started") || !strings.Contains(said, "Made 24 Dec 2026 17:00:00 UTC by ann.") {
		t.Errorf("it says %q", said)
	}
}

// A form begins with durations as people type them.
func TestForms_BeginWithDurationsAsTheyAreTyped(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	b.status.Groups[0].Spec.Timeouts.Hold, b.status.Groups[0].Spec.GrantInterval = "1h30m0s", "0s"
	for path, values := range map[string][]string{
		"/groups/night/window?n=0": {`placeholder="4h" value="4h"`, `placeholder="0s" value="30m"`},
		"/groups/web/edit":         {`name="hold" placeholder="30m" value="1h30m"`, `placeholder="none" value="0s"`},
	} {
		page := show(t, b, path)
		for _, value := range values {
			if !strings.Contains(page, value) {
				t.Errorf("%s has no %s", path, value)
			}
		}
	}
}
