package web

import (
	"net/http"
	"slices"
	"strconv"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// nodeForm is the input of what a person does to one node.
type nodeForm struct {
	Node     api.Node
	Action   string // one of nodeActions
	Reason   string
	Priority string // as typed
	Name     string // typed to confirm
}

// nodeActions are what a person may do to a node.
var nodeActions = []string{"retry", "rollback", "priority", "duplicate", "forget"}

// Title asks for the confirmation.
func (f nodeForm) Title() string {
	switch f.Action {
	case "retry":
		return "Try " + f.Node.ID + " again?"
	case "rollback":
		return "Roll " + f.Node.ID + " back?"
	case "priority":
		return "Priority of " + f.Node.ID
	case "duplicate":
		return "Is only one host left with the id " + f.Node.ID + "?"
	}
	return "Forget " + f.Node.ID + "?"
}

// Role is who may do it.
func (f nodeForm) Role() api.Role {
	if f.Action == "retry" || f.Action == "rollback" {
		return api.RoleDeployer
	}
	return api.RoleOperator
}

// mayRetry: the node failed in a rollout.
func mayRetry(n api.Node) bool { return n.Report.Failure != nil && n.Report.Failure.Rollout != "" }

// mayRollBack: it is idle with a bundle that may be undone.
func mayRollBack(n api.Node) bool {
	return n.Report.Bundle != "" && n.Report.Phase == api.PhaseIdle && n.Order == nil && n.Wanted == nil
}

// mayForget: it is silent and holds nothing.
func mayForget(n api.Node) bool { return n.State == api.NodeUnreachable && n.Hold == nil }

func (s *server) showNodeAction(w http.ResponseWriter, r *http.Request) {
	action := r.PathValue("action")
	if !slices.Contains(nodeActions, action) {
		s.notFound(w, r)
		return
	}
	n, err := s.backend.Node(r.Context(), pathID(r, "node"))
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	f := nodeForm{Node: n, Action: action, Priority: "10"}
	if action == "priority" {
		if g, err := s.backend.Group(r.Context(), n.Group); err == nil {
			for _, waits := range g.Queue {
				if waits.Node == n.ID {
					f.Priority = strconv.Itoa(waits.Priority)
				}
			}
		}
	}
	s.showForm(w, r, "node-action", "nodes", f.Title(), f, nil)
}

func (s *server) nodeAction(w http.ResponseWriter, r *http.Request) {
	id, action := pathID(r, "node"), r.PathValue("action")
	if !slices.Contains(nodeActions, action) {
		s.notFound(w, r)
		return
	}
	n, err := s.backend.Node(r.Context(), id)
	if err != nil {
		s.refuse(w, r, err)
		return
	}
	f := nodeForm{Node: n, Action: action, Reason: r.PostFormValue("reason"), Priority: r.PostFormValue("priority"), Name: r.PostFormValue("name")}
	back := "/nodes/" + segment(id)
	switch action {
	case "retry", "rollback":
		_, err = s.backend.NodeAction(r.Context(), id, action, api.NodeActionRequest{Reason: f.Reason})
	case "priority":
		var p int
		if p, err = strconv.Atoi(f.Priority); err != nil {
			err = &api.Error{Kind: api.Invalid, Detail: "the priority is not a number",
				Fields: []api.FieldError{{Path: "priority", Detail: strconv.Quote(f.Priority) + ": want a whole number from -100 to 100"}}}
			break
		}
		err = s.backend.SetPriority(r.Context(), n.Group, id, api.PriorityRequest{Priority: p})
	case "duplicate":
		_, err = s.backend.PatchNode(r.Context(), id, api.NodePatch{ClearDuplicate: true}, "")
	case "forget":
		if f.Name != id {
			err = api.Errorf(api.Invalid, "name %q: type the node's id, %q", f.Name, id)
			break
		}
		err = s.backend.DeleteNode(r.Context(), id)
		back = "/nodes"
	}
	if err != nil {
		s.showForm(w, r, "node-action", "nodes", f.Title(), f, newProblem(w, "Node not changed", err))
		return
	}
	http.Redirect(w, r, back, http.StatusSeeOther)
}
