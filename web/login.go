package web

import (
	"net/http"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// cookieSeconds is how long a browser keeps it.
const cookieSeconds = 12 * 3600

// loginForm is the login page's input.
type loginForm struct{ Next, Why string }

func (s *server) showLogin(w http.ResponseWriter, r *http.Request) {
	v := s.loginView(localPath(r.URL.Query().Get("next")), nil)
	if _, err := r.Cookie(auth.CookieName(r.Host, r.TLS != nil)); err == nil && !auth.From(r.Context()).Known() {
		v.Data = loginForm{v.Data.(loginForm).Next, "The token of this browser counts no more: it was revoked, or it has ended."}
	}
	s.render(w, r, http.StatusOK, "login", v)
}

func (s *server) loginView(next string, p *problem) view {
	return view{Frame: Frame{Now: s.opts.Now(), Data: loginForm{Next: next}}, Title: "Log in", Problem: p}
}

// login takes a token. The cookie is out of reach of scripts and of other sites.
func (s *server) login(w http.ResponseWriter, r *http.Request) {
	next := localPath(r.PostFormValue("next"))
	secret := strings.TrimSpace(r.PostFormValue("token"))
	who, err := s.backend.Authenticate(r.Context(), secret)
	if err == nil && !who.Allows(api.RoleViewer) {
		err = api.Errorf(api.Forbidden, "this token is of role %q; the dashboard needs viewer or more", who.Role)
	}
	if err != nil {
		p := newProblem(w, "Not logged in", err)
		s.render(w, r, p.Kind.Status(), "login", s.loginView(next, p))
		return
	}
	setCookie(w, r, secret, cookieSeconds)
	http.Redirect(w, r, next, http.StatusSeeOther)
}

func (s *server) logout(w http.ResponseWriter, r *http.Request) {
	setCookie(w, r, "", -1)
	http.Redirect(w, r, "/login", http.StatusSeeOther)
}

func setCookie(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{Name: auth.CookieName(r.Host, r.TLS != nil), Value: value, Path: "/", MaxAge: maxAge,
		HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode})
}

// localPath keeps a redirect on this site.
func localPath(next string) string {
	if !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsAny(next, "\\\r\n\t") {
		return "/"
	}
	return next
}
