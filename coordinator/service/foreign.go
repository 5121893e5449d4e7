package service

import (
	"context"
	"fmt"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
)

// youngFor is how long a cluster doubts itself when an agent of another calls:
// it may be an empty replacement of the real one.
const youngFor = 24 * time.Hour

// foreignShown is for how long an agent of another cluster needs a person.
const foreignShown = 24 * time.Hour

// foreignPerNode bounds the other clusters that one node's token may have listed.
const foreignPerNode = 3

// ForeignCluster refuses a client that knows another cluster, and lists it when
// it is an agent: nobody who may only look can stop the fleet with a header. A
// young cluster freezes itself the first time, once for each other cluster and
// once for each node's token: a freeze that somebody lifted is not set again by
// whoever makes up another name.
func (s *Service) ForeignCluster(ctx context.Context, theirID string) *api.Error {
	own := s.db.Identity()
	refusal := api.Errorf(api.WrongCluster, "this is cluster %s, the agent knows cluster %s: it does nothing until somebody runs `lockkeeper-agent trust` on its host", own.ID, theirID)
	who := auth.From(ctx)
	if !who.Allows(api.RoleNode) || theirID == "" || theirID == own.ID || len(theirID) > 256 {
		return refusal
	}
	select { // one at a time, so that none is looked at before what came first is listed
	case s.foreign <- struct{}{}:
		defer func() { <-s.foreign }()
	case <-ctx.Done():
		return refusal
	}
	f := etcdstore.Foreign{Cluster: theirID, By: who.Name, Node: who.Node, Froze: s.now().Sub(own.CreatedAt) < youngFor}
	if !isNews(f, s.db.Foreign()) {
		return refusal
	}
	defer s.wrote()
	s.logger.Warn("an agent of another cluster called", "cluster", theirID, "by", who.Name, "freeze", f.Froze)
	if f.Froze {
		reason := fmt.Sprintf("%s, an agent of cluster %s, called this cluster, which was made only at %s: it may be an empty replacement of the real one",
			who.Name, theirID, clock(own.CreatedAt))
		if _, err := s.store.Freeze(ctx, s.newFreeze(keeperName, reason, false)); err != nil {
			s.logger.Error("the cluster could not freeze itself", "error", err)
			return refusal
		}
	}
	if _, err := s.db.AddForeign(ctx, f); err != nil {
		s.logger.Error("an agent of another cluster could not be listed", "cluster", theirID, "error", err)
	}
	return refusal
}

// isNews reports whether a call of another cluster's agent is to be listed, and to
// freeze this cluster if that is young. Of a node that froze it before nothing is
// listed meanwhile: the cluster that it names may be one that others really know,
// and for that they still freeze this one.
func isNews(f etcdstore.Foreign, listed []etcdstore.Foreign) bool {
	of := 0
	for _, old := range listed {
		if old.Cluster == f.Cluster {
			return false
		}
		if f.Node == "" || old.Node != f.Node {
			continue
		}
		if of++; of == foreignPerNode || f.Froze && old.Froze {
			return false
		}
	}
	return true
}

// foreignAgents lists the agents of other clusters that called lately. A freeze
// that this cluster set for one needs a person for as long as it stands: also
// before that agent is listed, which is a change of its own, and when that is old.
func foreignAgents(o *overview, listed []etcdstore.Foreign) []api.Attention {
	var list []api.Attention
	frozenFor := o.frozen != nil && o.frozen.By == keeperName
	for _, f := range listed {
		if o.at.Sub(f.At) > foreignShown {
			continue
		}
		detail := "It was refused: it holds on to the cluster that it knows until somebody runs `lockkeeper-agent trust` there."
		if f.Froze {
			detail = "This cluster is new, so it froze itself: it may be an empty replacement of the real one. " + detail
			frozenFor = false
		}
		list = append(list, api.Attention{
			Kind: attentionForeign, Severity: warn, Since: f.At,
			Title: fmt.Sprintf("An agent of another cluster called (%s, from cluster %s)", f.By, f.Cluster), Detail: detail,
		})
	}
	if frozenFor {
		list = append(list, api.Attention{
			Kind: attentionForeign, Severity: warn, Since: o.frozen.At,
			Title: "This cluster has frozen itself", Detail: sentenceOf(o.frozen.Reason) + "If it is the right one, lift the freeze.",
		})
	}
	return list
}
