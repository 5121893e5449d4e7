package web

import (
	"fmt"
	"html/template"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// look is how a state is shown: hue, shape and word together.
type look struct {
	Class string // is-ok, is-busy, is-warn, is-bad, is-lost, is-calm
	Icon  string
	Word  string
}

var phaseLooks = map[api.Phase]look{
	api.PhaseIdle:      {"is-ok", "idle", "Idle"},
	api.PhaseWaiting:   {"is-busy", "waiting", "Waiting"},
	api.PhaseHolding:   {"is-busy", "holding", "Holding"},
	api.PhaseDraining:  {"is-busy", "draining", "Draining"},
	api.PhaseApplying:  {"is-busy", "applying", "Applying"},
	api.PhaseRebooting: {"is-busy", "rebooting", "Rebooting"},
	api.PhaseVerifying: {"is-busy", "verifying", "Verifying"},
	api.PhaseReleasing: {"is-busy", "releasing", "Releasing"},
	api.PhaseFailed:    {"is-bad", "failed", "Failed"},
}

var nodeLooks = map[api.NodeState]look{
	api.NodeFailed:      {"is-bad", "failed", "Failed"},
	api.NodeOverdue:     {"is-warn", "overdue", "Overdue"},
	api.NodeDuplicate:   {"is-warn", "copy", "Two hosts, one id"},
	api.NodeUnreachable: {"is-lost", "unreachable", "Unreachable"},
	api.NodeOut:         {"is-busy", "holding", "Out of service"},
	api.NodeWaiting:     {"is-busy", "waiting", "Waiting"},
	api.NodeIdle:        {"is-ok", "idle", "Idle"},
	nodeDrifted:         {"is-warn", "drifted", "Drifted"},
}

var rolloutLooks = map[api.RolloutState]look{
	api.RolloutScheduled: {"is-calm", "scheduled", "Scheduled"},
	api.RolloutRunning:   {"is-busy", "running", "Running"},
	api.RolloutSoaking:   {"is-busy", "soaking", "Soaking"},
	api.RolloutApproval:  {"is-warn", "approval", "Waiting for approval"},
	api.RolloutPaused:    {"is-warn", "paused", "Paused"},
	api.RolloutHalted:    {"is-bad", "halted", "Halted"},
	api.RolloutSucceeded: {"is-ok", "ok", "Succeeded"},
	api.RolloutFailed:    {"is-bad", "failed", "Failed"},
	api.RolloutAborted:   {"is-calm", "aborted", "Aborted"},
}

var rolloutNodeLooks = map[string]look{
	api.NodePending:  {"is-calm", "idle", "Not started"},
	api.NodeQueued:   {"is-busy", "waiting", "Waiting"},
	api.NodeUpdating: {"is-busy", "applying", "Updating"},
	api.NodeUpdated:  {"is-ok", "ok", "Updated"},
	api.NodeBroken:   {"is-bad", "failed", "Failed"},
	api.NodeSkipped:  {"is-calm", "aborted", "Skipped"},
	api.NodeAborted:  {"is-calm", "aborted", "Aborted"},
}

// nodeLook is how a node is shown: while it is out, by what it does.
func nodeLook(n api.Node) look {
	if n.State == api.NodeOut && n.Report.Phase != "" && n.Report.Phase != api.PhaseIdle && n.Report.Phase != api.PhaseWaiting {
		return known(phaseLooks, n.Report.Phase)
	}
	return known(nodeLooks, n.State)
}

// rolloutNodeLook is how a node of a rollout is shown: while it is updated, by what
// it does.
func rolloutNodeLook(n api.RolloutNode) look {
	if n.State == api.NodeUpdating && n.Phase != "" && n.Phase != api.PhaseIdle && n.Phase != api.PhaseWaiting {
		return known(phaseLooks, n.Phase)
	}
	return known(rolloutNodeLooks, n.State)
}

// legend of the lock drawing.
var legend = []look{
	{Icon: "draining", Word: "draining"}, {Icon: "applying", Word: "applying"}, {Icon: "rebooting", Word: "rebooting"},
	{Icon: "verifying", Word: "verifying"}, {Icon: "failed", Word: "failed, keeps its slot"},
	{Icon: "overdue", Word: "past its deadline"}, {Icon: "open", Word: "gate open"}, {Icon: "shut", Word: "gate shut"},
}

// known looks a state up; one that this version does not know keeps its word.
func known[K ~string](looks map[K]look, key K) look {
	if l, ok := looks[key]; ok {
		return l
	}
	return look{"is-calm", "idle", string(key)}
}

// attentionIcons by kind; another kind gets its severity's shape.
var attentionIcons = map[string]string{
	"failed": "failed", "overdue": "overdue", "unconfirmed": "waiting", "halted": "halted",
	"unreachable": "unreachable", "duplicate_id": "copy", "foreign_agent": "user", "drifted": "drifted", "unauthenticated_listener": "token",
}

func attentionLook(a api.Attention) look {
	l := look{"is-warn", "overdue", a.Kind}
	switch a.Severity {
	case "bad":
		l.Class, l.Icon = "is-bad", "failed"
	case "lost":
		l.Class, l.Icon = "is-lost", "unreachable"
	}
	if icon, ok := attentionIcons[a.Kind]; ok {
		l.Icon = icon
	}
	return l
}

// eventWords say what an event's kind means, behind the name of the node, rollout
// or group that it is about; without one they begin the sentence.
var eventWords = map[string]look{
	"hold.granted":              {"is-busy", "slots", "was given a slot"},
	"hold.confirmed":            {"is-busy", "slots", "took its slot"},
	"hold.released":             {"is-ok", "releasing", "returned its slot"},
	"hold.expired":              {"is-warn", "waiting", "did not confirm its slot in time"},
	"hold.revoked":              {"is-warn", "aborted", "had its slot revoked"},
	"hold.freed":                {"is-warn", "releasing", "had its slot freed by name"},
	"hold.refenced":             {"is-busy", "slots", "asked for its slot again"},
	"hold.adopted":              {"is-warn", "slots", "kept a slot that the store did not know"},
	"queue.priority":            {"is-calm", "user", "was moved in the queue"},
	"freeze.set":                {"is-warn", "frozen", "was frozen"},
	"freeze.lifted":             {"is-ok", "open", "was unfrozen"},
	"group.created":             {"is-calm", "plus", "was added as a group"},
	"group.changed":             {"is-calm", "user", "had its settings changed"},
	"group.deleted":             {"is-calm", "aborted", "was deleted as a group"},
	"node.joined":               {"is-calm", "plus", "joined"},
	"node.changed":              {"is-calm", "user", "had its labels changed"},
	"node.rollback":             {"is-warn", "drifted", "is to go back from its bundle"},
	"node.removed":              {"is-calm", "aborted", "was forgotten"},
	"node.down":                 {"is-lost", "unreachable", "counts as down"},
	"node.up":                   {"is-ok", "ok", "is up again"},
	"node.duplicate":            {"is-warn", "copy", "has a doubled id"},
	"node.wrong_cluster":        {"is-warn", "user", "belongs to another cluster"},
	"rollout.created":           {"is-busy", "running", "started"},
	"rollout.paused":            {"is-warn", "paused", "paused"},
	"rollout.resumed":           {"is-busy", "running", "resumed"},
	"rollout.retried":           {"is-busy", "running", "tries failed nodes again"},
	"rollout.halted":            {"is-bad", "halted", "halted"},
	"rollout.aborted":           {"is-calm", "aborted", "aborted"},
	"rollout.failed":            {"is-bad", "failed", "failed"},
	"rollout.succeeded":         {"is-ok", "ok", "succeeded"},
	"rollout.scheduled":         {"is-calm", "scheduled", "is scheduled"},
	"rollout.approved":          {"is-ok", "approval", "was approved"},
	"rollout.stalled":           {"is-warn", "overdue", "stalls"},
	"rollout.superseded":        {"is-calm", "aborted", "was ended by a newer one"},
	"rollout.rollback":          {"is-warn", "drifted", "is taken back"},
	"rollout.wave.started":      {"is-busy", "running", "began a wave"},
	"rollout.wave.skipped":      {"is-warn", "aborted", "skips a wave"},
	"rollout.wave.finished":     {"is-busy", "soaking", "has updated a wave"},
	"rollout.wave.done":         {"is-ok", "ok", "is through a wave"},
	"rollout.node.joined":       {"is-calm", "plus", "was taken into the rollout"},
	"rollout.node.failed":       {"is-bad", "failed", "failed"},
	"rollout.node.updated":      {"is-ok", "ok", "is updated"},
	"bundle.created":            {"is-calm", "plus", "bundle added"},
	"bundle.changed":            {"is-calm", "drifted", "bundle signed or moved"},
	"bundle.deleted":            {"is-warn", "aborted", "bundle deleted"},
	"token.created":             {"is-calm", "token", "token created"},
	"token.deleted":             {"is-calm", "token", "token deleted"},
	"snapshot.taken":            {"is-ok", "snapshot", "snapshot taken"},
	"cluster.join.begun":        {"is-calm", "plus", "coordinator begins to join"},
	"cluster.member.added":      {"is-calm", "plus", "coordinator added"},
	"cluster.member.promoted":   {"is-ok", "quorum", "coordinator was given a vote"},
	"cluster.member.removed":    {"is-warn", "aborted", "coordinator removed"},
	"cluster.member.evicted":    {"is-warn", "unreachable", "silent coordinator removed"},
	"cluster.leader.moved":      {"is-calm", "leader", "leadership moved"},
	"cluster.restored":          {"is-warn", "snapshot", "cluster restored"},
	"cluster.schema.raised":     {"is-calm", "ok", "newer format of the store in use"},
	"cluster.authority.trust":   {"is-busy", "token", "coordinators begin to change their authority"},
	"cluster.authority.show":    {"is-busy", "token", "coordinators show their next authority"},
	"cluster.authority.done":    {"is-ok", "token", "coordinators changed their authority"},
	"cluster.authority.aborted": {"is-warn", "token", "coordinators keep their authority"},
}

// eventLook shows a kind without an entry by its own words.
func eventLook(e api.Event) look {
	l, ok := eventWords[e.Kind]
	if !ok {
		l = look{"is-calm", "idle", strings.NewReplacer(".", " ", "_", " ").Replace(e.Kind)}
	}
	switch {
	case eventHasSubject(e):
	case strings.HasPrefix(e.Kind, "rollout."):
		l.Word = "It " + l.Word // beside the rollout's own name
	default:
		l.Word = capital(l.Word)
	}
	return l
}

// eventsTold are the kinds whose detail tells all that happened, by whom and why.
var eventsTold = map[string]bool{
	"rollout.paused": true, "rollout.resumed": true, "rollout.aborted": true, "rollout.approved": true,
	"rollout.wave.started": true, "rollout.wave.skipped": true, "rollout.wave.finished": true, "rollout.wave.done": true,
}

// eventTold reports whether an event's detail stands for its words.
func eventTold(e api.Event) bool { return eventsTold[e.Kind] && e.Detail != "" }

// eventHasSubject reports whether the event is about something that it names
// first: a token is of a node, and the sentence is about the token.
func eventHasSubject(e api.Event) bool {
	return !strings.HasPrefix(e.Kind, "token.") && (e.Node != "" || e.Rollout != "" || e.Group != "" || strings.HasPrefix(e.Kind, "freeze."))
}

// eventCounts reports whether the event changed how many are out: then the
// count is worth showing.
func eventCounts(e api.Event) bool { return e.Slots > 0 && strings.HasPrefix(e.Kind, "hold.") }

var funcs = template.FuncMap{
	"num": func(n int) string { return number(int64(n)) }, "bytes": byteSize, "short": shortDigest, "asset": assetURL,
	"age": ageTag, "clock": clockTag, "when": whenTag, "stamp": stampTag, "late": lateTag, "zoned": zonedTag, "span": spanText,
	"pct": percent, "pct64": func(part, whole int64) string { return percent(int(part), int(whole)) }, "minutes": minutes, "plural": plural,
	"mayRetry": mayRetry, "mayRollBack": mayRollBack, "mayForget": mayForget,
	"gateLook": gateLook, "spark": newSpark, "gatePlace": gatePlace, "budget": newBudget, "legendCell": legendCell,
	"text": newTextField, "wrongAt": wrongAt, "nodeLook": nodeLook, "legendMark": legendMark, "statePatterns": statePatterns, "quorum": quorumOf,
	"pair":     func(a, b any) struct{ A, B any } { return struct{ A, B any }{a, b} },
	"nodeURL":  func(id string) string { return "/nodes/" + segment(id) },
	"groupURL": func(name string) string { return "/groups/" + segment(name) },
	"rollURL":  func(id string) string { return "/rollouts/" + segment(id) },
	"holdURL": func(group, node, act string) string {
		return "/groups/" + segment(group) + "/holds/" + segment(node) + "/" + act
	},
	"topic":           topicQuery,
	"phase":           func(p api.Phase) look { return known(phaseLooks, p) },
	"node":            func(s api.NodeState) look { return known(nodeLooks, s) },
	"rollout":         func(s api.RolloutState) look { return known(rolloutLooks, s) },
	"rolloutNodeLook": rolloutNodeLook,
	"attention":       attentionLook, "event": eventLook, "eventCounts": eventCounts, "eventHasSubject": eventHasSubject, "eventTold": eventTold, "capital": capital, "readable": readable,
	"track": trackOf, "title": rolloutTitle, "where": rolloutWhere,
	"lockOf": func(f Frame, g api.Group) lock { return newLock(g, f.Status.Stale, f.Now) },
	"bigLockOf": func(f Frame) bigLock {
		d := f.Data.(groupData)
		return newBigLock(newLock(d.Group, f.Status.Stale, f.Now), d.Lanes)
	},
	"boatOf":    func(f Frame, h api.Hold) boat { return newBoat(h, f.Now) },
	"withStale": func(data any, stale bool) dated { return dated{Stale: stale, Data: data} },
	"minus":     func(a, b int) int { return a - b },
	"waveHints": func() []string { return []string{"", "1", "10%", "50%", "100%", ""} },
	"sentence":  sentence,
	"stepX":     func(i int) string { return fmt.Sprintf("%.1f%%", 0.5+20*float64(i)) },
	"turn":      turnTag,
	"soon":      soonTag,
	"rows": func(f Frame, list []api.Rollout, label string) rolloutRowsOf {
		return rolloutRowsOf{f.Day, list, label}
	},
	"count":   func(by map[api.NodeState]int, s string) int { return by[api.NodeState(s)] },
	"legend":  func() []look { return legend },
	"active":  activeRollouts,
	"withNow": func(f Frame, data any) dated { return dated{f.Now, f.Status.Stale, data} },
}

func activeRollouts(list []api.Rollout) (n int) {
	for _, r := range list {
		if r.State.Active() {
			n++
		}
	}
	return n
}

// dated carries the frame's time and freshness into a part's template.
type dated struct {
	Now   time.Time
	Stale bool
	Data  any
}

// topicQuery is the query of the stream for a page.
func topicQuery(f Frame) string {
	topic := f.Topic
	if topic == "" {
		topic = "page"
		if f.Nav != "" {
			topic += ":" + f.Nav
		}
	}
	return url.Values{"topic": {topic}}.Encode()
}

// number writes 1317 as 1,317.
func number(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

func byteSize(n int64) string {
	f, units := float64(n), []string{"B", "KiB", "MiB", "GiB", "TiB"}
	i := 0
	for f >= 1024 && i < len(units)-1 {
		f, i = f/1024, i+1
	}
	if i == 0 || f >= 100 {
		return fmt.Sprintf("%.0f %s", f, units[i])
	}
	return fmt.Sprintf("%.1f %s", f, units[i])
}

// shortDigest is the head of a digest; a digest is ASCII.
func shortDigest(d string) string {
	if len(d) > 12 {
		return d[:12]
	}
	return d
}

func plural(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return number(int64(n)) + " " + many
}

// percent of whole as an SVG length, with one decimal.
func percent(part, whole int) string {
	if whole <= 0 {
		return "0%"
	}
	return strconv.FormatFloat(100*float64(min(part, whole))/float64(whole), 'f', 1, 64) + "%"
}

// minutes writes an estimate.
func minutes(seconds int) string { return ageText(time.Duration(seconds) * time.Second) }

// ageText is the age that lockkeeper.js writes too: 4:27, then 1 h 16 m, then 3 d 4 h.
func ageText(d time.Duration) string {
	s := int(max(d, 0).Seconds())
	switch {
	case s < 3600:
		return fmt.Sprintf("%d:%02d", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%d h %d m", s/3600, s%3600/60)
	}
	return fmt.Sprintf("%d d %d h", s/86400, s%86400/3600)
}

// ageTag is an age that ticks in the browser. Without now, in a fragment of
// the stream, it names the time instead: a passing second must not change a
// fragment, and the browser writes the age.
func ageTag(now, t time.Time) template.HTML { return timeTag(now, t, "") }

// lateTag is how much time a hold took beyond its deadline; the style sheet says so.
func lateTag(now, t time.Time) template.HTML { return timeTag(now, t, ` class="late"`) }

func timeTag(now, t time.Time, attribute string) template.HTML {
	if t.IsZero() {
		return "–"
	}
	text := t.UTC().Format("15:04:05")
	if !now.IsZero() {
		text = ageText(now.Sub(t))
	}
	// Every part is made here: fixed words, digits and a formatted time.
	return template.HTML(fmt.Sprintf(`<time%s datetime="%s" title="%s" data-age>%s</time>`, attribute,
		t.UTC().Format(time.RFC3339), t.UTC().Format("2006-01-02 15:04:05 UTC"), text))
}

// clockTag is a time of day.
func clockTag(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`,
		t.UTC().Format(time.RFC3339), t.UTC().Format("2006-01-02 15:04:05 UTC"), t.UTC().Format("15:04:05")))
}

// whenTag is a date and time.
func whenTag(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.UTC().Format(time.RFC3339), t.UTC().Format("2 Jan 2006 15:04:05 UTC")))
}

// stampTag is a date and time of day of a column that says that they are UTC: they
// go below each other where there is little room.
func stampTag(t time.Time) template.HTML {
	t = t.UTC()
	return template.HTML(fmt.Sprintf(`<time datetime="%s"><span>%s</span> <span>%s</span></time>`, t.Format(time.RFC3339), t.Format("2 Jan 2006"), t.Format("15:04:05")))
}

// zonedTag is a date and time of day by the clock of a zone, UTC if empty.
func zonedTag(t time.Time, zone string) template.HTML {
	if t.IsZero() {
		return "–"
	}
	place, err := time.LoadLocation(zone)
	if err != nil {
		place = time.UTC
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.UTC().Format(time.RFC3339),
		t.UTC().Format("2006-01-02 15:04:05 UTC"), template.HTMLEscapeString(t.In(place).Format("Mon 2 Jan 15:04 MST"))))
}

// turnTag is when somebody probably goes, to the minute.
func turnTag(t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s">%s</time>`, t.UTC().Format("2006-01-02T15:04Z"), t.UTC().Format("15:04")))
}

// soonTag is a time near today in as few words as it needs: 15:04, Mon 15:04, or
// 2 Jan 15:04, UTC.
func soonTag(day, t time.Time) template.HTML {
	if t.IsZero() {
		return "–"
	}
	form := "2 Jan 15:04"
	switch until := t.UTC().Sub(day); {
	case until >= 0 && until < 24*time.Hour:
		form = "15:04"
	case until >= 0 && until < 6*24*time.Hour:
		form = "Mon 15:04"
	}
	return template.HTML(fmt.Sprintf(`<time datetime="%s" title="%s">%s</time>`, t.UTC().Format(time.RFC3339),
		t.UTC().Format("Mon 2 Jan 2006 15:04:05 UTC"), t.UTC().Format(form)))
}

// moments are times in a text for people and machines.
var moments = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)`)

// sentence begins and ends a text as one.
func sentence(s string) string {
	if s == "" {
		return s
	}
	s = capital(readable(s))
	if strings.HasSuffix(s, ".") {
		return s
	}
	return s + "."
}

// readable writes the times in a text as the pages do.
func readable(s string) string {
	return moments.ReplaceAllStringFunc(s, func(m string) string {
		t, err := time.Parse(time.RFC3339, m)
		if err != nil {
			return m
		}
		form := "Mon 2 Jan 15:04:05 UTC"
		if t.Second() == 0 {
			form = "Mon 2 Jan 15:04 UTC"
		}
		return t.UTC().Format(form)
	})
}

// capital begins a text with a capital letter.
func capital(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	if size == 0 {
		return s
	}
	return string(unicode.ToUpper(first)) + s[size:]
}

// spanText writes "4 h" or "1 h 30 m" for a spec's "4h0m0s".
func spanText(text string) string {
	d, err := time.ParseDuration(text)
	if err != nil {
		return text
	}
	var parts []string
	for _, unit := range []struct {
		is   time.Duration
		name string
	}{{time.Hour, "h"}, {time.Minute, "m"}, {time.Second, "s"}} {
		if n := d / unit.is; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, unit.name))
			d %= unit.is
		}
	}
	return strings.Join(parts, " ")
}
