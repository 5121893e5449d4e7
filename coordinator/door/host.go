package door

import (
	"mime"
	"net"
	"net/http"
	"net/netip"
	"strings"

	"github.com/lockkeeper/lockkeeper/coordinator/api"
)

// checkHost refuses a request that was meant for another name. A page whose
// name was rebound to this address calls by its own name (DNS rebinding).
func (d *door) checkHost(r *http.Request) error {
	host := hostOnly(r.Host)
	if host == "" {
		return api.Errorf(api.Invalid, "the request has no Host header")
	}
	if loopbackName(host) || d.hosts[host] {
		return nil
	}
	// An address is not a name that could be rebound. It must be the one that
	// the client connected to.
	if ip, err := netip.ParseAddr(host); err == nil && !d.Loopback {
		if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); ok {
			if at, err := netip.ParseAddrPort(local.String()); err == nil && at.Addr().Unmap() == ip.Unmap() {
				return nil
			}
		}
	}
	return &refusal{api.Errorf(api.Invalid,
		"this coordinator does not go by the name %q: call it by a loopback name or address, or add the name to its hosts (--host)", host),
		http.StatusMisdirectedRequest}
}

// hostOnly is a Host header's name or address, without port, in lower case.
func hostOnly(text string) string {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	text = strings.TrimSuffix(strings.TrimPrefix(text, "["), "]")
	return strings.TrimSuffix(strings.ToLower(text), ".")
}

// changes reports whether a request may change anything.
func changes(r *http.Request) bool {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	}
	return true
}

// checkContentType wants bodies of a kind that a foreign page cannot send
// without asking first. The dashboard's own forms are held by
// http.CrossOriginProtection; FleetLock's hosts vary in what they say.
func checkContentType(r *http.Request) error {
	if !changes(r) || r.ContentLength == 0 || isFleetLock(r) {
		return nil
	}
	given := r.Header.Get("Content-Type")
	mediaType, _, _ := mime.ParseMediaType(given)
	switch mediaType {
	case "application/json":
		return nil
	case "application/vnd.lockkeeper.bundle+tar", "application/octet-stream":
		if r.URL.Path == "/api/v1/bundles" {
			return nil
		}
	case "application/x-www-form-urlencoded":
		if strings.HasPrefix(r.URL.Path, "/ui/") {
			return nil
		}
	}
	return &refusal{api.Errorf(api.Invalid, "a body of type %q is not taken here: want application/json", given), http.StatusUnsupportedMediaType}
}

// maxForm bounds what a page's handler can be made to read, in bytes.
const maxForm = 1 << 20

// boundForm bounds the body of what is no request of the API, whatever its method
// and type: net/http puts the large parts of a form into files, which stay.
func boundForm(w http.ResponseWriter, r *http.Request) error {
	switch {
	case !page(r) || r.Body == nil || r.Body == http.NoBody:
		return nil
	case r.ContentLength > maxForm:
		return api.Errorf(api.TooLarge, "a body of %d bytes: at most %d", r.ContentLength, maxForm)
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	return nil
}
