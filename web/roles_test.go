package web_test

import (
	"encoding/xml"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// Whoever opens a form by its address and may not send it learns that from the form:
// its button is off, with the role that is needed beside it.
func TestRoles_AFormIsOffForThoseWhoMayNotSendIt(t *testing.T) {
	t.Parallel()
	b := busyFleet()
	b.status.Groups[0].Holds[1].Revoked = &api.Mark{By: "ann"}
	gates := b.rollouts["ro-7k2f"].Gates
	gates[slices.IndexFunc(gates, func(g api.RolloutGate) bool { return g.Name == "release" })].Role = string(api.RoleAdmin)
	for role, paths := range map[api.Role][]string{
		api.RoleOperator: {
			"/freeze", "/freeze?group=web", "/new-group", "/groups/web/edit", "/groups/night/window", "/groups/night/window?n=0", "/groups/night/window?n=1&remove=true", "/groups/night/blackout", "/groups/night/blackout?name=year-end",
			"/groups/web/holds/web-014/free?fence=41", "/groups/web/holds/web-077/free?fence=41", "/nodes/web-094/priority", "/nodes/web-001/duplicate",
		},
		api.RoleDeployer: {
			"/rollouts/new", "/nodes/web-014/retry", "/nodes/web-000/rollback", "/rollouts/ro-7k2f/halt", "/rollouts/ro-7k2f/abort", "/rollouts/ro-7k2f/skip", "/rollouts/ro-7k2f/retry", "/rollouts/ro-7k19/approve?wave=1",
		},
		api.RoleAdmin: {"/rollouts/ro-7k2f/approve?wave=3&gate=release"}, // as the gate asks
	} {
		for _, path := range paths {
			for _, who := range []api.Role{api.RoleViewer, api.RoleDeployer, api.RoleOperator, api.RoleAdmin} {
				p := auth.Principal{Name: "vera", Role: who}
				off, why := sends(t, text(t, ask(t, b, p, http.MethodGet, path, nil)))
				if may := p.Allows(role); off == may || (why == "") != may {
					t.Errorf("%s for %s: off %v, because %q; needed is %s", path, who, off, why, role)
				}
				if why != "" && !strings.Contains(why, "the role "+string(role)+";") {
					t.Errorf("%s for %s says %q, needed is %s", path, who, why, role)
				}
			}
		}
	}
}

// sends is whether the button that sends the form of a page is off, and why.
func sends(t *testing.T, page string) (off bool, why string) {
	t.Helper()
	_, main, _ := strings.Cut(page, "<main")
	main, _, _ = strings.Cut(main, "</main>")
	last, found := "", false
	eachToken(t, main, func(token xml.Token) {
		switch e := token.(type) {
		case xml.StartElement:
			does, _ := attr(e, "value")
			if last = e.Name.Local; last == "button" && does != "look" && does != "plan" { // which only ask
				_, off = attr(e, "disabled")
				found = true
			}
		case xml.CharData:
			if says := string(e); last == "span" && strings.HasPrefix(says, "Needs the role") {
				why = says
			}
		}
	})
	if !found {
		t.Errorf("no button in %s", main)
	}
	return off, why
}
