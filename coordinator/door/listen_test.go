package door

import (
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/lockkeeper/lockkeeper/coordinator/client"
)

// serving serves a listener until the test ends.
func serving(t *testing.T, cfg Config) *Listener {
	t.Helper()
	ln, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	srv := NewServer(Wrap(http.HandlerFunc(inside), Options{Loopback: true, AllowedHosts: []string{"lk"}, Cluster: cluster{}}), slog.New(slog.DiscardHandler))
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
	return ln
}

func reach(t *testing.T, cfg client.Config) error {
	t.Helper()
	c, err := client.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Healthz(t.Context())
}

func TestListen_OffLoopbackNeedsTLSAndSaysWhatToDo(t *testing.T) {
	for _, address := range []string{"0.0.0.0:0", ":0", "[::]:0", "192.0.2.1:0", "lock.example.com:0"} {
		_, err := Listen(Config{Listen: address})
		if err == nil || !strings.Contains(err.Error(), "--tls-self-signed") {
			t.Errorf("%s: %v", address, err)
		}
	}
	for _, address := range []string{"", "8080", "127.0.0.1", "unix:relative.sock"} {
		if _, err := Listen(Config{Listen: address}); err == nil || !strings.Contains(err.Error(), "want") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestListen_APortInUseIsNamed(t *testing.T) {
	ln := serving(t, Config{Listen: "127.0.0.1:0"})
	if !ln.Loopback || reach(t, client.Config{Servers: []string{ln.URL}}) != nil {
		t.Errorf("%+v cannot be reached", ln)
	}
	_, err := Listen(Config{Listen: ln.Addr().String()})
	if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "choose another") {
		t.Errorf("got %v", err)
	}
}

func TestUnix_AStaleSocketIsReplacedAndALiveOneOrAFileIsNot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lk.sock")
	stale, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	stale.SetUnlinkOnClose(false)
	stale.Close()
	ln := serving(t, Config{Listen: "unix:" + path})
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := reach(t, client.Config{Servers: []string{ln.URL}}); err != nil {
		t.Error(err)
	}
	if _, err := Listen(Config{Listen: "unix:" + path}); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a live socket: %v", err)
	}
	if err := reach(t, client.Config{Servers: []string{ln.URL}}); err != nil {
		t.Errorf("the live socket was harmed: %v", err)
	}
	file := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Config{Listen: "unix:" + file}); err == nil {
		t.Error("a file was taken for a socket")
	}
	if text, _ := os.ReadFile(file); string(text) != "x" {
		t.Error("the file is gone")
	}
}

func TestSelfSigned_ThePinIsEnoughAndOutlivesARestart(t *testing.T) {
	dir := t.TempDir()
	first := serving(t, Config{Listen: "127.0.0.1:0", SelfSigned: true, KeyDir: dir})
	again := serving(t, Config{Listen: "127.0.0.1:0", SelfSigned: true, KeyDir: dir, Names: []string{"lock.example.com"}})
	other := serving(t, Config{Listen: "127.0.0.1:0", SelfSigned: true, KeyDir: t.TempDir()})
	if first.Pin != again.Pin || first.Pin == other.Pin || !strings.HasPrefix(first.URL, "https://") {
		t.Errorf("pins %s, %s, %s at %s", first.Pin, again.Pin, other.Pin, first.URL)
	}
	for _, ln := range []*Listener{first, again} {
		if err := reach(t, client.Config{Servers: []string{ln.URL}, Pin: first.Pin, Token: "lk_ann"}); err != nil && !strings.Contains(err.Error(), "unauthenticated") {
			t.Error(err)
		}
	}
	if err := reach(t, client.Config{Servers: []string{other.URL}, Pin: first.Pin}); !errors.Is(err, client.ErrUnreachable) || !strings.Contains(err.Error(), "pinned") {
		t.Errorf("another key: %v", err)
	}
	if err := reach(t, client.Config{Servers: []string{first.URL}}); !errors.Is(err, client.ErrUnreachable) {
		t.Errorf("without a pin: %v", err)
	}
	info, err := os.Stat(filepath.Join(dir, "self-signed.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("key file %v, %v", info, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "self-signed.key"), []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(Config{Listen: "127.0.0.1:0", SelfSigned: true, KeyDir: dir}); err == nil || !strings.Contains(err.Error(), "remove it") {
		t.Errorf("a broken key: %v", err)
	}
}

// writePair writes a new certificate for the name, and its pin.
func writePair(t *testing.T, certFile, keyFile string) {
	t.Helper()
	pair, _, err := selfSigned(t.TempDir(), []string{"lk"})
	if err != nil {
		t.Fatal(err)
	}
	cert, key := pemPair(t, pair)
	for path, text := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(path+".new", text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
}

func TestCertificate_ANewOneIsUsedWithoutARestartAndABrokenOneIsNot(t *testing.T) {
	dir := t.TempDir()
	certFile, keyFile := filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	writePair(t, certFile, keyFile)
	ln := serving(t, Config{Listen: "127.0.0.1:0", CertFile: certFile, KeyFile: keyFile, Logger: slog.New(slog.DiscardHandler)})
	serial := func() string {
		conn, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].SerialNumber.String()
	}
	old := serial()
	writePair(t, certFile, keyFile)
	deadline := time.Now().Add(time.Minute)
	for serial() == old {
		if time.Now().After(deadline) {
			t.Fatal("the new certificate is not used")
		}
		time.Sleep(50 * time.Millisecond)
	}
	fresh := serial()
	if err := os.WriteFile(certFile, []byte("rubbish"), 0o600); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		if serial() != fresh {
			t.Fatal("a broken certificate replaced a good one")
		}
	}
	if _, err := Listen(Config{Listen: "127.0.0.1:0", CertFile: certFile, KeyFile: keyFile}); err == nil {
		t.Error("a broken certificate was taken at the start")
	}
	if _, err := Listen(Config{Listen: "127.0.0.1:0", CertFile: certFile}); err == nil || !strings.Contains(err.Error(), "--tls-key") {
		t.Errorf("a certificate without a key: %v", err)
	}
}

// cutOff sends the beginning of a request and reads until the server ends it.
func cutOff(t *testing.T, srv *http.Server, text string) string {
	t.Helper()
	ln, err := Listen(Config{Listen: "127.0.0.1:0"})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	defer func() { _ = srv.Close(); <-done }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	answer, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%q: the client keeps its connection", text)
	}
	return string(answer)
}

func TestServer_ASlowClientIsCutOff(t *testing.T) {
	discard := slog.New(slog.DiscardHandler)
	server := func(h http.HandlerFunc) *http.Server {
		d := newDoor(h, Options{Loopback: true})
		d.bodyWithin = 200 * time.Millisecond
		srv := NewServer(d, discard)
		if srv.ReadHeaderTimeout <= 0 || srv.MaxHeaderBytes <= 0 || srv.IdleTimeout <= 0 || srv.WriteTimeout != 0 || srv.ReadTimeout != 0 {
			t.Errorf("bounds %+v", srv)
		}
		return srv
	}
	const json = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
	impatient := server(inside)
	impatient.ReadHeaderTimeout = 200 * time.Millisecond
	cutOff(t, impatient, "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
	cutOff(t, server(inside), "POST /api/v1/plans HTTP/1.1\r\n"+json)
	// A body that the handler does not look at is drained by net/http.
	ignore := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }
	if got := cutOff(t, server(ignore), "POST /nowhere HTTP/1.1\r\n"+json); !strings.Contains(got, " 404 ") {
		t.Errorf("got %q", got)
	}
	if got := cutOff(t, server(inside), "GET / HTTP/1.1\r\nHost: localhost\r\nX-Big: "+strings.Repeat("x", 128<<10)+"\r\n\r\n"); !strings.Contains(got, " 431 ") {
		t.Errorf("got %q", got)
	}
}

func TestServer_ALongPollOutlivesTheTimeForItsBody(t *testing.T) {
	waited := make(chan error, 1)
	d := newDoor(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		select {
		case <-r.Context().Done():
			waited <- r.Context().Err()
		case <-time.After(1200 * time.Millisecond):
			waited <- nil
		}
	}), Options{Loopback: true})
	d.bodyWithin = time.Second
	answer := cutOff(t, NewServer(d, slog.New(slog.DiscardHandler)),
		"POST /api/v1/nodes/n/poll HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
	if err := <-waited; err != nil || !strings.Contains(answer, " 200 ") {
		t.Errorf("the poll ended with %v: %q", err, answer)
	}
}
