package service

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/etcdstore"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
	"github.com/lockkeeper/lockkeeper/semaphore"
)

// The kinds of attention, most urgent first.
const (
	attentionFailed      = "failed"
	attentionOverdue     = "overdue"
	attentionHalted      = "halted"
	attentionApproval    = "approval"
	attentionUnable      = "unable"
	attentionUnconfirmed = "unconfirmed"
	attentionDuplicate   = "duplicate_id"
	attentionDisk        = "disk_low"
	attentionDiskSlow    = "disk_slow"
	attentionClock       = "clock_off"
	attentionMember      = "member_down"
	attentionSchema      = "schema_behind"
	attentionVersions    = "versions_apart"
	attentionUnreachable = "unreachable"
	attentionForeign     = "foreign_agent"
	attentionUntold      = "undelivered"
	attentionDrifted     = "drifted"
	attentionRolledBack  = "rolled_back"
)

// Severities.
const (
	bad  = "bad"
	warn = "warn"
	lost = "lost"
)

const (
	// namesShown is how many nodes a grouped entry names.
	namesShown = 5
	// diskFloor is the free space below which nothing new begins, in bytes.
	diskFloor = 512 << 20
	// quotaFloor is the same for the database, in percent of its quota.
	quotaFloor = 80
)

// attention lists what needs a person, most urgent first.
func (s *Service) attention(o *overview, states map[string]semaphore.State) []api.Attention {
	list := append([]api.Attention{}, s.afterRestore()...)
	list = append(list, stuck(o)...)
	list = append(list, freed(o)...)
	for _, r := range o.rollouts {
		if r.State == api.RolloutHalted {
			list = append(list, api.Attention{
				Kind: attentionHalted, Severity: bad, Rollout: r.ID, Group: r.Spec.Group, Since: r.StoppedAt,
				Title:  fmt.Sprintf("Rollout %s halted", rolloutName(&r)),
				Detail: sentenceOf(r.Why) + "Nothing new starts under it until somebody resumes, retries or aborts it.",
			})
		}
	}
	list = append(list, unapproved(o)...)
	list = append(list, storeFull(s.node.Info())...)
	list = append(list, unable(o)...)
	list = append(list, unconfirmed(states, o.at)...)
	for i := range o.nodes {
		if n := &o.nodes[i]; n.Duplicate != "" {
			list = append(list, api.Attention{
				Kind: attentionDuplicate, Severity: warn, Node: n.ID, Group: n.Group, Hold: n.Hold,
				Title:  fmt.Sprintf("Two hosts go by the id %s", n.ID),
				Detail: sentenceOf(n.Duplicate) + "Give one of them another id, then clear the mark.",
			})
		}
	}
	if free := s.node.DiskFree(); s.node.Info().Embedded && free > 0 && free < diskFloor {
		list = append(list, api.Attention{
			Kind: attentionDisk, Severity: bad, Title: "The coordinator is low on disk space",
			Detail: fmt.Sprintf("%d MB are free, %d MB are needed: nothing new starts until there is room.", free>>20, diskFloor>>20),
		})
	}
	list = append(list, s.diskSlow()...)
	list = append(list, s.snapshotTrouble()...)
	list = append(list, s.silencesTrouble()...)
	list = append(list, clockOff(states)...)
	list = append(list, peersClockOff(s.db.Coordinators())...)
	list = append(list, schemaBehind(s.db.Coordinators(), s.db.Schema())...)
	if s.cfg.Members != nil {
		list = append(list, membersDown(s.cluster().Members)...)
	}
	list = append(list, versionsApart(o, s.cfg.Version)...)
	list = append(list, unreachable(o)...)
	list = append(list, untold(o)...)
	list = append(list, drifted(o)...)
	list = append(list, foreignAgents(o, s.db.Foreign())...)
	return append(list, rolledBack(o)...)
}

// unable lists the agents that can do nothing until a person mends something on
// their host.
func unable(o *overview) []api.Attention {
	var list []api.Attention
	for i := range o.nodes {
		n := &o.nodes[i]
		if n.Report.Trouble == "" {
			continue
		}
		list = append(list, api.Attention{
			Kind: attentionUnable, Severity: bad, Node: n.ID, Group: n.Group, Hold: n.Hold, Since: n.ChangedAt,
			Title:  fmt.Sprintf("The agent of %s can do nothing", n.ID),
			Detail: sentenceOf(n.Report.Trouble) + "The host stays as it is. Its agent goes on by itself once that is mended.",
		})
	}
	return list
}

// storeFull says that etcd's own bound on its database is near, or was reached.
func storeFull(info api.StoreInfo) []api.Attention {
	a := api.Attention{Kind: attentionDisk, Severity: bad}
	switch {
	case info.NoSpace:
		a.Title = "etcd refuses writes: its database has reached its quota"
		a.Detail = "Let it compact and defragment, or raise its quota, then lift the alarm NOSPACE (`etcdctl alarm disarm`)."
	case info.Quota > 0 && info.DBSize*100 >= info.Quota*quotaFloor:
		a.Title = "The store's database is nearly full"
		a.Detail = fmt.Sprintf("%d of %d MB are used: nothing new starts until it is compacted and defragmented, or its quota is raised.", info.DBSize>>20, info.Quota>>20)
	default:
		return nil
	}
	return []api.Attention{a}
}

// schemaBehind are the coordinators that cannot read all that is stored.
func schemaBehind(peers []etcdstore.Peer, schema int) []api.Attention {
	var list []api.Attention
	for _, p := range peers {
		if p.MaxV == 0 || p.MaxV >= schema { // 0: it has not said
			continue
		}
		list = append(list, api.Attention{
			Kind: attentionSchema, Severity: bad, Since: p.StartedAt,
			Title:  fmt.Sprintf("Coordinator %s is of a version that is too old for this cluster", p.Name),
			Detail: fmt.Sprintf("Stored values have schema %d, and it reads up to %d: in groups that were changed since it grants nothing, and takes back only slots that were granted before. Update it.", schema, p.MaxV),
		})
	}
	return list
}

// stuck are the holds that will not come back by themselves.
func stuck(o *overview) []api.Attention {
	var failed, overdue []api.Attention
	for i := range o.groups {
		for _, h := range o.groups[i].Holds {
			a := api.Attention{Group: h.Group, Node: h.Node, Since: h.Since, Severity: bad, Hold: &h}
			switch {
			case h.Failed:
				a.Kind, a.Title = attentionFailed, fmt.Sprintf("%s failed and keeps its slot", h.Node)
				a.Detail = sentenceOf(failureOf(o, h.Node)) + "Repair the host, or free the slot by name if it is down."
				failed = append(failed, a)
			case h.Overdue:
				a.Kind, a.Title, a.Since = attentionOverdue, fmt.Sprintf("%s is overdue", h.Node), h.Deadline
				a.Detail = fmt.Sprintf("It should have returned its slot at %s. Look at the host; if it is down, free the slot by name.", clock(h.Deadline))
				overdue = append(overdue, a)
			}
		}
	}
	return append(failed, overdue...)
}

func failureOf(o *overview, node string) string {
	i, found := slices.BinarySearchFunc(o.nodes, node, func(n api.Node, id string) int { return strings.Compare(n.ID, id) })
	if !found {
		return ""
	}
	r := &o.nodes[i].Report
	if r.Failure != nil {
		return r.Failure.Reason + ": " + r.Failure.Detail
	}
	return r.Message
}

func unconfirmed(states map[string]semaphore.State, now time.Time) []api.Attention {
	var list []api.Attention
	for group, st := range states {
		for _, m := range st.Members {
			if !m.RetryAfter.After(now) {
				continue
			}
			list = append(list, api.Attention{
				Kind: attentionUnconfirmed, Severity: warn, Node: m.Node, Group: group,
				Title: fmt.Sprintf("%s does not confirm its slot", m.Node),
				Detail: fmt.Sprintf("It asked for a slot and did not confirm it within %s, %d times in a row; it may ask again at %s. Look at its agent.",
					semaphore.ConfirmWithin, m.Unconfirmed, clock(m.RetryAfter)),
			})
		}
	}
	slices.SortFunc(list, byNode)
	return list
}

// clockOff says that this coordinator grants nothing where a clock decides.
func clockOff(states map[string]semaphore.State) []api.Attention {
	why := ""
	var groups []string
	for name, st := range states {
		if spec := &st.Spec; st.ClockOff != "" && (len(spec.Windows) > 0 || len(spec.Blackouts) > 0 || spec.GrantInterval > 0) {
			why, groups = st.ClockOff, append(groups, name)
		}
	}
	if why == "" {
		return nil
	}
	slices.Sort(groups)
	return []api.Attention{{
		Kind: attentionClock, Severity: bad, Title: "This coordinator's clock is off",
		Detail: sentenceOf(why) + "It grants nothing in groups with windows, blackouts or a grant interval (" + strings.Join(groups, ", ") + "). Set its clock.",
	}}
}

// diskSlow says that writing to this coordinator's disk takes too long.
func (s *Service) diskSlow() []api.Attention {
	n, embedded := s.node.(interface{ DiskSlow() time.Duration })
	if !embedded || n.DiskSlow() == 0 {
		return nil
	}
	return []api.Attention{{
		Kind: attentionDiskSlow, Severity: warn, Title: "The coordinator's disk is slow",
		Detail: fmt.Sprintf("A write to it takes %s on average, and each change waits for the disk of the member that leads. Of several members another one is made to lead. Mend the disk, or replace this member.", roundly(n.DiskSlow())),
	}}
}

// membersDown lists the members of an embedded store that cannot be reached from
// this one.
func membersDown(members []api.Member) []api.Attention {
	var list []api.Attention
	voters := membership.Voters(members)
	down := 0
	for _, m := range voters {
		if !m.Reachable {
			down++
		}
	}
	spare := (len(voters)-1)/2 - down
	for _, m := range members {
		if m.Reachable || m.Unreachable == "" || !m.Started {
			continue
		}
		a := api.Attention{
			Kind: attentionMember, Severity: warn, Title: fmt.Sprintf("Coordinator %s cannot be reached", membership.Call(m)),
			Detail: fmt.Sprintf("From the one that answers: %s. Start it again", m.Unreachable),
		}
		if spare >= 0 { // else a replacement would be refused
			a.Detail += fmt.Sprintf(", or replace it: `lockkeeper cluster replace %s`", membership.Call(m))
		}
		a.Detail += ". "
		switch {
		case spare > 0:
			a.Detail += fmt.Sprintf("The cluster bears %d more.", spare)
		case spare == 0:
			a.Severity = bad
			a.Detail += "The cluster bears no other loss."
		default:
			a.Severity = bad
			a.Detail += "Too few members are left: nothing can be changed, and " + membership.LostForGood + "."
		}
		list = append(list, a)
	}
	return list
}

// unreachable groups the silent nodes, since one cause often silences many.
func unreachable(o *overview) []api.Attention {
	if o.stale { // without a quorum no host's report is taken
		return nil
	}
	return grouped(o, func(n *api.Node) bool { return n.State == api.NodeUnreachable }, func(group string, nodes []*api.Node) api.Attention {
		since := nodes[0].LastHeard
		for _, n := range nodes {
			if n.LastHeard.Before(since) {
				since = n.LastHeard
			}
		}
		return api.Attention{
			Kind: attentionUnreachable, Severity: lost, Since: since,
			Title:  fmt.Sprintf("%s not heard from in group %s", are(len(nodes), "host"), group),
			Detail: names(nodes) + " sent nothing for 2 minutes or more. They start nothing meanwhile, and their agents come back by themselves.",
		}
	})
}

// rolledBack groups the nodes whose last bundle failed and that are in service.
func rolledBack(o *overview) []api.Attention {
	return grouped(o, inServiceAfterFailure, func(group string, nodes []*api.Node) api.Attention {
		var since time.Time
		detail := ""
		for _, n := range nodes {
			if f := n.Report.Failure; f != nil && (since.IsZero() || f.At.Before(since)) {
				since, detail = f.At, f.Reason+": "+f.Detail
			}
		}
		return api.Attention{
			Kind: attentionRolledBack, Severity: warn, Since: since,
			Title:  fmt.Sprintf("%s in service after a failed update, in group %s", are(len(nodes), "host"), group),
			Detail: sentenceOf(detail) + names(nodes) + " did not take the last bundle. Roll out one that works, or retry.",
		}
	})
}

func inServiceAfterFailure(n *api.Node) bool {
	return n.State == api.NodeFailed && n.Hold == nil && n.Report.Trouble == "" && n.Report.Healthy
}

func failedInService(o *overview) int {
	n := 0
	for i := range o.nodes {
		if inServiceAfterFailure(&o.nodes[i]) {
			n++
		}
	}
	return n
}

// grouped makes one entry for each group with nodes that match.
func grouped(o *overview, match func(*api.Node) bool, entry func(group string, nodes []*api.Node) api.Attention) []api.Attention {
	by := map[string][]*api.Node{}
	for i := range o.nodes {
		if n := &o.nodes[i]; match(n) {
			by[n.Group] = append(by[n.Group], n)
		}
	}
	list := make([]api.Attention, 0, len(by))
	for group, nodes := range by {
		a := entry(group, nodes)
		a.Group = group
		if len(nodes) == 1 {
			a.Node = nodes[0].ID
		}
		list = append(list, a)
	}
	slices.SortFunc(list, func(a, b api.Attention) int { return cmp.Compare(a.Group, b.Group) })
	return list
}

func names(nodes []*api.Node) string {
	texts := make([]string, 0, namesShown)
	for _, n := range nodes[:min(len(nodes), namesShown)] {
		texts = append(texts, n.ID)
	}
	text := strings.Join(texts, ", ")
	if more := len(nodes) - len(texts); more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

func byNode(a, b api.Attention) int { return strings.Compare(a.Node, b.Node) }

func rolloutName(r *api.Rollout) string {
	switch {
	case r.Spec.Name != "":
		return r.Spec.Name
	case r.BundleName != "":
		return r.BundleName
	}
	return r.ID
}

// sentenceOf ends a text as a sentence, with a blank behind it.
func sentenceOf(text string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return ""
	}
	if !strings.HasSuffix(text, ".") {
		text += "."
	}
	return capital(text) + " "
}

func clock(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
