package service

import (
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

func TestVersionsApart_AgentsMoreThanOneMinorAwayAreListedAndServed(t *testing.T) {
	o := &overview{}
	for id, version := range map[string]string{
		"same": "v1.4.2", "behind": "v1.3.9", "ahead": "1.5.0", "old": "v1.2.0", "older": "v1.1.0", "new": "v1.6.0-rc.1", "major": "v2.4.0",
		"built": "devel", "silent": "", "commit": "v0.0.0-20261127083005-cf04aae0ff01", "odd": "v1.x.0",
	} {
		o.nodes = append(o.nodes, api.Node{ID: id, Group: "web", Via: "agent", Report: api.Report{Version: version}})
	}
	o.nodes = append(o.nodes,
		api.Node{ID: "lock", Group: "web", Via: "fleetlock", Report: api.Report{Version: "v1.0.0"}},
		api.Node{ID: "db-1", Group: "db", Via: "agent", Report: api.Report{Version: "v1.2.0"}})
	got := map[string]api.Attention{}
	for _, a := range versionsApart(o, "v1.4.0") {
		got[a.Group] = a
	}
	web := got["web"]
	if len(got) != 2 || web.Kind != "versions_apart" || web.Severity != warn || !strings.HasPrefix(web.Title, "4 of the agents in group web are ") {
		t.Fatalf("listed are %+v", got)
	}
	for _, word := range []string{"old", "older", "new", "major", "v1.1.0", "v2.4.0", "v1.4.0"} {
		if !strings.Contains(web.Detail, word) {
			t.Errorf("%q does not name %s", web.Detail, word)
		}
	}
	if list := versionsApart(o, "devel"); len(list) != 0 {
		t.Errorf("a coordinator of no version judges: %+v", list)
	}
}

// An agent that is far away is on the attention list of a coordinator, and gets
// its slot all the same.
func TestAttention_OfAnAgentThatIsTooOld(t *testing.T) {
	b := start(t, func(c *Config) { c.Version = "v1.4.0" })
	req := poll("default")
	req.Report.Version = "v1.1.0"
	if _, err := b.Poll(b.as("web-1"), "web-1", req); err != nil {
		t.Fatal(err)
	}
	b.acquire("default", "web-1")
	st, err := b.Status(b.admin())
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range st.Attention {
		if a.Kind == attentionVersions && strings.Contains(a.Detail, "web-1") {
			return
		}
	}
	t.Errorf("attention is %+v", st.Attention)
}
