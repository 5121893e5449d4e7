package web_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// around is the minute of a time in a page that may have been rendered a minute later.
func around(t time.Time) []string {
	return []string{t.UTC().Format("15:04"), t.Add(time.Minute).UTC().Format("15:04")}
}

// Who is next is told with when that is, as far as somebody can say; where a freeze or
// a clock keeps the gate shut, that is told instead.
func TestOverview_TellsWhenTheNextProbablyGoes(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	page := show(t, b, "/")
	told := 0
	for _, lock := range strings.Split(page, `<li class="lock" id="lock-`)[1:] {
		name, _, _ := strings.Cut(lock, `"`)
		note, _, _ := strings.Cut(lock[strings.Index(lock, `<div class="note">`):], "</div>")
		if name != "web" {
			if strings.Contains(note, ", about ") {
				t.Errorf("%s tells when its next goes, and nobody can say: %s", name, note)
			}
			continue
		}
		told++
		want := around(b.turn("web-094"))
		if !slices.ContainsFunc(want, func(at string) bool {
			return strings.Contains(note, `web-094</a>, about <time`) && strings.Contains(note, at+"</time> UTC")
		}) {
			t.Errorf("the note of web lacks about %s UTC: %s", want, note)
		}
	}
	if told != 1 {
		t.Errorf("the lock of web is there %d times", told)
	}
	if group := show(t, b, "/groups/web"); !strings.Contains(group, "next: web-094, about <time") {
		t.Error("the page of the group does not tell when its next goes")
	}
	b.status.Stale = true
	if strings.Contains(show(t, b, "/"), ", about <time") {
		t.Error("without a quorum nobody can say when the next goes")
	}
}

// A rollout's page lists who goes next before others that wait, and for how long
// they wait: a report is as old as its last change.
func TestRollout_ListsWhoGoesNextAndSinceWhenTheyWait(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	r := b.rollouts["ro-7k2f"]
	r.Nodes = nil
	began := time.Now()
	for i := range 40 {
		r.Nodes = append(r.Nodes, api.RolloutNode{Node: fmt.Sprintf("web-%03d", i), Group: "web", State: api.NodeQueued, Since: began, Estimate: began.Add(time.Duration(100-i) * time.Minute)})
	}
	r.Nodes = append(r.Nodes, api.RolloutNode{Node: "web-094", Group: "web", State: api.NodeQueued, Since: began, Estimate: began.Add(time.Minute)},
		api.RolloutNode{Node: "web-095", Group: "web", State: api.NodeQueued, Since: began})
	b.rollouts[r.ID] = r
	page := show(t, b, "/rollouts/ro-7k2f")
	_, page, _ = strings.Cut(page, `id="rollout-nodes"`)
	var listed []string
	for _, m := range regexp.MustCompile(`<tr data-key="([^"]+)">`).FindAllStringSubmatch(page, -1) {
		listed = append(listed, m[1])
	}
	if len(listed) != 20 || listed[0] != "web-094" || listed[1] != "web-039" || listed[19] != "web-021" {
		t.Errorf("listed are %d: %v", len(listed), listed)
	}
	row, _, _ := strings.Cut(page[strings.Index(page, `data-key="web-094"`):], "</tr>")
	if since := b.status.Groups[0].Queue[0].Since.UTC().Format(time.RFC3339); !strings.Contains(row, since) {
		t.Errorf("web-094 waits since %s: %s", since, row)
	}
}

// With many waves ahead the page tells of the next ones, and of the last.
func TestRollout_OfManyWavesTellsOfTheNextAndTheLast(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	r := b.rollouts["ro-7k2f"]
	r.Waves = nil
	for i := range 100 {
		r.Waves = append(r.Waves, api.RolloutWave{Name: fmt.Sprintf("w%d", i+1), State: api.WavePending, Total: 1, Estimate: time.Now().Add(time.Duration(i) * time.Hour)})
	}
	b.rollouts[r.ID] = r
	_, ahead, _ := strings.Cut(show(t, b, "/rollouts/ro-7k2f"), `id="ahead"`)
	ahead, _, _ = strings.Cut(ahead, "</table>")
	if n := strings.Count(ahead, "<tr>"); n != 11 || !strings.Contains(ahead, "Wave 8, w8, done") || !strings.Contains(ahead, "All until wave 100, w100, done") || !strings.Contains(ahead, "Rollout ends") {
		t.Errorf("%d rows: %s", n, ahead)
	}
}

// unasked is a stage whose nodes want nothing.
type unasked struct{ *stage }

func (b unasked) ExplainNode(ctx context.Context, id string) (api.Verdict, error) {
	v, err := b.stage.ExplainNode(ctx, id)
	v.Place, v.Estimate = 0, time.Time{}
	return v, err
}

// What keeps a group's slots from a node is no answer to why it does not go, while
// nothing is wanted of it: its page tells where it stands in a rollout, or that it is
// in none.
func TestNode_OfWhichNothingIsWantedTellsThatFirst(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	idle := func(path string) string { return text(t, ask(t, unasked{b}, auth.Local(), http.MethodGet, path, nil)) }
	r := b.rollouts["ro-7k2f"]
	i := slices.IndexFunc(r.Nodes, func(n api.RolloutNode) bool { return n.Node == "web-120" })
	r.Nodes[i].Detail = "waits for wave 3"
	page := idle("/nodes/web-120")
	for _, want := range []string{`Not started in <a href="/rollouts/ro-7k2f">`, "Waits for wave 3.", "would hold it back"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page of a node in a later wave lacks %q", want)
		}
	}
	if page := idle("/nodes/big-001"); !strings.Contains(page, "Nothing is wanted of it") {
		t.Error("the page of a node in no rollout does not say that nothing is wanted of it")
	}
	if page := show(t, b, "/nodes/web-094"); strings.Contains(page, "Nothing is wanted of it") || strings.Contains(page, "would hold it back") {
		t.Error("the page of a node that waits says that nothing is wanted of it")
	}
}

// A rollout of nodes that another one has can be queued behind it, or end it, from
// the form, as the refusal says; one like it asks for the same.
func TestRollout_TheFormSaysWhatBecomesOfAnotherOne(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	form := url.Values{"bundle": {digest}, "group": {"web"}, "max_failures": {"2"}, "do": {"start"}, "conflict": {api.ConflictQueue}}
	redirected(t, post(t, b, "/rollouts/new", form), "/rollouts/ro-1")
	if got := b.rollouts["ro-1"].Spec.Conflict; got != api.ConflictQueue {
		t.Errorf("the rollout was started with conflict %q", got)
	}
	page := show(t, b, "/rollouts/new?from=ro-1")
	if !strings.Contains(page, `<option value="queue" selected>`) || strings.Contains(page, "fits into this form") {
		t.Error("one like it does not ask for the same")
	}
}
