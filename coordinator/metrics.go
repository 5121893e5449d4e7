package coordinator

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// statusSource is what the fleet's gauges are read from at each scrape.
type statusSource func(context.Context) (api.Status, error)

// fleetCollector turns the fleet's status into gauges. Its labels are bounded
// by the number of groups; nodes are counted, never named.
type fleetCollector struct {
	status statusSource
	now    func() time.Time
}

var (
	descSlots       = desc("slots", "Slots of the group, of its members now.", "group")
	descHolds       = desc("holds", "Slots taken, by the state of the hold.", "group", "state")
	descWaiters     = desc("waiters", "Nodes that wait for a slot.", "group")
	descOldestWait  = desc("oldest_waiter_seconds", "How long the longest waiting node has waited; 0 when nobody waits.", "group")
	descHoldAge     = desc("hold_age_seconds", "Age of the oldest hold; 0 when there is none.", "group")
	descOverdue     = desc("overdue_holds", "Holds past their deadline.", "group")
	descStuck       = desc("stuck_holds", "Holds that are overdue, or whose node failed and is not healthy.", "group")
	descMembers     = desc("members", "Nodes that belong to the group.", "group")
	descNodes       = desc("nodes", "Nodes by state.", "state")
	descQuorum      = desc("quorum", "1 while the store has a leader, else 0.")
	descFrozen      = desc("frozen", "1 while the group, or the whole fleet (group \"\"), is frozen.", "group")
	descShut        = desc("shut", "1 while a window, a blackout or the grant interval lets nobody of the group start.", "group", "reason")
	descPeers       = desc("store_members", "Members of the store, by their role.", "role")
	descPeersDown   = desc("store_members_unreachable", "Members of the embedded store that this one cannot reach.")
	descIncarnation = desc("cluster_incarnation", "Incarnation of the cluster: grows with every restore.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("lockkeeper_"+name, help, labels, nil)
}

func (c *fleetCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descSlots, descHolds, descWaiters, descOldestWait, descHoldAge, descOverdue,
		descStuck, descMembers, descNodes, descQuorum, descFrozen, descShut, descIncarnation, descPeers, descPeersDown,
	} {
		ch <- d
	}
}

func (c *fleetCollector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	st, err := c.status(ctx)
	if err != nil {
		ch <- prometheus.NewInvalidMetric(descQuorum, err)
		return
	}
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(descQuorum, number(st.Cluster.Quorum))
	gauge(descIncarnation, float64(st.Cluster.Incarnation))
	c.members(st.Cluster.Members, gauge)
	gauge(descFrozen, number(st.Frozen != nil), "")
	for _, state := range api.NodeStates {
		gauge(descNodes, float64(st.Figures.ByState[state]), string(state))
	}
	now := c.now()
	for _, g := range st.Groups {
		c.group(g, now, gauge)
	}
}

func (c *fleetCollector) members(list []api.Member, gauge func(*prometheus.Desc, float64, ...string)) {
	roles := map[string]int{"leader": 0, "follower": 0, "learner": 0, "unknown": 0}
	down := 0
	for _, m := range list {
		roles[m.Role]++
		if !m.Reachable && m.Unreachable != "" {
			down++
		}
	}
	for role, n := range roles {
		gauge(descPeers, float64(n), role)
	}
	gauge(descPeersDown, float64(down))
}

func (c *fleetCollector) group(g api.Group, now time.Time, gauge func(*prometheus.Desc, float64, ...string)) {
	states := map[string]int{"granted": 0, "confirmed": 0, "revoked": 0}
	var oldest, longest time.Duration
	overdue := 0
	for _, h := range g.Holds {
		states[h.State]++
		oldest = max(oldest, now.Sub(h.Since))
		if h.Overdue {
			overdue++
		}
	}
	for _, w := range g.Queue {
		longest = max(longest, now.Sub(w.Since))
	}
	gauge(descSlots, float64(g.Status.Slots), g.Name)
	gauge(descMembers, float64(g.Status.Members), g.Name)
	gauge(descWaiters, float64(g.Status.Waiting), g.Name)
	gauge(descStuck, float64(g.Status.Stuck), g.Name)
	gauge(descFrozen, number(g.Status.Frozen != nil), g.Name)
	gauge(descShut, number(g.Status.Window != nil && !g.Status.Window.Open), g.Name, string(api.Window))
	gauge(descShut, number(g.Status.Blackout != nil), g.Name, string(api.Blackout))
	gauge(descShut, number(!g.Status.NextGrant.IsZero()), g.Name, string(api.Interval))
	gauge(descOverdue, float64(overdue), g.Name)
	gauge(descHoldAge, oldest.Seconds(), g.Name)
	gauge(descOldestWait, longest.Seconds(), g.Name)
	for state, n := range states {
		gauge(descHolds, float64(n), g.Name, state)
	}
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
