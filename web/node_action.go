package web

import (
	"net/http"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// nodeForm is the input of what a person does to one node.
type nodeForm struct {
	Node   api.Node
	Action string // retry or rollback
	Reason string
}

// Title asks for the confirmation.
func (f nodeForm) Title() string {
	if f.Action == "retry" {
		return "Try " + f.Node.ID + " again?"
	}
	return "Roll " + f.Node.ID + " back?"
}

// mayRetry: the node failed in a rollout.
func mayRetry(n api.Node) bool { return n.Report.Failure != nil && n.Report.Failure.Rollout != "" }

// mayRollBack: it is idle with a bundle that may be undone.
func mayRollBack(n api.Node) bool {
	return n.Report.Bundle != "" && n.Report.Phase == api.PhaseIdle && n.Order == nil && n.Wanted == nil
}

func (s *server) showNodeAction(w http.ResponseWriter, r *http.Request) {
	action := r.PathValue("action")
	if action != "retry" && action != "rollback" {
		s.notFound(w, r)
		return
	}
	n, err := s.backend.Node(r.Context(), pathID(r, "node"))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	f := nodeForm{Node: n, Action: action}
	s.showForm(w, r, "node-action", "nodes", f.Title(), f, nil)
}

func (s *server) nodeAction(w http.ResponseWriter, r *http.Request) {
	id, action, reason := pathID(r, "node"), r.PathValue("action"), r.PostFormValue("reason")
	if action != "retry" && action != "rollback" {
		s.notFound(w, r)
		return
	}
	_, err := s.backend.NodeAction(r.Context(), id, action, api.NodeActionRequest{Reason: reason})
	if err == nil {
		http.Redirect(w, r, "/nodes/"+segment(id), http.StatusSeeOther)
		return
	}
	n, nerr := s.backend.Node(r.Context(), id)
	if nerr != nil {
		s.refuse(w, r, err)
		return
	}
	f := nodeForm{Node: n, Action: action, Reason: reason}
	s.showForm(w, r, "node-action", "nodes", f.Title(), f, newProblem(w, "Node not changed", err))
}
