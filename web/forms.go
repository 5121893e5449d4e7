package web

import (
	"crypto/rand"
	"net/http"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// Each form is a page that reads and works without script; with script the
// same page opens as a dialog. A post that worked is answered by a redirect,
// one that was refused by the form with its input and the reason. Posts go
// below /ui/, where alone the door takes forms.
func (s *server) formRoutes(mux *http.ServeMux) {
	s.groupRoutes(mux)
	mux.HandleFunc("GET /freeze", s.showFreeze)
	mux.HandleFunc("POST /ui/freeze", s.freeze)
	mux.HandleFunc("POST /ui/unfreeze", s.unfreeze)
	mux.HandleFunc("GET /groups/{group}/holds/{node}/free", s.showFree)
	mux.HandleFunc("POST /ui/groups/{group}/holds/{node}/revoke", s.revoke)
	mux.HandleFunc("POST /ui/groups/{group}/holds/{node}/release", s.release)
	mux.HandleFunc("GET /nodes/{node}/{action}", s.showNodeAction)
	mux.HandleFunc("POST /ui/nodes/{node}/{action}", s.nodeAction)
	mux.HandleFunc("GET /rollouts/new", s.showNewRollout)
	mux.HandleFunc("POST /ui/rollouts/new", s.newRollout)
	mux.HandleFunc("GET /rollouts/{id}/abort", s.showAbort)
	mux.HandleFunc("POST /ui/rollouts/{id}/{action}", s.rolloutAction)
}

// showForm renders a form's page; p is nil unless it was refused.
func (s *server) showForm(w http.ResponseWriter, r *http.Request, name, nav, title string, data any, p *problem) {
	f, err := s.newFrame(r.Context(), nav, "")
	if err != nil && p == nil {
		s.refuse(w, r, err)
		return
	}
	f.Data = data
	status := http.StatusOK
	if p != nil {
		status = p.Kind.Status()
	}
	s.render(w, r, status, name, view{Frame: f, Title: title, Problem: p})
}

// freezeForm is the input of a freeze; an empty group is the fleet.
type freezeForm struct {
	Group, Reason string
	Stop          bool
}

// Back is where the form came from.
func (f freezeForm) Back() string {
	if f.Group == "" {
		return "/"
	}
	return "/groups/" + segment(f.Group)
}

func (f freezeForm) title() string {
	if f.Group == "" {
		return "Freeze the whole fleet?"
	}
	return "Freeze " + f.Group + "?"
}

func (s *server) showFreeze(w http.ResponseWriter, r *http.Request) {
	in := freezeForm{Group: r.URL.Query().Get("group")}
	s.showForm(w, r, "freeze", "", in.title(), in, nil)
}

func (s *server) freeze(w http.ResponseWriter, r *http.Request) {
	in := freezeForm{r.PostFormValue("group"), r.PostFormValue("reason"), r.PostFormValue("stop") != ""}
	var err error
	if in.Reason == "" {
		err = &api.Error{Kind: api.Invalid, Detail: "a freeze needs a reason: it is shown to everybody who waits",
			Fields: []api.FieldError{{Path: "reason", Detail: "must not be empty"}}}
	} else {
		_, err = s.backend.Freeze(r.Context(), in.Group, api.FreezeRequest{Reason: in.Reason, Stop: in.Stop})
	}
	if err != nil {
		s.showForm(w, r, "freeze", "", in.title(), in, newProblem(w, "Not frozen", err))
		return
	}
	http.Redirect(w, r, in.Back(), http.StatusSeeOther)
}

func (s *server) unfreeze(w http.ResponseWriter, r *http.Request) {
	in := freezeForm{Group: r.PostFormValue("group")}
	if err := s.backend.Unfreeze(r.Context(), in.Group, r.PostFormValue("id")); err != nil {
		s.refuse(w, r, err)
		return
	}
	http.Redirect(w, r, in.Back(), http.StatusSeeOther)
}

// The second step waits for both: a live agent has time to return its slot
// by itself, and the host has been silent for long enough.
const (
	releaseAfter = 15 * time.Second
	silentFor    = time.Minute
)

// freeForm is freeing a dead host's slot: two steps, each with the fence that
// the operator saw and the node's name typed.
type freeForm struct {
	Group, Node  string
	Fence        int64
	Name, Reason string
	HostIsDown   bool
	Hold         *api.Hold // as it is now; nil: gone
	Heard        *time.Time
}

// Revoked reports whether the first step is done for the very hold that the
// form is about.
func (f freeForm) Revoked() bool { return f.Hold != nil && f.Hold.Revoked != nil }

// Another reports that the slot was freed and taken again meanwhile.
func (f freeForm) Another() bool { return f.Hold != nil && f.Hold.Fence != f.Fence }

// From is when the second step may be made, as things are: a host that is
// heard again moves it on. The service decides; a second is added for its clock.
func (f freeForm) From() time.Time {
	from := f.Hold.Revoked.At.Add(releaseAfter)
	if f.Heard != nil && f.Heard.Add(silentFor).After(from) {
		from = f.Heard.Add(silentFor)
	}
	return from.Add(time.Second)
}

// freeFormOf reads the form and what is true of its hold now.
func (s *server) freeFormOf(r *http.Request) (freeForm, error) {
	f := freeForm{Group: pathID(r, "group"), Node: pathID(r, "node"),
		Name: r.PostFormValue("name"), Reason: r.PostFormValue("reason"), HostIsDown: r.PostFormValue("host_is_down") != ""}
	g, err := s.backend.Group(r.Context(), f.Group)
	if err != nil {
		return f, err
	}
	for _, h := range g.Holds {
		if h.Node == f.Node {
			f.Hold, f.Heard = &h, h.Heard
		}
	}
	f.Fence, err = strconv.ParseInt(r.FormValue("fence"), 10, 64)
	if err != nil {
		return f, api.Errorf(api.Invalid, "fence=%q: want the number of the hold, as the page with the hold gives it", r.FormValue("fence"))
	}
	return f, nil
}

func (s *server) showFree(w http.ResponseWriter, r *http.Request) {
	f, err := s.freeFormOf(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.showForm(w, r, "free", "overview", "Free the slot of "+f.Node, f, nil)
}

func (s *server) revoke(w http.ResponseWriter, r *http.Request) {
	s.free(w, r, func(f freeForm) (string, error) {
		_, err := s.backend.Revoke(r.Context(), f.Group, f.Node, api.RevokeRequest{Fence: f.Fence, Name: f.Name, Reason: f.Reason})
		return "/groups/" + segment(f.Group) + "/holds/" + segment(f.Node) + "/free?fence=" + strconv.FormatInt(f.Fence, 10), err
	})
}

func (s *server) release(w http.ResponseWriter, r *http.Request) {
	s.free(w, r, func(f freeForm) (string, error) {
		err := s.backend.ForceRelease(r.Context(), f.Group, f.Node, api.ReleaseRequest{Fence: f.Fence, Name: f.Name, Reason: f.Reason, HostIsDown: f.HostIsDown})
		return "/groups/" + segment(f.Group), err
	})
}

// free makes one of the two steps.
func (s *server) free(w http.ResponseWriter, r *http.Request, step func(freeForm) (next string, err error)) {
	f, err := s.freeFormOf(r)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	next, err := step(f)
	if err != nil {
		s.showForm(w, r, "free", "overview", "Free the slot of "+f.Node, f, newProblem(w, "Slot not freed", err))
		return
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// rolloutForm is the input of a new rollout, and its preview.
type rolloutForm struct {
	Spec     api.RolloutSpec
	Failures string // as typed
	Key      string // the same for every post of this form: one rollout
	Bundles  []api.Bundle
	Groups   []api.Group
	Plan     *api.Plan
}

func (s *server) showNewRollout(w http.ResponseWriter, r *http.Request) {
	in := r.URL.Query()
	s.showRolloutForm(w, r, rolloutForm{Key: rand.Text(), Failures: "0",
		Spec: api.RolloutSpec{Bundle: in.Get("bundle"), Group: in.Get("group"), Selector: in.Get("selector")}}, nil)
}

// showRolloutForm fills the choices in, and previews what is chosen.
func (s *server) showRolloutForm(w http.ResponseWriter, r *http.Request, f rolloutForm, p *problem) {
	var err error
	if f.Bundles, err = s.backend.Bundles(r.Context()); err != nil && p == nil {
		p = newProblem(w, "Bundles not listed", err)
	}
	if st, serr := s.backend.Status(r.Context()); serr == nil {
		f.Groups = st.Groups
	}
	s.showForm(w, r, "rollout-new", "rollouts", "New rollout", f, p)
}

func (s *server) newRollout(w http.ResponseWriter, r *http.Request) {
	f := rolloutForm{Key: r.PostFormValue("key"), Failures: r.PostFormValue("max_failures"), Spec: api.RolloutSpec{
		Bundle: r.PostFormValue("bundle"), Group: r.PostFormValue("group"), Selector: r.PostFormValue("selector"),
		Name: r.PostFormValue("name"), Reason: r.PostFormValue("reason")}}
	f.Spec.MaxFailures = api.Slots(f.Failures)
	if r.PostFormValue("do") == "plan" {
		plan, err := s.backend.Plan(r.Context(), f.Spec)
		if err != nil {
			s.showRolloutForm(w, r, f, newProblem(w, "No plan", err))
			return
		}
		f.Plan = &plan
		s.showRolloutForm(w, r, f, nil)
		return
	}
	ro, _, err := s.backend.CreateRollout(r.Context(), f.Spec, f.Key)
	if err != nil {
		s.showRolloutForm(w, r, f, newProblem(w, "Rollout not started", err))
		return
	}
	http.Redirect(w, r, "/rollouts/"+segment(ro.ID), http.StatusSeeOther)
}

// abortForm is the input of an abort.
type abortForm struct {
	Rollout api.Rollout
	Reason  string
}

func (s *server) showAbort(w http.ResponseWriter, r *http.Request) {
	ro, err := s.backend.Rollout(r.Context(), pathID(r, "id"))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	s.showForm(w, r, "abort", "rollouts", "Abort the rollout", abortForm{Rollout: ro}, nil)
}

// rolloutAction pauses, resumes or aborts, and goes back to where the button was.
func (s *server) rolloutAction(w http.ResponseWriter, r *http.Request) {
	id, action, reason := pathID(r, "id"), r.PathValue("action"), r.PostFormValue("reason")
	if action != "pause" && action != "resume" && action != "abort" {
		s.notFound(w, r)
		return
	}
	_, err := s.backend.RolloutAction(r.Context(), id, action, api.RolloutActionRequest{Reason: reason})
	if err == nil {
		http.Redirect(w, r, cameFrom(r, "/rollouts/"+segment(id)), http.StatusSeeOther)
		return
	}
	p := newProblem(w, "Rollout not changed", err)
	if ro, rerr := s.backend.Rollout(r.Context(), id); action == "abort" && rerr == nil {
		s.showForm(w, r, "abort", "rollouts", "Abort the rollout", abortForm{ro, reason}, p)
		return
	}
	f, ferr := s.loadFrame(r.Context(), "rollout", id, nil)
	if ferr != nil {
		s.refuse(w, r, err)
		return
	}
	s.render(w, r, p.Kind.Status(), "rollout", view{Frame: f, Title: id, Problem: p})
}
