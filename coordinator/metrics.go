package coordinator

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// statusSource is what the fleet's gauges are read from at each scrape.
type statusSource func(context.Context) (api.Status, error)

// fleetCollector turns the fleet's status into gauges. Its labels are bounded
// by the number of groups; nodes are counted, never named.
type fleetCollector struct {
	status  statusSource
	now     func() time.Time
	started time.Time // who was heard before is not known
}

var (
	descSlots       = desc("slots", "Slots of the group, of its members now.", "group")
	descHolds       = desc("holds", "Slots taken, by the state of the hold: granted, confirmed, revoked.", "group", "state")
	descWaiters     = desc("waiters", "Nodes that wait for a slot.", "group")
	descOldestWait  = desc("oldest_waiter_seconds", "How long the longest waiting node has waited; 0 when nobody waits.", "group")
	descHoldAge     = desc("hold_age_seconds", "Age of the oldest hold; 0 when there is none.", "group")
	descNewestHold  = desc("newest_hold_age_seconds", "Age of the newest hold; 0 when there is none.", "group")
	descSilence     = desc("hold_silence_seconds", "How long the host was not heard that has been silent for the longest of those that hold a slot; 0 when there is none. FleetLock hosts, which say nothing while they hold, do not count.", "group")
	descOverdue     = desc("overdue_holds", "Holds past their deadline.", "group")
	descStuck       = desc("stuck_holds", "Holds that are overdue, or whose node failed and is not healthy.", "group")
	descMembers     = desc("members", "Nodes that belong to the group.", "group")
	descNodes       = desc("nodes", "Nodes by state: failed, overdue, duplicate, unreachable, out, waiting, idle; each node is in one, the worst that is true of it.", "state")
	descDrifted     = desc("nodes_drifted", "Nodes that report another bundle than the one that a rollout brought them to last, or none.")
	descAgents      = desc("agents", "Nodes whose agent has reported, by its version: the 20 most frequent, and other.", "version")
	descAttention   = desc("attention", "Things that need a person, by kind, as `lockkeeper status` lists them; a kind is there while there is something of it.", "kind")
	descQuorum      = desc("quorum", "1 while the store has a leader, else 0.")
	descFrozen      = desc("frozen", "1 while the group is frozen; the group with the empty name is the whole fleet.", "group")
	descShut        = desc("shut", "1 while a clock lets nobody of the group start: window (none is open), blackout, interval.", "group", "reason")
	descPeers       = desc("store_members", "Members of the store, by role: leader, follower, learner (no vote yet), unknown (nobody leads).", "role")
	descPeersDown   = desc("store_members_unreachable", "Members of the embedded store that this one cannot reach.")
	descIncarnation = desc("cluster_incarnation", "Incarnation of the cluster; it grows with every restore.")
)

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("lockkeeper_"+name, help, labels, nil)
}

func (c *fleetCollector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{
		descSlots, descHolds, descWaiters, descOldestWait, descHoldAge, descNewestHold, descSilence, descOverdue,
		descStuck, descDrifted, descAgents, descAttention, descMembers, descNodes, descQuorum, descFrozen, descShut, descIncarnation, descPeers, descPeersDown,
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
	gauge(descDrifted, float64(st.Figures.Drifted))
	for version, n := range st.Figures.ByVersion {
		gauge(descAgents, float64(n), version)
	}
	kinds := map[string]int{}
	for i := range st.Attention {
		kinds[st.Attention[i].Kind]++
	}
	for kind, n := range kinds {
		gauge(descAttention, float64(n), kind)
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
	var oldest, newest, silence, longest time.Duration
	overdue := 0
	for i, h := range g.Holds {
		states[h.State]++
		age := now.Sub(h.Since)
		oldest = max(oldest, age)
		if i == 0 || age < newest {
			newest = max(0, age)
		}
		silence = max(silence, c.silence(&h, now))
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
	gauge(descNewestHold, newest.Seconds(), g.Name)
	gauge(descSilence, silence.Seconds(), g.Name)
	gauge(descOldestWait, longest.Seconds(), g.Name)
	for state, n := range states {
		gauge(descHolds, float64(n), g.Name, state)
	}
}

// silence is for how long a holder was not heard.
func (c *fleetCollector) silence(h *api.Hold, now time.Time) time.Duration {
	if h.Heard == nil || h.Via != string(semaphore.ViaAgent) {
		return 0
	}
	last := *h.Heard
	for _, t := range []time.Time{h.Since, c.started} {
		if t.After(last) {
			last = t
		}
	}
	return max(0, now.Sub(last))
}

func number(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
