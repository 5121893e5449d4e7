package service

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
)

// endedShown is how many ended rollouts the status shows.
const endedShown = 5

// Status is the fleet at a glance.
func (s *Service) Status(ctx context.Context) (api.Status, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return api.Status{}, err
	}
	o := s.overview()
	cluster := s.cluster()
	return api.Status{
		OK: o.ok, Sentence: o.sentence, Stale: o.stale, AsOf: o.asOf, Revision: cluster.Store.Revision,
		Version: s.cfg.Version, Frozen: o.frozen, Figures: o.figures, Groups: o.groups,
		Rollouts: recent(o.rollouts), Attention: o.attention, Cluster: cluster,
	}, nil
}

// Cluster is the coordinators and their store.
func (s *Service) Cluster(ctx context.Context) (api.Cluster, error) {
	if _, err := need(ctx, api.RoleViewer); err != nil {
		return api.Cluster{}, err
	}
	return s.cluster(), nil
}

func (s *Service) cluster() api.Cluster {
	id := s.db.Identity()
	c := api.Cluster{
		ID: id.ID, Incarnation: id.Incarnation, CreatedAt: id.CreatedAt, Schema: s.db.Schema(),
		Quorum: s.node.HasLeader(), Members: s.node.Members(), Store: s.node.Info(),
	}
	if c.Members == nil {
		c.Members = []api.Member{}
	}
	for i := range c.Members {
		if c.Members[i].Self {
			c.Members[i].Version = s.cfg.Version
			c.Served = c.Members[i].Name
		}
	}
	for _, p := range s.db.Coordinators() {
		for i := range c.Members {
			if m := &c.Members[i]; p.Member != "" && m.ID == p.Member {
				m.StartedAt, m.DBSize, m.DBInUse, m.DiskFree, m.Applied, m.Version = p.StartedAt, p.DBSize, p.DBInUse, p.DiskFree, p.Applied, p.Version
			}
		}
		c.Coordinators = append(c.Coordinators, coordinatorOf(p))
		if p.Self && c.Served == "" {
			c.Served = p.Name
		}
	}
	if c.Store.Embedded {
		c.Warnings = membership.Warnings(c.Members)
		if !c.Quorum && len(membership.Voters(c.Members)) > 1 {
			c.Warnings = append(c.Warnings, "there is no quorum: start the members that are down; "+membership.LostForGood)
		}
	}
	return c
}

func coordinatorOf(p etcdstore.Peer) api.Coordinator {
	out := api.Coordinator{ID: p.ID, Name: p.Name, Self: p.Self, URL: p.URL, Version: p.Version, MaxV: p.MaxV, StartedAt: p.StartedAt}
	if p.ClockOffKnown && !p.Self {
		off := p.ClockOff.Seconds()
		out.ClockOffS = &off
	}
	return out
}

// recent are the rollouts under way and the last few that ended.
func recent(all []api.Rollout) []api.Rollout {
	list := []api.Rollout{}
	ended := 0
	for _, r := range all {
		if !r.State.Active() {
			if ended++; ended > endedShown {
				continue
			}
		}
		list = append(list, r)
	}
	return list
}

// sentence is the answer to "is all well".
func sentence(o *overview) string {
	if o.stale {
		text := "There is no quorum: nothing may start, and this is the fleet as last known"
		if !o.asOf.IsZero() {
			text += " at " + o.asOf.Format("2006-01-02 15:04 UTC")
		}
		return text
	}
	var wrong []string
	counts := map[string]int{}
	for i := range o.attention {
		counts[o.attention[i].Kind]++
	}
	if n := o.figures.Stuck; n > 0 {
		wrong = append(wrong, fmt.Sprintf("%s stuck", are(n, "host")))
	}
	if n := freedHosts(o); n > 0 {
		wrong = append(wrong, fmt.Sprintf("%s not healthy without a slot", are(n, "host")))
	}
	if n := counts[attentionHalted]; n > 0 {
		wrong = append(wrong, fmt.Sprintf("%s halted", are(n, "rollout")))
	}
	if n := counts[attentionApproval]; n > 0 {
		wrong = append(wrong, fmt.Sprintf("%s waiting for approval", are(n, "rollout")))
	}
	if n := o.figures.ByState[api.NodeDuplicate]; n > 0 {
		wrong = append(wrong, fmt.Sprintf("%s used by two hosts", are(n, "id")))
	}
	if n := o.figures.ByState[api.NodeUnreachable]; n > 0 {
		wrong = append(wrong, fmt.Sprintf("%s not heard from", are(n, "host")))
	}
	if n := counts[attentionUnconfirmed]; n > 0 {
		wrong = append(wrong, fmt.Sprintf("%s not confirming %s", are(n, "host"), plural(n, "its slot", "their slots")))
	}
	if n := failedInService(o); n > 0 {
		wrong = append(wrong, fmt.Sprintf("%s after a failed update", are(n, "host")+" in service"))
	}
	if len(wrong) == 0 && len(o.attention) > 0 {
		return o.attention[0].Title
	}
	if o.frozen != nil {
		wrong = append(wrong, fmt.Sprintf("the fleet is frozen by %s: %s", o.frozen.By, o.frozen.Reason))
	}
	switch {
	case len(wrong) == 1 && o.frozen == nil:
		return capital(wrong[0]) + "; the fleet is otherwise well"
	case len(wrong) > 0:
		return capital(strings.Join(wrong, "; "))
	}
	return calm(o)
}

// calm is the sentence of a fleet that needs nobody.
func calm(o *overview) string {
	f := &o.figures
	shut := shutSentence(o.groups)
	switch {
	case f.Nodes == 0:
		return "No host has reported yet"
	case f.Waiting > 0 && shut != "":
		return fmt.Sprintf("All is well: %s, and nothing starts: %s", waits(f.Waiting), shut)
	case f.Held > 0 && f.Waiting > 0:
		return fmt.Sprintf("All is well: %s out of service, %s", are(f.Held, "host"), waits(f.Waiting))
	case f.Held > 0:
		return fmt.Sprintf("All is well: %s out of service", are(f.Held, "host"))
	case f.Waiting > 0:
		return fmt.Sprintf("All is well: nobody is out of service, %s", waits(f.Waiting))
	case slices.ContainsFunc(o.rollouts, func(r api.Rollout) bool { return r.State == api.RolloutRunning }):
		return fmt.Sprintf("All is well: %s in service, a rollout is under way", are(f.Nodes, "host"))
	}
	return fmt.Sprintf("All is well: %s in service", are(f.Nodes, "host"))
}

// shutSentence says why nobody who waits may start, if a clock keeps them all.
func shutSentence(groups []api.Group) string {
	text, others := "", 0
	for i := range groups {
		g := &groups[i]
		switch {
		case g.Status.Waiting == 0:
		case g.Status.Shut == "":
			return ""
		case text == "":
			text = fmt.Sprintf("in group %s, %s", g.Name, g.Status.Shut)
		default:
			others++
		}
	}
	if others > 0 {
		text += fmt.Sprintf("; and %d more %s so", others, plural(others, "group is", "groups are"))
	}
	return text
}

func waits(n int) string { return fmt.Sprintf("%d %s", n, plural(n, "waits", "wait")) }

// are is "1 host is" or "3 hosts are".
func are(n int, noun string) string {
	return fmt.Sprintf("%d %s", n, plural(n, noun+" is", noun+"s are"))
}

func plural(n int, one, more string) string {
	if n == 1 {
		return one
	}
	return more
}

func capital(text string) string {
	if text == "" {
		return text
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
