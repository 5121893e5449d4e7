package service

import (
	"fmt"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// scheduleFrom reads what a clock decides in a group. The rules themselves are
// semaphore.ValidateSpec's.
func scheduleFrom(v *invalid, spec api.GroupSpec, out *semaphore.Spec) {
	for i, w := range spec.Windows {
		path := fmt.Sprintf("windows[%d].", i)
		if w.Duration == "" {
			v.add(path+"duration", "is missing: want how long the window lasts, such as 4h")
		}
		out.Windows = append(out.Windows, semaphore.Window{
			Name: w.Name, Weekdays: w.Weekdays, Start: w.Start, Cron: w.Cron, TimeZone: w.TimeZone,
			Duration: durationFrom(v, path+"duration", w.Duration), Cutoff: durationFrom(v, path+"cutoff", w.Cutoff),
		})
	}
	for _, b := range spec.Blackouts {
		out.Blackouts = append(out.Blackouts, semaphore.Blackout{Name: b.Name, Start: b.Start.UTC(), End: b.End.UTC(), Reason: b.Reason})
	}
	out.GrantInterval = durationFrom(v, "grant_interval", spec.GrantInterval)
}

func scheduleOf(spec semaphore.Spec, out *api.GroupSpec) {
	for _, w := range spec.Windows {
		out.Windows = append(out.Windows, api.WindowSpec{
			Name: w.Name, Weekdays: w.Weekdays, Start: w.Start, Cron: w.Cron, TimeZone: w.TimeZone,
			Duration: durationOf(w.Duration), Cutoff: durationOf(w.Cutoff),
		})
	}
	for _, b := range spec.Blackouts {
		out.Blackouts = append(out.Blackouts, blackoutOf(b))
	}
	out.GrantInterval = durationOf(spec.GrantInterval)
}

func blackoutOf(b semaphore.Blackout) api.BlackoutSpec {
	return api.BlackoutSpec{Name: b.Name, Start: b.Start, End: b.End, Reason: b.Reason}
}

// durationOf is the text of a duration, empty for none.
func durationOf(d semaphore.Duration) string {
	if d == 0 {
		return ""
	}
	return time.Duration(d).String()
}

// inForce fills in what a clock decides in the group now.
func inForce(st *semaphore.State, now time.Time, out *api.GroupStatus) {
	out.Window = windowStatus(st.Spec.Windows, now)
	for _, b := range st.Spec.Blackouts {
		if !now.Before(b.Start) && now.Before(b.End) && (out.Blackout == nil || b.End.After(out.Blackout.End)) {
			in := blackoutOf(b)
			out.Blackout = &in
		}
	}
	if next := st.Head.LastGrant.Add(time.Duration(st.Spec.GrantInterval)); st.Spec.GrantInterval > 0 && now.Before(next) {
		out.NextGrant = next.UTC()
	}
	any := anyNode(st)
	out.Shut = sentenceFrom(semaphore.Blockers(&any, anyone, now))
}

// anyone is the one member of what anyNode returns.
const anyone = "anyone"

// anyNode is the group with a free slot for its one member: what still keeps
// that one from starting is what a clock decides for all.
func anyNode(st *semaphore.State) semaphore.State {
	return semaphore.State{
		Group: st.Group, HeadRev: 1, ClockOff: st.ClockOff,
		Head: semaphore.Head{LastGrant: st.Head.LastGrant},
		Spec: semaphore.Spec{
			Slots:   semaphore.Slots{N: 1},
			Windows: st.Spec.Windows, Blackouts: st.Spec.Blackouts, GrantInterval: st.Spec.GrantInterval,
		},
		Members: map[string]semaphore.Member{anyone: {Node: anyone}},
	}
}

// sentenceFrom joins the details of blockers.
func sentenceFrom(list []semaphore.Blocker) string {
	texts := make([]string, len(list))
	for i, b := range list {
		texts[i] = strings.TrimSuffix(b.Detail, ".")
	}
	return strings.Join(texts, "; ")
}

// windowStatus is nil in a group without windows.
func windowStatus(list []semaphore.Window, now time.Time) *api.WindowStatus {
	if len(list) == 0 {
		return nil
	}
	var out api.WindowStatus
	var opens *semaphore.Window
	for i := range list {
		w := &list[i]
		if span, open := w.At(now); open {
			if until := span.End.Add(-time.Duration(w.Cutoff)); now.Before(until) && until.After(out.Until) {
				out.Open, out.Until, out.Name, out.TimeZone = true, until.UTC(), w.Name, w.TimeZone
			}
		}
		if span, comes := w.Next(now); comes && (opens == nil || span.Start.Before(out.Next)) {
			opens, out.Next = w, span.Start.UTC()
		}
	}
	if !out.Open && opens != nil {
		out.Name, out.TimeZone = opens.Name, opens.TimeZone
	}
	return &out
}
