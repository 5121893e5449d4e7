package door

import (
	"errors"
	"net/http"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// authenticate learns who asks. A secret is always looked at; without one a
// request from this very host is its administrator's, and a page is asked for
// by nobody in particular: the dashboard then shows its login.
func (d *door) authenticate(w http.ResponseWriter, r *http.Request) (auth.Principal, error) {
	secret, given := secretOf(r)
	if !given {
		switch {
		case d.Loopback && !forwarded(r):
			return auth.Local(), nil
		case open(r):
			return auth.Principal{}, nil
		case page(r):
			return auth.Principal{}, nil
		case d.Loopback:
			return auth.Principal{}, d.challenge(w, "a request that a proxy passed on needs a token like any other from outside")
		case isFleetLock(r):
			return auth.Principal{}, api.Errorf(api.Forbidden, "FleetLock has a listener of its own off loopback: see --fleetlock-listen")
		}
		return auth.Principal{}, d.challenge(w, "a token is needed: send Authorization: Bearer TOKEN")
	}
	if d.Authenticate == nil {
		return auth.Principal{}, d.challenge(w, "no token is known here")
	}
	principal, err := d.Authenticate(r.Context(), secret)
	if err != nil {
		var own *api.Error
		if !errors.As(err, &own) || own.Kind != api.Unauthenticated {
			return auth.Principal{}, err
		}
		if page(r) { // a cookie whose token was revoked: sign in again
			return auth.Principal{}, nil
		}
		return auth.Principal{}, d.challenge(w, own.Detail)
	}
	if r.URL.Path == "/metrics" && !principal.Allows(api.RoleViewer) {
		return auth.Principal{}, api.Errorf(api.Forbidden, "metrics need the role viewer or a higher one; the token has the role %s", principal.RoleText())
	}
	return principal, nil
}

// open is what anybody may ask: whether the process lives and serves. Who is known
// is also told why it does not.
func open(r *http.Request) bool {
	return r.URL.Path == "/healthz" || r.URL.Path == "/readyz"
}

// forwarded reports whether a proxy says that the request is not its own.
func forwarded(r *http.Request) bool {
	for _, name := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if r.Header.Get(name) != "" {
			return true
		}
	}
	return false
}

// page reports whether a person's browser asks for the dashboard.
func page(r *http.Request) bool {
	for _, machine := range []string{"/api/", "/v1/", "/metrics"} {
		if strings.HasPrefix(r.URL.Path, machine) {
			return false
		}
	}
	return true
}

// secretOf is the bearer token, or the one that a browser signed in with.
func secretOf(r *http.Request) (secret string, given bool) {
	if header := r.Header.Get("Authorization"); header != "" {
		if scheme, rest, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
			return strings.TrimSpace(rest), true
		}
		return "", true
	}
	if cookie, err := r.Cookie(auth.CookieName(r.Host, r.TLS != nil)); err == nil && cookie.Value != "" {
		return cookie.Value, true
	}
	return "", false
}

// challenge asks for a token.
func (d *door) challenge(w http.ResponseWriter, why string) error {
	w.Header().Set("WWW-Authenticate", `Bearer realm="lockkeeper"`)
	return api.Errorf(api.Unauthenticated, "%s", why)
}
