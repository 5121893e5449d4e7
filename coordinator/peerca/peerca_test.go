package peerca

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// member is a folder with an authority and a certificate of it.
func member(t *testing.T, ca *CA, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	if err := ca.Save(dir); err != nil {
		t.Fatal(err)
	}
	if err := ca.Issue(dir, time.Now(), names...); err != nil {
		t.Fatal(err)
	}
	return dir
}

func newCA(t *testing.T) *CA {
	t.Helper()
	ca, err := New(time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

// serve answers over TLS, and returns the URL.
func serve(t *testing.T, config *tls.Config) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "here") })}
	go func() { _ = s.Serve(tls.NewListener(ln, config)) }()
	t.Cleanup(func() { _ = s.Close() })
	return "https://" + ln.Addr().String()
}

func ask(t *testing.T, url string, config *tls.Config) error {
	t.Helper()
	transport := &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}
	defer transport.CloseIdleConnections()
	resp, err := (&http.Client{Transport: transport, Timeout: 10 * time.Second}).Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.ReadAll(resp.Body)
	return err
}

func config(t *testing.T, dir string, ca *CA) *tls.Config {
	t.Helper()
	c, err := Config(FilesIn(dir), ca)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestConfig_MembersOfOneAuthorityReachEachOtherAndNobodyElseDoes(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	a, b := member(t, ca), member(t, ca)
	url := serve(t, config(t, a, ca))
	if err := ask(t, url, config(t, b, ca)); err != nil {
		t.Errorf("a member: %v", err)
	}
	bare := config(t, b, ca)
	bare.Certificates = nil
	old := config(t, b, ca)
	old.MinVersion, old.MaxVersion = tls.VersionTLS12, tls.VersionTLS12
	stranger := config(t, member(t, other), other)
	stranger.RootCAs = config(t, b, ca).RootCAs // it knows who answers, and is not known
	for name, c := range map[string]*tls.Config{
		"without a certificate": bare, "TLS 1.2": old, "a certificate of another authority": stranger,
		"one that believes another authority": config(t, member(t, other), other),
	} {
		if err := ask(t, url, c); err == nil {
			t.Errorf("%s was let in", name)
		}
	}
	wrong := serve(t, func() *tls.Config {
		c := config(t, a, ca)
		dir := t.TempDir()
		if err := ca.Issue(dir, time.Now().Add(-2*leafLife)); err != nil {
			t.Fatal(err)
		}
		pair, err := tls.LoadX509KeyPair(FilesIn(dir).Cert, FilesIn(dir).Key)
		if err != nil {
			t.Fatal(err)
		}
		c.Certificates = []tls.Certificate{pair}
		return c
	}())
	if err := ask(t, wrong, config(t, b, ca)); err == nil {
		t.Error("a certificate that has ended was believed")
	}
}

// The authority's certificate is no secret: who shows it without being vouched
// for by it is not believed.
func TestPinned_BelievesOnlyWhomTheAuthorityVouchesFor(t *testing.T) {
	ca, other := newCA(t), newCA(t)
	server := func(dir string) *tls.Config {
		pair, err := tls.LoadX509KeyPair(FilesIn(dir).Cert, FilesIn(dir).Key)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	own := server(member(t, ca))
	if err := ask(t, serve(t, own), Pinned(ca.Fingerprint())); err != nil {
		t.Errorf("a member: %v", err)
	}
	foreign := server(member(t, other))
	lying := server(member(t, other))
	lying.Certificates[0].Certificate[1] = ca.cert.Raw
	old := server(member(t, ca))
	old.MaxVersion = tls.VersionTLS12
	for name, c := range map[string]*tls.Config{"another authority": foreign, "the authority's certificate behind another's": lying} {
		if err := ask(t, serve(t, c), Pinned(ca.Fingerprint())); !errors.Is(err, ErrOtherCA) {
			t.Errorf("%s: %v, want ErrOtherCA", name, err)
		}
	}
	if err := ask(t, serve(t, old), Pinned(ca.Fingerprint())); err == nil {
		t.Error("TLS 1.2 was spoken")
	}
}

func TestLoad_FindsWhatSaveKept(t *testing.T) {
	ca := newCA(t)
	dir := member(t, ca)
	again, err := Load(dir)
	if err != nil || again.Fingerprint() != ca.Fingerprint() {
		t.Fatalf("Load: %v", err)
	}
	for _, name := range []string{caCertFile, caKeyFile, certFile, keyFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v %v, want 0600", name, info.Mode(), err)
		}
	}
	if _, err := Load(t.TempDir()); !errors.Is(err, ErrMissing) {
		t.Errorf("an empty folder: %v, want ErrMissing", err)
	}
	cert, _, _ := newCA(t).PEM()
	if err := os.WriteFile(filepath.Join(dir, caCertFile), cert, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(dir); err == nil {
		t.Error("a key and the certificate of another were taken for an authority")
	}
}

func TestDue_WhenHalfOfTheYearIsOver(t *testing.T) {
	dir := member(t, newCA(t))
	for after, want := range map[time.Duration]bool{0: false, leafLife/2 - time.Hour: false, leafLife/2 + time.Hour: true} {
		if got := Due(dir, time.Now().Add(after)); got != want {
			t.Errorf("after %s: %v, want %v", after, got, want)
		}
	}
	if !Due(t.TempDir(), time.Now()) {
		t.Error("a folder without a certificate is not due")
	}
}
