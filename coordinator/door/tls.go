package door

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/google/renameio/v2"
)

// serverTLS is the listener's configuration, and the pin of a self-signed key.
func serverTLS(cfg Config, host string) (*tls.Config, string, error) {
	// HTTP/1.1 alone: who has left before the first byte of an answer, which
	// FleetLock turns on, is only told there by the connection itself.
	config := &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}}
	if cfg.SelfSigned {
		if cfg.CertFile != "" || cfg.KeyFile != "" {
			return nil, "", mistake("both a certificate file and a self-signed certificate are asked for: want one of them")
		}
		cert, pin, err := selfSigned(cfg.KeyDir, append([]string{host}, cfg.Names...))
		if err != nil {
			return nil, "", err
		}
		config.GetCertificate = cfg.byName(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil })
		return config, pin, nil
	}
	if cfg.CertFile == "" || cfg.KeyFile == "" {
		return nil, "", mistake("TLS needs both --tls-cert and --tls-key")
	}
	r := &reloader{cert: cfg.CertFile, key: cfg.KeyFile, log: cfg.Logger}
	if err := r.load(); err != nil {
		return nil, "", mistake("%v; want the PEM files of --tls-cert and --tls-key, readable for this user and belonging together", err)
	}
	config.GetCertificate = cfg.byName(r.get)
	return config, "", nil
}

// byName serves the special certificate under its name, and else the usual one.
func (c *Config) byName(usual func(*tls.ClientHelloInfo) (*tls.Certificate, error)) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	if c.ServerCertificate == nil {
		return usual
	}
	return func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == c.ServerName {
			return c.ServerCertificate()
		}
		return usual(hello)
	}
}

// reloader serves the certificate of two files, as they are now.
type reloader struct {
	cert, key string
	log       *slog.Logger

	mu      sync.Mutex
	current *tls.Certificate
	stamp   string
	looked  time.Time
}

// stampOf changes when a file is written or replaced.
func stampOf(paths ...string) string {
	var s string
	for _, p := range paths {
		if info, err := os.Stat(p); err == nil {
			s += fmt.Sprintf("%d/%d;", info.ModTime().UnixNano(), info.Size())
		}
	}
	return s
}

// load reads the files. The stamp is taken first: what is written meanwhile is
// read again.
func (r *reloader) load() error {
	stamp := stampOf(r.cert, r.key)
	pair, err := tls.LoadX509KeyPair(r.cert, r.key)
	if err != nil {
		return fmt.Errorf("certificate %s with key %s: %w", r.cert, r.key, err)
	}
	r.current, r.stamp = &pair, stamp
	return nil
}

// get is asked at each handshake, and looks at the files once a second.
func (r *reloader) get(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.looked) > time.Second {
		r.looked = time.Now()
		if stamp := stampOf(r.cert, r.key); stamp != r.stamp {
			if err := r.load(); err != nil {
				r.stamp = stamp // said once, until they change again
				r.log.Error("the new certificate cannot be used, the old one is", "err", err)
			} else {
				r.log.Info("certificate read again", "file", r.cert)
			}
		}
	}
	return r.current, nil
}

// selfSigned is a fresh certificate on a key that is kept in dir: its pin
// outlives restarts and changes of names.
func selfSigned(dir string, names []string) (*tls.Certificate, string, error) {
	key, err := keptKey(filepath.Join(dir, "self-signed.key"))
	if err != nil {
		return nil, "", err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, "", err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "lockkeeper"},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().AddDate(10, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	if own, err := os.Hostname(); err == nil {
		names = append(names, own)
	}
	names = append(names, "localhost", "127.0.0.1", "::1")
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		switch ip := net.ParseIP(name); {
		case ip != nil && !ip.IsUnspecified():
			template.IPAddresses = append(template.IPAddresses, ip)
		case ip == nil && name != "":
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, "", fmt.Errorf("self-signed certificate: %w", err)
	}
	spki, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, "", fmt.Errorf("self-signed certificate: %w", err)
	}
	sum := sha256.Sum256(spki)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, "sha256:" + hex.EncodeToString(sum[:]), nil
}

// keptKey reads the key, or makes it when there is none.
func keptKey(path string) (*ecdsa.PrivateKey, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("self-signed certificate: %s holds no key in PEM form: remove it for a new one, with a new pin", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if own, ok := key.(*ecdsa.PrivateKey); ok {
		return own, nil
	}
	return nil, fmt.Errorf("self-signed certificate: %s holds no ECDSA key: remove it for a new one, with a new pin: %w", path, err)
}

func makeKey(path string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	if err := renameio.WriteFile(path, text, 0o600); err != nil {
		return nil, fmt.Errorf("self-signed certificate: %w", err)
	}
	return key, nil
}
