package ask

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"
)

const (
	// maxRedirects bounds how many are followed.
	maxRedirects = 5
	// maxHeader bounds the header of an answer, in bytes.
	maxHeader = 64 << 10
	// maxToken bounds a token's file, in bytes.
	maxToken = 16 << 10
)

// Config says who may be asked.
type Config struct {
	// Services are the URLs that the configuration names itself: their hosts
	// are allowed.
	Services []Service
	Allow    []string // patterns of hosts, as CheckPattern wants them
	Loopback bool     // this host may be asked too
	CAFile   string   // PEM; the system's authorities if empty
}

// Service is one that the configuration names. Nothing else is shown its token.
type Service struct {
	URL       string // empty: there is none
	TokenFile string // holds a bearer token; empty for none
}

// Client asks. Files are read again for each session, so that they can be
// changed under a running coordinator.
type Client struct {
	cfg   Config
	allow []string
}

// New makes a Client. What is not valid in its Config allows nothing.
func New(cfg Config) *Client {
	c := &Client{cfg: cfg, allow: slices.Clone(cfg.Allow)}
	for _, s := range cfg.Services {
		if u, err := CheckURL(s.URL); err == nil && !slices.Contains(c.allow, hostPort(u)) {
			c.allow = append(c.allow, hostPort(u))
		}
	}
	return c
}

// Request is what to ask.
type Request struct {
	Method string // GET if empty
	URL    *url.URL
	Body   []byte // JSON
	// Service is the one whose token is sent along, while the request stays
	// below its URL.
	Service Service
	// Redirects are statuses of redirects that are wanted as the answer, and not
	// followed.
	Redirects []int
	Limit     int64 // of the answer's body, in bytes
}

// Answer is what came back.
type Answer struct {
	Status int
	Body   []byte
	Date   time.Time // by the other's clock; zero when it did not say
}

// Session is some questions in a row, over connections that are kept between
// them.
type Session struct {
	c    *Client
	http http.Client
}

// Late is that there was no answer within a time.
type Late time.Duration

func (l Late) Error() string { return "no answer within " + time.Duration(l).String() }

// Within bounds questions, and lets their errors say by how much.
func Within(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(ctx, d, Late(d))
}

// Session opens one. Close it.
func (c *Client) Session() (*Session, error) {
	roots, err := c.roots()
	if err != nil {
		return nil, err
	}
	return &Session{c: c, http: http.Client{Transport: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		TLSClientConfig:        &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: maxHeader,
		MaxIdleConnsPerHost:    8,
		DialContext:            (&net.Dialer{Control: c.control}).DialContext,
	}}}, nil
}

// Close ends its connections.
func (s *Session) Close() { s.http.CloseIdleConnections() }

// Once asks one question.
func (c *Client) Once(ctx context.Context, r Request) (Answer, error) {
	s, err := c.Session()
	if err != nil {
		return Answer{}, err
	}
	defer s.Close()
	return s.Do(ctx, r)
}

// Do asks. Any status is an answer; an error is that there is none, in time, of
// at most the wanted size, from a host that may be asked.
func (s *Session) Do(ctx context.Context, r Request) (Answer, error) {
	if err := s.c.Allowed(r.URL); err != nil {
		return Answer{}, err
	}
	began := time.Now()
	token, err := r.Service.token()
	if err != nil {
		return Answer{}, err
	}
	method := r.Method
	if method == "" {
		method = http.MethodGet
	}
	req, err := http.NewRequestWithContext(ctx, method, r.URL.String(), bytes.NewReader(r.Body))
	if err != nil {
		return Answer{}, errors.New(Line(bare(err).Error()))
	}
	req.Header.Set("User-Agent", "lockkeeper")
	req.Header.Set("Accept", "application/json, */*;q=0.5")
	if r.Body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	r.Service.show(req, token)
	client := s.http
	client.CheckRedirect = func(next *http.Request, via []*http.Request) error {
		if slices.Contains(r.Redirects, next.Response.StatusCode) {
			return http.ErrUseLastResponse
		}
		return s.c.follow(next, via, r.Service, token)
	}
	resp, err := client.Do(req)
	if err != nil {
		return Answer{}, s.failure(ctx, r.URL, began, err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, r.Limit+1))
	switch {
	case err != nil:
		return Answer{}, s.failure(ctx, r.URL, began, fmt.Errorf("its answer broke off: %w", err))
	case int64(len(body)) > r.Limit:
		return Answer{}, fmt.Errorf("%s: its answer has more than %d KiB", r.URL.Host, r.Limit>>10)
	}
	a := Answer{Status: resp.StatusCode, Body: body}
	if t, err := http.ParseTime(resp.Header.Get("Date")); err == nil {
		a.Date = t
	}
	return a, nil
}

// follow refuses redirects to where nothing may be asked.
func (c *Client) follow(next *http.Request, via []*http.Request, service Service, token string) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("it redirects more than %d times", maxRedirects)
	}
	if next.URL.User != nil {
		return errors.New("it redirects to a URL with a user or a password in it")
	}
	if via[0].URL.Scheme == "https" && next.URL.Scheme != "https" {
		return errors.New("it redirects from https to " + next.URL.Scheme)
	}
	if err := c.Allowed(next.URL); err != nil {
		return fmt.Errorf("it redirects: %w", err)
	}
	next.Header.Del("Authorization")
	next.Header.Del("Referer")
	service.show(next, token)
	return nil
}

// show adds the token, if the request is to the service that it is for.
func (s Service) show(req *http.Request, token string) {
	if token == "" {
		return
	}
	base, err := url.Parse(s.URL)
	if err != nil || base.Scheme != req.URL.Scheme || hostPort(base) != hostPort(req.URL) {
		return
	}
	under := strings.TrimSuffix(base.Path, "/") + "/"
	if path := req.URL.Path + "/"; !strings.HasPrefix(path, under) || strings.Contains(path, "/../") {
		return
	}
	req.Header.Set("Authorization", "Bearer "+token)
}

// token reads the service's token. The file's name is the operator's own.
func (s Service) token() (string, error) {
	if s.TokenFile == "" {
		return "", nil
	}
	text, err := readFile(s.TokenFile, maxToken)
	if err != nil {
		return "", fmt.Errorf("token file: %w", err)
	}
	token := strings.TrimSpace(string(text))
	if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return "", fmt.Errorf("token file %s: want one token in it, in one line", s.TokenFile)
	}
	return token, nil
}

func (c *Client) roots() (*x509.CertPool, error) {
	if c.cfg.CAFile == "" {
		return nil, nil
	}
	return ReadCA(c.cfg.CAFile)
}

// ReadCA reads a file of authorities.
func ReadCA(file string) (*x509.CertPool, error) {
	text, err := readFile(file, 4<<20)
	if err != nil {
		return nil, fmt.Errorf("CA file: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("CA file %s: want certificates in PEM", file)
	}
	return pool, nil
}

func readFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(text)) > most {
		err = fmt.Errorf("%s has more than %d KiB", name, most>>10)
	}
	return text, err
}

// control refuses connections to addresses at which clouds hand out
// credentials, whatever name led there.
func (c *Client) control(_, address string, _ syscall.RawConn) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil
	}
	ip := to.Addr().Unmap().WithZone("")
	if !ip.IsLinkLocalUnicast() && ip != metadataIPv6 {
		return nil
	}
	for _, pattern := range c.allow {
		if matches(pattern, ip.String(), fmt.Sprint(to.Port())) {
			return nil
		}
	}
	return fmt.Errorf("%s is a link-local address: it is asked only if gates.allow names it", ip)
}

// metadataIPv6 is where Amazon's machines find their credentials over IPv6.
var metadataIPv6 = netip.MustParseAddr("fd00:ec2::254")

// failure is why there was no answer.
func (s *Session) failure(ctx context.Context, u *url.URL, began time.Time, err error) error {
	var late Late
	switch {
	case errors.As(context.Cause(ctx), &late):
		return fmt.Errorf("%s: %w", u.Host, late)
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return fmt.Errorf("%s: no answer within %s", u.Host, rounded(time.Since(began)))
	}
	return errors.New(Line(u.Host + ": " + bare(err).Error()))
}

// rounded leaves out what nobody wants to read.
func rounded(d time.Duration) time.Duration {
	if d < 100*time.Millisecond {
		return d.Round(time.Millisecond)
	}
	return d.Truncate(100 * time.Millisecond)
}

// bare takes the URL out of an error of net/http.
func bare(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}
