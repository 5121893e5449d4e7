package web

import (
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

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
