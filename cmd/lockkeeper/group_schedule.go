package main

import (
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/cmd/internal/cli"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// scheduleChanges lists in words what changes of what a clock decides.
func scheduleChanges(was, spec api.GroupSpec) []string {
	list := listChanges("window", windowTexts(was.Windows), windowTexts(spec.Windows))
	return append(list, listChanges("blackout", blackoutTexts(was.Blackouts), blackoutTexts(spec.Blackouts))...)
}

func listChanges(what string, was, now []string) []string {
	if slices.Equal(was, now) {
		return nil
	}
	var list []string
	for _, text := range was {
		if !slices.Contains(now, text) {
			list = append(list, what+" "+text+" → none")
		}
	}
	for _, text := range now {
		if !slices.Contains(was, text) {
			list = append(list, what+" "+text)
		}
	}
	if len(list) == 0 {
		return []string{"another order of the " + what + "s"}
	}
	return list
}

func windowTexts(list []api.WindowSpec) []string {
	texts := make([]string, len(list))
	for i, w := range list {
		texts[i] = windowText(w)
	}
	return texts
}

func blackoutTexts(list []api.BlackoutSpec) []string {
	texts := make([]string, len(list))
	for i, b := range list {
		texts[i] = blackoutText(b)
	}
	return texts
}

// scheduleFacts are the lines of a group on what a clock decides.
func (a *app) scheduleFacts(g api.Group) []string {
	var facts []string
	for i, w := range g.Spec.Windows {
		name := "Windows"
		if i > 0 {
			name = " "
		}
		facts = append(facts, name, cli.Cell(windowText(w)))
	}
	if w := g.Status.Window; w != nil {
		facts = append(facts, "Now", a.windowNow(*w))
	}
	blackouts := 0
	for _, b := range g.Spec.Blackouts {
		if ended(b, a.now()) {
			continue
		}
		name := "Blackouts"
		if blackouts++; blackouts > 1 {
			name = " "
		}
		text := cli.Cell(blackoutText(b))
		if !b.Start.After(a.now()) {
			text = a.paint(yellow, blackoutText(b)+", in force")
		}
		facts = append(facts, name, text)
	}
	interval := ""
	if g.Spec.GrantInterval != "" {
		interval = shortDuration(g.Spec.GrantInterval) + " between two starts"
		if next := g.Status.NextGrant; !next.IsZero() {
			interval += "; the next not before " + a.momentText(next, "")
		}
	}
	return append(facts, "Interval", cli.Cell(interval))
}

func (a *app) windowNow(w api.WindowStatus) string {
	name := ""
	if w.Name != "" {
		name = " (" + w.Name + ")"
	}
	switch {
	case w.Open:
		return a.paint(green, "open"+name+", until "+a.momentText(w.Until, w.TimeZone))
	case w.Next.IsZero():
		return a.paint(yellow, "no window is open, and none opens again")
	}
	return a.paint(yellow, "no window is open; the next"+name+" opens "+a.momentText(w.Next, w.TimeZone))
}

// shutNote says in a few words what a clock keeps a group from.
func (a *app) shutNote(s api.GroupStatus) string {
	switch {
	case s.Blackout != nil:
		return "blackout " + s.Blackout.Name + " for " + cli.Span(s.Blackout.End.Sub(a.now())) + " more"
	case s.Window != nil && !s.Window.Open && !s.Window.Next.IsZero():
		return "no window; opens in " + cli.Span(s.Window.Next.Sub(a.now()))
	case !s.NextGrant.IsZero():
		return "next start in " + cli.Span(s.NextGrant.Sub(a.now()))
	}
	return s.Shut
}

// ended reports whether a blackout is over.
func ended(b api.BlackoutSpec, now time.Time) bool { return !b.End.After(now) }

// blackoutState is a blackout's state in words.
func blackoutState(b api.BlackoutSpec, now time.Time) string {
	switch {
	case ended(b, now):
		return "over"
	case b.Start.After(now):
		return "in " + cli.Span(b.Start.Sub(now))
	}
	return "in force, " + cli.Span(b.End.Sub(now)) + " more"
}
