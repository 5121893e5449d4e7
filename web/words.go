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
	"lockOf": func(f Frame, g api.Group) lock { return lockOf(&f, g) },
	"bigLockOf": func(f Frame) bigLock {
		d := f.Data.(groupData)
		return newBigLock(lockOf(&f, d.Group), d.Lanes)
	},
	"boatOf":    func(f Frame, h api.Hold) boat { return newBoat(h, f.Now) },
	"withStale": func(data any, stale bool) dated { return dated{Stale: stale, Data: data} },
	"minus":     func(a, b int) int { return a - b },
	"waveHints": func() []string { return []string{"", "1", "10%", "50%", "100%", ""} },
	"sentence":  sentence,
	"stepX":     func(i int) string { return fmt.Sprintf("%.1f%%", 0.5+20*float64(i)) },
	"calm":      calm,
	"rowWords":  rowWords,
	"outlook":   outlook,
	"turn":      turnTag,
	"soon":      soonTag,
	"rows": func(f Frame, list []api.Rollout, label string) rolloutRowsOf {
		return rolloutRowsOf{f.Day, list, label}
	},
	"count":   func(by map[api.NodeState]int, s string) int { return by[api.NodeState(s)] },
	"legend":  func() []look { return legend },
	"active":  activeRollouts,
	"briefly": func(list []api.Rollout) []api.Rollout { return list[:min(len(list), briefRollouts)] },
	"withNow": func(f Frame, data any) dated { return dated{f.Now, f.Status.Stale, data} },
}

// briefRollouts is how many rollouts the overview tells of.
const briefRollouts = 8

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

// moments are times in a text for people and machines.
var moments = regexp.MustCompile(`\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)| \d\d:\d\d:\d\d UTC)`)

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
		t, err := time.Parse(time.RFC3339, strings.Replace(strings.Replace(m, " UTC", "Z", 1), " ", "T", 1))
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

// typedSpan writes a spec's "4h0m0s" as people type it, "4h", if that is the same.
func typedSpan(text string) string {
	brief := strings.ReplaceAll(spanText(text), " ", "")
	was, err := time.ParseDuration(text)
	if is, wrong := time.ParseDuration(brief); err != nil || wrong != nil || is != was {
		return text
	}
	return brief
}
