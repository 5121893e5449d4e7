// Package peerca is the authority that vouches for the members of one cluster
// to each other. Every member keeps it, so that any of them can take in another.
package peerca

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/google/renameio/v2"
)

// ServerName is what a joiner calls any coordinator: under this name a
// coordinator shows its certificate of the cluster's authority, whatever
// certificate its other clients see.
const ServerName = "join.lockkeeper.internal"

// How long certificates are good for.
const (
	caLife   = 30 * 365 * 24 * time.Hour
	leafLife = 365 * 24 * time.Hour
	// clockSlack is how far the clocks of two hosts may be apart.
	clockSlack = 24 * time.Hour
)

// Names in the folder.
const (
	caCertFile = "ca.crt"
	caKeyFile  = "ca.key"
	certFile   = "peer.crt"
	keyFile    = "peer.key"
)

// ErrMissing: the folder holds no authority.
var ErrMissing = errors.New("there is no authority of the cluster")

// CA is the authority: its certificate and its key, and whom else members believe
// while one authority takes the place of another.
type CA struct {
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	beside []*x509.Certificate
}

// New makes an authority.
func New(now time.Time) (*CA, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Lockkeeper peers " + hex.EncodeToString(serial.Bytes()[:4])},
		NotBefore: now.Add(-clockSlack), NotAfter: now.Add(caLife),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &CA{cert: cert, key: key}, nil
}

func newSerial() (*big.Int, error) {
	// The highest bit is set, so that there are always as many bytes.
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 119))
	if err != nil {
		return nil, err
	}
	return n.SetBit(n, 118, 1), nil
}

// Parse reads an authority from PEM. Of several certificates the authority's is
// the one that the key belongs to; the others are believed as well.
func Parse(certs, key []byte) (*CA, error) {
	block, _ := pem.Decode(key)
	if block == nil {
		return nil, errors.New("the authority's key is not in PEM form")
	}
	k, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("the authority's key: %w", err)
	}
	own, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("the authority's key is none of ECDSA")
	}
	ca := &CA{key: own}
	for block, rest := pem.Decode(certs); ; block, rest = pem.Decode(rest) {
		if block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		switch {
		case err != nil:
			return nil, fmt.Errorf("the authority's certificate: %w", err)
		case own.PublicKey.Equal(c.PublicKey):
			ca.cert = c
		default:
			ca.beside = append(ca.beside, c)
		}
	}
	switch {
	case ca.cert != nil:
		return ca, nil
	case len(ca.beside) == 0:
		return nil, errors.New("the authority's certificate is not in PEM form")
	}
	return nil, errors.New("the authority's key and certificate do not belong together")
}

// PEM is the authority as Parse reads it, its own certificate first.
func (c *CA) PEM() (certs, key []byte, err error) {
	der, err := x509.MarshalPKCS8PrivateKey(c.key)
	if err != nil {
		return nil, nil, err
	}
	for _, cert := range append([]*x509.Certificate{c.cert}, c.beside...) {
		certs = append(certs, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	return certs, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil
}

// Fingerprint is the SHA-256 of the authority's certificate, in hexadecimal.
func (c *CA) Fingerprint() string { return Fingerprint(c.cert) }

// Trusted are the fingerprints of all authorities that are believed, its own first.
func (c *CA) Trusted() []string {
	list := []string{c.Fingerprint()}
	for _, cert := range c.beside {
		list = append(list, Fingerprint(cert))
	}
	return list
}

// Fingerprint of a certificate.
func Fingerprint(cert *x509.Certificate) string {
	sum := sha256.Sum256(cert.Raw)
	return hex.EncodeToString(sum[:])
}

// Load reads the authority that the folder keeps. ErrMissing when there is none.
func Load(dir string) (*CA, error) {
	cert, err := os.ReadFile(filepath.Join(dir, caCertFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", dir, ErrMissing)
	}
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(dir, caKeyFile))
	if err != nil {
		return nil, err
	}
	ca, err := Parse(cert, key)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	return ca, nil
}

// Save keeps the authority in the folder, which is made when absent. Only the
// owner may read what is secret. The certificate comes last: without it there is
// none.
func (c *CA) Save(dir string) error {
	cert, key, err := c.PEM()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := write(dir, caKeyFile, key); err != nil {
		return err
	}
	return write(dir, caCertFile, cert)
}

func write(dir, name string, text []byte) error {
	return renameio.WriteFile(filepath.Join(dir, name), text, 0o600, renameio.WithTempDir(dir))
}

// Files are a member's certificate and key, and the authority's certificate.
type Files struct{ CA, Cert, Key string }

// FilesIn names the files of a folder.
func FilesIn(dir string) Files {
	return Files{CA: filepath.Join(dir, caCertFile), Cert: filepath.Join(dir, certFile), Key: filepath.Join(dir, keyFile)}
}

// Issue makes a fresh certificate for a member that is called by the names and
// addresses, and puts it and its key into the folder. It is good for a year,
// both as a server and as a client.
func (c *CA) Issue(dir string, now time.Time, names ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := newSerial()
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "lockkeeper member"},
		NotBefore: now.Add(-clockSlack), NotAfter: now.Add(leafLife),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, BasicConstraintsValid: true,
	}
	names = append(slices.Clone(names), "localhost", "127.0.0.1", "::1", ServerName)
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		switch ip := net.ParseIP(name); {
		case ip != nil && !ip.IsUnspecified():
			template.IPAddresses = append(template.IPAddresses, ip)
		case ip == nil && name != "":
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, c.cert, key.Public(), c.key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var cert bytes.Buffer // the whole chain: a joiner knows the authority by its fingerprint only
	for _, raw := range [][]byte{der, c.cert.Raw} {
		if err := pem.Encode(&cert, &pem.Block{Type: "CERTIFICATE", Bytes: raw}); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := write(dir, keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})); err != nil {
		return err
	}
	return write(dir, certFile, cert.Bytes())
}

// Due reports whether more than half of the life of the folder's certificate is
// over, or it cannot be read.
func Due(dir string, now time.Time) bool {
	text, err := os.ReadFile(filepath.Join(dir, certFile))
	if err != nil {
		return true
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return true
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err != nil || now.After(cert.NotAfter.Add(-leafLife/2))
}
