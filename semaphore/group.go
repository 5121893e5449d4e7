package semaphore

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

func (b *draft) putSpec(op PutSpec) {
	if problems := ValidateSpec(op.Spec); len(problems) > 0 {
		texts := make([]string, len(problems))
		for i, p := range problems {
			texts[i] = p.Path + ": " + p.Detail
		}
		b.refuse(Invalid, "%s", strings.Join(texts, "; "))
		return
	}
	exists := b.s.Exists()
	switch {
	case op.IfMatch == 0 && exists:
		b.refuse(ChangedSince, "group %q exists already, at revision %d", b.s.Group, b.s.SpecRev)
		return
	case op.IfMatch > 0 && !exists:
		b.refuse(ChangedSince, "there is no group %q, so it is not at revision %d", b.s.Group, op.IfMatch)
		return
	case op.IfMatch > 0 && op.IfMatch != b.s.SpecRev:
		b.refuse(ChangedSince, "group %q is at revision %d, not %d", b.s.Group, b.s.SpecRev, op.IfMatch)
		return
	}
	old := b.s.Spec
	if !exists {
		old = Spec{}
	}
	if problem := b.unknownLabel(old, op.Spec); problem != "" {
		b.refuse(Invalid, "%s", problem)
		return
	}
	if exists && sameSpec(old, op.Spec) {
		b.d.Answer.Revision = b.s.SpecRev
		return
	}
	spec := op.Spec
	spec.V, spec.UpdatedAt = max(old.V, b.s.writes()), b.now
	spec.Extra = maps.Clone(old.Extra)
	if len(op.Spec.Extra) > 0 {
		if spec.Extra == nil {
			spec.Extra = Extra{}
		}
		maps.Copy(spec.Extra, op.Spec.Extra)
	}
	b.change(Change{Spec: &spec})
	b.slots = spec.Slots.Of(b.s.Size())
	if exists {
		b.event("group.changed", op.By, "", 0, "%s", specChange(old, spec))
		b.changed(old, spec)
		return
	}
	b.d.Head.Deleted, b.d.Head.Freeze, b.d.Head.Froze = false, nil, nil
	b.event("group.created", op.By, "", 0, "slots %s", spec.Slots)
	b.changed(nil, spec)
}

// sameSpec reports whether a put would change nothing that an operator declares.
func sameSpec(a, b Spec) bool {
	for name, value := range b.Extra {
		if string(a.Extra[name]) != string(value) {
			return false
		}
	}
	return a.Slots == b.Slots && slices.Equal(a.Limits, b.Limits) &&
		slices.EqualFunc(a.Windows, b.Windows, sameWindow) && slices.EqualFunc(a.Blackouts, b.Blackouts, sameBlackout) &&
		a.GrantInterval == b.GrantInterval && a.CountUnreachable == b.CountUnreachable && a.Timeouts == b.Timeouts
}

func sameWindow(a, b Window) bool {
	return a.Name == b.Name && slices.Equal(a.Weekdays, b.Weekdays) && a.Start == b.Start && a.Cron == b.Cron &&
		a.Duration == b.Duration && a.Cutoff == b.Cutoff && a.TimeZone == b.TimeZone
}

func sameBlackout(a, b Blackout) bool {
	return a.Name == b.Name && a.Start.Equal(b.Start) && a.End.Equal(b.End) && a.Reason == b.Reason
}

// unknownLabel names a limit that is new and bounds a label which no member
// has: it would put the whole group into one bucket. Without members only the
// label's name can be judged; one that is no name passes where it is stored
// already, from before names were checked.
func (b *draft) unknownLabel(old, spec Spec) string {
	labels := map[string]bool{}
	for _, m := range b.s.EachMember() {
		for name := range m.Registered {
			labels[name] = true
		}
		for name := range m.Declared {
			labels[name] = true
		}
	}
	for i, l := range spec.Limits {
		known := labels[l.By] || slices.ContainsFunc(old.Limits, func(o Limit) bool { return o.By == l.By })
		if known {
			continue
		}
		if err := ValidLabel(l.By); err != nil {
			return fmt.Sprintf("limits[%d].by: %v", i, err)
		}
		if b.s.Size() == 0 {
			continue
		}
		have := "they have no labels"
		if len(labels) > 0 {
			have = "they have " + strings.Join(slices.Sorted(maps.Keys(labels)), ", ")
		}
		return fmt.Sprintf("limits[%d].by: none of the %d members has the label %q; %s", i, b.s.Size(), l.By, have)
	}
	return ""
}

func specChange(old, spec Spec) string {
	var parts []string
	if old.Slots != spec.Slots {
		parts = append(parts, fmt.Sprintf("slots %s to %s", old.Slots, spec.Slots))
	}
	if !slices.Equal(old.Limits, spec.Limits) {
		parts = append(parts, "limits")
	}
	if !slices.EqualFunc(old.Windows, spec.Windows, sameWindow) {
		parts = append(parts, "windows")
	}
	if !slices.EqualFunc(old.Blackouts, spec.Blackouts, sameBlackout) {
		parts = append(parts, "blackouts")
	}
	if old.GrantInterval != spec.GrantInterval {
		parts = append(parts, fmt.Sprintf("grant_interval to %s", time.Duration(spec.GrantInterval)))
	}
	if old.CountUnreachable != spec.CountUnreachable {
		parts = append(parts, fmt.Sprintf("count_unreachable to %t", spec.CountUnreachable))
	}
	if old.Timeouts != spec.Timeouts {
		parts = append(parts, "timeouts")
	}
	return strings.Join(parts, ", ")
}

// deleteGroup leaves the head, with its next fence, and the members: they are
// nodes that still exist, and join anew if the group is made again.
func (b *draft) deleteGroup(op DeleteGroup) {
	switch {
	case b.s.Head.Deleted:
		b.d.Answer.Detail = "the group was deleted already"
	case op.IfMatch != -1 && op.IfMatch != b.s.SpecRev:
		b.refuse(ChangedSince, "group %q is at revision %d, not %d", b.s.Group, b.s.SpecRev, op.IfMatch)
	case b.s.Held() > 0:
		b.refuse(InUse, "group %q is in use: %d of its slots must be returned first", b.s.Group, b.s.Held())
	default:
		b.d.Head.Deleted, b.d.Head.Freeze, b.d.Head.Froze = true, nil, nil
		b.change(Change{DeleteSpec: true})
		b.event("group.deleted", op.By, "", 0, "")
		b.changed(b.s.Spec, nil)
	}
}

// MergeFreeze is the freeze in force after another was asked for: the first
// stays, under its id; a request to stop holders as well is added to it.
// changed says whether anything is to be written.
func MergeFreeze(inForce *Freeze, asked Freeze) (f Freeze, changed bool) {
	if inForce == nil {
		asked.V = BaseSchema
		return asked, true
	}
	f = *inForce
	f.Stop = f.Stop || asked.Stop
	return f, f.Stop != inForce.Stop
}

// FreezeValue is a freeze for an event, nil for none.
func FreezeValue(f *Freeze) any {
	if f == nil {
		return nil
	}
	return *f
}

func (b *draft) setFreeze(op SetFreeze) {
	was := b.s.Head.Freeze
	f, changed := MergeFreeze(was, op.Freeze)
	b.d.Answer.Freeze = &f
	if !changed {
		return
	}
	stored := f
	b.d.Head.Freeze = &stored
	b.event("freeze.set", op.Freeze.By, "", 0, "%s", op.Freeze.Reason)
	b.changed(FreezeValue(was), f)
}

func (b *draft) liftFreeze(op LiftFreeze) {
	f := b.s.Head.Freeze
	switch {
	case f == nil:
		b.d.Answer.Detail = "the group is not frozen"
	case f.ID != op.ID:
		inForce := *f
		b.d.Answer.Freeze = &inForce
		b.refuse(Conflict, "another freeze is in force: %s by %s since %s", f.ID, f.By, f.At.UTC().Format(time.RFC3339))
	default:
		b.d.Head.Freeze, b.d.Head.Froze = nil, KeepFroze(b.s.Head.Froze, *f, b.now, b.s.EachHold())
		b.event("freeze.lifted", op.By, "", 0, "%s", f.Reason)
		b.changed(*f, nil)
	}
}
