package web

import (
	"context"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// why is a verdict as a page shows it.
type why struct {
	Heading  string
	Summary  string
	MayGo    bool
	Blockers []api.Blocker
	Earliest time.Time // as far as a clock decides
	Estimate time.Time // of a node that wants to go
	Basis    string    // that the estimate rests on
	CLI      string    // the command that says the same
}

// groupData is the page of one group.
type groupData struct {
	withEvents
	Group api.Group
	Why   why
}

func loadGroup(ctx context.Context, s *server, f *Frame, name string) error {
	g, err := s.backend.Group(ctx, name)
	if err != nil {
		return err
	}
	ex, err := s.backend.Explain(ctx, name)
	if err != nil {
		return err
	}
	d := groupData{Group: g, Why: why{Heading: "Why nothing moves", Summary: ex.Summary, CLI: "lockkeeper explain --group " + name}}
	for _, e := range ex.Groups {
		if e.Group == name {
			d.Why.Summary, d.Why.Blockers, d.Why.Earliest = e.Summary, e.Blockers, e.Earliest
		}
	}
	d.Why.MayGo = len(d.Why.Blockers) == 0
	if d.Why.MayGo {
		d.Why.Heading = "As it stands"
	}
	d.withEvents, err = s.latest(ctx, api.EventQuery{Group: name})
	f.Data = d
	return err
}

// nodeData is the page of one node.
type nodeData struct {
	withEvents
	Node   api.Node
	Why    why
	Place  int
	Of     int // how many wait
	Phases []phaseStep
}

// phaseStep is one step of an update; Now is where the node stands.
type phaseStep struct {
	Look      look
	Done, Now bool
}

var updatePath = []api.Phase{api.PhaseIdle, api.PhaseWaiting, api.PhaseHolding, api.PhaseDraining,
	api.PhaseApplying, api.PhaseRebooting, api.PhaseVerifying, api.PhaseReleasing}

func loadNode(ctx context.Context, s *server, f *Frame, id string) error {
	n, err := s.backend.Node(ctx, id)
	if err != nil {
		return err
	}
	v, err := s.backend.ExplainNode(ctx, id)
	if err != nil {
		return err
	}
	d := nodeData{Node: n, Place: v.Place, Of: v.Waiting,
		Why: why{Heading: "Why not now", Summary: v.Summary, MayGo: v.MayGo, Blockers: v.Blockers,
			Earliest: v.Earliest, Estimate: v.Estimate, Basis: v.EstimateBasis, CLI: "lockkeeper explain " + id}}
	if v.MayGo {
		d.Why.Heading = "As it stands"
	}
	d.Phases = phaseSteps(n.Report.Phase)
	d.withEvents, err = s.latest(ctx, api.EventQuery{Node: id})
	f.Data = d
	return err
}

// phaseSteps is empty for a node that is on no path: it failed, or speaks
// FleetLock and reports nothing.
func phaseSteps(at api.Phase) []phaseStep {
	var steps []phaseStep
	found := false
	for _, p := range updatePath {
		steps = append(steps, phaseStep{Look: known(phaseLooks, p), Done: !found && p != at, Now: p == at})
		found = found || p == at
	}
	if !found {
		return nil
	}
	return steps
}

// rolloutsData is the list of rollouts.
type rolloutsData struct{ Rollouts []api.Rollout }

func loadRollouts(ctx context.Context, s *server, f *Frame, _ string) error {
	list, err := s.backend.Rollouts(ctx)
	f.Data = rolloutsData{list}
	return err
}

// rolloutData is the page of one rollout.
type rolloutData struct {
	Rollout api.Rollout
	Nodes   []api.RolloutNode // those that somebody would look for first
	More    int               // nodes left out
}

// rolloutRows bounds the table; the counts above it are of all nodes.
const rolloutRows = 200

func loadRollout(ctx context.Context, s *server, f *Frame, id string) error {
	r, err := s.backend.Rollout(ctx, id)
	if err != nil {
		return err
	}
	d := rolloutData{Rollout: r}
	for _, state := range []string{api.NodeBroken, api.NodeUpdating, api.NodeQueued, api.NodePending, api.NodeUpdated} {
		for _, n := range r.Nodes {
			if n.State == state && len(d.Nodes) < rolloutRows {
				d.Nodes = append(d.Nodes, n)
			}
		}
	}
	d.More = len(r.Nodes) - len(d.Nodes)
	f.Data = d
	return nil
}

// bundlesData is the list of bundles.
type bundlesData struct{ Bundles []api.Bundle }

func loadBundles(ctx context.Context, s *server, f *Frame, _ string) error {
	list, err := s.backend.Bundles(ctx)
	f.Data = bundlesData{list}
	return err
}

// loadCluster: the status has all of it.
func loadCluster(context.Context, *server, *Frame, string) error { return nil }
