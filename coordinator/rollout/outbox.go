package rollout

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/notify"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Notice tells webhooks what became of a rollout. It is put by the transaction
// that makes the change, and goes when all of its receivers have it, so that
// each is told at least once, whoever is elected meanwhile.
type Notice struct {
	V   int   `json:"v"`
	Seq int64 `json:"seq"` // of the event that it is about
	// What became of the rollout: halted, failed, stalled, succeeded, aborted.
	What       string           `json:"what"`
	Rollout    string           `json:"rollout"`
	Name       string           `json:"name,omitempty"`
	Bundle     string           `json:"bundle"`
	BundleName string           `json:"bundle_name,omitempty"`
	State      api.RolloutState `json:"state"`
	Why        string           `json:"why,omitempty"`
	By         string           `json:"by,omitempty"` // who started the rollout
	At         time.Time        `json:"at"`
	To         []Receiver       `json:"to"` // that do not have it yet

	Extra    semaphore.Extra `json:"-"`
	Revision int64           `json:"-"` // ModRevision of its key
}

// Receiver is a webhook that has not been told yet.
type Receiver struct {
	api.NotifySpec
	Tries  int       `json:"tries,omitempty"`
	Last   time.Time `json:"last,omitzero"`    // try
	Next   time.Time `json:"next,omitzero"`    // not before
	Detail string    `json:"detail,omitempty"` // of the last try, without secrets
	GaveUp bool      `json:"gave_up,omitempty"`
}

// ID is the same in all tries, and no other notice's.
func (n *Notice) ID() string { return fmt.Sprintf("%s.%d", n.Rollout, n.Seq) }

// whatHappened is what receivers are told of, by the kind of the event.
var whatHappened = map[string]string{
	EventHalted: "halted", EventFailed: "failed", EventStalled: "stalled",
	EventSucceeded: "succeeded", EventAborted: "aborted",
}

// Notices are what a change tells webhooks, from its events alone, so that no
// way to make a change can forget them.
func (c *Change) Notices() []Notice {
	var out []Notice
	for _, e := range c.Events {
		what, ok := whatHappened[e.Kind]
		if !ok {
			continue
		}
		h := &c.Head
		var to []api.NotifySpec
		if what == "halted" || what == "failed" || what == "stalled" && !passesByItself(h.Stalled) {
			to = append(to, h.Spec.OnHalt...)
		}
		if !h.State.Active() {
			to = append(to, h.Spec.OnDone...)
		}
		n := Notice{
			Seq: e.Seq, What: what, Rollout: h.ID, Name: h.Spec.Name, Bundle: h.Spec.Bundle, BundleName: h.BundleName,
			State: h.State, Why: cmp.Or(e.Detail, h.Why), By: h.By, At: e.At,
		}
		seen := map[api.NotifySpec]bool{}
		for _, r := range to {
			if !seen[r] {
				seen[r] = true
				n.To = append(n.To, Receiver{NotifySpec: r})
			}
		}
		if len(n.To) > 0 {
			out = append(out, n)
		}
	}
	return out
}

// passesByItself reports whether nothing but the time keeps a rollout from
// going on, as every night: nobody needs to be told.
func passesByItself(s *api.Stalled) bool {
	if s == nil {
		return true
	}
	for _, b := range s.Blockers {
		if b.Kind != api.Window && b.Kind != api.Blackout {
			return false
		}
	}
	return true
}

// shownTo is a receiver without what may be secret.
func shownTo(r api.NotifySpec) string {
	if r.Webhook != "" {
		return r.Webhook
	}
	return notify.Shown(r.URL)
}

// maxUndelivered bounds the list of notices that are shown as undelivered.
const maxUndelivered = 10

// undelivered are the receivers that a try has failed at, newest first.
func undelivered(st *State) []api.Undelivered {
	var out []api.Undelivered
	for _, n := range st.Notices {
		for _, r := range n.To {
			if r.Tries > 0 {
				out = append(out, api.Undelivered{To: shownTo(r.NotifySpec), What: n.What, At: n.At, Tries: r.Tries, Detail: r.Detail, GaveUp: r.GaveUp})
			}
		}
	}
	slices.SortFunc(out, func(a, b api.Undelivered) int { return cmp.Or(b.At.Compare(a.At), strings.Compare(a.To, b.To)) })
	return out[:min(len(out), maxUndelivered)]
}

// telling reports whether a notice of the rollout is still to be tried.
func telling(st *State) bool {
	for _, n := range st.Notices {
		if slices.ContainsFunc(n.To, func(r Receiver) bool { return !r.GaveUp }) {
			return true
		}
	}
	return false
}

// shownSpec is a spec without the secrets in its webhooks' URLs.
func shownSpec(spec api.RolloutSpec) api.RolloutSpec {
	bare := func(list []api.NotifySpec) []api.NotifySpec {
		list = slices.Clone(list)
		for i := range list {
			if list[i].URL != "" {
				list[i].URL = notify.Shown(list[i].URL) + notify.Hidden
			}
		}
		return list
	}
	spec.OnHalt, spec.OnDone = bare(spec.OnHalt), bare(spec.OnDone)
	return spec
}
