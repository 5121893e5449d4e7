package notify

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

const (
	// tryFor bounds one try, from the connection to the end of the answer.
	tryFor = 15 * time.Second
	// maxAnswer is how much of an answer is read: only its status matters.
	maxAnswer = 64 << 10
	// maxRetryAfter bounds what the other side may ask for.
	maxRetryAfter = 6 * time.Hour
)

// Failure is a message that was not delivered in one try.
type Failure struct {
	Detail string        // without secrets
	After  time.Duration // not sooner again, when the other side said so
	Final  bool          // trying again is useless: the other side said that it is gone
}

func (f *Failure) Error() string { return f.Detail }

// Sender sends messages. Its zero value is ready.
type Sender struct {
	Agent string           // the header User-Agent, "lockkeeper" if empty
	Now   func() time.Time // time.Now if nil
}

// Send tries once to deliver a message. Its error is a *Failure.
func (s *Sender) Send(ctx context.Context, h Hook, m Message) error {
	r, err := h.read()
	if err != nil {
		return &Failure{Detail: err.Error()}
	}
	text, err := body(h.Format, m)
	if err != nil {
		return &Failure{Detail: err.Error(), Final: true}
	}
	ctx, cancel := context.WithTimeout(ctx, tryFor)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url.String(), bytes.NewReader(text))
	if err != nil {
		return &Failure{Detail: bare(err).Error()}
	}
	now := time.Now
	if s.Now != nil {
		now = s.Now
	}
	timestamp := strconv.FormatInt(now().Unix(), 10)
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", cmp.Or(s.Agent, "lockkeeper"))
	req.Header.Set("webhook-id", m.ID)
	req.Header.Set("webhook-timestamp", timestamp)
	if len(r.secrets) > 0 {
		req.Header.Set("webhook-signature", signature(r.secrets, m.ID, timestamp, text))
	}
	// Messages are rare: a connection for each keeps none open, and takes the
	// authorities as they are now.
	transport := &http.Transport{
		Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true, ForceAttemptHTTP2: true,
		TLSClientConfig:        &tls.Config{RootCAs: r.roots, MinVersion: tls.VersionTLS12},
		MaxResponseHeaderBytes: maxAnswer,
		DialContext:            (&net.Dialer{Control: control(h.Stranger)}).DialContext,
	}
	defer transport.CloseIdleConnections()
	client := http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Do(req)
	if err != nil {
		return &Failure{Detail: r.url.Host + ": " + why(ctx, err)}
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, io.LimitReader(resp.Body, maxAnswer)); err != nil && resp.StatusCode/100 == 2 {
		return &Failure{Detail: r.url.Host + ": its answer broke off: " + why(ctx, err)}
	}
	return verdict(r.url.Host, resp, now())
}

// verdict is nil for what was delivered.
func verdict(host string, resp *http.Response, now time.Time) error {
	said := fmt.Sprintf("%s answered %d %s", host, resp.StatusCode, http.StatusText(resp.StatusCode))
	switch {
	case resp.StatusCode/100 == 2:
		return nil
	case resp.StatusCode/100 == 3:
		return &Failure{Detail: said + ", a redirect, which is not followed: give the URL that it leads to"}
	case resp.StatusCode == http.StatusGone:
		return &Failure{Detail: said + ": the webhook is no more", Final: true}
	}
	return &Failure{Detail: said, After: retryAfter(resp.Header.Get("Retry-After"), now)}
}

// retryAfter reads the header of that name, seconds or a date; 0 for none.
func retryAfter(text string, now time.Time) time.Duration {
	if s, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(0, min(s, int(maxRetryAfter/time.Second)))) * time.Second
	}
	if t, err := http.ParseTime(text); err == nil {
		return max(0, min(t.Sub(now), maxRetryAfter))
	}
	return 0
}

// control refuses connections that a stranger's webhook may not have.
func control(stranger bool) func(network, address string, _ syscall.RawConn) error {
	return func(_, address string, _ syscall.RawConn) error {
		if !stranger {
			return nil
		}
		to, err := netip.ParseAddrPort(address)
		if err == nil && (to.Addr().Unmap().IsLinkLocalUnicast() || to.Addr().Unmap() == metadataIPv6) {
			return fmt.Errorf("%s is a link-local address: only a webhook of the coordinator's configuration may be there", to.Addr())
		}
		return nil
	}
}

// metadataIPv6 is where Amazon's machines find their credentials over IPv6.
var metadataIPv6 = netip.MustParseAddr("fd00:ec2::254")

// bare takes the URL out of an error of net/http.
func bare(err error) error {
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		return wrapped.Err
	}
	return err
}

func why(ctx context.Context, err error) string {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return fmt.Sprintf("no answer within %s", tryFor)
	}
	return bare(err).Error()
}
