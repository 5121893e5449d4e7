package auth

import "net"

// CookieName is the cookie in which a browser carries the token that somebody
// signed in with, at the host and port that it asks for, over TLS or not. The
// dashboard sets it, out of reach of scripts and of other sites; the door reads
// it like a bearer token.
//
// Browsers share cookies between all ports of a host, so the name has the port:
// who signs in at one coordinator stays signed in at another beside it. Over TLS
// the prefix __Host- makes browsers refuse such a cookie from any other host, and
// one that came without TLS.
func CookieName(host string, tls bool) string {
	name := "lockkeeper-token"
	if _, port, err := net.SplitHostPort(host); err == nil && port != "" {
		name += "-" + port
	}
	if tls {
		return "__Host-" + name
	}
	return name
}
