package notify

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
)

// Hook is a webhook. Exactly one of URL and URLFile is given.
type Hook struct {
	URL        string
	URLFile    string
	SecretFile string // none: unsigned
	CAFile     string // none: the system's authorities
	Format     string // json if empty
	// Stranger marks one that the configuration does not name: it is kept from
	// link-local addresses, where machines of a cloud find their credentials.
	Stranger bool
}

// maxFile bounds the files of a hook.
const maxFile = 1 << 20

// Check reads what the hook names, and says what cannot be.
func (h Hook) Check() error {
	_, err := h.read()
	return err
}

// read is the hook as its files are now.
type read struct {
	url     *url.URL
	secrets []Secret
	roots   *x509.CertPool
}

func (h Hook) read() (read, error) {
	var r read
	if h.Format != "" && !slices.Contains(Formats, h.Format) {
		return r, &FieldError{"format", fmt.Sprintf("%q: want %s", h.Format, strings.Join(Formats, ", "))}
	}
	target, field := h.URL, "url"
	switch {
	case (h.URL == "") == (h.URLFile == ""):
		return r, &FieldError{"url", "want either url or url_file"}
	case h.URLFile != "":
		text, err := readFile(h.URLFile)
		if err != nil {
			return r, &FieldError{"url_file", err.Error()}
		}
		target, field = strings.TrimSpace(string(text)), "url_file"
	}
	var err error
	if r.url, err = ParseURL(target); err != nil {
		return r, &FieldError{field, err.Error()}
	}
	if h.SecretFile != "" {
		text, err := readFile(h.SecretFile)
		if err == nil {
			r.secrets, err = ParseSecrets(string(text))
		}
		if err != nil {
			return r, &FieldError{"secret_file", err.Error()}
		}
	}
	if h.CAFile != "" {
		text, err := readFile(h.CAFile)
		if err != nil {
			return r, &FieldError{"ca_file", err.Error()}
		}
		r.roots = x509.NewCertPool()
		if !r.roots.AppendCertsFromPEM(text) {
			return r, &FieldError{"ca_file", h.CAFile + " holds no certificate in PEM form"}
		}
	}
	return r, nil
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile))
	if err == nil && len(bytes.TrimSpace(text)) == 0 {
		err = errors.New(path + " is empty")
	}
	return text, err
}

// FieldError is a field of a hook that cannot be.
type FieldError struct{ Field, Detail string }

func (e *FieldError) Error() string { return e.Field + ": " + e.Detail }

// ParseURL reads the address of a webhook. Its errors do not repeat it: it may
// be a secret.
func ParseURL(text string) (*url.URL, error) {
	const want = "want http:// or https:// with a host, as https://hooks.example.com/alerts"
	u, err := url.Parse(text)
	switch {
	case err != nil || strings.ContainsAny(text, " \t\r\n"):
		return nil, errors.New("is no URL: " + want)
	case u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Opaque != "":
		return nil, errors.New(want)
	case u.User != nil:
		return nil, errors.New("has a user or password in it: " + want)
	case strings.HasSuffix(text, Hidden):
		return nil, errors.New("is an address as it is shown, without what may be secret in it: want the whole one")
	case u.Fragment != "":
		return nil, errors.New("has a fragment (#): " + want)
	}
	return u, nil
}

// Hidden stands for what Shown leaves out.
const Hidden = "/…"

// Shown is where a webhook is, without what may be secret: scheme and host.
func Shown(text string) string {
	u, err := ParseURL(text)
	if err != nil {
		return "(no valid URL)"
	}
	return u.Scheme + "://" + u.Host
}
