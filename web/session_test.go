package web_test

import (
	"testing"

	"github.com/lockkeeper/lockkeeper/coordinator"
	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// A session ends on every page of the browser, by whoever logs out in one of them
// or by who revokes its token, and then the login page says why.
func TestSession_ItsEndIsSeenInEveryTab(t *testing.T) {
	t.Parallel()
	s := startConfigured(t, coordinator.Config{RequireToken: true})
	token := s.token(api.RoleOperator, "ann")
	one := openBrowser(t)
	other := openTabIn(one.ctx, t)
	one.look(1440, "light")
	one.load(s.c.URL() + "/")
	one.logIn(token.Secret)
	one.until("the page is there", isLive)
	other.load(s.c.URL() + "/nodes")
	other.until("the other tab is live", isLive)

	one.click(".foot form button")
	one.until("it is logged out", `location.pathname === '/login'`)
	other.until("so is the other tab", `location.pathname === '/login' && location.search === '?next=%2Fnodes'`)
	if other.truth(`document.querySelector('main').innerText.includes('counts no more')`) {
		t.Error("it says that the token counts no more")
	}

	other.expect("401")
	other.logIn(token.Secret)
	other.until("it is where it was", `location.pathname === '/nodes' && `+isLive)
	s.sure(func() error { return s.api.DeleteToken(t.Context(), token.ID) })
	other.until("the login page says why", `location.pathname === '/login' && document.querySelector('main [role=status]').innerText.includes('counts no more')`)
}
