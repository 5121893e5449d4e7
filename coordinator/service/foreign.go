package service

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
)

// youngFor is how long a cluster doubts itself when an agent of another calls:
// it may be an empty replacement of the real one.
const youngFor = 24 * time.Hour

// ForeignCluster refuses a client that knows another cluster, and lists it when
// it is an agent: nobody who may only look can stop the fleet with a header. A
// young cluster freezes itself the first time.
func (s *Service) ForeignCluster(ctx context.Context, theirID string) *api.Error {
	own := s.db.Identity()
	refusal := api.Errorf(api.WrongCluster, "this is cluster %s, the agent knows cluster %s: it does nothing until somebody runs `lockkeeper-agent trust` on its host", own.ID, theirID)
	who := auth.From(ctx)
	if !who.Allows(api.RoleNode) || theirID == "" || theirID == own.ID || len(theirID) > 256 {
		return refusal
	}
	listed := func(f etcdstore.Foreign) bool { return f.Cluster == theirID }
	if slices.ContainsFunc(s.db.Foreign(), listed) {
		return refusal // and a freeze that somebody lifted is not set again
	}
	f := etcdstore.Foreign{Cluster: theirID, By: who.Name, Froze: s.now().Sub(own.CreatedAt) < youngFor}
	s.logger.Warn("an agent of another cluster called", "cluster", theirID, "by", who.Name, "freeze", f.Froze)
	if f.Froze {
		reason := fmt.Sprintf("%s, an agent of cluster %s, called this cluster, which was made only at %s: it may be an empty replacement of the real one",
			who.Name, theirID, clock(own.CreatedAt))
		if _, err := s.store.Freeze(ctx, s.newFreeze("coordinator", reason, false)); err != nil {
			s.logger.Error("the cluster could not freeze itself", "error", err)
			return refusal
		}
	}
	if _, err := s.db.AddForeign(ctx, f); err != nil {
		s.logger.Error("an agent of another cluster could not be listed", "cluster", theirID, "error", err)
	}
	return refusal
}
