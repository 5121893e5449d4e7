package web_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
	"github.com/lockkeeper/lockkeeper/web"
)

// Nothing is offered to a viewer that only others may do, wherever on a page it
// stands: a rule about tables had shown the button that approves.
func TestRoles_NothingIsOfferedToAViewerThatOnlyOthersMayDo(t *testing.T) {
	t.Parallel()
	page := web.New(busyFleet(), web.Options{Version: "test"})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		page.ServeHTTP(w, r.WithContext(auth.With(r.Context(), auth.Principal{Name: "vera", Role: api.RoleViewer})))
	}))
	endsBehindPages(t, func() {
		srv.CloseClientConnections()
		srv.Close()
	})
	p := openTab(t)
	p.look(1440, "light")
	for _, path := range []string{"/", "/groups/web", "/groups/night", "/nodes/web-094", "/nodes/web-052.rack-7.fra1.example.net", "/rollouts", "/rollouts/ro-7k2f", "/rollouts/ro-7k19", "/bundles"} {
		p.load(srv.URL + path)
		p.until(path+" is live", isLive)
		if !p.truth(`document.querySelector('.deployer, .operator') !== null`) {
			t.Errorf("%s has nothing that could be offered", path)
		}
		if p.truth(`[...document.querySelectorAll('.deployer, .operator')].some(e => e.checkVisibility())`) {
			t.Errorf("%s offers what a viewer may not do", path)
		}
	}
}
