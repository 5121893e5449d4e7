package door

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"time"
)

// Config says where to listen, and with which certificate.
type Config struct {
	// Listen is HOST:PORT or unix:/PATH.
	Listen string
	// CertFile and KeyFile are PEM files, read again when they change.
	CertFile, KeyFile string
	// SelfSigned makes a certificate whose key is kept in KeyDir, so that its
	// pin stays the same. Names are what it vouches for besides the address.
	SelfSigned bool
	KeyDir     string
	Names      []string
	// ServerCertificate is shown to who calls the server by ServerName, whatever
	// others see. Nil: nothing special.
	ServerName        string
	ServerCertificate func() (*tls.Certificate, error)
	// Plain allows no TLS off loopback. It is for FleetLock hosts alone, which
	// know no credentials that could be read.
	Plain  bool
	Logger *slog.Logger // nil discards
}

// Listener accepts connections, and says of what kind they are.
type Listener struct {
	net.Listener
	URL      string // for people and clients: http://127.0.0.1:8080, unix:/run/…
	Loopback bool   // only this host can connect
	Pin      string // of a self-signed certificate: what clients give as their pin

	tls *tls.Config // nil without TLS
}

// Certificate is the one that clients see now, nil without TLS.
func (l *Listener) Certificate() *x509.Certificate {
	if l.tls == nil {
		return nil
	}
	pair, err := l.tls.GetCertificate(&tls.ClientHelloInfo{})
	if err != nil || len(pair.Certificate) == 0 {
		return nil
	}
	cert, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil
	}
	return cert
}

// Mistake is an address that no coordinator could listen on, or a certificate that
// none could show: what was configured must be changed, and trying again does not
// help.
type Mistake struct{ text string }

func (m *Mistake) Error() string { return m.text }

func mistake(format string, args ...any) error { return &Mistake{fmt.Sprintf(format, args...)} }

// Listen opens the listener. Off loopback it refuses to do without TLS. Its error
// is a *Mistake when the address itself is wrong, or a file of the certificate.
func Listen(cfg Config) (*Listener, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if path, ok := strings.CutPrefix(cfg.Listen, "unix:"); ok {
		return listenUnix(path, cfg)
	}
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, mistake("listen address %q: want HOST:PORT, such as 127.0.0.1:8080, or unix:/PATH", cfg.Listen)
	}
	secure := cfg.CertFile != "" || cfg.KeyFile != "" || cfg.SelfSigned
	loopback := loopbackName(host)
	if !loopback && !secure && !cfg.Plain {
		return nil, mistake("listen address %s can be reached from other hosts, and that needs TLS: give --tls-cert and --tls-key, or --tls-self-signed, or listen on 127.0.0.1 or unix:/PATH", cfg.Listen)
	}
	var config *tls.Config
	var pin string
	if secure {
		if config, pin, err = serverTLS(cfg, host); err != nil {
			return nil, err
		}
	}
	ln, err := net.Listen("tcp", cfg.Listen)
	if err != nil {
		return nil, explain(cfg.Listen, err)
	}
	if loopback {
		// A hosts file may give "localhost" another address.
		if a, ok := ln.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
			return nil, errors.Join(fmt.Errorf("listen address %s leads to %s, which is no loopback address: use 127.0.0.1 or ::1", cfg.Listen, ln.Addr()), ln.Close())
		}
	}
	scheme := "http"
	if secure {
		ln, scheme = tls.NewListener(ln, config), "https"
	}
	return &Listener{Listener: ln, URL: scheme + "://" + ln.Addr().String(), Loopback: loopback, Pin: pin, tls: config}, nil
}

// explain says what to do about an address that cannot be had.
func explain(address string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen address %s is in use: stop the program that has it, or choose another with --listen: %w", address, err)
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen address %s: this user may not open it (ports below 1024 need CAP_NET_BIND_SERVICE): %w", address, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL): // or not yet, while the host boots
		return fmt.Errorf("listen address %s does not belong to this host: %w", address, err)
	}
	var addr *net.AddrError
	var lookup *net.DNSError
	if errors.As(err, &addr) || errors.As(err, &lookup) && lookup.Err == "unknown port" {
		return mistake("listen address %s: want HOST:PORT with a port from 0 to 65535: %v", address, err)
	}
	return fmt.Errorf("listen address %s: %w", address, err)
}

// socketMode lets the socket's owner and group connect.
const socketMode = 0o660

func listenUnix(path string, cfg Config) (*Listener, error) {
	path = strings.TrimPrefix(path, "//")
	if !strings.HasPrefix(path, "/") {
		return nil, mistake("listen address %q: want an absolute path, as in unix:/run/lockkeeper/lockkeeperd.sock", cfg.Listen)
	}
	if cfg.CertFile != "" || cfg.KeyFile != "" || cfg.SelfSigned {
		return nil, mistake("listen address %s needs no TLS: leave out the certificate", cfg.Listen)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, explain(cfg.Listen, err)
	}
	if err := os.Chmod(path, socketMode); err != nil {
		return nil, errors.Join(fmt.Errorf("socket %s: %w", path, err), ln.Close())
	}
	return &Listener{Listener: ln, URL: "unix:" + path, Loopback: true}, nil
}

// removeStale removes a socket that nobody listens on any more. Anything else
// in its place stays.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("socket %s: %w", path, err)
	}
	if info.Mode().Type() != fs.ModeSocket {
		return mistake("socket %s: there is something else of that name: remove it or choose another path", path)
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("socket %s is in use: stop the program that has it, or choose another with --listen", path)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return fmt.Errorf("socket %s: whether it is in use cannot be said: %w", path, err)
	}
	return os.Remove(path)
}

// loopbackName reports whether a host name or address means this host only.
func loopbackName(host string) bool {
	host = strings.TrimSuffix(strings.ToLower(host), ".")
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return err == nil && ip.Unmap().IsLoopback()
}
