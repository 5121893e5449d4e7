package etcdnode

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strings"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// CheckEndpoints says what is wrong with the URLs of an external etcd: want
// http or https with host and port, or unix with an absolute path, all alike.
// http beyond this host needs insecure: whoever reads or writes there can free
// every slot of the fleet.
func CheckEndpoints(list []string, insecure bool) error {
	var errs []error
	var secure, plain bool
	for _, text := range list {
		u, err := url.Parse(text)
		if err != nil {
			// The parser's message has the text, which may hold a password.
			errs = append(errs, errors.New("an endpoint is no URL: want one such as https://etcd-1.example.com:2379"))
			continue
		}
		name := u.Redacted()
		switch {
		case u.User != nil:
			errs = append(errs, fmt.Errorf("%s: leave user and password out: they are etcd.username and etcd.password_file", name))
		case u.Scheme == "unix" && strings.HasPrefix(u.Path, "/") && u.Host == "":
			plain = true
		case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Port() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
			errs = append(errs, fmt.Errorf("%q: want a URL such as https://etcd-1.example.com:2379 or unix:///run/etcd.sock", name))
		case u.Scheme == "https":
			secure = true
		case !insecure && !loopback(u.Hostname()):
			errs = append(errs, fmt.Errorf("%s: on the network etcd must be spoken to by https, since whoever can write there frees every slot; if the network itself is secured, allow it with etcd.insecure (--etcd-insecure)", name))
		default:
			plain = true
		}
	}
	if secure && plain {
		errs = append(errs, errors.New("all endpoints must be https, or none"))
	}
	return errors.Join(errs...)
}

func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// FileError is a file named in the settings that cannot be used.
type FileError struct {
	Setting string
	Err     error
}

func (e *FileError) Error() string { return e.Setting + ": " + e.Err.Error() }

// Unwrap is why.
func (e *FileError) Unwrap() error { return e.Err }

func (e *External) clientConfig() (clientv3.Config, error) {
	cfg := clientv3.Config{
		Endpoints: e.cfg.Endpoints, Username: e.cfg.Username, DialTimeout: probeTimeout,
		DialKeepAliveTime: keepAlive, DialKeepAliveTimeout: keepAlive, PermitWithoutStream: true,
		Logger: newZapLogger(e.log, lastWords{func(string) {}}, &e.said),
	}
	var err error
	if cfg.TLS, err = e.tlsConfig(); err != nil {
		return cfg, err
	}
	if e.cfg.PasswordFile != "" {
		b, err := os.ReadFile(e.cfg.PasswordFile)
		if err != nil {
			return cfg, &FileError{"etcd.password_file", err}
		}
		if cfg.Password = strings.TrimRight(string(b), "\r\n"); cfg.Password == "" {
			return cfg, &FileError{"etcd.password_file", fmt.Errorf("%s is empty", e.cfg.PasswordFile)}
		}
	}
	return cfg, nil
}

func (e *External) tlsConfig() (*tls.Config, error) {
	if !strings.HasPrefix(e.cfg.Endpoints[0], "https:") {
		return nil, nil
	}
	info := transport.TLSInfo{TrustedCAFile: e.cfg.CA, CertFile: e.cfg.Cert, KeyFile: e.cfg.Key}
	if info.Empty() && e.cfg.CA == "" {
		return &tls.Config{MinVersion: tls.VersionTLS12}, nil
	}
	if e.cfg.CA != "" {
		b, err := os.ReadFile(e.cfg.CA)
		if err != nil {
			return nil, &FileError{"etcd.ca", err}
		}
		if !x509.NewCertPool().AppendCertsFromPEM(b) {
			return nil, &FileError{"etcd.ca", fmt.Errorf("%s holds no certificate in PEM form", e.cfg.CA)}
		}
	}
	c, err := info.ClientConfig()
	if err != nil {
		return nil, &FileError{"etcd.cert and etcd.key", err}
	}
	return c, nil
}
