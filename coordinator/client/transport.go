package client

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// dialWithin keeps a coordinator that is gone from delaying the next one.
const dialWithin = 5 * time.Second

// keepAlive finds a coordinator that the network has cut off within 20 s, though a
// request that waits there may wait for much longer. One whose process stands
// still is not found so: its kernel answers.
var keepAlive = net.KeepAliveConfig{Enable: true, Idle: 10 * time.Second, Interval: 5 * time.Second, Count: 2}

// noRedirects makes a redirect an answer: a coordinator sends none, and what
// does must not be followed with a token.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

func newHTTP(given *http.Client, tc *tls.Config) *http.Client {
	if given != nil {
		own := *given
		own.CheckRedirect = noRedirects
		return &own
	}
	return &http.Client{CheckRedirect: noRedirects, Transport: &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: dialWithin, KeepAliveConfig: keepAlive}).DialContext,
		TLSClientConfig:       tc,
		TLSHandshakeTimeout:   dialWithin,
		ForceAttemptHTTP2:     true,
		MaxIdleConnsPerHost:   8,
		IdleConnTimeout:       90 * time.Second,
		ExpectContinueTimeout: time.Second,
	}}
}

func newUnixHTTP(path string) *http.Client {
	dialer := &net.Dialer{Timeout: dialWithin}
	return &http.Client{CheckRedirect: noRedirects, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", path)
		},
		MaxIdleConnsPerHost: 8,
		IdleConnTimeout:     90 * time.Second,
	}}
}

// tlsConfig verifies a server by authorities, by the pin of its key, or both.
func tlsConfig(caFile, pin string) (*tls.Config, error) {
	tc := &tls.Config{MinVersion: tls.VersionTLS12}
	if caFile != "" {
		pem, err := os.ReadFile(caFile)
		if err != nil {
			return nil, fmt.Errorf("CA file: %w", err)
		}
		tc.RootCAs = x509.NewCertPool()
		if !tc.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("CA file %s: holds no certificate in PEM form", caFile)
		}
	}
	if pin == "" {
		return tc, nil
	}
	var pins [][]byte
	for _, one := range strings.Split(pin, ",") {
		text, ok := strings.CutPrefix(strings.TrimSpace(one), "sha256:")
		want, err := hex.DecodeString(text)
		if !ok || err != nil || len(want) != sha256.Size {
			return nil, fmt.Errorf("pin %q: want sha256: and 64 hexadecimal digits, as lockkeeperd prints it at its start, one for each coordinator with commas between them", one)
		}
		pins = append(pins, want)
	}
	// A pinned key is its own proof: without authorities neither chain nor host
	// name is looked at.
	tc.InsecureSkipVerify = caFile == ""
	tc.VerifyConnection = func(cs tls.ConnectionState) error {
		if len(cs.PeerCertificates) == 0 {
			return errors.New("the server shows no certificate")
		}
		got := sha256.Sum256(cs.PeerCertificates[0].RawSubjectPublicKeyInfo)
		for _, want := range pins {
			if subtle.ConstantTimeCompare(got[:], want) == 1 {
				return nil
			}
		}
		return fmt.Errorf("the server's key is sha256:%x and not a pinned one", got)
	}
	return tc, nil
}

// Close drops idle connections. Requests under way go on.
func (c *Client) Close() {
	for _, s := range c.servers {
		s.http.CloseIdleConnections()
	}
}
