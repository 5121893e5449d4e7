package client

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// selfSigned is a server with a key of its own, and the key's pin.
func selfSigned(t *testing.T) (*httptest.Server, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "{}") }))
	srv.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	srv.Config.ErrorLog = log.New(io.Discard, "", 0)
	srv.StartTLS()
	t.Cleanup(srv.Close)
	return srv, fmt.Sprintf("sha256:%x", sha256.Sum256(spki))
}

// Several coordinators have a key each: a client that knows all of them moves
// from one to the next, and talks to nobody else.
func TestPins_EachCoordinatorHasItsOwn(t *testing.T) {
	a, pinA := selfSigned(t)
	b, pinB := selfSigned(t)
	for name, c := range map[string]struct {
		pin, server string
		known       bool
	}{
		"the first of two":  {pinA + "," + pinB, a.URL, true},
		"the second of two": {pinA + ", " + pinB, b.URL, true},
		"another one":       {pinA, b.URL, false},
	} {
		_, err := dial(t, Config{Servers: []string{c.server}, Pin: c.pin}).Status(t.Context())
		if c.known && err != nil || !c.known && (err == nil || !strings.Contains(err.Error(), "not a pinned one")) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
