package service

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/rollout"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// Bounds of a page of nodes.
const (
	defaultPage = 100
	maxPage     = 1000
)

// Nodes is a page of the nodes that match, by id.
func (s *Service) Nodes(ctx context.Context, q api.NodeQuery) (api.NodeList, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return api.NodeList{}, err
	}
	var v invalid
	if q.Limit == 0 {
		q.Limit = defaultPage
	}
	if q.Limit < 1 || q.Limit > maxPage {
		v.add("limit", fmt.Sprintf("want 1 to %d", maxPage))
	}
	if q.State != "" && !slices.Contains(api.NodeStates, api.NodeState(q.State)) {
		v.add("state", fmt.Sprintf("%q: want one of %s", q.State, joinStates()))
	}
	if q.Sort != "" && q.Sort != "id" && q.Sort != "state" {
		v.add("sort", fmt.Sprintf("%q: want id or state", q.Sort))
	}
	labels, err := rollout.NewSelector(q.Selector)
	if err != nil && !s.overview().someHas(labels) {
		v.add("selector", err.Error())
	}
	if err := v.err(); err != nil {
		return api.NodeList{}, err
	}
	text := strings.ToLower(q.Text)
	after := q.After
	urgent := q.Sort == "state"
	if urgent && after != "" {
		state, id, _ := strings.Cut(after, "/")
		if !slices.Contains(api.NodeStates, api.NodeState(state)) {
			return api.NodeList{}, api.Errorf(api.Invalid, "after=%q: want the next of a page that was sorted by state", after)
		}
		after = urgency(api.NodeState(state), id)
	}
	list := api.NodeList{Nodes: []api.Node{}}
	for n := range s.overview().listed(urgent) {
		if q.Group != "" && n.Group != q.Group || q.State != "" && n.State != api.NodeState(q.State) ||
			text != "" && !strings.Contains(strings.ToLower(n.ID), text) || !labelled(n.Labels, labels) ||
			!strings.HasPrefix(n.Report.Bundle, q.Bundle) || q.Drifted && n.Drift == nil {
			continue
		}
		list.Total++
		if after != "" && (urgent && urgency(n.State, n.ID) <= after || !urgent && n.ID <= after) {
			continue
		}
		if len(list.Nodes) == q.Limit {
			if list.Next == "" {
				last := list.Nodes[q.Limit-1]
				if list.Next = last.ID; urgent {
					list.Next = string(last.State) + "/" + last.ID
				}
			}
			continue
		}
		row := *n
		row.Wanted = s.wantedFor(n.ID)
		list.Nodes = append(list.Nodes, row)
	}
	return list, nil
}

// AllNodes are the nodes by id, as every viewer shares them: nothing in them may
// be changed.
func (s *Service) AllNodes(ctx context.Context) ([]api.Node, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return nil, err
	}
	return s.overview().nodes, nil
}

// urgency sorts nodes by their states, the worst first, then by their ids.
func urgency(state api.NodeState, id string) string {
	return string(rune('a'+slices.Index(api.NodeStates, state))) + id
}

// listed are the nodes by id, or the most urgent first.
func (o *overview) listed(urgent bool) iter.Seq[*api.Node] {
	return func(yield func(*api.Node) bool) {
		if !urgent {
			for i := range o.nodes {
				if !yield(&o.nodes[i]) {
					return
				}
			}
			return
		}
		for _, state := range api.NodeStates {
			if o.figures.ByState[state] == 0 {
				continue
			}
			for i := range o.nodes {
				if o.nodes[i].State == state && !yield(&o.nodes[i]) {
					return
				}
			}
		}
	}
}

// Node is one node.
func (s *Service) Node(ctx context.Context, id string) (api.Node, error) {
	if _, err := needEither(ctx, api.RoleViewer, id); err != nil {
		return api.Node{}, err
	}
	return s.findNode(id)
}

func (s *Service) findNode(id string) (api.Node, error) {
	n, found := s.fleet.Node(id)
	if !found {
		n, found = s.guest(id)
	}
	if !found {
		return api.Node{}, api.Errorf(api.NotFound, "there is no node %q: a node appears when its agent first reports, or when it first asks through FleetLock", id)
	}
	n.Wanted = s.wantedFor(id)
	n.Drift = s.roll.Drift()(&n)
	return n, nil
}

// guest is a node that no agent reports for: it came through FleetLock.
func (s *Service) guest(id string) (api.Node, bool) {
	for _, name := range s.store.Groups() {
		st, found := s.store.View(name)
		if !found {
			continue
		}
		m, member := st.Members[id]
		_, holds := st.Holds[id]
		if member || holds {
			m.Node = id
			return s.guestNode(&st, m, semaphore.Place(&st, id) > 0), true
		}
	}
	return api.Node{}, false
}

// PatchNode changes what an operator declares of a node.
func (s *Service) PatchNode(ctx context.Context, id string, patch api.NodePatch, ifMatch string) (api.Node, error) {
	p, err := need(ctx, api.RoleOperator)
	if err != nil {
		return api.Node{}, err
	}
	var v invalid
	revision := parseIfMatch(&v, ifMatch)
	checkLabels(&v, "labels", patch.Labels, s.hasLabel(id))
	if err := v.err(); err != nil {
		return api.Node{}, err
	}
	n, err := s.findNode(id)
	if err != nil {
		return api.Node{}, err
	}
	if revision != -1 && revision != n.Revision {
		return api.Node{}, api.Errorf(api.Changed, "node %q is at revision %d, not %d", id, n.Revision, revision)
	}
	defer s.wrote()
	if patch.Labels != nil {
		put := semaphore.PutMember{Node: id, Declared: patch.Labels, By: p.Name}
		if revision != -1 {
			if put.IfMatch, err = s.memberAsSeen(n.Group, id, revision); err != nil {
				return api.Node{}, err
			}
		}
		if _, err := s.do(ctx, n.Group, put); err != nil {
			return api.Node{}, err
		}
	}
	if patch.ClearDuplicate {
		if err := s.fleet.EndSession(ctx, id); err != nil {
			return api.Node{}, s.problem(ctx, err)
		}
		s.forgetGuest(ctx, id)
		if _, err := s.do(ctx, n.Group, semaphore.SetDuplicate{Node: id, By: p.Name}); err != nil {
			return api.Node{}, err
		}
	}
	return s.findNode(id)
}

// hasLabel asks whether a node has a label of some name already.
func (s *Service) hasLabel(id string) func(name string) bool {
	return func(name string) bool {
		n, err := s.findNode(id)
		_, has := n.Labels[name]
		return err == nil && has
	}
}

// memberAsSeen is the revision of a node's membership that goes with one of the
// node: no later one.
func (s *Service) memberAsSeen(group, id string, revision int64) (int64, error) {
	st, _ := s.store.Look(group)
	m, member := st.Member(id)
	if !member || m.Revision > revision {
		return 0, api.Errorf(api.Changed, "node %q was changed meanwhile, and is not at revision %d any more", id, revision)
	}
	return m.Revision, nil
}

// DeleteNode forgets a node that does not hold. Its agent brings it back by
// its next report.
func (s *Service) DeleteNode(ctx context.Context, id string) error {
	p, err := need(ctx, api.RoleOperator)
	if err != nil {
		return err
	}
	if _, err := s.findNode(id); err != nil {
		return err
	}
	defer s.wrote()
	for _, group := range s.store.Groups() {
		st, found := s.store.View(group)
		if _, member := st.Members[id]; !found || !member {
			continue
		}
		if err := s.store.Leave(ctx, group, id); err != nil && !isNoWaiter(err) {
			return s.problem(ctx, err)
		}
		if _, err := s.do(ctx, group, semaphore.RemoveMember{Node: id, By: p.Name}); err != nil {
			return err
		}
	}
	s.forgetGuest(ctx, id)
	if err := s.roll.Forget(ctx, id); err != nil {
		return s.problem(ctx, err)
	}
	return s.problem(ctx, s.fleet.Forget(ctx, id))
}

func labelled(have, want map[string]string) bool {
	for name, value := range want {
		if v, found := have[name]; !found || v != value {
			return false
		}
	}
	return true
}

// someHas reports whether a node has labels of all these names, which may be from
// before names were checked; false of none.
func (o *overview) someHas(labels map[string]string) bool {
	return len(labels) > 0 && slices.ContainsFunc(o.nodes, func(n api.Node) bool {
		for name := range labels {
			if _, found := n.Labels[name]; !found {
				return false
			}
		}
		return true
	})
}

func joinStates() string {
	texts := make([]string, len(api.NodeStates))
	for i, st := range api.NodeStates {
		texts[i] = string(st)
	}
	return strings.Join(texts, ", ")
}
