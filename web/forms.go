package web

import (
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
	mux.HandleFunc("GET /rollouts/{id}/{action}", s.showRolloutAction)
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
	if in.Group != "" {
		if _, err := s.backend.Group(r.Context(), in.Group); err != nil {
			s.refuse(w, r, err)
			return
		}
	}
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
