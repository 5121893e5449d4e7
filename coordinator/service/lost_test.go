package service

import (
	"context"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/membership"
)

// leaderless is a store in which nobody leads.
type leaderless struct{ *fakeMembers }

func (leaderless) HasLeader() bool { return false }

// Whoever looks at a cluster without a majority is told of what goes on with one
// member, wherever they look.
func TestLostForGood_IsSaidWhereThereIsNoQuorum(t *testing.T) {
	down := func(id string) api.Member {
		m := named(id, "unknown")
		m.Reachable, m.Unreachable = false, "connection refused"
		return m
	}
	b, f := withMembers(t, named("1", "unknown"), down("2"), down("3"))
	if text := strings.Join(b.cluster().Warnings, "; "); strings.Contains(text, "lockkeeperd recover") {
		t.Errorf("with a quorum the cluster warns of %s", text)
	}
	b.node = leaderless{f}
	for where, text := range map[string]string{
		"the cluster":        strings.Join(b.cluster().Warnings, "; "),
		"readiness":          b.Ready(b.ctx(api.RoleViewer)).Error(),
		"the attention list": membersDown(f.Members())[0].Detail,
	} {
		if !strings.Contains(text, membership.LostForGood) {
			t.Errorf("%s says %q", where, text)
		}
		if strings.Contains(text, "cluster replace") {
			t.Errorf("%s advises what is refused without a quorum: %q", where, text)
		}
	}
}

// Readiness is for anybody's probe; where the members are is not.
func TestReady_TellsAStrangerOnlyWhether(t *testing.T) {
	m := named("2", "unknown")
	m.Reachable, m.Unreachable = false, "dial tcp 10.1.2.3:2380: connection refused"
	b, f := withMembers(t, named("1", "unknown"), m)
	stranger, node := t.Context(), b.as("web-1")
	for _, ctx := range []context.Context{stranger, node, b.ctx(api.RoleViewer)} {
		if err := b.Ready(ctx); err != nil {
			t.Errorf("with a quorum: %v", err)
		}
	}
	b.node = leaderless{f}
	for who, ctx := range map[string]context.Context{"a stranger": stranger, "a host": node} {
		e := mustRefuse(t, b.Ready(ctx), api.NoQuorum)
		if strings.Contains(e.Error(), "10.1.2.3") || strings.Contains(e.Error(), m.Name) || e.RetryAfter == 0 {
			t.Errorf("%s is told %q", who, e)
		}
	}
	if e := mustRefuse(t, b.Ready(b.ctx(api.RoleViewer)), api.NoQuorum); !strings.Contains(e.Error(), m.Name) {
		t.Errorf("a viewer is told %q, want who cannot be reached", e)
	}
}

// Without a quorum reports are refused: that a host is not heard says nothing of it.
func TestUnreachable_IsSaidOfNobodyWithoutAQuorum(t *testing.T) {
	o := &overview{nodes: []api.Node{{ID: "a", Group: "web", State: api.NodeUnreachable}}}
	if list := unreachable(o); len(list) != 1 {
		t.Errorf("with a quorum: %+v", list)
	}
	o.stale = true
	if list := unreachable(o); len(list) != 0 {
		t.Errorf("without: %+v", list)
	}
}
