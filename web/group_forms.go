package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// groupForm is what an operator declares of a group, as typed; its windows have a
// form of their own.
type groupForm struct {
	Name             string
	New              bool
	Revision         string // of the spec that the form began with
	Slots            string
	Limits           string // "zone=1, rack=10%"
	Hold             string
	FleetLockHold    string
	Interval         string
	CountUnreachable bool
	Blackout         blackoutForm
	Group            api.Group
}

// blackoutForm is a blackout to add, as typed, or the name of one to remove.
type blackoutForm struct{ Name, From, Until, Reason string }

// Back is where the form came from.
func (f groupForm) Back() string {
	if f.New {
		return "/"
	}
	return "/groups/" + segment(f.Name)
}

func (s *server) groupRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /new-group", func(w http.ResponseWriter, r *http.Request) {
		s.showForm(w, r, "group-edit", "overview", "Add a group", groupForm{New: true, Slots: "1"}, nil)
	})
	mux.HandleFunc("POST /ui/new-group", s.newGroup)
	mux.HandleFunc("GET /groups/{group}/edit", s.showGroupForm("group-edit"))
	mux.HandleFunc("POST /ui/groups/{group}/edit", s.editGroup)
	mux.HandleFunc("GET /groups/{group}/blackout", s.showGroupForm("group-blackout"))
	mux.HandleFunc("POST /ui/groups/{group}/blackout", s.blackOut)
	mux.HandleFunc("GET /groups/{group}/window", s.showWindow)
	mux.HandleFunc("POST /ui/groups/{group}/window", s.setWindow)
}

// groupFormOf is the form as it begins: what is declared now.
func (s *server) groupFormOf(r *http.Request) (groupForm, error) {
	g, err := s.backend.Group(r.Context(), pathID(r, "group"))
	if err != nil {
		return groupForm{}, err
	}
	f := groupForm{Name: g.Name, Revision: strconv.FormatInt(g.Revision, 10), Slots: string(g.Spec.Slots),
		Hold: typedSpan(g.Spec.Timeouts.Hold), FleetLockHold: typedSpan(g.Spec.Timeouts.FleetLockHold), Interval: typedSpan(g.Spec.GrantInterval), CountUnreachable: g.Spec.CountUnreachable, Group: g}
	var limits []string
	for _, l := range g.Spec.Limits {
		limits = append(limits, l.By+"="+string(l.Max))
	}
	f.Limits = strings.Join(limits, ", ")
	return f, nil
}

func (s *server) showGroupForm(page string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		f, err := s.groupFormOf(r)
		if err != nil {
			s.refuse(w, r, err)
			return
		}
		f.Blackout.Name = r.URL.Query().Get("name")
		title := "Settings of " + f.Name
		if page == "group-blackout" {
			title = "Blackout of " + f.Name
			if f.Blackout.Name != "" && f.Removes() == nil {
				s.refuse(w, r, api.Errorf(api.NotFound, "name=%q: %s has no such blackout; it may have been removed meanwhile", f.Blackout.Name, f.Name))
				return
			}
		}
		s.showForm(w, r, page, "overview", title, f, nil)
	}
}

// typed takes what was sent over what is declared.
func (f *groupForm) typed(r *http.Request) {
	f.Slots, f.Limits = strings.TrimSpace(r.PostFormValue("slots")), r.PostFormValue("limits")
	f.FleetLockHold = strings.TrimSpace(r.PostFormValue("fleetlock_hold"))
	f.Hold, f.Interval = strings.TrimSpace(r.PostFormValue("hold")), strings.TrimSpace(r.PostFormValue("interval"))
	f.CountUnreachable = r.PostFormValue("count_unreachable") != ""
}

// spec is the declaration with what was typed.
func (f *groupForm) spec() (api.GroupSpec, error) {
	spec := f.Group.Spec
	spec.Slots, spec.Timeouts.Hold, spec.GrantInterval, spec.CountUnreachable = api.Slots(f.Slots), f.Hold, f.Interval, f.CountUnreachable
	spec.Timeouts.FleetLockHold = f.FleetLockHold
	spec.Limits = nil
	for part := range strings.SplitSeq(f.Limits, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		by, most, both := strings.Cut(part, "=")
		if !both {
			return spec, &api.Error{Kind: api.Invalid, Detail: "the limits are not understood",
				Fields: []api.FieldError{{Path: "limits", Detail: strconv.Quote(part) + ": want label=most, such as zone=1 or rack=10%, several by comma"}}}
		}
		spec.Limits = append(spec.Limits, api.Limit{By: strings.TrimSpace(by), Max: api.Slots(strings.TrimSpace(most))})
	}
	return spec, nil
}

// put writes a declaration if nobody has changed it since the form was opened.
func (s *server) put(w http.ResponseWriter, r *http.Request, page string, f groupForm, spec api.GroupSpec, err error, ifMatch string) {
	if err == nil {
		_, err = s.backend.PutGroup(r.Context(), f.Name, spec, ifMatch)
	}
	if err != nil {
		title := "Settings of " + f.Name
		if f.New {
			title = "Add a group"
		}
		s.showForm(w, r, page, "overview", title, f, newProblem(w, "Group not changed", err))
		return
	}
	http.Redirect(w, r, "/groups/"+segment(f.Name), http.StatusSeeOther)
}

func (s *server) newGroup(w http.ResponseWriter, r *http.Request) {
	f := groupForm{New: true, Name: strings.TrimSpace(r.PostFormValue("name"))}
	f.typed(r)
	spec, err := f.spec()
	s.put(w, r, "group-edit", f, spec, err, "*")
}

func (s *server) editGroup(w http.ResponseWriter, r *http.Request) {
	f, err := s.groupFormOf(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	began := r.PostFormValue("revision")
	f.typed(r)
	spec, err := f.spec()
	s.put(w, r, "group-edit", f, spec, err, began)
}

// blackOut adds a blackout, or removes the one that is named.
func (s *server) blackOut(w http.ResponseWriter, r *http.Request) {
	f, err := s.groupFormOf(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	began := r.PostFormValue("revision")
	f.Blackout = blackoutForm{strings.TrimSpace(r.PostFormValue("name")), r.PostFormValue("from"), r.PostFormValue("until"), r.PostFormValue("reason")}
	spec := f.Group.Spec
	if r.PostFormValue("do") == "remove" {
		spec.Blackouts = slices.DeleteFunc(slices.Clone(spec.Blackouts), func(b api.BlackoutSpec) bool { return b.Name == f.Blackout.Name })
		if len(spec.Blackouts) == len(f.Group.Spec.Blackouts) {
			err = api.Errorf(api.NotFound, "the group has no blackout %q any more", f.Blackout.Name)
		}
		s.put(w, r, "group-blackout", f, spec, err, began)
		return
	}
	var fields []api.FieldError
	b := api.BlackoutSpec{Name: f.Blackout.Name, Reason: f.Blackout.Reason,
		Start: momentOf("from", f.Blackout.From, &fields), End: momentOf("until", f.Blackout.Until, &fields)}
	for path, t := range map[string]time.Time{"from": b.Start, "until": b.End} {
		if t.IsZero() && fields == nil {
			fields = append(fields, api.FieldError{Path: path, Detail: "is missing: want a time such as 2026-12-24 18:00, in UTC"})
		}
	}
	if fields != nil {
		err = &api.Error{Kind: api.Invalid, Detail: "the blackout is not understood", Fields: fields}
	}
	spec.Blackouts = append(slices.Clone(spec.Blackouts), b)
	s.put(w, r, "group-blackout", f, spec, err, began)
}

// find leads to what was typed: a node or a group of that name, else the list.
func (s *server) find(w http.ResponseWriter, r *http.Request) {
	q := strings.TrimSpace(r.URL.Query().Get("q"))
	to := "/nodes"
	if q != "" {
		to += "?q=" + queryEscape(q)
		if _, err := s.backend.Node(r.Context(), q); err == nil {
			to = "/nodes/" + segment(q)
		} else if _, err := s.backend.Group(r.Context(), q); err == nil {
			to = "/groups/" + segment(q)
		}
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// Removes reports that the form is about a blackout that there is.
func (f groupForm) Removes() *api.BlackoutSpec {
	for i, b := range f.Group.Spec.Blackouts {
		if b.Name == f.Blackout.Name && f.Blackout.From == "" {
			return &f.Group.Spec.Blackouts[i]
		}
	}
	return nil
}
