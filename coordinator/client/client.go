package client

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrUnreachable: no coordinator answered, or what answered is none. Nothing
// is known of the outcome.
var ErrUnreachable = errors.New("no coordinator could be reached")

// answerWithin is how long a coordinator may take for an answer that waits for
// nothing. A request that may wait has that time on top.
const answerWithin = 15 * time.Second

// silentFor is how long a coordinator may be silent before another one is asked
// first, when the caller gave up meanwhile. One that waits for nothing and has
// not answered by then hangs.
const silentFor = 3 * time.Second

// Config says where the coordinators are and how to know and convince them.
type Config struct {
	// Servers are tried in turn: "http://HOST:PORT", "https://HOST:PORT" or
	// "unix:/PATH".
	Servers []string
	// Token is the credential. TokenFile names a file that holds it, and is
	// read again for each request, so that a token can be replaced.
	Token, TokenFile string
	// CAFile is a PEM file of the authorities that may vouch for a server.
	CAFile string
	// Pin is "sha256:" and the SHA-256 of the server certificate's public key
	// (SubjectPublicKeyInfo) in hexadecimal; several, one for each server, have
	// commas between them. Without CAFile it takes the place of authorities and
	// host name.
	Pin string
	// Cluster is the id of the one cluster whose answers are believed; empty
	// believes any. See SetCluster.
	Cluster string
	// HTTP is used for http and https servers instead of a client of our own,
	// which ignores CAFile and Pin.
	HTTP *http.Client
	// UserAgent names the program, such as "lockkeeper-agent/1.2.0".
	UserAgent string
}

// Client talks to the coordinators of one cluster. It is safe for concurrent use.
type Client struct {
	token     string
	tokenFile string
	userAgent string
	servers   []server
	good      atomic.Int64 // index of the server that answered last

	mu     sync.Mutex
	pinned pin
}

// pin is the one cluster that is believed, from that incarnation on.
type pin struct {
	cluster     string // "" believes any
	incarnation int64
}

// server is one coordinator's address.
type server struct {
	name string // as configured, for messages
	base string // in front of each path
	http *http.Client
}

// New checks the configuration and makes a client. It connects to nothing.
func New(cfg Config) (*Client, error) {
	if len(cfg.Servers) == 0 {
		return nil, errors.New("no server: want at least one of http://HOST:PORT, https://HOST:PORT or unix:/PATH")
	}
	if cfg.Token != "" && cfg.TokenFile != "" {
		return nil, errors.New("both a token and a token file are given: want one of them")
	}
	c := &Client{tokenFile: cfg.TokenFile, token: strings.TrimSpace(cfg.Token), userAgent: cfg.UserAgent, pinned: pin{cluster: cfg.Cluster}}
	if strings.ContainsAny(c.token, " \t\r\n") {
		return nil, errors.New("the token contains white space: want the secret as it was shown")
	}
	if c.tokenFile != "" {
		if _, err := c.secret(); err != nil {
			return nil, err
		}
	}
	tlsConfig, err := tlsConfig(cfg.CAFile, cfg.Pin)
	if err != nil {
		return nil, err
	}
	shared := newHTTP(cfg.HTTP, tlsConfig)
	for _, text := range cfg.Servers {
		s, err := newServer(strings.TrimSpace(text), shared)
		if err != nil {
			return nil, err
		}
		if (c.token != "" || c.tokenFile != "") && s.clear() {
			return nil, fmt.Errorf("server %s: a token would travel in the clear: want https://, or http:// to a loopback address, or unix:/PATH", s.name)
		}
		c.servers = append(c.servers, s)
	}
	return c, nil
}

func newServer(text string, shared *http.Client) (server, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if !strings.HasPrefix(path, "/") {
			return server{}, fmt.Errorf("server %q: want an absolute path, as in unix:/run/lockkeeper/lockkeeperd.sock", text)
		}
		return server{name: "unix:" + path, base: "http://localhost", http: newUnixHTTP(path)}, nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return server{}, fmt.Errorf("server %q: want http://HOST:PORT, https://HOST:PORT or unix:/PATH", redacted(text))
	}
	if u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return server{}, fmt.Errorf("server %s://%s: want no credentials, query or fragment in it; give a token by file or environment", u.Scheme, u.Host)
	}
	base := strings.TrimSuffix(u.String(), "/")
	return server{name: base, base: base, http: shared}, nil
}

// redacted keeps what may be a credential out of a message.
func redacted(text string) string {
	if at := strings.LastIndexByte(text, '@'); at >= 0 {
		return "…" + text[at:]
	}
	return text
}

// clear reports whether what is sent to the server can be read on a network.
func (s server) clear() bool {
	u, err := url.Parse(s.base)
	if err != nil || u.Scheme == "https" {
		return false
	}
	if strings.EqualFold(u.Hostname(), "localhost") {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err != nil || !ip.IsLoopback()
}

// SetCluster pins the one cluster whose answers are believed from now on, and
// the incarnation that they must have at least. The id is sent with each
// request. An answer of any other cluster, or of one that a restore has
// replaced, is an error of kind wrong_cluster, refusals included. An empty id
// believes any.
func (c *Client) SetCluster(id string, incarnation int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pinned = pin{id, incarnation}
}

// Servers lists the coordinators as configured.
func (c *Client) Servers() []string {
	names := make([]string, len(c.servers))
	for i, s := range c.servers {
		names[i] = s.name
	}
	return names
}

// secret is the token to send, empty when there is none.
func (c *Client) secret() (string, error) {
	if c.tokenFile == "" {
		return c.token, nil
	}
	b, err := os.ReadFile(c.tokenFile)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(b))
	if token == "" || strings.ContainsAny(token, " \t\r\n") {
		return "", fmt.Errorf("token file %s: want one line with the secret as it was shown", c.tokenFile)
	}
	return token, nil
}
