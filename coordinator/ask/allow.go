package ask

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// CheckPattern says what is wrong with a pattern of hosts: a name, an address, or
// *. and a domain for all names below it, each with or without a port.
func CheckPattern(pattern string) error {
	host, port := splitHost(pattern)
	name := strings.TrimPrefix(host, "*.")
	_, err := netip.ParseAddr(name)
	switch {
	case err == nil && name == host:
	case err == nil, name == "", strings.ContainsAny(name, "*/:@[]% \t\n"), strings.HasPrefix(name, "."), strings.Contains(port, "/"):
		return fmt.Errorf("%q: want a host such as prometheus.example.com, 10.0.0.5:9090, [::1]:9090 or *.example.com", pattern)
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && (err != nil || n == 0) {
		return fmt.Errorf("%q: want a port from 1 to 65535 behind the colon, or none", pattern)
	}
	return nil
}

// CheckURL reads the URL of a service. It has no user and no password: those
// would be shown to everybody who may see what the URL stands in.
func CheckURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Hostname() == "" || u.Opaque != "":
		return nil, fmt.Errorf("want a URL such as https://prometheus.example.com:9090")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("the scheme %q is not asked: want http or https", u.Scheme)
	case u.User != nil:
		return nil, fmt.Errorf("has a user or a password in it, which everybody could read: leave them out, and give the coordinator's configuration a token file if one is needed")
	case u.Fragment != "":
		return nil, fmt.Errorf("has a fragment behind #, which no server is sent: leave it out")
	}
	return u, nil
}

// Allowed is nil for a URL that may be asked.
func (c *Client) Allowed(u *url.URL) error {
	host, port := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), portOf(u)
	for _, pattern := range c.allow {
		if matches(pattern, host, port) {
			return nil
		}
	}
	if c.cfg.Loopback && isLoopback(host) {
		return nil
	}
	return fmt.Errorf("%s is not among the hosts that this coordinator may ask: want one of gates.allow in its configuration (%s)", u.Host, c.listed())
}

// listed are the hosts that are allowed.
func (c *Client) listed() string {
	list := c.allow
	if c.cfg.Loopback {
		list = append(list[:len(list):len(list)], "this host")
	}
	if len(list) == 0 {
		return "none is"
	}
	return strings.Join(list, ", ")
}

func matches(pattern, host, port string) bool {
	want, wantPort := splitHost(strings.ToLower(pattern))
	if wantPort != "" && wantPort != port {
		return false
	}
	if domain, ok := strings.CutPrefix(want, "*."); ok {
		return strings.HasSuffix(host, "."+domain)
	}
	if a, err := netip.ParseAddr(want); err == nil {
		b, err := netip.ParseAddr(host)
		return err == nil && a.Unmap() == b.Unmap()
	}
	return want == host
}

// splitHost splits a host and a port that may be missing.
func splitHost(text string) (host, port string) {
	if _, err := netip.ParseAddr(text); err == nil {
		return text, ""
	}
	if h, p, err := net.SplitHostPort(text); err == nil {
		return h, p
	}
	return strings.TrimSuffix(strings.TrimPrefix(text, "["), "]"), ""
}

// hostPort is the host of a URL as a pattern that allows just it.
func hostPort(u *url.URL) string { return net.JoinHostPort(strings.ToLower(u.Hostname()), portOf(u)) }

func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

func isLoopback(host string) bool {
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
