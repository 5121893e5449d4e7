package web_test

import (
	"encoding/xml"
	"html"
	"maps"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/web"
)

// setByCode are the texts that nobody writes freely: one of a few words, or what
// the coordinator has understood before it keeps it.
var setByCode = []string{
	"Attention.Kind", "Attention.Severity", "Bundle.URL", "Concurrency.Bound", "Event.Kind", "GateSpec.Deadline", "GateSpec.Every", "GateSpec.Timeout",
	"GroupSpec.GrantInterval", "GroupTimeouts.Hold", "GroupTimeouts.FleetLockHold", "Hold.DeadlineStill", "Hold.Phase", "Hold.State", "Member.Role",
	"NotifySpec.Format", "PromQLGate.Compare", "PromQLGate.For", "RolloutGate.Kind", "RolloutGate.Role", "RolloutNode.State",
	"RolloutSpec.AutoRollback", "RolloutSpec.Conflict", "RolloutSpec.HealthyDeadline", "RolloutSpec.Joining", "RolloutSpec.MinHealthyTime",
	"Status.Version", "Waiter.Via", "WindowSpec.Cron", "WindowSpec.Cutoff", "WindowSpec.Duration", "WindowSpec.Start", "WindowSpec.TimeZone",
}

// notShown are the texts that no page shows, and where else they are.
var notShown = map[string]string{
	"Bundle.Signatures": "the CLI shows them", "Hold.BootID": "the node's is shown", "Hold.Instance": "it tells agents apart", "Node.Instance": "it tells agents apart",
	"Rollout.BundleName": "a name of its own stands before it", "Report.Answered": "it is between agent and coordinator", "Wanted.Order": "it is between agent and coordinator",
	"WaveSpec.Name": "the wave's own is shown", "GateSpec.Name": "the gate's own is shown", "WaveSpec.Selector": "the form names what it has no room for",
	"PromQLGate.URL": "the form names what it has no room for", "NotifySpec.URL": "the form names what it has no room for", "NotifySpec.Webhook": "the form names what it has no room for",
	"Token.Replaces": "of tokens for new coordinators", "Token.UsedBy": "of tokens for new coordinators",
}

// places are where texts of strangers come to stand in a page.
var places = []string{"svg title", "svg text", "code", "option", "textarea", "ins", "td", "h1", "@aria-label", "@title", "@href", "@action", "@value", "@data-confirm", "@data-key"}

// mark gives every text that a stranger may write a value of its own: hostile, with
// the name of its field behind it.
func mark(v reflect.Value, name string, marked map[string]bool) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() {
			mark(v.Elem(), name, marked)
		}
	case reflect.Slice:
		for i := range v.Len() {
			mark(v.Index(i), name, marked)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			field := v.Type().Name() + "." + v.Type().Field(i).Name
			f := v.Field(i)
			if f.Type() == reflect.TypeFor[string]() && !slices.Contains(setByCode, field) && !isID(field) {
				f.SetString(name + "@" + field + ";")
				marked[field] = true
			} else if f.Type() == reflect.TypeFor[[]string]() && !isID(field) {
				for j := range f.Len() {
					f.Index(j).SetString(name + "@" + field + ";")
				}
				marked[field] = marked[field] || f.Len() > 0
			} else if f.Type() != reflect.TypeFor[time.Time]() {
				mark(f, name, marked)
			}
		}
	}
}

// isID reports whether a text leads to something: it stays what that is called.
func isID(field string) bool {
	return slices.ContainsFunc([]string{".ID", ".Node", ".Group", ".Rollout", ".OldestNode", ".After", ".RollbackOf", ".Rollback", ".SupersededBy", ".Digest", ".Bundle", ".Nodes"},
		func(end string) bool { return strings.HasSuffix(field, end) }) || field == "Group.Name"
}

// markedFleet is a hostile fleet in which each text tells its field, and the fields.
func markedFleet() (*stage, map[string]bool) {
	b := hostileFleet(hostile)
	marked := map[string]bool{}
	for _, part := range []any{&b.status, &b.bundles, &b.nodes, &b.snapshots, &b.tokens, &b.events} {
		mark(reflect.ValueOf(part), hostile, marked)
	}
	for id, ro := range b.rollouts {
		mark(reflect.ValueOf(&ro), hostile, marked)
		b.rollouts[id] = ro
	}
	return b, marked
}

func TestHostile_EveryTextOfAStrangerReachesAPageAndIsText(t *testing.T) {
	b, marked := markedFleet()
	shown, seen := map[string]bool{}, map[string]bool{}
	look := func(where, page string) {
		var within []string
		eachToken(t, page, func(token xml.Token) {
			switch e := token.(type) {
			case xml.StartElement:
				within = append(within, e.Name.Local)
				for _, a := range e.Attr {
					if !strings.Contains(a.Value, "<script>") && !strings.Contains(a.Value, "%3Cscript") {
						continue
					}
					seen["@"+a.Name.Local] = true
					if strings.HasPrefix(a.Name.Local, "on") || slices.Contains([]string{"style", "src", "srcset", "formaction", "class"}, a.Name.Local) {
						t.Errorf("%s: a name is in %s", where, a.Name.Local)
					}
					if slices.Contains([]string{"href", "action", "data-zones", "data-stream"}, a.Name.Local) && !strings.HasPrefix(a.Value, "/") {
						t.Errorf("%s: a name leads to %q", where, a.Value)
					}
				}
			case xml.EndElement:
				for len(within) > 0 {
					last := within[len(within)-1]
					within = within[:len(within)-1]
					if last == e.Name.Local {
						break
					}
				}
			case xml.CharData:
				if strings.Contains(string(e), "<script>") && len(within) > 0 {
					at := within[len(within)-1]
					if slices.Contains(within, "svg") {
						at = "svg " + at
					}
					seen[at] = true
				}
			}
		})
		if strings.Contains(page, "<script>") {
			t.Errorf("%s: a name became markup", where)
		}
		plain := html.UnescapeString(page)
		for field := range marked {
			if strings.Contains(plain, "@"+field+";") || strings.Contains(plain, "@"+url.QueryEscape(field+";")) {
				shown[field] = true
			}
		}
	}
	for _, target := range hostilePages(hostile) {
		look("GET "+target, text(t, ask(t, b, auth.Local(), http.MethodGet, target, nil)))
	}
	for _, field := range slices.Sorted(maps.Keys(marked)) {
		why, not := notShown[field]
		switch {
		case !shown[field] && !not:
			t.Errorf("no page shows %s: is it not tried, or not shown?", field)
		case shown[field] && not:
			t.Errorf("%s is shown, although %s", field, why)
		}
	}
	for _, place := range places {
		if !seen[place] {
			t.Errorf("no page has a name in %s, only in %q", place, slices.Sorted(maps.Keys(seen)))
		}
	}

	for _, topic := range []string{"overview", "group/web", "node/" + url.PathEscape(hostile), "nodes", "events", "rollouts", "rollout/" + url.PathEscape(hostile), "bundles", "cluster"} {
		synctest.Test(t, func(t *testing.T) {
			b, _ := markedFleet() // what it waits on belongs to this time
			w := watch(t, web.New(b, web.Options{}), url.QueryEscape(topic))
			got := 0
			for quiet := false; !quiet; {
				select {
				case ev := <-w.events:
					if ev.kind == "fragment" {
						look("the stream of "+topic, ev.html)
						got++
					}
				case <-time.After(time.Second):
					quiet = true
				}
			}
			if got < 5 {
				t.Errorf("the stream of %s has %d fragments", topic, got)
			}
			w.cancel()
			synctest.Wait()
		})
	}
}

// A line break in a text ends no event of the stream, and begins none.
func TestHostile_ALineBreakIsNoEventOfTheStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := twoGroups()
		b.status.Sentence = "all is well\r\n\r\nevent: fragment\r\ndata: {\"id\":\"main\",\"html\":\"<p id=main>pwned</p>\"}\n\nevent: fragment\ndata: {\"id\":\"main\"}\n\n"
		w := watch(t, web.New(b, web.Options{}), "overview")
		if seen := w.until("locks", "db"); slices.Contains(seen, "main") || !slices.Contains(seen, "headline") {
			t.Errorf("the stream sends %q", seen)
		}
		w.cancel()
		synctest.Wait()
	})
}
