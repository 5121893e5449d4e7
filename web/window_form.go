package web

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// windowForm is a window of a group as typed: a new one, or one that is changed
// or removed.
type windowForm struct {
	Group    api.Group
	Revision string // of the spec that the form began with
	Number   int    // in the list, from 0; -1 for a new one
	Remove   bool
	Days     string // "mon-fri, sun"
	api.WindowSpec
	Looked bool
	Opens  []semaphore.Span // the next ones, of what was looked at
}

// opensShown is how many openings a look shows.
const opensShown = 4

// New reports that the form adds a window.
func (f windowForm) New() bool { return f.Number < 0 }

// Last reports that no other window is left without this one.
func (f windowForm) Last() bool { return len(f.Group.Spec.Windows) == 1 }

// Back is where the form came from.
func (f windowForm) Back() string { return "/groups/" + segment(f.Group.Name) }

// Said names the window for people.
func (f windowForm) Said() string {
	if f.Name != "" {
		return f.Name
	}
	return "window " + strconv.Itoa(f.Number+1)
}

func (f windowForm) title() string {
	switch {
	case f.Remove:
		return "Remove " + f.Said() + " from " + f.Group.Name + "?"
	case f.New():
		return "Add a window to " + f.Group.Name
	}
	return "Change " + f.Said() + " of " + f.Group.Name
}

// windowFormOf is the form as it begins: the window that the address names, or
// an empty one.
func (s *server) windowFormOf(r *http.Request) (windowForm, error) {
	g, err := s.backend.Group(r.Context(), pathID(r, "group"))
	f := windowForm{Group: g, Revision: strconv.FormatInt(g.Revision, 10), Number: -1, Remove: r.FormValue("remove") != ""}
	if err != nil {
		return f, err
	}
	text := r.FormValue("n")
	if text == "" {
		if f.Remove {
			return f, api.Errorf(api.Invalid, "n is missing: want the number of a window of %s, as its page gives it", g.Name)
		}
		return f, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n >= len(g.Spec.Windows) {
		return f, api.Errorf(api.NotFound, "n=%q: %s has %s, the first is 0; it may have been removed meanwhile", text, g.Name, plural(len(g.Spec.Windows), "window", "windows"))
	}
	f.Number, f.WindowSpec = n, g.Spec.Windows[n]
	f.Days = strings.Join(f.Weekdays, ", ")
	f.Duration, f.Cutoff = typedSpan(f.Duration), typedSpan(f.Cutoff)
	return f, nil
}

func (s *server) showWindow(w http.ResponseWriter, r *http.Request) {
	f, err := s.windowFormOf(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.showForm(w, r, "group-window", "overview", f.title(), f, nil)
}

// typed takes what was sent over what is declared.
func (f *windowForm) typed(r *http.Request) {
	text := func(name string) string { return strings.TrimSpace(r.PostFormValue(name)) }
	f.Days = text("weekdays")
	f.WindowSpec = api.WindowSpec{Name: text("name"), Start: text("start"), Cron: text("cron"), Duration: text("duration"), Cutoff: text("cutoff"), TimeZone: text("time_zone")}
	f.Weekdays = strings.FieldsFunc(strings.ToLower(f.Days), func(c rune) bool { return c == ',' || c == ' ' })
}

// spec is the declaration with what was typed.
func (f *windowForm) spec() api.GroupSpec {
	spec := f.Group.Spec
	spec.Windows = slices.Clone(spec.Windows)
	switch {
	case f.Remove:
		spec.Windows = slices.Delete(spec.Windows, f.Number, f.Number+1)
	case f.New():
		spec.Windows = append(spec.Windows, f.WindowSpec)
	default:
		spec.Windows[f.Number] = f.WindowSpec
	}
	return spec
}

// look finds when the window would open next, or what is wrong with it, in the
// words of the service.
func (f *windowForm) look(now time.Time) error {
	at := fmt.Sprintf("windows[%d].", max(f.Number, 0))
	if f.New() {
		at = fmt.Sprintf("windows[%d].", len(f.Group.Spec.Windows))
	}
	var fields []api.FieldError
	if f.Duration == "" {
		fields = append(fields, api.FieldError{Path: at + "duration", Detail: "is missing: want how long the window lasts, such as 4h"})
	}
	for _, d := range []struct{ path, text string }{{"duration", f.Duration}, {"cutoff", f.Cutoff}} {
		if v, err := time.ParseDuration(d.text); d.text != "" && (err != nil || v < 0) {
			fields = append(fields, api.FieldError{Path: at + d.path, Detail: fmt.Sprintf("%q: want a duration such as 30m or 1h30m", d.text)})
		}
	}
	window := windowOf(f.WindowSpec)
	if fields == nil {
		for _, p := range semaphore.ValidateSpec(semaphore.Spec{Slots: semaphore.Slots{N: 1}, Windows: []semaphore.Window{window}}) {
			fields = append(fields, api.FieldError{Path: at + elementOf.ReplaceAllString(p.Path, ""), Detail: p.Detail})
		}
	}
	if fields != nil {
		return &api.Error{Kind: api.Invalid, Detail: "the window is not understood", Fields: fields}
	}
	f.Looked = true
	if span, open := window.At(now); open {
		f.Opens = append(f.Opens, span)
	}
	for t := now; len(f.Opens) < opensShown; {
		span, comes := window.Next(t)
		if !comes {
			break
		}
		f.Opens, t = append(f.Opens, span), span.Start
	}
	return nil
}

// setWindow looks at what was typed, or writes it if nobody has changed the group
// since the form was opened.
func (s *server) setWindow(w http.ResponseWriter, r *http.Request) {
	f, err := s.windowFormOf(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	title, now := f.title(), f.Revision
	f.Revision = r.PostFormValue("revision")
	if !f.Remove {
		f.typed(r)
	}
	if r.PostFormValue("do") == "look" {
		var p *problem
		if err := f.look(s.opts.Now()); err != nil {
			p = newProblem(w, "Not a window yet", err)
		}
		s.showForm(w, r, "group-window", "overview", title, f, p)
		return
	}
	if _, err := s.backend.PutGroup(r.Context(), f.Group.Name, f.spec(), f.Revision); err != nil {
		p := newProblem(w, "Group not changed", err)
		if p.Kind == api.Changed { // said above the form: who sends it again means it
			f.Revision = now
		}
		s.showForm(w, r, "group-window", "overview", title, f, p)
		return
	}
	http.Redirect(w, r, f.Back(), http.StatusSeeOther)
}
