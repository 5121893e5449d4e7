package peerca

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
)

// Config is for both ends of a connection between members: each shows its
// certificate of the authority, and believes nobody but those that it says. The
// files are read now.
func Config(files Files, ca *CA) (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(ca.cert)
	for _, cert := range ca.beside {
		pool.AddCert(cert)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, Certificates: []tls.Certificate{pair},
		RootCAs: pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert,
	}, nil
}

// ErrOtherCA: the server has no certificate of the authority that was pinned.
var ErrOtherCA = errors.New("it shows no certificate of the cluster that the join token is of")

// Pinned is for a joiner, which knows the authority by its fingerprint only: the
// server has to show the authority's certificate, and one of its own that the
// authority made.
func Pinned(fingerprint string) *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		ServerName: ServerName,
		// The chain is verified below, to an authority that only the server can name.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			for _, c := range cs.PeerCertificates {
				if Fingerprint(c) != fingerprint {
					continue
				}
				roots := x509.NewCertPool()
				roots.AddCert(c)
				_, err := cs.PeerCertificates[0].Verify(x509.VerifyOptions{
					Roots: roots, DNSName: ServerName, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
				})
				if err != nil {
					return fmt.Errorf("%w: %w", ErrOtherCA, err)
				}
				return nil
			}
			return ErrOtherCA
		},
	}
}
