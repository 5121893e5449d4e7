package door

import (
	"net/http"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
	"github.com/lockkeeper/lockkeeper/coordinator/auth"
)

// authenticate learns who asks. A secret is always looked at; without one a
// request from this very host is its administrator's.
func (d *door) authenticate(w http.ResponseWriter, r *http.Request) (auth.Principal, error) {
	secret, given := secretOf(r)
	if !given {
		switch {
		case open(r):
			return auth.Principal{}, nil
		case d.Loopback && !forwarded(r):
			return auth.Local(), nil
		case d.Loopback:
			return auth.Principal{}, d.challenge(w, r, "a request that a proxy passed on needs a token like any other from outside")
		case isFleetLock(r):
			return auth.Principal{}, api.Errorf(api.Forbidden, "FleetLock has a listener of its own off loopback: see --fleetlock-listen")
		}
		return auth.Principal{}, d.challenge(w, r, "a token is needed: send Authorization: Bearer TOKEN")
	}
	if d.Authenticate == nil {
		return auth.Principal{}, d.challenge(w, r, "no token is known here")
	}
	principal, err := d.Authenticate(r.Context(), secret)
	if err != nil {
		var own *api.Error
		if e, ok := err.(*api.Error); ok {
			own = e
		}
		if own != nil && own.Kind == api.Unauthenticated {
			return auth.Principal{}, d.challenge(w, r, own.Detail)
		}
		return auth.Principal{}, err
	}
	if r.URL.Path == "/metrics" && !principal.Allows(api.RoleViewer) {
		return auth.Principal{}, api.Errorf(api.Forbidden, "metrics need the role viewer or one above it")
	}
	return principal, nil
}

// open is what anybody may ask: whether the process lives and serves.
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

// secretOf is the bearer token, or the password with which a browser signs in.
func secretOf(r *http.Request) (secret string, given bool) {
	header := r.Header.Get("Authorization")
	if header == "" {
		return "", false
	}
	if scheme, rest, ok := strings.Cut(header, " "); ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(rest), true
	}
	if _, password, ok := r.BasicAuth(); ok {
		return password, true
	}
	return "", true
}

// challenge asks for credentials. A browser that wants a page is asked with a
// scheme that it knows: any name, and the token as password.
func (d *door) challenge(w http.ResponseWriter, r *http.Request, why string) error {
	w.Header().Set("WWW-Authenticate", `Bearer realm="lockkeeper"`)
	if strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Add("WWW-Authenticate", `Basic realm="lockkeeper: a token as password", charset="UTF-8"`)
	}
	return api.Errorf(api.Unauthenticated, "%s", why)
}
