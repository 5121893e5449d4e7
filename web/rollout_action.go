package web

import (
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// actionForm is the input of what a person does to a rollout.
type actionForm struct {
	Rollout api.Rollout
	Action  string
	Reason  string
	Wave    int // that approve and skip are about
	Gate    string
}

// askedActions open a form; pause and resume are one click.
var (
	askedActions   = []string{"abort", "halt", "approve", "skip", "retry"}
	rolloutActions = append([]string{"pause", "resume"}, askedActions...)
)

// Title asks for the confirmation.
func (f actionForm) Title() string {
	what := rolloutTitle(f.Rollout) + " to " + rolloutWhere(f.Rollout.Spec)
	switch f.Action {
	case "abort":
		return "Abort " + what + "?"
	case "halt":
		return "Halt " + what + "?"
	case "approve":
		return "Let " + what + " go on?"
	case "skip":
		return "Skip the rest of the wave?"
	}
	return "Try the failed nodes again?"
}

// Role is who may do it: a gate may ask for more than a rollout does.
func (f actionForm) Role() api.Role {
	for _, g := range f.Rollout.Gates {
		if f.Action == "approve" && g.Wave == f.Wave && g.Name == f.Gate && g.Role != "" {
			return api.Role(g.Role)
		}
	}
	return api.RoleDeployer
}

// Do is what the button does.
func (f actionForm) Do() string {
	switch f.Action {
	case "abort":
		return "Abort rollout"
	case "halt":
		return "Halt rollout"
	case "approve":
		return "Approve"
	case "skip":
		return "Skip wave " + strconv.Itoa(f.Wave)
	}
	return "Try again"
}

// WaveName names the wave that the form is about.
func (f actionForm) WaveName() string {
	if f.Wave < 1 || f.Wave > len(f.Rollout.Waves) {
		return ""
	}
	return f.Rollout.Waves[f.Wave-1].Name
}

func (s *server) showRolloutAction(w http.ResponseWriter, r *http.Request) {
	action := r.PathValue("action")
	if !slices.Contains(askedActions, action) {
		s.notFound(w, r)
		return
	}
	ro, err := s.backend.Rollout(r.Context(), pathID(r, "id"))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	f := actionForm{Rollout: ro, Action: action, Wave: ro.Wave, Gate: r.URL.Query().Get("gate")}
	if n, err := strconv.Atoi(r.URL.Query().Get("wave")); err == nil {
		f.Wave = n
	}
	s.showForm(w, r, "rollout-action", "rollouts", f.Title(), f, nil)
}

// rolloutAction acts, and goes back to where the button was.
func (s *server) rolloutAction(w http.ResponseWriter, r *http.Request) {
	id, action := pathID(r, "id"), r.PathValue("action")
	if !slices.Contains(rolloutActions, action) {
		s.notFound(w, r)
		return
	}
	f := actionForm{Action: action, Reason: r.PostFormValue("reason"), Gate: r.PostFormValue("gate")}
	var err error
	if text := r.PostFormValue("wave"); text != "" {
		if f.Wave, err = strconv.Atoi(text); err != nil {
			s.refuse(w, r, api.Errorf(api.Invalid, "wave=%q: want the number of a wave, as the rollout's page gives it", text))
			return
		}
	}
	var stopped time.Time // as the page showed it
	if text := r.PostFormValue("stopped_at"); text != "" {
		if stopped, err = time.Parse(time.RFC3339Nano, text); err != nil {
			s.refuse(w, r, api.Errorf(api.Invalid, "stopped_at=%q: want the time of a pause or halt, as the rollout's page gives it", text))
			return
		}
	}
	_, err = s.backend.RolloutAction(r.Context(), id, action, api.RolloutActionRequest{Reason: f.Reason, Wave: f.Wave, Gate: f.Gate, StoppedAt: stopped})
	if err == nil {
		http.Redirect(w, r, cameFrom(r, "/rollouts/"+segment(id)), http.StatusSeeOther)
		return
	}
	p := newProblem(w, "Rollout not changed", err)
	if ro, rerr := s.backend.Rollout(r.Context(), id); slices.Contains(askedActions, action) && rerr == nil {
		f.Rollout = ro
		s.showForm(w, r, "rollout-action", "rollouts", f.Title(), f, p)
		return
	}
	frame, ferr := s.loadFrame(r.Context(), "rollout", id, nil)
	if ferr != nil {
		s.refuse(w, r, err)
		return
	}
	s.render(w, r, p.Kind.Status(), "rollout", view{Frame: frame, Title: id, Problem: p})
}
